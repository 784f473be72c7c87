"""The Messages request as clients send it, decoded once.

Rule: whatever is new is let through (unknown fields, block types, tool types), whatever is wrong is named by its path.

A block is one flat struct with optional fields, because a tagged union would refuse types that do not exist yet.
Fields that are only carried (``input``, ``input_schema``, ...) stay :class:`msgspec.Raw`: nothing parses them twice.
Sources: protocol.md 1.2, 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire.mending import pruned, replace_lone_surrogates
from ccproxy_sanic.wire.sampled import Sampled
from ccproxy_sanic.wire.wording import wording

NO_RAW: Final = Raw()


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
    """One content block of any type; which fields mean something is said by :data:`FIELDS`."""

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


class Format(Struct, gc=False):
    type: str
    schema: Raw = NO_RAW


class OutputConfig(Struct, gc=False):
    effort: str | None = None
    format: Format | None = None
    task_budget: Raw = NO_RAW


class Message(Struct, gc=False):
    role: str
    content: str | list[Block] | None = None
    clear_at: str | None = None
    output_config: OutputConfig | None = None


class Tool(Struct, gc=False):
    """One entry of ``tools``: a custom tool, one that the client runs, or one that Anthropic's servers would run."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw = NO_RAW
    input_examples: list[Raw] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    max_uses: Raw = NO_RAW
    allowed_domains: Raw = NO_RAW
    blocked_domains: Raw = NO_RAW
    user_location: Raw = NO_RAW
    display_width_px: int | None = None
    display_height_px: int | None = None


class Tools(list[Tool]):
    """All of ``tools``, read-only: equal bytes are one object, which carries what was ``made`` of it."""

    __slots__ = ("made",)

    def __init__(self, entries: Iterable[Tool] = ()) -> None:
        super().__init__(entries)
        self.made: dict[Any, Any] = {}


class ToolChoice(Struct, frozen=True, gc=False):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, gc=False):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Metadata(Struct, gc=False):
    user_id: str | None = None


class MessagesRequest(Struct, gc=False, kw_only=True):
    """The body of ``POST /v1/messages``.  Fields typed Raw are only looked at for presence (see :func:`given`)."""

    repaired: ClassVar[bool] = False  # lone surrogates were replaced (rule V15)

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[Block] | None = None
    stream: bool = False
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    speed: str | None = None
    billing_policy: Raw = NO_RAW
    compaction: Raw = NO_RAW
    container: Raw = NO_RAW
    context_management: Raw = NO_RAW
    fallback_credit_token: Raw = NO_RAW
    fallbacks: Raw = NO_RAW
    inference_geo: Raw = NO_RAW
    mcp_servers: Raw = NO_RAW
    safeguards: Raw = NO_RAW
    tags: Raw = NO_RAW
    thread: Raw = NO_RAW
    user_profile_id: Raw = NO_RAW
    workspace_id: Raw = NO_RAW


class _Received(MessagesRequest, gc=False, kw_only=True):
    """As the decoder leaves it: :func:`_typed` puts the tools in the place of their bytes."""

    tools: Raw = NO_RAW  # type: ignore[assignment]


class _ReceivedCount(_Received, gc=False, kw_only=True):
    """The body of ``POST /v1/messages/count_tokens``: the same, without an output limit."""

    max_tokens: int = 0


class _Repaired(_Received, gc=False, kw_only=True):
    repaired: ClassVar[bool] = True


class _RepairedCount(_ReceivedCount, gc=False, kw_only=True):
    repaired: ClassVar[bool] = True


class _ToolsOnly(Struct, gc=False):
    tools: list[Tool] | None = None


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

_DECODERS: Final[dict[type[_Received], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (_Received, _ReceivedCount, _Repaired, _RepairedCount)
}
_TOOLS: Final = msgspec.json.Decoder(_ToolsOnly)
# Tool sets that are remembered: how many, and the longest (Claude Code's: 12 to 25 tools, 40 to 100 kB).
_SETS: Final = 32
_SET_BYTES: Final = 256 * 1024


def given(raw: Raw) -> bool:
    """Whether a carried field is there and not null."""
    return raw is not NO_RAW and bytes(raw) != b"null"


def decode_request(body: bytes) -> MessagesRequest:
    """The request, structurally sound: types right, every block with the fields its type needs.

    Raises InvalidRequest (400) with the path in Anthropic's form, ``messages.0.content.1.text: Field required``.
    """
    return _decode(body, _Received, _Repaired)


def decode_count_request(body: bytes) -> MessagesRequest:
    """As :func:`decode_request` for count_tokens, where ``max_tokens`` may be absent (it reads 0)."""
    return _decode(body, _ReceivedCount, _RepairedCount)


def _decode(body: bytes, plain: type[_Received], repaired: type[_Received]) -> MessagesRequest:
    try:
        if not body.isascii():
            body.decode()  # fields that are carried unread are not looked into by the decoder
        try:
            request = _typed(body, plain)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            mended, lone = replace_lone_surrogates(body)
            if not lone:
                raise
            request = _typed(mended, repaired)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: invalid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise InvalidRequest("The request body is not valid JSON: nested too deeply") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(wording(str(error))) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    _complete(request)
    return request


def _typed(body: bytes, kind: type[_Received]) -> MessagesRequest:
    decoder = _DECODERS[kind]
    try:
        request: MessagesRequest = decoder.decode(body)
    except msgspec.ValidationError as first:
        # A new block type may use our field names for other types of value: look again without what nothing reads.
        try:
            loose = msgspec.json.decode(body)
        except msgspec.ValidationError:  # a number that no float holds: the first error names its place
            raise first from None
        request = decoder.decode(msgspec.json.encode(pruned(loose, FIELDS)))
    request.tools = _tools(bytes(request.tools)) if request.tools else None  # type: ignore[arg-type]
    return request


def _tools(data: bytes) -> Tools | None:
    """Agents send the same tools with every turn: they are decoded, and later translated, once."""
    return (_remembered if len(data) <= _SET_BYTES else _remembered.__wrapped__)(Sampled(data))


@lru_cache(_SETS)
def _remembered(key: Sampled) -> Tools | None:
    entries = _TOOLS.decode(b'{"tools":%b}' % key.data).tools  # in their place, so that a fault's path is whole
    return None if entries is None else Tools(entries)


def _complete(request: MessagesRequest) -> None:
    if isinstance(request.system, list):
        _complete_blocks(request.system, "system")
    for index, message in enumerate(request.messages):
        content = message.content
        if isinstance(content, list):
            if not _whole(content):
                _complete_blocks(content, f"messages.{index}.content")
        elif content is None and message.role != "system":
            raise InvalidRequest(f"messages.{index}.content: Field required")
    for field, form in (("output_format", request.output_format), ("output_config.format", _format(request))):
        if form is not None and not form.schema and form.type == "json_schema":
            raise InvalidRequest(f"{field}.schema: Field required")


def _whole(blocks: list[Block]) -> bool:
    """Whether all blocks are of the most frequent types and complete: half the time of looking for what is missing."""
    for block in blocks:
        kind = block.type
        if kind == "text":
            if block.text is None:
                return False
        elif kind == "tool_use":
            if block.id is None or block.name is None or bytes(block.input)[:1] != b"{":
                return False
        elif kind == "tool_result":
            content = block.content
            if block.tool_use_id is None or (isinstance(content, list) and not _whole(content)):
                return False
        else:
            return False
    return True


def _format(request: MessagesRequest) -> Format | None:
    return request.output_config.format if request.output_config else None


def _complete_blocks(blocks: list[Block], path: str) -> None:
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
            _complete_blocks(block.content, f"{path}.{index}.content")


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
            _complete_blocks(source.content, f"{path}.source.content")
    elif block.type in ("image", "document"):
        raise InvalidRequest(f"{path}.source: Input should be a valid dictionary")
