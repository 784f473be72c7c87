"""Upstream streams for the micro benches, as bytes.

Rule: the common shape of OpenAI's chunks, the same as the macro bench's upstream sends.
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


STREAMS: Final = {
    kind: [*make(), b"data: [DONE]\n\n"] for kind, make in (("text", _text), ("tool", _tool), ("reasoning", _reasoning))
}


def reads(events: Iterable[bytes], each: int) -> list[bytes]:
    """The stream as socket reads of ``each`` events."""
    whole = list(events)
    return [b"".join(whole[at : at + each]) for at in range(0, len(whole), each)]
