"""Responses streams and whole responses as OpenAI sends them, in pieces, and what a client sees of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ccproxy_sanic import errors
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.responses_reply import to_message
from ccproxy_sanic.translate.responses_stream import ResponsesTranslator
from tests.support import grammar
from tests.support.replies import short, spec

Event = dict[str, Any]

USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 42,
}


def response(output: Sequence[Event] = (), status: str = "completed", **more: Any) -> Event:
    """A whole Response."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1790000000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-5.5",
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "service_tier": "default",
        "usage": USAGE if status in ("completed", "incomplete") else None,
        **more,
    }


# whole items


def text_part(text: str) -> Event:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Event:
    return {"type": "refusal", "refusal": text}


def message(*parts: str | Event, item_id: str = "msg_1", status: str = "completed", **more: Any) -> Event:
    content = [text_part(part) if isinstance(part, str) else part for part in parts]
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content, **more}


def reasoning(*summary: str, item_id: str = "rs_1", encrypted: str | None = "gAAA", **more: Any) -> Event:
    texts = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": item_id, "type": "reasoning", "summary": texts, "encrypted_content": encrypted, **more}


def thinking(*texts: str, item_id: str = "rs_1") -> Event:
    """Reasoning as open models show it."""
    content = [{"type": "reasoning_text", "text": text} for text in texts]
    return reasoning(item_id=item_id, encrypted=None, content=content)


def call(name: str, arguments: str, call_id: str = "call_1", item_id: str = "fc_1", status: str = "completed") -> Event:
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
    }


def custom(name: str, text: str, call_id: str = "call_1", item_id: str = "ctc_1") -> Event:
    return {"id": item_id, "type": "custom_tool_call", "call_id": call_id, "name": name, "input": text}


# events


def created(**more: Any) -> list[Event]:
    started = response(status="in_progress", **more)
    return [{"type": "response.created", "response": started}, {"type": "response.in_progress", "response": started}]


def ended(output: Sequence[Event] = (), status: str = "completed", **more: Any) -> Event:
    return {"type": f"response.{status}", "response": response(output, status, **more)}


def added(index: int, item: Event) -> Event:
    empty: Event = {"content": [], "summary": [], "arguments": "", "input": "", "encrypted_content": ""}
    begun = {key: empty.get(key, value) for key, value in item.items()}
    if "status" in item:
        begun["status"] = "in_progress"
    return {"type": "response.output_item.added", "output_index": index, "item": begun}


def done(index: int, item: Event) -> Event:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, index: int, item_id: str, piece: str, **more: Any) -> Event:
    """``kind`` is the event's name without ``response.`` and ``.delta``."""
    if kind == "output_text":
        more = {"logprobs": [], **more}
    return {"type": f"response.{kind}.delta", "output_index": index, "item_id": item_id, "delta": piece, **more}


def whole(kind: str, index: int, item_id: str, member: str, text: str, **more: Any) -> Event:
    """The ``.done`` event of the same."""
    if kind == "output_text":
        more = {"logprobs": [], **more}
    return {"type": f"response.{kind}.done", "output_index": index, "item_id": item_id, member: text, **more}


def pieces(text: str, size: int = 6) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def told(index: int, item: Event, size: int = 6) -> list[Event]:
    """All events of one item, in OpenAI's order."""
    item_id = item["id"]
    out = [added(index, item)]
    if item["type"] == "message":
        for number, part in enumerate(item["content"]):
            at = {"content_index": number}
            kind, member = ("refusal", "refusal") if part["type"] == "refusal" else ("output_text", "text")
            out.append(_part("content_part.added", index, item_id, {**part, member: ""}, **at))
            out += [delta(kind, index, item_id, piece, **at) for piece in pieces(part[member], size)]
            out.append(whole(kind, index, item_id, member, part[member], **at))
            out.append(_part("content_part.done", index, item_id, part, **at))
    elif item["type"] == "reasoning":
        for number, part in enumerate(item["summary"]):
            at = {"summary_index": number}
            out.append(_part("reasoning_summary_part.added", index, item_id, {**part, "text": ""}, **at))
            out += [
                delta("reasoning_summary_text", index, item_id, piece, **at) for piece in pieces(part["text"], size)
            ]
            out.append(whole("reasoning_summary_text", index, item_id, "text", part["text"], **at))
            out.append(_part("reasoning_summary_part.done", index, item_id, part, **at))
        for number, part in enumerate(item.get("content") or ()):
            at = {"content_index": number}
            out += [delta("reasoning_text", index, item_id, piece, **at) for piece in pieces(part["text"], size)]
            out.append(whole("reasoning_text", index, item_id, "text", part["text"], **at))
    elif item["type"] == "function_call":
        out += [delta("function_call_arguments", index, item_id, piece) for piece in pieces(item["arguments"], size)]
        out.append(whole("function_call_arguments", index, item_id, "arguments", item["arguments"]))
    elif item["type"] == "custom_tool_call":
        out += [delta("custom_tool_call_input", index, item_id, piece) for piece in pieces(item["input"], size)]
        out.append(whole("custom_tool_call_input", index, item_id, "input", item["input"]))
    return [*out, done(index, item)]


def _part(kind: str, index: int, item_id: str, part: Event, **more: Any) -> Event:
    return {"type": f"response.{kind}", "output_index": index, "item_id": item_id, "part": part, **more}


def answer(*items: Event, status: str = "completed", size: int = 6, **more: Any) -> list[Any]:
    """The whole stream of an answer with these items."""
    out = created()
    for index, item in enumerate(items):
        out += told(index, item, size)
    return numbered([*out, ended(items, status, **more)])


def numbered(events: Iterable[Any]) -> list[Any]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


# what comes of it


def sse(events: Iterable[Any]) -> bytes:
    """The bytes of a stream; strings stand for themselves, without an ``event:`` line."""
    return b"".join(
        b"data: " + event.encode() + b"\n\n"
        if isinstance(event, str)
        else b"event: " + str(event.get("type")).encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    )


def run(data: bytes, spec_: ReplySpec | None = None, cuts: Iterable[int] = ()) -> tuple[ResponsesTranslator, bytes]:
    """Feeds ``data`` cut at ``cuts``; a fault after the start is rendered as the relay does it."""
    machine = ResponsesTranslator(spec_ or spec())
    edges = [0, *sorted(cuts), len(data)]
    out = b"".join([machine.feed(data[a:b]) for a, b in itertools.pairwise(edges)]) + machine.close()
    if machine.fault is not None and machine.started:
        out += errors.as_event(machine.fault, machine._spec.request_id)
    return machine, out


def seen(events: Iterable[Any], **changes: Any) -> list[Event]:
    """What a client sees of these events; the connection closes after the last one.  Checked by the grammar."""
    _, out = run(sse(events), spec(**changes))
    found = grammar.parse(out)
    grammar.check(found)
    return found


def read(events: Iterable[Any], **changes: Any) -> Event:
    """The message that a client puts together."""
    return grammar.message_of(seen(events, **changes))


def blocks(events: Iterable[Any], **changes: Any) -> list[tuple[Any, ...]]:
    """Its content in short: (text, "..."), (thinking, "...", signature), (name, id, input)."""
    return [short(block) for block in read(events, **changes)["content"]]


def fault(events: Iterable[Any], **changes: Any) -> errors.ProxyError:
    machine, _ = run(sse(events), spec(**changes))
    assert machine.fault is not None
    assert not machine.done
    return machine.fault


def unstreamed(body: Any, **changes: Any) -> Event:
    """The Message of a body that was not streamed."""
    found: Event = json.loads(to_message(json.dumps(body).encode(), spec(**changes)).message)
    return found
