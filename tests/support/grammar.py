"""The reference grammar of an Anthropic event stream, and readers for tests.

Rule: strict where any client is strict (protocol.md 4.2, 4.8); nothing here is shared with the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jiter

Event = dict[str, Any]

STOP_REASONS = {
    *("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"),
}
EMPTY_BLOCKS: dict[str, Event] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
DELTAS = {
    "text": {"text_delta": "text"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
}
TOTALS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class Illegal(AssertionError):
    """The stream breaks a rule; the message says which and where."""


def parse(data: bytes) -> list[Event]:
    """The events of an SSE body.  Strict: only complete frames with an ``event:`` line that names the data's type."""
    if not data:
        return []
    if not data.endswith(b"\n\n"):
        raise Illegal(f"the last frame is not complete: {data[-80:]!r}")
    events = []
    for number, frame in enumerate(data[:-2].split(b"\n\n")):
        lines = frame.split(b"\n")
        if len(lines) != 2 or not lines[0].startswith(b"event: ") or not lines[1].startswith(b"data: "):
            raise Illegal(f"frame {number} is not one event line and one data line: {frame[:200]!r}")
        event = json.loads(lines[1][6:])
        if event.get("type") != lines[0][7:].decode():
            raise Illegal(f"frame {number}: event line {lines[0]!r} and type {event.get('type')!r} differ")
        events.append(event)
    return events


def check(events: Sequence[Event], *, prefix: bool = False) -> None:
    """Raises Illegal unless this is a legal stream: ends in ``message_stop`` or ``error``.

    With ``prefix`` the stream may also end anywhere (a translator's output before its caller adds the error event).
    """
    _Checker().run(list(events), prefix=prefix)


class _Checker:
    def __init__(self) -> None:
        self.at = 0
        self.blocks = 0
        self.open: str | None = None
        self.signature = ""
        self.arguments: list[str] = []
        self.tools: list[str] = []
        self.ids: set[str] = set()

    def need(self, condition: object, what: str) -> None:
        if not condition:
            raise Illegal(f"event {self.at}: {what}")

    def run(self, events: list[Event], *, prefix: bool) -> None:
        events = [event for event in events if event["type"] != "ping"]
        expected = "message_start"
        for self.at, event in enumerate(events):
            kind = event["type"]
            if kind == "error":
                self.error(event, last=self.at == len(events) - 1)
                return
            if kind in ("content_block_start", "content_block_delta", "content_block_stop"):
                self.need(expected == "content", f"{kind} where {expected} is due")
                getattr(self, kind.removeprefix("content_block_"))(event)
            elif kind == "message_start":
                self.need(expected == kind, f"{kind} where {expected} is due")
                self.message(event["message"])
                expected = "content"
            elif kind == "message_delta":
                self.need(expected == "content", f"{kind} where {expected} is due")
                self.need(self.open is None, "message_delta while a block is open")
                self.message_delta(event)
                expected = "message_stop"
            elif kind == "message_stop":
                self.need(expected == kind, f"{kind} where {expected} is due")
                self.need(set(event) == {"type"}, "message_stop has other members")
                expected = "nothing"
            else:
                self.need(False, f"unknown event {kind}")
        if not prefix:
            self.at = len(events)
            self.need(expected == "nothing", f"the stream ends where {expected} is due")

    def error(self, event: Event, *, last: bool) -> None:
        self.need(last, "something follows an error")
        self.need(set(event) == {"type", "error", "request_id"}, "members of the error event")
        self.need(
            isinstance(event["error"]["type"], str) and event["error"]["message"], "error without type or message"
        )

    def message(self, message: Event) -> None:
        self.need(message["type"] == "message" and message["role"] == "assistant", "not an assistant message")
        self.need(isinstance(message["id"], str) and message["id"] and message["model"], "message without id or model")
        self.need(message["content"] == [], "message_start with content")
        self.need(message["stop_reason"] is None and message["stop_sequence"] is None, "message_start with a reason")
        self.usage(message["usage"])

    def usage(self, usage: Event) -> None:
        for name in TOTALS:
            self.need(type(usage.get(name)) is int and usage[name] >= 0, f"usage.{name} is not a count")

    def start(self, event: Event) -> None:
        self.need(self.open is None, "a block starts while another one is open")
        self.need(event["index"] == self.blocks, f"index {event['index']} instead of {self.blocks}")
        block = event["content_block"]
        self.open = block["type"]
        if self.open == "tool_use":
            self.need(
                set(block) == {"type", "id", "name", "input"} and block["input"] == {}, "tool_use must start empty"
            )
            self.need(block["id"].strip() and block["name"].strip(), "tool_use without id or name")
            self.need(block["id"] not in self.ids, f"id {block['id']!r} twice")
            self.ids.add(block["id"])
        else:
            self.need(self.open in EMPTY_BLOCKS, f"unknown block {self.open}")
            self.need(block == EMPTY_BLOCKS[self.open], f"{self.open} must start empty")
        self.signature = ""
        self.arguments = []
        self.text = ""

    def delta(self, event: Event) -> None:
        self.need(self.open is not None, "a delta outside of a block")
        assert self.open is not None
        self.need(event["index"] == self.blocks, f"delta for index {event['index']}, open is {self.blocks}")
        delta = event["delta"]
        member = DELTAS[self.open].get(delta["type"])
        self.need(member is not None, f"{delta['type']} in a {self.open} block")
        assert member is not None
        value = delta[member]
        self.need(isinstance(value, str) and value != "" and set(delta) == {"type", member}, "an empty or odd delta")
        self.need(not self.signature, "a delta after the signature")
        if member == "signature":
            self.signature = value
        elif member == "partial_json":
            self.arguments.append(value)
        else:
            self.text += value

    def stop(self, event: Event) -> None:
        self.need(self.open is not None, "a stop outside of a block")
        self.need(event["index"] == self.blocks, f"stop for index {event['index']}, open is {self.blocks}")
        if self.open == "thinking":
            self.need(self.signature, "thinking without signature")
        elif self.open == "text":
            self.need(self.text.strip(), "a text block of whitespace only")
        else:
            self.tools.append("".join(self.arguments))
        self.open = None
        self.blocks += 1

    def message_delta(self, event: Event) -> None:
        self.usage(event["usage"])
        delta = event["delta"]
        reason = delta["stop_reason"]
        self.need(set(delta) == {"stop_reason", "stop_sequence", "stop_details"}, "members of message_delta.delta")
        self.need(reason in STOP_REASONS, f"stop_reason {reason!r}")
        self.need((delta["stop_sequence"] is not None) == (reason == "stop_sequence"), "stop_sequence and reason")
        self.need((delta["stop_details"] is not None) == (reason == "refusal"), "stop_details and reason")
        self.need(reason != "tool_use" or self.tools, "tool_use without a tool")
        for text in self.tools:
            self.need(is_object(text) or (reason == "max_tokens" and is_prefix(text)), f"arguments {text[:200]!r}")


def is_object(text: str) -> bool:
    """Whether ``text`` is one JSON object for the strictest parser of a client."""
    try:
        return isinstance(jiter.from_json(text.encode(), allow_inf_nan=False), dict)
    except ValueError:
        return False


def is_prefix(text: str) -> bool:
    """Whether ``text`` is the beginning of a JSON object."""
    if not text.strip():
        return True
    if not text.lstrip().startswith("{"):
        return False
    try:
        jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError as error:
        return str(error).startswith("EOF while parsing")
    return True


def message_of(events: Sequence[Event]) -> Event:
    """The message that a client puts together (tool inputs as parsed values, unparsable ones as their text)."""
    message: Event = {}
    texts: list[str] = []
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = json.loads(json.dumps(event["message"]))
        elif kind == "content_block_start":
            message["content"].append(dict(event["content_block"]))
            texts.append("")
        elif kind == "content_block_delta":
            (member,) = set(event["delta"]) - {"type"}
            if member == "partial_json":
                texts[-1] += event["delta"][member]
            else:
                message["content"][-1][member] += event["delta"][member]
        elif kind == "content_block_stop" and message["content"][-1]["type"] == "tool_use":
            text = texts[-1]
            message["content"][-1]["input"] = json.loads(text) if is_object(text) else text
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    return message


def normal(events: Sequence[Event]) -> list[Event]:
    """The normal form of the golden cases: no pings, adjacent deltas joined, arguments by value."""
    out: list[Event] = []
    for event in events:
        if event["type"] == "ping":
            continue
        last = out[-1] if out else None
        if (
            event["type"] == "content_block_delta"
            and last is not None
            and last["type"] == "content_block_delta"
            and last["index"] == event["index"]
            and last["delta"]["type"] == event["delta"]["type"]
        ):
            (member,) = set(event["delta"]) - {"type"}
            last["delta"][member] += event["delta"][member]
        else:
            out.append(json.loads(json.dumps(event)))
    for event in out:
        delta = event.get("delta", {})
        if "partial_json" in delta and is_object(delta["partial_json"]):
            delta["partial_json"] = json.loads(delta["partial_json"])
    return out
