"""The Messages request as clients send it, decoded once.

Rule: whatever is new is let through (unknown fields, block types, tool types), whatever is wrong is named by its path.

Tools, system prompts and the beginnings of conversations, which agents send again with every turn, are decoded once.
Sources: protocol.md 1.2, 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire import blocks
from ccproxy_sanic.wire.blocks import FIELDS, NO_RAW, REQUIRED, Block, CacheControl, Source
from ccproxy_sanic.wire.mending import pruned, replace_lone_surrogates
from ccproxy_sanic.wire.messages import (
    Beginning,
    Format,
    Message,
    MessagesRequest,
    Metadata,
    OutputConfig,
    Shared,
    Thinking,
    Tool,
    ToolChoice,
)
from ccproxy_sanic.wire.prefixes import SHORTEST, Prefixes
from ccproxy_sanic.wire.sampled import Sampled
from ccproxy_sanic.wire.wording import wording

__all__ = [
    "FIELDS",
    "NO_RAW",
    "REQUIRED",
    "Beginning",
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


_Decode: TypeAlias = Callable[[bytes], MessagesRequest]
_messages: Final[_Decode] = msgspec.json.Decoder(_Received).decode
_count: Final[_Decode] = msgspec.json.Decoder(_ReceivedCount).decode
_RARE: Final = tuple(field.name for field in msgspec.structs.fields(MessagesRequest) if field.type is Raw)
_rare_values: Final = attrgetter(*_RARE)  # one look for all of them
_NO_RARE: Final = (NO_RAW,) * len(_RARE)
_list: Final = msgspec.json.Decoder(list[Message]).decode
_FIELD: Final = msgspec.json.Decoder(_Field)
_SHARED: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(_Field)
}
# What is remembered: how many, and the longest (Claude Code's: 12 to 25 tools in 40 to 100 kB, a prompt of 7 kB).
SHARED: Final = 64
SHARED_BYTES: Final = 256 * 1024
# What is remembered of conversations: bytes of memory, about (Claude Code's take 200 kB to 2 MB each), and how many
# messages more are read each time before a longer beginning is remembered.
BEGINNINGS: Final = 16 << 20
GROWTH: Final = 10
LATEST: Final = 2  # assistant messages that do not belong to the beginning
_TURN: Final = b'},{"role":"assistant"'
beginnings: Final[Prefixes[Beginning]] = Prefixes(BEGINNINGS)


def given(raw: Raw) -> bool:
    """Whether a carried field is there and not null."""
    return raw is not NO_RAW and bytes(raw) != b"null"


def decode_request(body: bytes) -> MessagesRequest:
    """The request, structurally sound: types right, every block with the fields its type needs.

    Raises InvalidRequest (400) with the path in Anthropic's form, ``messages.0.content.1.text: Field required``.
    """
    return _decode(body, _messages) if len(body) < SHORTEST else _decode_long(body)


def decode_count_request(body: bytes) -> MessagesRequest:
    """As :func:`decode_request` for count_tokens, where ``max_tokens`` may be absent (it reads 0)."""
    return _decode(body, _count)


def _decode(body: bytes, decode: _Decode) -> MessagesRequest:
    try:
        if not body.isascii():
            body.decode()  # fields that are carried unread are not looked into by the decoder
        request = _read(decode, body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        request = _decode_again(body, decode)
    request.special = _complete(request)
    return request


def _decode_long(body: bytes) -> MessagesRequest:
    """Agents send the whole conversation with every turn: its beginning is found again, which takes a tenth of the time
    of reading it."""
    known = beginnings.find(body)
    request = None if known is None else _continued(body, *known)
    if known is None or request is None:
        request = _decode(body, _messages)
        _remember(body, request)
    elif len(request.messages) - known[1].count > GROWTH:
        _remember(body, request, known[0])
    return request


def _continued(body: bytes, text: bytes, beginning: Beginning) -> MessagesRequest | None:
    """The request, if only messages follow the known ``text``; None: see what it is."""
    if not body.endswith(b"]}"):
        return None
    rest = _more(body, len(text))
    if not rest:
        return None
    request = copy(beginning.request)
    request.messages = request.messages + rest
    request.special |= _complete_messages(rest, beginning.count)
    request.beginning = beginning
    return request


def _more(body: bytes, at: int) -> list[Message]:
    """The messages from ``at`` on to the end of a body that ends in them; empty where they cannot be read."""
    data = b"[" + body[at:-1]
    try:
        if not data.isascii():
            data.decode()
        return _list(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _remember(body: bytes, request: MessagesRequest, instead: bytes = b"") -> None:
    """Keeps the conversation without its last two turns, because clients move their cache marks on in those: instead of
    a shorter one, or if it came before.

    Where they begin is a guess that is proven: from there on to the body's end, what is read is what was read.  Less
    than half of the body is not worth it: what was read holds on to all of it.
    """
    messages = request.messages
    if not body.endswith(b"]}") or len(messages) <= 2 * LATEST:
        return
    at, least = len(body), len(body) // 2
    for _ in range(LATEST):
        at = body.rfind(_TURN, least, max(at, least))
    if at < 0 or not (instead or beginnings.again(body, at + 2)):
        return
    rest = _more(body, at + 2)
    count = len(messages) - len(rest)
    if rest and messages[count:] == rest:
        beginning = Beginning(request, count, at + 2)
        beginnings.add(body[: at + 2], beginning, beginning.weight, instead)
        request.beginning = beginning


def _decode_again(body: bytes, decode: _Decode) -> MessagesRequest:
    """A body that was refused: as it is meant, if that can be told."""
    lone = False
    try:
        body.decode()
        try:
            request = _typed(body, decode)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            mended, lone = replace_lone_surrogates(body)
            if not lone:
                raise
            request = _typed(mended, decode)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: invalid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise InvalidRequest("The request body is not valid JSON: nested too deeply") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(wording(str(error))) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    request.repaired = lone
    return request


def _typed(body: bytes, decode: _Decode) -> MessagesRequest:
    try:
        return _read(decode, body)
    except msgspec.ValidationError as first:
        # A new block type may use our field names for other types of value: look again without what nothing reads.
        try:
            loose = msgspec.json.decode(body)
        except msgspec.ValidationError:  # a number that no float holds: the first error names its place
            raise first from None
        return _read(decode, msgspec.json.encode(pruned(loose, FIELDS)))


def _read(decode: _Decode, body: bytes) -> MessagesRequest:
    request = decode(body)
    system: Any = request.system
    tools: Any = request.tools
    request.system = None if system is NO_RAW else _shared("system", bytes(system))
    request.tools = None if tools is NO_RAW else _shared("tools", bytes(tools))
    request.repaired, request.beginning = False, None
    request.rare = _rare_values(request) != _NO_RARE
    return request


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
    if isinstance(request.system, list) and not blocks.ordinary(request.system):
        blocks.check(request.system, "system")
    special = _complete_messages(request.messages, 0)
    if request.output_format is not None:
        _check_format("output_format", request.output_format)
    if request.output_config is not None and request.output_config.format is not None:
        _check_format("output_config.format", request.output_config.format)
    return special


def _complete_messages(messages: list[Message], start: int) -> bool:
    """The same of the messages alone, the first of which is number ``start``."""
    special = False
    for index, message in enumerate(messages, start):
        content = message.content
        if type(content) is list:
            if not blocks.ordinary(content):
                blocks.check(content, f"messages.{index}.content")
                special = True
        elif content is None and message.role != "system":
            raise InvalidRequest(f"messages.{index}.content: Field required")
    return special


def _check_format(field: str, form: Format) -> None:
    if not form.schema and form.type == "json_schema":
        raise InvalidRequest(f"{field}.schema: Field required")
