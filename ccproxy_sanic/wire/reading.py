"""A Messages request out of a body that is as it should be.

Rule: types are the decoder's matter, what a block must have is checked here; tools and system prompts, which agents
send again with every turn, are decoded once.
Sources: protocol.md 1.2, 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire import blocks
from ccproxy_sanic.wire.blocks import NO_RAW, Block
from ccproxy_sanic.wire.messages import Format, Message, MessagesRequest, Shared, Tool
from ccproxy_sanic.wire.sampled import Sampled


class Received(MessagesRequest, gc=False, kw_only=True):
    """As the decoder leaves it: what is shared is put in the place of its bytes by :func:`read`."""

    system: Raw = NO_RAW  # type: ignore[assignment]
    tools: Raw = NO_RAW  # type: ignore[assignment]


class ReceivedCount(Received, gc=False, kw_only=True):
    """The body of ``POST /v1/messages/count_tokens``: the same, without an output limit."""

    max_tokens: int = 0


class _Field(Struct):
    """One shared field by itself."""

    system: str | list[Block] | None = None
    tools: list[Tool] | None = None


Decode: TypeAlias = Callable[[bytes], Received]
# What a body raises that is not as it should be.
FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
messages: Final[Decode] = msgspec.json.Decoder(Received).decode
count: Final[Decode] = msgspec.json.Decoder(ReceivedCount).decode
_RARE: Final = tuple(field.name for field in msgspec.structs.fields(MessagesRequest) if field.type is Raw)
_rare_values: Final = attrgetter(*_RARE)  # one look for all of them
_NO_RARE: Final = (NO_RAW,) * len(_RARE)
_FIELD: Final = msgspec.json.Decoder(_Field)
_text: Final[Callable[[bytes], str]] = msgspec.json.Decoder(str).decode
_SHARED: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(_Field)
}
# What is remembered: how many, and the longest (Claude Code's: 12 to 25 tools in 40 to 100 kB, a prompt of 7 kB).
SHARED: Final = 64
SHARED_BYTES: Final = 256 * 1024
_PLAIN: Final = 1024  # bytes of a text that is read again as soon as it would be found (a short one in a fifth)


def at_once(decode: Decode, body: bytes) -> MessagesRequest:
    """The request, where nothing has to be mended.  Raises one of FAULTS."""
    encoded(body)
    return read(decode, body)


def encoded(text: bytes) -> None:
    """Raises UnicodeDecodeError: fields that are carried unread are not looked into by the decoder."""
    if not text.isascii():
        text.decode()


def read(decode: Decode, body: bytes) -> MessagesRequest:
    """The same without the look at its encoding."""
    request: Any = decode(body)
    system, tools = request.system, request.tools
    request.system = None if system is NO_RAW else _shared("system", bytes(system))
    request.tools = None if tools is NO_RAW else _shared("tools", bytes(tools))
    request.repaired, request.beginning = False, None
    request.rare = has_rare(request)
    return request  # type: ignore[no-any-return]


def take_shared(request: Received, before: Mapping[str, Any]) -> None:
    """Puts system prompt and tools in the place of their bytes; where there are none, what was said ``before``."""
    system: Any = request.system
    tools: Any = request.tools
    system = before.get("system") if system is NO_RAW else _shared("system", bytes(system))
    tools = before.get("tools") if tools is NO_RAW else _shared("tools", bytes(tools))
    request.system, request.tools = system, tools


def has_rare(request: MessagesRequest) -> bool:
    """Whether any of the fields typed Raw may be there."""
    return _rare_values(request) != _NO_RARE


def _shared(field: str, data: bytes) -> Any:
    if len(data) <= _PLAIN and data.startswith(b'"') and field == "system":
        return _text(data)
    return (remembered if len(data) <= SHARED_BYTES else remembered.__wrapped__)(field, Sampled(data))


@lru_cache(SHARED)
def remembered(field: str, key: Sampled) -> Any:
    try:
        value = _SHARED[field].decode(key.data)
    except msgspec.ValidationError:
        value = getattr(_FIELD.decode(b'{"%b":%b}' % (field.encode(), key.data)), field)  # the same, by its whole path
    return Shared(value) if isinstance(value, list) else value


def complete(request: MessagesRequest) -> None:
    """Notes whether the request is ``special``.  Raises InvalidRequest for what is missing."""
    if request.system is not None:
        complete_system(request)
    request.special = complete_messages(request.messages, 0)
    if request.output_format is not None or request.output_config is not None:
        complete_formats(request)


def complete_system(request: MessagesRequest) -> None:
    if isinstance(request.system, list) and not blocks.ordinary(request.system):
        blocks.check(request.system, "system")


def complete_messages(found: list[Message], start: int) -> bool:
    """Of the messages alone, the first of which is number ``start``.  Returns whether any has a special block."""
    special = False
    for index, message in enumerate(found, start):
        content = message.content
        if type(content) is list:
            if not blocks.ordinary(content):
                blocks.check(content, f"messages.{index}.content")
                special = True
        elif content is None and message.role != "system":
            raise InvalidRequest(f"messages.{index}.content: Field required")
    return special


def complete_formats(request: MessagesRequest) -> None:
    if request.output_format is not None:
        _check_format("output_format", request.output_format)
    if request.output_config is not None and request.output_config.format is not None:
        _check_format("output_config.format", request.output_config.format)


def _check_format(field: str, form: Format) -> None:
    if not form.schema and form.type == "json_schema":
        raise InvalidRequest(f"{field}.schema: Field required")
