"""Content blocks of a Messages request, and what each type needs.

Rule: a block of any type is one flat struct with optional fields, because a tagged union would refuse types that do not
exist yet; which fields mean something, and which must be there, is said by the tables.
Sources: protocol.md 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct

from ccproxy_sanic.errors import InvalidRequest

NO_RAW: Final = Raw()
_BRACE: Final = ord("{")


class CacheControl(Struct, gc=False):
    type: str = "ephemeral"
    ttl: str | None = None


class Source(Struct, gc=False):
    """Where an image or a document comes from: base64, url, text, content, file."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Block] | None = None


class Block(Struct, gc=False):
    """One content block; which fields mean something is said by :data:`FIELDS`."""

    type: str
    text: str | None = None
    cache_control: CacheControl | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NO_RAW
    tool_use_id: str | None = None
    content: str | list[Block] | dict[str, Any] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    tool_name: str | None = None
    tool: dict[str, Any] | None = None
    tool_changes: list[Block] | None = None
    tabs: list[Any] | None = None
    state_changes: list[Any] | None = None


# Fields that the translation reads, by block type, and those without which the type makes no sense.
# A type that is not here is let through by its name alone: the translation drops it and says so.
_MARK: Final = ("type", "cache_control")
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "text": (*_MARK, "text"),
    "image": (*_MARK, "source"),
    "document": (*_MARK, "source", "title", "context"),
    "search_result": (*_MARK, "source", "title", "content"),
    "tool_use": (*_MARK, "id", "name", "input"),
    "tool_result": (*_MARK, "tool_use_id", "content", "is_error"),
    "tool_reference": (*_MARK, "tool_name"),
    "thinking": ("type", "thinking", "signature"),
    "redacted_thinking": ("type", "data"),
    "compaction": (*_MARK, "content", "tool_changes"),
    "tool_addition": (*_MARK, "tool"),
    "tool_removal": (*_MARK, "tool"),
    "browser_state": (*_MARK, "tabs", "state_changes"),
    "server_tool_use": ("type", "id", "name"),
    "tool_search_tool_result": ("type", "content"),
    "code_execution_tool_result": ("type", "content"),
    "bash_code_execution_tool_result": ("type", "content"),
    "text_editor_code_execution_tool_result": ("type", "content"),
}
REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text",),
    "image": ("source",),
    "document": ("source",),
    "search_result": ("source", "title", "content"),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
    "tool_reference": ("tool_name",),
    "thinking": ("thinking",),  # a missing signature is harmless: foreign ones never travel (protocol.md 2.3)
    "redacted_thinking": ("data",),
    "tool_addition": ("tool",),
    "tool_removal": ("tool",),
    "browser_state": ("tabs",),
}
SOURCE_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "base64": ("media_type", "data"),
    "url": ("url",),
    "text": ("data",),
    "content": ("content",),
    "file": ("file_id",),
}


def ordinary(blocks: list[Block]) -> bool:
    """Whether all are of the most frequent types, which say nothing of tools (translate.tool_changes), and complete.

    A third of the time of looking for what is missing.
    """
    for block in blocks:
        kind = block.type
        if kind == "tool_use":
            given = block.input
            if block.id is None or block.name is None or given is NO_RAW or bytes(given)[0] != _BRACE:
                return False
        elif kind == "tool_result":
            if block.tool_use_id is None or (type(block.content) is list and not _ordinary_result(block.content)):
                return False
        elif kind == "text":
            if block.text is None:
                return False
        elif kind != "thinking" or block.thinking is None:
            return False
    return True


def _ordinary_result(blocks: list[Block]) -> bool:
    return ordinary(blocks) and all(block.tool_name is None for block in blocks)


def check(blocks: list[Block], path: str) -> None:
    """Raises InvalidRequest for the first field that is missing, by its path; ``path`` is that of the blocks."""
    for index, block in enumerate(blocks):
        if block.type == "text" and block.text is not None:
            continue  # the common case
        for field in REQUIRED.get(block.type, ()):
            value = getattr(block, field)
            if value is None or value is NO_RAW:
                raise InvalidRequest(f"{path}.{index}.{field}: Field required")
        if block.type == "tool_use" and not bytes(block.input).startswith(b"{"):
            raise InvalidRequest(f"{path}.{index}.input: Input should be a valid dictionary")
        if block.source is not None:
            _complete_source(block, f"{path}.{index}")
        if isinstance(block.content, list):
            check(block.content, f"{path}.{index}.content")


def _complete_source(block: Block, path: str) -> None:
    source = block.source
    if block.type == "search_result":
        if not isinstance(source, str):
            raise InvalidRequest(f"{path}.source: Input should be a valid string")
    elif isinstance(source, Source):
        for field in SOURCE_REQUIRED.get(source.type, ()):
            if getattr(source, field) is None:
                raise InvalidRequest(f"{path}.source.{field}: Field required")
        if isinstance(source.content, list):
            check(source.content, f"{path}.source.content")
    elif block.type in ("image", "document"):
        raise InvalidRequest(f"{path}.source: Input should be a valid dictionary")
