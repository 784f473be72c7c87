"""Upstream streams for the micro benches, as bytes.

Rule: the common shape of OpenAI's chunks and of Anthropic's events, the same as the macro bench's upstream sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

WORDS: Final = (" the", " proxy", " translates", " every", " chunk", ",", "\n\n", ' "it"', " naïve", " < 7", ".")
CHUNKS: Final = 200


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    body = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1770000000,
        "model": "bench-model",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": None,
    }
    return b"data: " + json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _text() -> Iterator[bytes]:
    yield _chunk({"role": "assistant", "content": ""})
    for number in range(CHUNKS):
        yield _chunk({"content": WORDS[number % len(WORDS)]})
    yield _chunk({}, "stop")


def _reasoning() -> Iterator[bytes]:
    yield _chunk({"role": "assistant", "content": ""})
    for number in range(CHUNKS):
        yield _chunk({"reasoning_content": WORDS[number % len(WORDS)]})
    yield _chunk({"content": "So."})
    yield _chunk({}, "stop")


def _tool() -> Iterator[bytes]:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "Bash", "arguments": ""}}
    yield _chunk({"role": "assistant", "content": None, "tool_calls": [call]})
    said = json.dumps({"command": "".join(f"echo 'line {number}'\n" for number in range(CHUNKS))})
    size = len(said) // CHUNKS + 1
    for at in range(0, len(said), size):
        yield _chunk({"tool_calls": [{"index": 0, "function": {"arguments": said[at : at + size]}}]})
    yield _chunk({}, "tool_calls")


def _event(kind: str, **fields: Any) -> bytes:
    body = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {body}\n\n".encode()


def _messages() -> Iterator[bytes]:
    """The same text from an upstream that speaks Messages itself."""
    message = {"id": "msg_bench01", "type": "message", "role": "assistant", "model": "bench-model", "content": []}
    usage = {"input_tokens": 1200, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    yield _event("message_start", message=message | {"stop_reason": None, "stop_sequence": None, "usage": usage})
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield _event("ping")
    for number in range(CHUNKS):
        delta = {"type": "text_delta", "text": WORDS[number % len(WORDS)]}
        yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _event("message_delta", delta=ending, usage={"output_tokens": CHUNKS})
    yield _event("message_stop")


MESSAGES: Final = [*_messages()]
STREAMS: Final = {
    kind: [*make(), b"data: [DONE]\n\n"] for kind, make in (("text", _text), ("tool", _tool), ("reasoning", _reasoning))
}


def reads(events: Iterable[bytes], each: int) -> list[bytes]:
    """The stream as socket reads of ``each`` events."""
    whole = list(events)
    return [b"".join(whole[at : at + each]) for at in range(0, len(whole), each)]
