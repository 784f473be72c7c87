"""Upstream answers as bytes, and the request context they need."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ccproxy_sanic import errors
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.short_cut import ShortCut
from ccproxy_sanic.translate.stream import StreamTranslator
from tests.support import grammar

DONE = "[DONE]"
TOOLS = ("get_weather", "get_time", "Bash")


def spec(**changes: Any) -> ReplySpec:
    """The normal form of the golden cases: msg_X, sig_X, toolu_X1, toolu_X2 ..."""
    numbers = itertools.count(1)
    fields: dict[str, Any] = {
        "message_id": "msg_X",
        "model": "claude-test",
        "request_id": "req_X",
        "new_tool_id": lambda: f"toolu_X{next(numbers)}",
        "sign": lambda kind, data: "sig_X",
        "tools": frozenset(TOOLS),
    }
    return ReplySpec(**(fields | changes))


def sse(chunks: Iterable[Any]) -> bytes:
    """An upstream's event stream; strings stand for themselves."""
    return b"".join(
        b"data: " + (chunk.encode() if isinstance(chunk, str) else json.dumps(chunk).encode()) + b"\n\n"
        for chunk in chunks
    )


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk with one choice; ``more`` goes to the top level."""
    choice = {"index": 0, "delta": {} if delta is None else dict(delta), "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "up-model", "choices": [choice], **more}


def tool(arguments: Any = None, *, index: int | None = 0, call_id: Any = None, name: Any = None) -> dict[str, Any]:
    """A chunk with one tool call; None leaves a member out."""
    function = {"name": name, "arguments": arguments}
    call = {
        "index": index,
        "id": call_id,
        "function": {key: value for key, value in function.items() if value is not None},
    }
    call = {member: value for member, value in call.items() if value is not None}
    return chunk({"tool_calls": [call]})


class _NoShortCut(ShortCut):
    def look(self) -> None:
        """Never finds it."""


def long_way(spec_: ReplySpec) -> StreamTranslator:
    """A translator that decodes every event and takes every chunk through all rows: the reference for the short cut."""
    machine = StreamTranslator(spec_)
    machine._short_cut = _NoShortCut(machine._writer, machine._flow, machine._slots)
    return machine


def run(data: bytes, spec_: ReplySpec | None = None, cuts: Iterable[int] = ()) -> tuple[StreamTranslator, bytes]:
    """Feeds ``data`` cut at ``cuts``; a fault after the start is rendered as the relay does it."""
    machine = StreamTranslator(spec_ or spec())
    edges = [0, *sorted(cuts), len(data)]
    out = b"".join([machine.feed(data[a:b]) for a, b in itertools.pairwise(edges)]) + machine.close()
    if machine.fault is not None and machine.started:
        out += errors.as_event(machine.fault, machine._spec.request_id)
    return machine, out


def events(chunks: Iterable[Any], **changes: Any) -> list[dict[str, Any]]:
    """What a client sees of these chunks; the connection closes after the last one.  Checked by the grammar."""
    _, out = run(sse(chunks), spec(**changes))
    found = grammar.parse(out)
    grammar.check(found)
    return found


def message(chunks: Iterable[Any], **changes: Any) -> dict[str, Any]:
    return grammar.message_of(events(chunks, **changes))


def blocks(chunks: Iterable[Any], **changes: Any) -> list[tuple[Any, ...]]:
    """The content in short: (text, "..."), (thinking, "...", signature), (name, id, input)."""
    return [short(block) for block in message(chunks, **changes)["content"]]


def short(block: Mapping[str, Any]) -> tuple[Any, ...]:
    if block["type"] == "tool_use":
        return block["name"], block["id"], block["input"]
    if block["type"] == "thinking":
        return "thinking", block["thinking"], block["signature"]
    return "text", block["text"]
