"""What the conversation itself says about tools (protocol.md 1.4, 1.5; claude-code.md 3).

Rule: later words win: a removed tool may be added again, and a reference makes a deferred tool a declared one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate.adjustments import Path, dotted
from ccproxy_sanic.wire.anthropic import Block, MessagesRequest, Tool

_SPEAKS: Final = frozenset({"tool_result", "tool_search_tool_result", "compaction", "tool_addition", "tool_removal"})


class Changes(msgspec.Struct):
    """What the conversation itself says about tools: references, additions, removals (protocol.md 1.4, 1.5)."""

    referenced: set[str] = msgspec.field(default_factory=set)
    removed: set[str] = msgspec.field(default_factory=set)
    added: dict[str, Tool] = msgspec.field(default_factory=dict)


NONE: Final = Changes()


def changes(req: MessagesRequest) -> Changes:
    """Scans the conversation, which need not be where no block is special (decode_request).

    Raises InvalidRequest where a definition is no tool.
    """
    found = Changes()
    for index, message in enumerate(req.messages):
        if isinstance(message.content, list):
            _scan(message.content, ("messages", index, "content"), found)
    return found


def _scan(blocks: Iterable[Block], path: Path, found: Changes) -> None:
    for index, block in enumerate(blocks):
        kind = block.type
        if kind not in _SPEAKS:
            continue
        if kind == "tool_result" and isinstance(block.content, list):
            found.referenced.update(one.tool_name for one in block.content if one.tool_name is not None)
        elif kind == "tool_search_tool_result" and isinstance(block.content, dict):
            references = block.content.get("tool_references")
            for one in references if isinstance(references, list) else ():
                if isinstance(one, dict) and isinstance(one.get("tool_name"), str):
                    found.referenced.add(one["tool_name"])
        elif kind == "compaction" and block.tool_changes:
            _scan(block.tool_changes, (*path, index, "tool_changes"), found)
        elif kind in ("tool_addition", "tool_removal") and block.tool is not None:
            _change(kind, block.tool, (*path, index, "tool"), found)


def _change(kind: str, tool: dict[str, Any], path: Path, found: Changes) -> None:
    definition = tool.get("definition")
    name = definition.get("name") if isinstance(definition, dict) else tool.get("name")
    if not isinstance(name, str):
        return
    if kind == "tool_removal":
        found.removed.add(name)
        found.added.pop(name, None)
        return
    found.removed.discard(name)
    found.referenced.add(name)
    if definition is not None:
        try:
            found.added[name] = msgspec.json.decode(msgspec.json.encode(definition), type=Tool)
        except msgspec.ValidationError:
            raise InvalidRequest(f"{dotted(path)}.definition: Input should be a valid tool") from None
