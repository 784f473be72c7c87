"""The Messages request as clients send it, decoded once.

Rule: whatever is new is let through (unknown fields, block types, tool types), whatever is wrong is named by its path.

Tools, system prompts and the beginnings of conversations, which agents send again with every turn, are decoded once.
Sources: protocol.md 1.2, 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire import beginnings, reading
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
from ccproxy_sanic.wire.prefixes import SHORTEST
from ccproxy_sanic.wire.reading import Decode
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


def given(raw: Raw) -> bool:
    """Whether a carried field is there and not null."""
    return raw is not NO_RAW and bytes(raw) != b"null"


def decode_request(body: bytes) -> MessagesRequest:
    """The request, structurally sound: types right, every block with the fields its type needs.

    Raises InvalidRequest (400) with the path in Anthropic's form, ``messages.0.content.1.text: Field required``.
    """
    if len(body) < SHORTEST:
        return _decode(body, reading.messages)
    return beginnings.read(body) or _decode(body, reading.messages)


def decode_count_request(body: bytes) -> MessagesRequest:
    """As :func:`decode_request` for count_tokens, where ``max_tokens`` may be absent (it reads 0)."""
    return _decode(body, reading.count)


def _decode(body: bytes, decode: Decode) -> MessagesRequest:
    try:
        request = reading.at_once(decode, body)
    except reading.FAULTS:
        request = _decode_again(body, decode)
    reading.complete(request)
    return request


def _decode_again(body: bytes, decode: Decode) -> MessagesRequest:
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


def _typed(body: bytes, decode: Decode) -> MessagesRequest:
    try:
        return reading.read(decode, body)
    except msgspec.ValidationError as first:
        # A new block type may use our field names for other types of value: look again without what nothing reads.
        try:
            loose = msgspec.json.decode(body)
        except msgspec.ValidationError:  # a number that no float holds: the first error names its place
            raise first from None
        return reading.read(decode, msgspec.json.encode(pruned(loose, FIELDS)))
