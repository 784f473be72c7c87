"""Framing: independent of the cuts, the twins equal, and what was framed comes out again."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccproxy_sanic.sse import _framing_py, frame

try:
    _native: Any = importlib.import_module("ccproxy_sanic.sse._framing")
except ImportError:
    _native = None

SYLLABLES = [
    *(b"data:", b"data: ", b"data", b"dat", b"\n", b"\n\n", b"\r", b"\r\n", b"\r\r", b":", b": ping", b"event: x"),
    *(b" ", b"a", b"{}", b"[DONE]", "é👩".encode(), b"\xff", b"\x00", b"id: 1"),
]
bodies = st.lists(st.sampled_from(SYLLABLES) | st.binary(max_size=4), max_size=25).map(b"".join)
limits = st.sampled_from([4, 9, 20, 1 << 20])
Make = Callable[[int], Any]


def outcome(make: Make, limit: int, pieces: Iterable[bytes]) -> tuple[list[bytes], bool]:
    """All events, and whether it was refused as too long."""
    splitter, out = make(limit), []
    try:
        for piece in pieces:
            out += splitter.feed(piece)
        out += splitter.flush()
    except ValueError:
        return out, True
    return out, False


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({at % (len(data) + 1) for at in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(bodies, st.lists(st.integers(0, 500), max_size=8), limits)
@example(b"data: a\r\n\r\ndata: b\n\n", [8, 10], 20)
def test_events_do_not_depend_on_the_cuts(data: bytes, cuts: list[int], limit: int) -> None:
    whole = outcome(_framing_py.Splitter, limit, [data])
    assert outcome(_framing_py.Splitter, limit, cut(data, cuts)) == whole
    assert outcome(_framing_py.Splitter, limit, [data[i : i + 1] for i in range(len(data))]) == whole


@pytest.mark.skipif(_native is None, reason="the Cython twin is not built here")
@given(bodies, st.lists(st.integers(0, 500), max_size=8), limits)
def test_the_twins_agree_call_by_call(data: bytes, cuts: list[int], limit: int) -> None:
    def calls(make: Make) -> list[Any]:
        splitter, out = make(limit), []
        for piece in cut(data, cuts):
            try:
                out.append(splitter.feed(piece))
            except ValueError as error:
                out.append(str(error))
        try:
            out.append(splitter.flush())
        except ValueError as error:
            out.append(str(error))
        return out

    assert calls(_native.Splitter) == calls(_framing_py.Splitter)


@given(st.lists(st.binary(max_size=30).filter(lambda data: not set(data) & set(b"\r\n")), max_size=8))
def test_what_was_framed_comes_out_again(payloads: list[bytes]) -> None:
    body = b"".join(frame(b"x", payload) for payload in payloads)
    assert outcome(_framing_py.Splitter, 1 << 20, [body]) == (payloads, False)
    assert _framing_py.frame(b"x", b"{}") == frame(b"x", b"{}") == b"event: x\ndata: {}\n\n"


@given(bodies)
def test_all_line_ends_are_equal(data: bytes) -> None:
    data = data.replace(b"\r", b"")
    expected = outcome(_framing_py.Splitter, 1 << 20, [data])
    assert outcome(_framing_py.Splitter, 1 << 20, [data.replace(b"\n", b"\r\n")]) == expected
    assert outcome(_framing_py.Splitter, 1 << 20, [data.replace(b"\n", b"\r")]) == expected


# Shapes: the parts of a payload, and what may stand between them, also where it must not.
bits = st.sampled_from([b"", b"{", b'"a":', b",", b"}", b'"', b"\xff", b"1"])
values = st.sampled_from(
    [
        *(b'""', b'"x"', b'"x y"', rb'"\"\\\n\t\r\b\f"', '"é👩"'.encode(), b"1", b"10", b"1700000000"),
        *(
            b'"',
            b'"x',
            b'x"',
            rb'"\/"',
            rb'"\u0041"',
            rb'"\x"',
            b'"\\',
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b'"a\tb"',
            b'"\x7f"',
        ),
        *(b"0", b"01", b"-1", b"1.5", b"", b"null", b'"\x00"', b'"\xc3'),
    ]
)
shapes = st.lists(st.tuples(bits, st.sampled_from("sn")), max_size=3).flatmap(
    lambda found: st.tuples(st.just(found), st.integers(0, len(found)), bits, bits)
)


def shape_of(found: list[tuple[bytes, str]], at: int, part: bytes, last: bytes) -> tuple[list[bytes], str]:
    steps = [*found[:at], (part, "t"), *found[at:]]
    return [*(part for part, _ in steps), last], "".join(mark for _, mark in steps)


@pytest.mark.skipif(_native is None, reason="the Cython twin is not built here")
@given(shapes, st.data())
def test_the_twins_recognise_the_same(shape: tuple[Any, int, bytes, bytes], data: st.DataObject) -> None:
    parts, marks = shape_of(*shape)
    payloads = []
    for _ in range(data.draw(st.integers(1, 4))):
        between = data.draw(st.lists(values, min_size=len(marks), max_size=len(marks)))
        payload = b"".join(itertools.chain(*zip(parts, between, strict=False), [parts[-1]]))
        payloads.append(payload[: data.draw(st.sampled_from([None, None, None, -1, 3]))] + data.draw(bits))
    ours, theirs = _framing_py.Shape(parts, marks), _native.Shape(parts, marks)
    for at in range(len(payloads) + 1):
        assert ours.texts(payloads, at) == theirs.texts(payloads, at)


# The next event: fields in all forms and line ends, and a stretch as it is, so that runs of usual events occur.
lines = st.sampled_from(
    [
        *(
            b"event: a",
            b"event: ab",
            b"event:a",
            b"event",
            b"event: ",
            b"event: b",
            b"events: a",
            b"data: {}",
            b"data:",
        ),
        *(b"data", b"data:  x", b"datas", b": c", b"id: a", b"", b"\xff\x00", b"x" * 5000, b" data: 1"),
    ]
)
ends = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
usual = st.lists(st.sampled_from([b"event: a\ndata: 1\n\n", b"event: abc\r\ndata: 2\r\n\r\n"]), max_size=4).map(
    b"".join
)
written = st.lists(st.tuples(lines, ends).map(b"".join) | usual, max_size=14).map(b"".join) | bodies
called = st.sampled_from([None, b"a", b"ab", b"", b"event"])
Found = tuple[int, int, bytes, bytes | None, int]


def all_following(twin: Any, data: bytes, passed: bytes | None) -> list[Found]:
    found, at = [], 0
    while (one := twin.following(data, at, passed)) is not None:
        found.append(one)
        at = one[1]
        if at < 0:
            break
    return found


@pytest.mark.skipif(_native is None, reason="the Cython twin is not built here")
@given(written, called)
def test_the_twins_find_the_same(data: bytes, passed: bytes | None) -> None:
    assert all_following(_framing_py, data, passed) == all_following(_native, data, passed)
    for at in range(min(len(data), 60)):
        assert _framing_py.following(data, at, passed) == _native.following(data, at, passed)


@given(written, called)
def test_what_follows_is_what_was_split(data: bytes, passed: bytes | None) -> None:
    """The whole of a stream against the splitter, and every event against the lines that it is made of."""
    found = all_following(_framing_py, data, None)
    payloads = [payload for _, end, _, payload, _ in found if end >= 0 and payload is not None]
    assert payloads == _framing_py.Splitter().feed(data)
    whole = b"".join(data[begin:end] if end >= 0 else data[begin:] for begin, end, *_ in found)
    assert whole == b"".join(data[a:b].lstrip(b"\r\n") for a, b in itertools.pairwise(edges_of(found, len(data))))
    for begin, _, _, payload, place in found:
        assert place < 0 or data[place : place + len(payload or b"")] == payload
        assert data[begin] not in b"\r\n"
    if passed is not None:
        kept = [one for one in found if one[1] < 0 or not one[2].startswith(passed)]
        assert all_following(_framing_py, data, passed) == kept


def edges_of(found: list[Found], size: int) -> list[int]:
    """Where the stretches end that hold an event each, with the blank lines before it."""
    return [0, *(end if end >= 0 else size for _, end, *_ in found)]
