"""The h1 connection over arbitrary bytes, without a socket: whatever comes, it is an answer or one of httpx's faults,
and how it was cut does not matter."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.upstream.h1_answer import Answer
from ccproxy_sanic.upstream.h1_connection import NO_DEADLINES, Connection
from tests.support.raw_server import CHUNKED_HEAD, CLOSED_HEAD, answer, chunked


class Socket:
    """A transport that swallows everything; also the pool, which only counts."""

    def __init__(self) -> None:
        self.aborted = False
        self.released_, self.lost_ = 0, 0

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def released(self, connection: Connection) -> None:
        self.released_ += 1

    def lost(self, connection: Connection) -> None:
        self.lost_ += 1


async def headed(answer: Answer) -> Answer:
    """``answer``, when its head is here."""
    while not answer.status:
        await answer.change()
    return answer


@contextmanager
def connected() -> Iterator[tuple[Connection, Socket, Coroutine[Any, Any, Answer]]]:
    """A connection with a request under way."""
    loop = asyncio.new_event_loop()
    try:
        sock = Socket()
        connection = Connection(loop, sock, (b"http", b"x", 80), 60.0)
        connection.connection_made(cast(asyncio.Transport, sock))
        asking = headed(connection.begin(b"", b"", NO_DEADLINES))
        asking.send(None)
        yield connection, sock, asking
        asking.close()
    finally:
        loop.close()


def result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that need not wait returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def play(pieces: list[bytes]) -> tuple[int, bytes, str, bool]:
    """Status, body, the fault's class, and whether the connection could be used again; after these reads and EOF."""
    with connected() as (connection, sock, asking):
        for piece in pieces:
            if piece and not connection._closed and not sock.released_:
                connection.data_received(piece)
        reusable = bool(sock.released_)
        connection.eof_received()
        connection.connection_lost(None)
        assert sock.aborted
        assert (sock.released_, sock.lost_) == (int(reusable), 1)
        try:
            got = result(asking)
        except httpx.TransportError as fault:
            return 0, b"", type(fault).__name__, False
        body = bytearray()
        try:
            while True:
                part = result(got.__anext__())
                assert part
                body += part
        except StopAsyncIteration:
            assert got.complete
            return got.status, bytes(body), "", reusable
        except httpx.TransportError as fault:
            assert not reusable
            return got.status, bytes(body), type(fault).__name__, reusable


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


VALID = [
    answer(b"hello"),
    answer(b"hello", length=9),
    CHUNKED_HEAD + chunked(b"he", b"llo"),
    CHUNKED_HEAD + chunked(b"he", b"llo", end=b""),
    CLOSED_HEAD + b"hello",
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"hello"),
    b"HTTP/1.1 204 No Content\r\n\r\n",
]
raws = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(VALID),
    st.builds(
        lambda raw, at, noise: raw[: at % len(raw)] + noise + raw[at % len(raw) + len(noise) :],
        st.sampled_from(VALID),
        st.integers(0, 500),
        st.binary(min_size=1, max_size=3),
    ),
)
places = st.lists(st.integers(0, 500), max_size=12)


@given(raw=raws, places=places)
def test_the_cut_does_not_matter(raw: bytes, places: list[int]) -> None:
    whole, in_pieces = play([raw]), play(cut(raw, places))
    # Garbage after a complete answer is seen in the same read or not yet: only the reuse may differ, and then the next
    # bytes on the idle connection close it.
    assert in_pieces[:3] == whole[:3]


@given(raw=raws)
def test_single_bytes_are_enough(raw: bytes) -> None:
    assert play([raw[i : i + 1] for i in range(len(raw))])[:3] == play([raw])[:3]


@given(body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 50), max_size=20), places=places)
def test_a_chunked_body_comes_out_as_it_went_in(body: bytes, sizes: list[int], places: list[int]) -> None:
    chunks, at = [], 0
    for size in [*sizes, len(body)]:
        if body[at : at + size]:
            chunks.append(body[at : at + size])
        at += size
    assert play(cut(CHUNKED_HEAD + chunked(*chunks), places)) == (200, body, "", True)


@given(before=places, extra=st.binary(min_size=1, max_size=40).filter(lambda extra: extra.strip(b"\r\n")))
def test_after_an_answer_any_further_byte_spends_the_connection(before: list[int], extra: bytes) -> None:
    with connected() as (connection, sock, asking):
        for piece in cut(answer(b"hello"), before)[:-1]:
            if piece:
                connection.data_received(piece)
        last = cut(answer(b"hello"), before)[-1]
        if not sock.released_:
            connection.data_received(last + extra)
            assert not sock.released_
        else:
            connection.data_received(extra)
        assert sock.aborted
        assert result(asking).status == 200
