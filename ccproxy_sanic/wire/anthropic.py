"""The Messages request as clients send it, decoded once.

Rule: whatever is new is let through (unknown fields, block types, tool types), whatever is wrong is named by its path.

Fields that are only carried (``input``, ``input_schema``, ...) stay :class:`msgspec.Raw`: nothing parses them twice.
Tools and system prompts, which agents send again with every turn, are decoded once (:class:`Shared`).
Sources: protocol.md 1.2, 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire.blocks import FIELDS, NO_RAW, REQUIRED, Block, CacheControl, Source, checked
from ccproxy_sanic.wire.mending import pruned, replace_lone_surrogates
from ccproxy_sanic.wire.sampled import Sampled
from ccproxy_sanic.wire.wording import wording

__all__ = [
    "FIELDS",
    "NO_RAW",
    "REQUIRED",
    "Block",
    "CacheControl",
    "Format",
    "Message",
    "MessagesRequest",
    "Metadata",
    "OutputConfig",
    "Shared",
    "Source",
    "Thinking",
    "Tool",
    "ToolChoice",
    "decode_count_request",
    "decode_request",
    "given",
]

T = TypeVar("T")


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


class Shared(list[T]):
    """A list that is only read: equal bytes are one object, which carries what was ``made`` of it."""

    __slots__ = ("made",)

    def __init__(self, entries: Iterable[T]) -> None:
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
    """The body of ``POST /v1/messages``.  Fields typed Raw are only looked at for presence (see :func:`given`).

    ``repaired`` and ``special`` are set by :func:`decode_request`, whatever a client says in fields of these names:
    lone surrogates were replaced (rule V15); there are blocks of other than the most frequent types.
    """

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | Shared[Block] | None = None
    stream: bool = False
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: Shared[Tool] | None = None
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
    repaired: Any = False
    special: Any = True


class _Received(MessagesRequest, gc=False, kw_only=True):
    """As the decoder leaves it: what is shared is put in the place of its bytes by :func:`_read`."""

    system: Raw = NO_RAW  # type: ignore[assignment]
    tools: Raw = NO_RAW  # type: ignore[assignment]


class _ReceivedCount(_Received, gc=False, kw_only=True):
    """The body of ``POST /v1/messages/count_tokens``: the same, without an output limit."""

    max_tokens: int = 0


class _Field(Struct):
    """One shared field by itself."""

    system: str | list[Block] | None = None
    tools: list[Tool] | None = None


_MESSAGES: Final = msgspec.json.Decoder(_Received)
_COUNT: Final = msgspec.json.Decoder(_ReceivedCount)
_FIELD: Final = msgspec.json.Decoder(_Field)
_SHARED: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(_Field)
}
# What is remembered: how many, and the longest (Claude Code's: 12 to 25 tools in 40 to 100 kB, a prompt of 7 kB).
SHARED: Final = 64
SHARED_BYTES: Final = 256 * 1024


def given(raw: Raw) -> bool:
    """Whether a carried field is there and not null."""
    return raw is not NO_RAW and bytes(raw) != b"null"


def decode_request(body: bytes) -> MessagesRequest:
    """The request, structurally sound: types right, every block with the fields its type needs.

    Raises InvalidRequest (400) with the path in Anthropic's form, ``messages.0.content.1.text: Field required``.
    """
    return _decode(body, _MESSAGES)


def decode_count_request(body: bytes) -> MessagesRequest:
    """As :func:`decode_request` for count_tokens, where ``max_tokens`` may be absent (it reads 0)."""
    return _decode(body, _COUNT)


def _decode(body: bytes, decoder: msgspec.json.Decoder[Any]) -> MessagesRequest:
    lone = False
    try:
        if not body.isascii():
            body.decode()  # fields that are carried unread are not looked into by the decoder
        try:
            request = _typed(body, decoder)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            mended, lone = replace_lone_surrogates(body)
            if not lone:
                raise
            request = _typed(mended, decoder)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: invalid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise InvalidRequest("The request body is not valid JSON: nested too deeply") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(wording(str(error))) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    request.repaired, request.special = lone, _complete(request)
    return request


def _typed(body: bytes, decoder: msgspec.json.Decoder[Any]) -> MessagesRequest:
    try:
        return _read(decoder, body)
    except msgspec.ValidationError as first:
        # A new block type may use our field names for other types of value: look again without what nothing reads.
        try:
            loose = msgspec.json.decode(body)
        except msgspec.ValidationError:  # a number that no float holds: the first error names its place
            raise first from None
        return _read(decoder, msgspec.json.encode(pruned(loose, FIELDS)))


def _read(decoder: msgspec.json.Decoder[Any], body: bytes) -> MessagesRequest:
    request = decoder.decode(body)
    request.system = _shared("system", bytes(request.system)) if request.system else None
    request.tools = _shared("tools", bytes(request.tools)) if request.tools else None
    found: MessagesRequest = request
    return found


def _shared(field: str, data: bytes) -> Any:
    return (_remembered if len(data) <= SHARED_BYTES else _remembered.__wrapped__)(field, Sampled(data))


@lru_cache(SHARED)
def _remembered(field: str, key: Sampled) -> Any:
    try:
        value = _SHARED[field].decode(key.data)
    except msgspec.ValidationError:
        value = getattr(_FIELD.decode(b'{"%b":%b}' % (field.encode(), key.data)), field)  # the same, by its whole path
    return Shared(value) if isinstance(value, list) else value


def _complete(request: MessagesRequest) -> bool:
    """Raises InvalidRequest for what is missing.  Returns whether any message has a special block."""
    special = False
    if isinstance(request.system, list):
        checked(request.system, "system")
    for index, message in enumerate(request.messages):
        content = message.content
        if isinstance(content, list):
            special |= not checked(content, "messages", index, "content")
        elif content is None and message.role != "system":
            raise InvalidRequest(f"messages.{index}.content: Field required")
    for field, form in (("output_format", request.output_format), ("output_config.format", _format(request))):
        if form is not None and not form.schema and form.type == "json_schema":
            raise InvalidRequest(f"{field}.schema: Field required")
    return special


def _format(request: MessagesRequest) -> Format | None:
    return request.output_config.format if request.output_config else None
