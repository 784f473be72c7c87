"""What we answer to an Anthropic client: the Message, and the frames of its stream.

Rule: a frame is a pre-rendered head, one JSON string and a tail; a content block always starts empty, because Claude
Code resets what its start event carries (protocol.md 4.2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

encode: Final = msgspec.json.Encoder().encode  # a str becomes its JSON string, UTF-8 and not escaped


class TextBlock(msgspec.Struct, gc=False, tag="text"):
    text: str


class ThinkingBlock(msgspec.Struct, gc=False, tag="thinking"):
    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, gc=False, tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw  # a JSON object, as the model wrote it


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int


class UsageReply(msgspec.Struct, gc=False, omit_defaults=False):
    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    output_tokens_details: OutputDetails | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET


class StopDetails(msgspec.Struct, gc=False, tag="refusal"):
    explanation: str | None
    category: str | None = None


class Message(msgspec.Struct, gc=False, tag="message"):
    id: str
    model: str
    content: list[ContentBlock]
    stop_reason: str | None
    stop_sequence: str | None
    stop_details: StopDetails | None
    usage: UsageReply
    role: Literal["assistant"] = "assistant"


class DeltaBody(msgspec.Struct, gc=False):
    stop_reason: str
    stop_sequence: str | None
    stop_details: StopDetails | None


class MessageDelta(msgspec.Struct, gc=False, tag="message_delta"):
    delta: DeltaBody
    usage: UsageReply


MESSAGE_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
DELTA_TAIL: Final = b"}}\n\n"
_START: Final = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
_EMPTY_TEXT: Final = b'{"type":"text","text":""}'
_EMPTY_THINKING: Final = b'{"type":"thinking","thinking":"","signature":""}'
_EMPTY_TOOL: Final = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}'

# kind of a block's delta -> (type, member)
_MEMBERS: Final = {
    "text": (b"text_delta", b"text"),
    "thinking": (b"thinking_delta", b"thinking"),
    "signature": (b"signature_delta", b"signature"),
    "tool": (b"input_json_delta", b"partial_json"),
}
DeltaKind = Literal["text", "thinking", "signature", "tool"]
_rendered: Final = lru_cache(256)  # a head is made once: to find it again costs a fifth


def message_start(message_id: str, model: str) -> bytes:
    """The first frame.  Its usage is zeros: clients take the numbers of ``message_delta`` (protocol.md 4.2)."""
    message = Message(message_id, model, [], None, None, None, UsageReply())
    return b'event: message_start\ndata: {"type":"message_start","message":' + encode(message) + b"}\n\n"


@_rendered
def text_start(index: int) -> bytes:
    return _START % (index, _EMPTY_TEXT)


@_rendered
def thinking_start(index: int) -> bytes:
    return _START % (index, _EMPTY_THINKING)


def tool_start(index: int, tool_id: str, name: str) -> bytes:
    return _START % (index, _EMPTY_TOOL % (encode(tool_id), encode(name)))


@_rendered
def block_stop(index: int) -> bytes:
    return _STOP % index


@_rendered
def delta_head(index: int, kind: DeltaKind) -> bytes:
    """A delta's frame up to its JSON string; after the string comes :data:`DELTA_TAIL`."""
    return _DELTA % (index, *_MEMBERS[kind])


def message_delta(reason: str, sequence: str | None, details: StopDetails | None, usage: UsageReply) -> bytes:
    event: Any = MessageDelta(DeltaBody(reason, sequence, details), usage)
    return b"event: message_delta\ndata: " + encode(event) + b"\n\n"
