"""What the import linter can't see: rules about what a source file says.  One test per invariant."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

import pytest

from .source import PRODUCT, name_of, parsed, place, product_nodes, sources

LONGEST: Final = 400
TASK_MAKERS: Final = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}
MAY_MAKE_TASKS: Final = {
    "actors/kernel.py",
    "ccproxy_sanic/runtime.py",
    "ccproxy_sanic/server.py",
    "ccproxy_sanic/watch.py",
}
AWAITING: Final = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


def called(node: ast.AST) -> str | None:
    """The last name of what a call calls: `create_task` of `asyncio.create_task(...)`."""
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def is_actor(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any("Actor" in ast.unparse(base) for base in node.bases)


def test_there_are_sources_to_examine() -> None:
    names = {name_of(path) for path in sources(*PRODUCT)}
    assert {"actors/kernel.py", "ccproxy_sanic/errors.py"} <= names


def test_no_source_file_is_longer_than_the_limit() -> None:
    files = sources(suffixes=(".py", ".pyx", ".pyi"))
    lengths = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_module_begins_with_a_docstring() -> None:
    modules = [path for path in sources() if path.read_text(encoding="utf-8").strip()]
    silent = [name_of(path) for path in modules if not ast.get_docstring(parsed(path))]
    silent += [
        name_of(path)
        for path in sources(suffixes=(".pyx",))
        if '"""' not in "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:4])
    ]
    empty = [name_of(p) for p in sources(*PRODUCT) if not p.read_text(encoding="utf-8").strip()]
    assert silent + empty == []


def test_actors_never_wait() -> None:
    actors = [(name, node) for name, node in product_nodes() if is_actor(node)]
    waiting = [place(name, part) for name, actor in actors for part in ast.walk(actor) if isinstance(part, AWAITING)]
    assert len(actors) >= 4
    assert waiting == []


def test_tasks_are_made_only_where_somebody_ends_them() -> None:
    makers = [(name, node) for name, node in product_nodes() if called(node) in TASK_MAKERS]
    assert [place(name, node) for name, node in makers if name not in MAY_MAKE_TASKS] == []


def test_sanic_is_given_no_tasks() -> None:
    assert [place(name, node) for name, node in product_nodes() if called(node) == "add_task"] == []


def test_only_relay_responds() -> None:
    responders = {name for name, node in product_nodes() if called(node) == "respond"}
    assert responders <= {"ccproxy_sanic/relay.py"}


def test_no_bare_exception_is_raised() -> None:
    """`raise Exception(...)` has no status and no type: a client would get a 500 for it."""
    bare = [
        place(name, node)
        for name, node in product_nodes()
        if isinstance(node, ast.Raise) and node.exc and called(node.exc) in {"Exception", "BaseException"}
    ]
    assert bare == []


def roots_of_imports(path: Path) -> set[str]:
    """The top-level names that a file imports, relative imports left out."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        pytest.param("actors", {"actors", "msgspec"}, id="actors"),
        pytest.param("ccproxy_sanic/wire", {"ccproxy_sanic", "msgspec"}, id="wire"),
        pytest.param("ccproxy_sanic/translate", {"ccproxy_sanic", "msgspec"}, id="translate"),
        pytest.param("ccproxy_sanic/profiles", {"ccproxy_sanic", "msgspec"}, id="profiles"),
        pytest.param("ccproxy_sanic/sse", {"ccproxy_sanic"}, id="sse"),
    ],
)
def test_packages_without_io_use_the_standard_library_and_msgspec_only(folder: str, allowed: set[str]) -> None:
    files = sources(folder)
    foreign = {name_of(path): roots_of_imports(path) - set(sys.stdlib_module_names) - allowed for path in files}
    assert files
    assert {name: roots for name, roots in foreign.items() if roots} == {}
