"""Streams of an upstream that speaks Messages itself, as bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ccproxy_sanic.translate.passthrough import PassThrough

ASKED = "claude-asked"  # the name that the client sent
GIVEN = "up-model"  # and the upstream's own
VECTORS = Path(__file__).parents[1] / "data/vectors/stream"

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": GIVEN,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1},
    },
}
TEXT: list[dict[str, Any]] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
]
END: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"input_tokens": 0, "output_tokens": 7},
}
STOP: dict[str, Any] = {"type": "message_stop"}
ANSWER = [START, *TEXT, END, STOP]


def event(value: Mapping[str, Any], *, named: bool = True, eol: bytes = b"\n") -> bytes:
    lines = [b"event: " + value["type"].encode()] if named else []
    return eol.join([*lines, b"data: " + json.dumps(value).encode(), b"", b""])


def stream(events: Iterable[Mapping[str, Any]] = ANSWER, **form: Any) -> bytes:
    return b"".join(event(one, **form) for one in events)


def error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_up"}


def renamed(data: bytes) -> bytes:
    """What the client is to get of a stream whose only mention of the model is in message_start."""
    return data.replace(json.dumps(GIVEN).encode(), json.dumps(ASKED).encode(), 1)


def run(data: bytes, cuts: Iterable[int] = (), **options: Any) -> tuple[PassThrough, bytes]:
    """The machine and all that it let through, with ``data`` cut at ``cuts``."""
    machine = PassThrough(ASKED, **options)
    edges = [0, *sorted({at % (len(data) + 1) for at in cuts}), len(data)]
    return machine, b"".join(machine.feed(data[a:b]) for a, b in itertools.pairwise(edges)) + machine.close()


def golden() -> list[tuple[str, list[dict[str, Any]]]]:
    """The events of the golden streams, as an upstream of the Messages API would send them."""
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        events = json.loads(path.read_text())["events"]
        events[0]["message"]["model"] = GIVEN
        found.append((path.stem, events))
    return found
