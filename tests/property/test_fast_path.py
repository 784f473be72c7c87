"""Events that are copied without being decoded leave the same bytes as those that take the long way, call by call."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccproxy_sanic.sse import _framing_py
from ccproxy_sanic.translate import common_events
from ccproxy_sanic.translate.stream import StreamTranslator
from ccproxy_sanic.wire.anthropic_reply import encode
from tests.support.replies import DONE, long_way, spec

TWINS: list[Any] = [_framing_py]
with contextlib.suppress(ImportError):
    TWINS.append(importlib.import_module("ccproxy_sanic.sse._framing"))

HOLE = "*hole*"

# A character as JSON may write it; what is no UTF-8, no JSON or no character is among them.
letters = st.sampled_from(
    [b"a", b" ", b"Z", "é".encode(), "漢".encode(), "👩".encode(), b"/", b"<", b"\x7f", b"{", b"}"]
)
escapes = st.sampled_from(
    [rb"\"", rb"\\", rb"\n", rb"\t", rb"\r", rb"\b", rb"\f", rb"\/", rb"\u0041", rb"\u00e9", rb"\u003C", rb"\u0000"]
)
odd = st.sampled_from(
    [rb"\ud83d\ude00", rb"\ud83d", rb"\udc00", b"\xff", b"\xed\xa0\x80", b"\t", rb"\x", rb"\u12", b"\\"]
)
strings = st.lists(st.one_of(*[letters] * 12, *[escapes] * 4, odd), max_size=6).map(b"".join)
plain = st.lists(letters | escapes, min_size=1, max_size=4).map(b"".join)
arguments = st.sampled_from(
    [
        rb"{",
        rb"{\"a\":",
        rb"\"x",
        rb"y\"",
        rb"\"",
        rb",\"b\":[1,",
        rb"2]",
        rb"}",
        rb" ",
        rb"\n  ",
        rb"12",
        rb"}}",
        rb"tru",
    ]
)
deltas = st.one_of(
    *[st.tuples(st.just("content"), plain | strings)] * 3,
    st.tuples(st.sampled_from(["reasoning_content", "reasoning", "reasoning_text", "refusal"]), plain | strings),
    *[st.tuples(st.just("arguments"), arguments | arguments | strings)] * 2,
)


class Style:
    """How one server writes its chunks."""

    def __init__(self, order: int, separators: tuple[str, str], members: dict[str, Any], line: bytes) -> None:
        self.order, self.separators, self.members, self.line = order, separators, members, line

    def __repr__(self) -> str:
        return f"Style({self.order}, {self.separators}, {self.members}, {self.line!r})"

    def event(self, member: str, string: bytes, changes: dict[str, Any]) -> bytes:
        changes = dict(changes)
        text, extra, index = changes.pop("hole", HOLE), changes.pop("delta", {}), changes.pop("call", 0)
        if member == "arguments":
            delta = {"tool_calls": [self._turned({"index": index, "function": {"arguments": text}})]}
        else:
            delta = {member: text}
        delta = self._turned({"role": "assistant", **delta, **extra})
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        choice |= changes.pop("choice", {})
        chunk = {"id": "chatcmpl-1", "model": "m", "choices": [self._turned(choice)], "created": 17, **self.members}
        chunk |= changes
        payload = json.dumps(self._turned(chunk), separators=self.separators, ensure_ascii=False).encode()
        return self.line % payload.replace(b'"' + HOLE.encode() + b'"', b'"' + string + b'"')

    def _turned(self, members: dict[str, Any]) -> dict[str, Any]:
        """The members in another order."""
        items = list(members.items())
        return dict(items[self.order % len(items) :] + items[: self.order % len(items)])


styles = st.builds(
    Style,
    st.integers(0, 5),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :  ")]),
    st.sampled_from(
        [{}, {"usage": None, "service_tier": "default"}, {"x": {"y": [1, "content", {"z": None}]}, "p": "q"}]
    ),
    st.sampled_from([b"data: %b\n\n", b"data:%b\r\n\r\n", b": ping\n\nevent: x\ndata: %b\nid: 1\n\n"]),
)
nothing = st.just({})
varied = st.fixed_dictionaries(
    {},
    optional={"created": st.sampled_from([17, 18, 0, -1, 1.5]), "obfuscation": st.sampled_from(["", "x", "ab", "é"])},
)
traps: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        {"service_tier": "flex"},
        {"service_tier": "default"},
        {"id": "chatcmpl-2"},
        {"id": 5},
        {"error": {"message": "boom"}},
        {"choices": []},
        {"timings": {"prompt_n": 1}},
        {"choice": {"finish_reason": "stop"}},
        {"choice": {"finish_reason": ""}},
        {"choice": {"index": 1}},
        {"choice": {"stop_reason": "END"}},
        {"choice": {"delta": None}},
        {"delta": {"content": "b"}},
        {"delta": {"refusal": "no"}},
        {"delta": {"reasoning": "both"}},
        {"delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}]}},
        {"delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Bash"}}]}},
        {"delta": {"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "get_time", "arguments": "{"}}]}},
        {"call": 1},
        {"call": None},
        {"hole": 5},
        {"hole": {"content": HOLE}},
        {"z": {"content": HOLE}},
    ]
)
events = st.tuples(deltas, st.one_of(*[nothing] * 6, varied, varied, traps))
specs = st.fixed_dictionaries(
    {},
    optional={
        "thinking": st.sampled_from(["show", "show", "omit", "drop"]),
        "think_tags": st.booleans(),
        "enforce_stops": st.just(("aa", "Z")),
        "stop_sequences": st.just(("END", "Z")),
        "lenient_eof": st.booleans(),
    },
)
anywhere = st.lists(st.integers(0, 10_000), max_size=6)


def state(machine: StreamTranslator) -> tuple[Any, ...]:
    fault = machine.fault
    said = None if fault is None else (type(fault), fault.message)
    return (
        *(machine.started, machine.done, machine.spoken, machine.finishing, said, machine.usage, machine.stop_reason),
        *(machine.finish_reason, machine.upstream_id, machine.upstream_model, machine._tier, machine._ended),
    )


def same(pieces: list[bytes], make: Any) -> None:
    """Every call gives the same bytes and the same state as on the long way, for both twins."""
    for twin in TWINS:
        with mock.patch.object(common_events, "Shape", twin.Shape):
            quick, slow = StreamTranslator(make()), long_way(make())
            for piece in pieces:
                assert quick.feed(piece) == slow.feed(piece)
                assert state(quick) == state(slow)
            assert quick.close() == slow.close()
            assert state(quick) == state(slow)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({at % (len(data) + 1) for at in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(styles, st.lists(events, max_size=14), specs, st.none() | anywhere, st.booleans())
def test_the_fast_path_gives_the_same_bytes(
    style: Style, found: list[Any], changes: dict[str, Any], cuts: list[int] | None, done: bool
) -> None:
    """``cuts`` None: each event in a read of its own, as upstreams send them."""
    body = [style.event(member, string, more) for (member, string), more in found]
    if done:
        body.append(f"data: {DONE}\n\n".encode())
    same(body if cuts is None else cut(b"".join(body), cuts), lambda: spec(**changes))


PLAIN = Style(0, (",", ":"), {}, b"data: %b\n\n")


@given(
    st.sampled_from(["content", "reasoning", "arguments"]),
    st.lists(strings | plain, min_size=3, max_size=8),
    st.none() | anywhere,
)
@example("content", [b"a", b"b", b"\xff", b"c"], [])
@example("arguments", [b"a", b"b", b"c", rb"\"}", b" "], None)
def test_any_string_where_only_strings_differ(member: str, found: list[bytes], cuts: list[int] | None) -> None:
    body = [PLAIN.event(member, string, {}) for string in found]
    if member == "arguments":
        opening = {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "Bash"}}]}}]}
        body = [PLAIN.event(member, b"", opening), PLAIN.event(member, rb"{\"a\":\"", {}), *body]
    same(body if cuts is None else cut(b"".join(body), cuts), spec)


@given(st.lists(st.tuples(styles, deltas), max_size=10), specs)
def test_servers_that_never_write_the_same_twice(found: list[Any], changes: dict[str, Any]) -> None:
    same([b"".join([style.event(member, string, {}) for style, (member, string) in found])], lambda: spec(**changes))


@pytest.mark.parametrize("twin", TWINS, ids=lambda module: module.__name__.rpartition(".")[2])
@given(string=strings | plain)
def test_what_is_copied_is_what_our_encoder_writes(twin: Any, string: bytes) -> None:
    payload = b'{"content":"' + string + b'"}'
    copied = twin.Shape([b'{"content":', b"}"], "t").texts([payload], 0)
    try:
        text = json.loads(payload)["content"]
        written = encode(text)
    except (ValueError, UnicodeEncodeError):
        written = None
    if copied:
        assert copied == [written]
    else:
        assert written != b'"' + string + b'"' or b"\\u" in string or not string
