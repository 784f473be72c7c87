"""What an upstream that speaks the Messages API says.  Rule: real shapes, fixed bytes."""

from __future__ import annotations

import json
from typing import Any

from tests.support.upstream import LAST_CHUNK, Step, chunked, head

MESSAGE: dict[str, Any] = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "claude-up",
    "content": [{"type": "text", "text": "Hi / ü", "citations": None}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 11, "cache_read_input_tokens": 5, "output_tokens": 3},
}


def event(name: str, **fields: Any) -> bytes:
    """One event, spaced as the real API does it."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields}, ensure_ascii=False)}\n\n".encode()


def text_events(*pieces: str) -> list[bytes]:
    """A whole stream, event by event."""
    started = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
    return [
        event("message_start", message=started),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 3}),
        event("message_stop"),
    ]


def streamed(parts: list[bytes], **headers: str) -> list[Step]:
    """The head, each part as a chunk of its own, the end."""
    return [head(200, None, content_type="text/event-stream", **headers), *map(chunked, parts), LAST_CHUNK]
