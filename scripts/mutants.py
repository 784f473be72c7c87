"""The mutants that ``mutate.py`` runs.

Rule: a mutant is a change of one node of a module's syntax tree, or of one line of a TOML file, that its label names.
Prose for people (what a code or a switch means) is no rule: its words are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

PROSE: Final = frozenset({"CODES", "MEANINGS", "_EDIT_ABOUT"})
PHRASED: Final = {"_text": 0, "_choice": 0, "_pair": 0, "ClientTool": 1}  # which argument is a description
CHARACTERS: Final = frozenset({"_VALUE", "_AFTER", "_EXPONENT"})  # of the automaton: pairs as those of _row
COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BRANCH: Final = re.compile(r"\\.|\[(?:\\.|[^\]])*\]|[()|]")
_TOML_VALUE: Final = re.compile(r'"[^"]*"|(?<=[ \[])-?\d[\d_.]*|\b(?:true|false)\b')


@dataclass
class Mutant:
    """``apply`` changes ``tree`` in place (or, of a TOML file, ``text`` is the whole changed file)."""

    file: Path
    number: int
    label: str
    apply: Callable[[], object]
    tree: ast.Module | None = None
    text: str = ""


def of_tables(package: Path) -> list[Mutant]:
    """Every entry of every table of translate/ and profiles/, and every line of the profile files."""
    found: list[Mutant] = []
    for file in sorted([*(package / "translate").glob("*.py"), *(package / "profiles").glob("*.py")]):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        changes = (change for name, value in _tables(tree) for change in _of_value(value, name))
        found += _numbered(file, tree, changes)
    for file in sorted((package / "profiles").glob("*.toml")):
        found += _of_toml(file)
    return found


def of_functions(package: Path) -> list[Mutant]:
    """Comparisons, and/or, not, numbers and truth values inside the functions of translate/."""
    found: list[Mutant] = []
    for file in sorted((package / "translate").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name != "markdown"]
        changes = (change for function in functions for change in _of_code(function))
        found += _numbered(file, tree, changes)
    return found


Change = tuple[int, str, Callable[[], object]]  # line, what, how


def _numbered(file: Path, tree: ast.Module, changes: Iterator[Change]) -> list[Mutant]:
    place = f"{file.parent.name}/{file.name}"
    return [
        Mutant(file, number, f"{place}:{line} {what}", apply, tree)
        for number, (line, what, apply) in enumerate(changes)
    ]


def _tables(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            continue
        if isinstance(statement.target, ast.Name) and "Final" in ast.unparse(statement.annotation):
            yield statement.target.id, statement.value


def _of_value(value: ast.expr, name: str) -> Iterator[Change]:
    """What can be changed in the value of a table, depth first; ``name`` says where we are."""
    if isinstance(value, ast.Dict):
        yield from _of_dict(value, name)
    elif isinstance(value, ast.Tuple | ast.List | ast.Set):
        if name in CHARACTERS:
            yield from _of_pairs([value], name)
            return
        for element in value.elts:
            if len(value.elts) > 1:
                yield value.lineno, f"{name} without {_short(element)}", partial(value.elts.remove, element)
            yield from _of_value(element, name)
    elif isinstance(value, ast.Constant) and name not in PROSE:
        yield from _of_constant(value, name)
    elif isinstance(value, ast.Call):
        yield from _of_call(value, name)
    elif isinstance(value, ast.BinOp | ast.Starred | ast.UnaryOp):
        for child in ast.iter_child_nodes(value):
            if isinstance(child, ast.expr):
                yield from _of_value(child, name)


def _of_dict(table: ast.Dict, name: str) -> Iterator[Change]:
    others = [value for value in table.values if isinstance(value, ast.Name | ast.Attribute)]
    for key, value in zip(table.keys, table.values, strict=True):
        inner = f"{name}[{_short(key)}]" if key is not None else f"{name} **"
        yield value.lineno, f"{inner} left out", partial(_leave_out, table, value)
        if key is None:
            yield from _of_value(value, inner)
            continue
        if name not in PROSE and _short(key) != "'description'":
            yield from _of_value(value, inner)
        other = next((one for one in others if ast.dump(one) != ast.dump(value)), None)
        if isinstance(value, ast.Name | ast.Attribute) and other is not None:
            yield value.lineno, f"{inner} is {_short(other)}", partial(_put, table.values, value, other)


def _of_call(call: ast.Call, name: str) -> Iterator[Change]:
    called = ast.unparse(call.func)
    if called == "re.compile" and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        yield from _of_pattern(call.args[0], call.args[0].value, name)
        return
    if called == "_row":
        yield from _of_pairs(call.args, name)
        return
    for at, argument in enumerate([*call.args, *(keyword.value for keyword in call.keywords)]):
        if PHRASED.get(called) != at:
            yield from _of_value(argument, name)


def _of_pairs(values: list[ast.expr], name: str) -> Iterator[Change]:
    """Each character of the pairs ``("abc", target)`` is an entry."""
    for pair in values:
        if not isinstance(pair, ast.Tuple):
            continue
        if not isinstance(pair.elts[-1], ast.Constant):
            yield from _of_pairs(pair.elts, name)
            continue
        chars, target = pair.elts
        if isinstance(chars, ast.Constant) and isinstance(chars.value, str):
            for char in chars.value:
                less = chars.value.replace(char, "")
                yield chars.lineno, f"{name} without {char!r}", partial(setattr, chars, "value", less)
        yield from _of_value(target, f"{name} {_short(chars)}")


def _of_constant(constant: ast.Constant, name: str) -> Iterator[Change]:
    value = constant.value
    new: Any = None
    if isinstance(value, bool):
        new = not value
    elif isinstance(value, int | float):
        new = value + 1
    elif isinstance(value, str):
        new = f"{value}~"
    elif isinstance(value, bytes):
        new = value + b"~"
    elif value is None:
        new = "~"
    if new is not None:
        yield (
            constant.lineno,
            f"{name}: {_short(constant)} is {str(new)[-20:]!r}",
            partial(setattr, constant, "value", new),
        )


def _of_pattern(constant: ast.Constant, text: str, name: str) -> Iterator[Change]:
    """A regular expression: each of its alternatives made impossible."""
    starts, branches = [0], list[tuple[int, int]]()
    for found in _BRANCH.finditer(text):
        sign = found.group()
        if sign == "(":
            starts.append(found.end())
        elif sign in ("|", ")"):
            begin = starts.pop()
            branches.append((begin, found.start()))
            if sign == "|":
                starts.append(found.end())
    branches.append((starts[0], len(text)))
    for begin, end in sorted(set(branches)):
        head = re.match(r"\?(?:P<\w+>|:|=|!|<=|<!|i:|s:)", text[begin:end])
        if head:
            begin += head.end()
        if begin < end:
            new = f"{text[:begin]}(?!){text[end:]}"
            yield constant.lineno, f"{name}: without {text[begin:end][:60]!r}", partial(setattr, constant, "value", new)


def _of_code(function: ast.FunctionDef) -> Iterator[Change]:
    for node in ast.walk(function):
        line, name = getattr(node, "lineno", function.lineno), function.name
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            other = COMPARISONS[type(node.ops[0])]()
            yield (
                line,
                f"{name}: {_short(node)} with {type(other).__name__}",
                partial(_put, node.ops, node.ops[0], other),
            )
        elif isinstance(node, ast.BoolOp):
            new = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield line, f"{name}: {_short(node)} with {type(new).__name__}", partial(setattr, node, "op", new)
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            test = ast.UnaryOp(ast.Not(), node.test)
            ast.copy_location(test, node.test)
            yield line, f"{name}: not ({_short(node.test)})", partial(setattr, node, "test", test)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield from _of_constant(node, name)


def _of_toml(file: Path) -> list[Mutant]:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    found: list[Mutant] = []
    for number, line in enumerate(lines):
        code = line.partition(" #")[0] if not line.startswith("#") else ""
        if not code.strip():
            continue
        changed = [] if code.startswith("[") else [("", "left out")]
        if code.startswith("["):
            changed.append((code.replace("]", "_x]", 1), "renamed"))
        for value in _TOML_VALUE.finditer(code):
            new = _toml_value(value.group())
            changed.append((code[: value.start()] + new + code[value.end() :], f"{value.group()} is {new}"))
            if value.group()[0] == '"' and code[: value.start()].rstrip()[-1:] in ("[", ","):
                rest = code[value.end() :].lstrip().removeprefix(",")
                changed.append((code[: value.start()] + rest, f"without {value.group()}"))
        for new_line, what in changed:
            text = "".join([*lines[:number], new_line.rstrip("\n") + "\n", *lines[number + 1 :]])
            label = f"profiles/{file.name}:{number + 1} {code.strip()[:60]}: {what}"
            found.append(Mutant(file, len(found), label, lambda: None, text=text))
    return found


def _toml_value(value: str) -> str:
    if value in ("true", "false"):
        return "false" if value == "true" else "true"
    return f'{value[:-1]}~"' if value[0] == '"' else f"{value}1"


def _leave_out(table: ast.Dict, value: ast.expr) -> None:
    at = next(at for at, one in enumerate(table.values) if one is value)
    del table.keys[at], table.values[at]


def _put(values: list[Any], old: Any, new: Any) -> None:
    values[next(at for at, one in enumerate(values) if one is old)] = new


def _short(node: ast.AST) -> str:
    return ast.unparse(node)[:60]
