"""``tools`` and ``tool_choice`` (protocol.md 1.5 and 1.2).

Rule: each declared tool becomes a function by itself, in the client's order and with equal bytes for equal tools; what
cannot run here is left out and said so, and only a request that would be pointless without it is refused.

Agents send the same tools with every turn: the outcome is found by what was :class:`Asked`, and remembered with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence, Set
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate import web_search
from ccproxy_sanic.translate.adjustments import Notes, Path, dotted
from ccproxy_sanic.translate.client_tools import CLIENT_TOOLS, description_of
from ccproxy_sanic.translate.compact import compact
from ccproxy_sanic.translate.schema import clean_tool, fits_strict
from ccproxy_sanic.translate.tool_changes import NONE, changes
from ccproxy_sanic.translate.tool_names import Names, sent_name
from ccproxy_sanic.wire.anthropic import NO_RAW, MessagesRequest, Shared, Tool, ToolChoice
from ccproxy_sanic.wire.openai_chat import ChatTool, Declared, Function, FunctionName, NamedChoice

SERVER_TOOLS: Final = (
    "web_search_",
    "web_fetch_",
    "code_execution_",
    "tool_search_tool_",
    "advisor_",
    "mcp_toolset",
)
TOOLSETS: Final = ("computer_toolset_", "browser_toolset_")
PLACEHOLDER: Final = "DeferredToolPlaceholder"  # Claude Code's: stands for tools it has not listed (claude-code.md 3)

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_CHOICES: Final[dict[str, Any]] = {"auto": "auto", "any": "required", "none": "none"}
_ASKED: Final = {
    "any": "You must call at least one of the tools.",
    "tool": "You must call the tool {name}.",
    "none": "Do not call any tool.",
}


Shape: TypeAlias = Callable[[ChatTool], Any]

_VARIANTS: Final = 4  # outcomes that are remembered for one set of tools


class Toolbox(msgspec.Struct):
    """The translated tools and choice; ``lines`` go into the instructions, ``fields`` into the body.

    ``declared`` is what the body holds, ``names`` are those that the upstream knows; ``searches`` are the client's
    tools that the provider's own web search stands for.  One box may serve many requests: it is only read.
    """

    declared: Sequence[Any] | Declared = ()
    names: frozenset[str] = frozenset()
    choice: Any = UNSET  # auto, required, none, a NamedChoice, or UNSET
    parallel: Any = UNSET  # False or UNSET
    forced: bool = False
    lines: tuple[str, ...] = ()
    fields: dict[str, Any] = {}
    searches: tuple[str | None, ...] = ()


class Asked(NamedTuple):
    """What decides, with the tools themselves, what becomes of them; ``shape`` makes what is sent of a function."""

    shape: Shape | None
    strict: bool
    schema: str
    tool_choice: str
    parallel_tool_calls: bool
    choice: ToolChoice | None
    referenced: frozenset[str]
    removed: frozenset[str]


class _Outcome(NamedTuple):
    box: Toolbox
    names: Names
    notes: Notes


NOTHING: Final = Toolbox()


def translate(
    req: MessagesRequest,
    profile: Profile,
    names: Names,
    notes: Notes,
    *,
    strict: bool = False,
    shape: Shape | None = None,
) -> Toolbox:
    """All of ``tools`` and ``tool_choice``.  Raises InvalidRequest (V14, unknown choice, nothing but server tools).

    ``strict`` lets a tool be strict that asks for it and whose schema is strict as it stands; ``shape`` is for what is
    not sent as Chat Completions has it.
    """
    tools = req.tools
    found = changes(req) if req.special else NONE
    if not tools and not found.added and req.tool_choice is None:
        return NOTHING
    switches = profile.schema, profile.tool_choice, profile.parallel_tool_calls
    asked = Asked(shape, strict, *switches, req.tool_choice, frozenset(found.referenced), frozenset(found.removed))
    searched = profile if profile.web_search and any(map(web_search.is_search, tools or ())) else None
    if not tools or found.added or searched is not None:  # rare, and then more decides
        return _translated(tools or (), found.added, asked, searched, names, notes)
    outcome: _Outcome | None = tools.made.get(asked)
    if outcome is None:
        outcome = _remembered(tools, asked)
    names.repeat(outcome.names)
    notes.repeat(outcome.notes)
    return outcome.box


def _remembered(tools: Shared[Tool], asked: Asked) -> _Outcome:
    notes = Notes()
    names = Names(notes)
    box = _translated(tools, {}, asked, None, names, notes)
    if box.declared:
        box.declared = Declared(box.declared)
    if len(tools.made) >= _VARIANTS:
        tools.made.clear()
    outcome = tools.made[asked] = _Outcome(box, names, notes)
    return outcome


def _translated(
    tools: Iterable[Tool], added: dict[str, Tool], asked: Asked, searched: Profile | None, names: Names, notes: Notes
) -> Toolbox:
    """``searched`` is the profile where the provider's search stands for Anthropic's."""
    entries: list[tuple[Path, Tool]] = [(("tools", index), tool) for index, tool in enumerate(tools)]
    _check_names(entries)
    known = {tool.name for _, tool in entries}
    entries += [(("tools",), tool) for name, tool in added.items() if name not in known]
    choice, referenced = asked.choice, asked.referenced
    if choice is not None and choice.type == "tool" and choice.name is not None:
        referenced |= {choice.name}  # forced by name: as good as a reference
    search_dropped = any(_is_server(tool, "tool_search_tool_") for _, tool in entries)
    box, functions = Toolbox(), []
    for path, tool in entries:
        if tool.name in asked.removed:
            notes.add("tool_dropped", path, "removed by tool_removal")
        elif searched is not None and web_search.is_search(tool):
            box.searches += (tool.name,)
            if choice is not None and choice.type == "none":
                notes.add("tool_dropped", path, "tool_choice is none")
            else:
                box.fields = web_search.fields(tool, path, searched, notes)
        elif _kept(tool, path, referenced, search_dropped, notes):
            functions.append(_declared(tool, path, asked, names, notes))
    if entries and not functions and not box.searches and all(_is_server(tool) for _, tool in entries):
        raise InvalidRequest(f"tools: {entries[0][1].type} is a server tool, which this backend cannot run")
    functions = _choose(box, functions, [tool for _, tool in entries], asked, names, notes)
    box.declared = functions if asked.shape is None else [asked.shape(one) for one in functions]
    box.names = frozenset(one.function.name for one in functions)
    return box


def _check_names(entries: list[tuple[Path, Tool]]) -> None:
    seen: set[str] = set()
    for path, tool in entries:
        if tool.type is not None and tool.type.startswith(TOOLSETS):
            raise InvalidRequest(f"tools: type '{tool.type}' is not supported by this backend")
        if tool.name is None:
            if tool.type in (None, "custom"):
                raise InvalidRequest(f"{dotted(path)}.name: Field required")
            continue
        if tool.name in seen:
            raise InvalidRequest("tools: Tool names must be unique.")
        if not NAME.match(tool.name):
            raise InvalidRequest(f"{dotted(path)}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        seen.add(tool.name)


def _is_server(tool: Tool, prefix: str | tuple[str, ...] = SERVER_TOOLS) -> bool:
    return tool.type is not None and tool.type.startswith(prefix)


def _kept(tool: Tool, path: Path, referenced: Set[str], search_dropped: bool, notes: Notes) -> bool:
    if _is_server(tool):
        notes.add("tool_dropped", path, f"{tool.type} runs on Anthropic's servers")
        return False
    if tool.type not in (None, "custom") and tool.type not in CLIENT_TOOLS and not tool.input_schema:
        notes.add("tool_dropped", path, f"the tool type {tool.type} is not known")
        return False
    if tool.allowed_callers and "direct" not in tool.allowed_callers:
        notes.add("tool_dropped", path, "it may only be called from code that runs on Anthropic's servers")
        return False
    if tool.defer_loading and tool.name not in referenced:
        if search_dropped and tool.name != PLACEHOLDER:
            notes.add("tool_undeferred", path)
            return True
        notes.add("tool_deferred", path)
        return False
    return True


def _declared(tool: Tool, path: Path, asked: Asked, names: Names, notes: Notes) -> ChatTool:
    known = CLIENT_TOOLS.get(tool.type or "")
    raw = tool.input_schema if known is None else Raw(msgspec.json.encode(known.parameters))
    description = tool.description if known is None else description_of(tool, known)
    name = tool.name or (known.name if known else "")
    parameters, changed = _parameters(raw, path, asked.schema)
    if changed:
        notes.add("schema_cleaned", (*path, "input_schema"))
    strict = bool(asked.strict and tool.strict and fits_strict(msgspec.json.decode(parameters)))
    if tool.strict and not strict:
        notes.add("strict_dropped", (*path, "strict"))
    if tool.input_examples:
        lines = "\n".join(compact(example) for example in tool.input_examples)
        description = f"{description or ''}\n\nInput examples:\n{lines}"
    return ChatTool(
        Function(
            name=names.sent(name, path),
            description=UNSET if description is None else description,
            parameters=parameters,
            strict=strict or UNSET,
        )
    )


def _parameters(raw: Raw, path: Path, flavour: str) -> tuple[Raw, bool]:
    data = b"{}" if raw is NO_RAW else bytes(raw)
    try:
        if len(data) > _MEMO_BYTES:
            return cleaned_parameters.__wrapped__(data, flavour)
        return cleaned_parameters(data, flavour)
    except msgspec.MsgspecError:
        raise InvalidRequest(f"{dotted(path)}.input_schema: Input should be a valid dictionary") from None


_MEMO_BYTES: Final = 32 * 1024


@lru_cache(maxsize=512)  # agents send the same tools with every request (protocol.md 9.3.6)
def cleaned_parameters(data: bytes, flavour: str) -> tuple[Raw, bool]:
    """A schema's JSON text as sent, and whether the flavour (not SCH-1 and 2) changed it.  Raises MsgspecError."""
    schema = msgspec.json.decode(data, type=dict[str, Any] | None) or {}
    plain = msgspec.json.encode(clean_tool(schema, "default"))
    if flavour == "default":
        return Raw(plain), False
    special = msgspec.json.encode(clean_tool(schema, flavour))
    return Raw(special), special != plain


def _choose(
    box: Toolbox, functions: list[ChatTool], entries: list[Tool], asked: Asked, names: Names, notes: Notes
) -> list[ChatTool]:
    """Sets what the choice comes to.  Returns the functions that are declared with it."""
    choice = asked.choice
    if choice is None:
        return functions
    if choice.type == "tool" and choice.name is not None and choice.name in box.searches:
        notes.add("tool_choice_dropped", ("tool_choice",), "the provider searches by itself")
        return functions
    if choice.type == "tool":
        _check_choice(choice.name, functions, entries)
    if choice.type not in ("auto", "any", "none", "tool"):
        notes.add("tool_choice_dropped", ("tool_choice", "type"), "its type is not known")
        return functions
    if not functions:
        notes.add("tool_choice_dropped", ("tool_choice",), "no tools are left")
        return functions
    box.forced = choice.type in ("any", "tool")
    if choice.type == "tool" and asked.tool_choice == "required":
        sent = names.sent(choice.name or "", ("tool_choice", "name"))
        functions = [tool for tool in functions if tool.function.name == sent]
        box.choice = _CHOICES["any"]
        notes.add("tool_choice_narrowed", ("tool_choice",))
    elif choice.type == "auto" or asked.tool_choice != "auto":
        box.choice = (
            NamedChoice(FunctionName(names.sent(choice.name or "", ("tool_choice", "name"))))
            if choice.type == "tool"
            else _CHOICES[choice.type]
        )
    else:
        sent = names.sent(choice.name, ("tool_choice", "name")) if choice.name else ""
        box.lines = (_ASKED[choice.type].format(name=sent),)
        notes.add("tool_choice_weakened", ("tool_choice", "type"))
    if choice.disable_parallel_tool_use:
        if asked.parallel_tool_calls:
            box.parallel = False
        else:
            notes.add("field_ignored", ("tool_choice", "disable_parallel_tool_use"))
    return functions


def _check_choice(name: str | None, functions: list[ChatTool], entries: list[Tool]) -> None:
    if name is None:
        raise InvalidRequest("tool_choice.name: Field required")
    sent = sent_name(name)
    if any(tool.function.name == sent for tool in functions):
        return
    known = next((tool for tool in entries if tool.name == name), None)
    if known is not None:
        raise InvalidRequest(f"tool_choice.name: {known.type or 'this tool'} cannot be called on this backend")
    raise InvalidRequest("tool_choice.name: the tool was not found in the provided tools")
