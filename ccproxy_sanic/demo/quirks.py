"""Deviations that real OpenAI-compatible servers show, for ``[demo:... quirk=NAME]``.

Rule: a quirk changes the form of an answer, never its meaning (protocol.md 4, real-upstream.md).

``PIECES`` and ``FRAMES`` show in every API, ``DELTAS`` and ``CHUNKS`` are forms that only Chat Completions has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.plan import Piece

Delta = dict[str, Any]  # what stands in choices[0].delta
Chunk = dict[str, Any]  # one chat.completion.chunk


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Each call in one piece with all its arguments."""
    kept: list[Piece] = []
    for piece in pieces:
        if piece.kind == "arguments":
            kept[-1].text += piece.text
        else:
            kept.append(piece)
    return kept


def _numbered_ids(pieces: list[Piece]) -> list[Piece]:
    for piece in pieces:
        if piece.kind == "call":
            piece.mark = str(piece.index)
    return pieces


def _calls(deltas: list[Delta]) -> list[dict[str, Any]]:
    return [call for delta in deltas for call in delta.get("tool_calls", ())]


def _same_index(deltas: list[Delta]) -> list[Delta]:
    for call in _calls(deltas):
        call["index"] = 0
    return deltas


def _no_index(deltas: list[Delta]) -> list[Delta]:
    for call in _calls(deltas):
        del call["index"]
    return deltas


def _no_ids(deltas: list[Delta]) -> list[Delta]:
    for call in _calls(deltas):
        if "id" in call:
            call["id"] = ""
    return deltas


def _object_arguments(deltas: list[Delta]) -> list[Delta]:
    for call in _calls(deltas):
        call["function"]["arguments"] = msgspec.json.decode(call["function"]["arguments"])
    return deltas


def _double_arguments(deltas: list[Delta]) -> list[Delta]:
    for call in _calls(deltas):
        call["function"]["arguments"] = msgspec.json.encode(call["function"]["arguments"]).decode()
    return deltas


def _reasoning_field(deltas: list[Delta]) -> list[Delta]:
    return [{"reasoning": delta["reasoning_content"]} if "reasoning_content" in delta else delta for delta in deltas]


def _no_usage(chunks: list[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if chunk["choices"]]


def _usage_with_finish(chunks: list[Chunk]) -> list[Chunk]:
    kept = _no_usage(chunks)
    if len(kept) < len(chunks):
        kept[-1]["usage"] = chunks[-1]["usage"]
    return kept


def _no_finish(chunks: list[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if not (chunk["choices"] and chunk["choices"][0]["finish_reason"])]


FIELD: Final = re.compile(rb"^(data|event): ", re.MULTILINE)


def _done_missing(event: bytes) -> bytes:
    return b"" if event == b"data: [DONE]\n\n" else event


PIECES: Final[dict[str, Callable[[list[Piece]], list[Piece]]]] = {
    "whole-arguments": _merged,
    "same-index": _merged,
    "no-index": _merged,
    "numbered-ids": _numbered_ids,
    "object-arguments": _merged,
    "double-arguments": _merged,
}
DELTAS: Final[dict[str, tuple[str, Callable[[list[Delta]], list[Delta]]]]] = {
    "same-index": ("every parallel call has index 0 (Gemini)", _same_index),
    "no-index": ("calls without index", _no_index),
    "no-ids": ("calls with empty ids", _no_ids),
    "object-arguments": ("arguments as an object, not a string", _object_arguments),
    "double-arguments": ("arguments encoded twice", _double_arguments),
    "reasoning-field": ("`reasoning` for `reasoning_content` (OpenRouter); in Responses: no summary", _reasoning_field),
}
CHUNKS: Final[dict[str, tuple[str, Callable[[list[Chunk]], list[Chunk]]]]] = {
    "no-usage": ("no usage, although asked for", _no_usage),
    "usage-with-finish": ("usage in the chunk of the finish reason", _usage_with_finish),
    "no-finish": ("no finish reason", _no_finish),
}
FRAMES: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "no-done": ("the stream ends without `[DONE]`", _done_missing),
    "comments": ("an SSE comment before each event", lambda event: b": DEMO PROCESSING\n\n" + event),
    "crlf": ("lines end in CRLF", lambda event: event.replace(b"\n", b"\r\n")),
    "no-space": ("`data:` without a space", lambda event: FIELD.sub(rb"\1:", event)),
}
BODIES: Final = {"json-body": "a JSON body although a stream was asked for"}
QUIRKS: Final[dict[str, str]] = {
    "whole-arguments": "a call's arguments in one piece",
    "numbered-ids": "call ids numbered from 0 again in every turn",
    **{name: about for name, (about, _) in DELTAS.items()},
    **{name: about for name, (about, _) in CHUNKS.items()},
    **{name: about for name, (about, _) in FRAMES.items()},
    **BODIES,
}
