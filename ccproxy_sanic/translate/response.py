"""The body of an answer that was not streamed.  Rule: what it is decides how it is read, not what was asked for.

A ChatCompletion goes through :mod:`whole_reply`; an event stream (some servers always stream) through the stream
machine, whose events are put together again.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..errors import Garbled
from ..sse import Splitter
from ..wire.anthropic_reply import ContentBlock, StopDetails, TextBlock, ThinkingBlock, ToolUseBlock
from ..wire.openai_chat_reply import decode_body
from .arguments import whole
from .reply_spec import ReplySpec
from .stop import Stop
from .stream import StreamTranslator
from .whole_reply import Reply, is_whole, message_of, plain_message, reply_of

__all__ = ["Reply", "to_message"]

NOT_JSON: Final = "The upstream's answer is not JSON"
JSON_HEADS: Final = (b"{", b"[")
SSE_HEADS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_MEMBERS: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def to_message(body: bytes, spec: ReplySpec) -> Reply:
    """Raises ProxyError: not JSON, an error object in spite of the status, or no choices."""
    reply = plain_message(body, spec)
    if reply is not None:
        return reply
    body = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if body.startswith(JSON_HEADS):
        chunks, _ = decode_body(body)
        if len(chunks) == 1 and is_whole(chunks[0]):
            return message_of(chunks[0], spec)
    elif not body.startswith(SSE_HEADS):
        raise Garbled(NOT_JSON)
    return _from_stream(body, spec)


def _from_stream(body: bytes, spec: ReplySpec) -> Reply:
    machine = StreamTranslator(spec)
    frames = machine.feed(body) + machine.close()
    if machine.fault is not None:
        raise machine.fault
    starts: list[dict[str, Any]] = []
    pieces: list[dict[str, list[str]]] = []
    why = Stop("end_turn")
    for payload in Splitter().feed(frames):
        event = msgspec.json.decode(payload)
        if event["type"] == "content_block_start":
            starts.append(event["content_block"])
            pieces.append({})
        elif event["type"] == "content_block_delta":
            member = _MEMBERS[event["delta"]["type"]]
            pieces[-1].setdefault(member, []).append(event["delta"][member])
        elif event["type"] == "message_delta":
            said, details = event["delta"], event["delta"]["stop_details"]
            why = Stop(
                said["stop_reason"], said["stop_sequence"], StopDetails(details["explanation"]) if details else None
            )
    blocks = [
        _block(start, {member: "".join(parts) for member, parts in found.items()})
        for start, found in zip(starts, pieces, strict=True)
    ]
    return reply_of(
        spec, blocks, why, machine.usage, machine.finish_reason, machine.upstream_id, machine.upstream_model
    )


def _block(start: dict[str, Any], said: dict[str, str]) -> ContentBlock:
    if start["type"] == "text":
        return TextBlock(said["text"])
    if start["type"] == "thinking":
        return ThinkingBlock(said.get("thinking", ""), said["signature"])
    text = whole(said.get("partial_json", ""), cut=True)  # only an answer cut at the limit left it open
    return ToolUseBlock(start["id"], start["name"], msgspec.Raw(text.encode()))
