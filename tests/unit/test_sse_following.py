"""Which event is found next and what it says, for both twins."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import pytest

from ccproxy_sanic.sse import _framing_py

TWINS: list[Any] = [_framing_py]
with contextlib.suppress(ImportError):
    TWINS.append(importlib.import_module("ccproxy_sanic.sse._framing"))

A, B = b"event: a\ndata: 1\n\n", b"event: b\ndata: 2\n\n"


@pytest.fixture(params=TWINS, ids=lambda module: module.__name__.rpartition(".")[2])
def twin(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("event", "name", "payload", "place"),
    [
        pytest.param(b"event: a\ndata: {}\n\n", b"a", b"{}", 15, id="as all send it"),
        pytest.param(b"event: a\r\ndata: {}\r\n\r\n", b"a", b"{}", 16, id="CRLF"),
        pytest.param(b"event: a\rdata: {}\r\r", b"a", b"{}", 15, id="CR"),
        pytest.param(b"event: a\rdata: {}\r\n\n", b"a", b"{}", 15, id="mixed"),
        pytest.param(b"event:a\ndata:{}\n\n", b"a", b"{}", 13, id="without spaces"),
        pytest.param(b"event:  a\ndata:  {}\n\n", b" a", b" {}", 16, id="one space belongs to the field"),
        pytest.param(b"data: {}\n\n", b"", b"{}", 6, id="no name"),
        pytest.param(b"event\ndata\n\n", b"", b"", 10, id="fields alone"),
        pytest.param(b"event: a\nevent: \ndata:\n\n", b"", b"", 22, id="fields without values"),
        pytest.param(
            b"event: a\nid: 3\ndata: {}\nevent: b\n: event: c\n\n", b"b", b"{}", 21, id="the last name counts"
        ),
        pytest.param(b": ping\n\n", b"", None, -1, id="a comment"),
        pytest.param(b"event: a\n\n", b"a", None, -1, id="no data"),
        pytest.param(b"events: a\nxdata: 1\ndata1: 2\n data: 3\n\n", b"", None, -1, id="other fields"),
        pytest.param(b"event: a\ndata: 1\nid: 3\ndata:2\n\n", b"a", b"1\n2", -1, id="data in two lines"),
        pytest.param(b"event: a\ndata\ndata\n\n", b"a", b"\n", -1, id="two empty ones"),
        pytest.param(b"event: \xff\0\ndata: \xff\0\n\n", b"\xff\0", b"\xff\0", 16, id="any bytes"),
    ],
)
def test_an_event_is_read_as_a_client_reads_it(
    twin: Any, event: bytes, name: bytes, payload: bytes | None, place: int
) -> None:
    assert twin.following(event, 0, None) == (0, len(event), name, payload, place)
    before = B + b"\n\r\n"
    begin, end = len(before), len(before + event)
    found = (begin, end, name, payload, place if place < 0 else begin + place)
    assert twin.following(before + event + A, len(B), None) == found


def test_events_called_so_are_passed_over(twin: Any) -> None:
    named = [b"event: a%b\ndata: x\n\n", b"event: a%b\r\ndata: x\r\n\r\n", b"id: 3\nevent: b\nevent: a%b\n\n"]
    data = b"\n".join(event % more for event in named for more in (b"", b"b", b"\xff")) + b"\n\n\n"
    assert twin.following(data, 0, b"a") is None
    assert twin.following(data + B, 0, b"a") == (len(data), len(data + B), b"b", b"2", len(data + B) - 3)
    assert twin.following(data, 0, b"ab")[2] == b"a"
    assert twin.following(data, 0, None)[2] == b"a"
    assert twin.following(data, 0, b"") is None


@pytest.mark.parametrize(
    "odd", [b"data: 1\n\n", b"event: A\ndata: 1\n\n", b": c\n\n", b"event: a\nevent: \ndata: 1\n\n"]
)
def test_what_is_called_otherwise_is_found(twin: Any, odd: bytes) -> None:
    assert twin.following(A * 3 + odd + A, 0, b"a")[:2] == (3 * len(A), len(A * 3 + odd))


@pytest.mark.parametrize("half", [b"e", b"event: a", b"event: a\n", b"event: a\ndata: 1\r\n", b"event: a\ndata: 1\r"])
def test_what_has_no_blank_line_does_not_end(twin: Any, half: bytes) -> None:
    assert twin.following(half, 0, b"a") == (0, -1, b"", None, -1)
    assert twin.following(A + b"\n" + half, 0, b"a") == (len(A) + 1, -1, b"", None, -1)


def test_a_cr_ends_a_line_wherever_it_stands(twin: Any) -> None:
    for size in (10, 4000, 5000, 20_000):
        data = A * (size // len(A)) + b"event: a\ndata: " + b"x" * size + b"\revent: b\r\r" + A
        assert twin.following(data, 0, b"a")[2:] == (b"b", b"x" * size, data.index(b"xx"))


def test_there_is_nothing_behind_the_end(twin: Any) -> None:
    for data in (b"", b"\n", b"\r", b"\r\n\n\r"):
        assert twin.following(data, 0, None) is None
        assert twin.following(data, len(data), b"a") is None
