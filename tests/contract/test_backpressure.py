"""A reader that stops makes the upstream stop; nothing piles up in between."""

from __future__ import annotations

import asyncio
import hashlib
from typing import cast

from ccproxy_sanic.upstream.h1_answer import Answer
from tests.contract.conftest import Client
from tests.support.raw_server import CHUNKED_HEAD, RawServer, Wire, chunked

PIECE = b"x" * 65_536
MANY = 400  # 26 MB: more than all buffers between two sockets of one machine


class Counting:
    """Sends on and on, and knows how far it got."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        for _ in range(MANY):
            await wire.send(chunked(PIECE, end=b""))
            self.sent += len(PIECE)
        await wire.send(b"0\r\n\r\n")
        await wire.gone()


async def stalled(counting: Counting) -> int:
    """Bytes sent when no more could be."""
    before = -1
    while counting.sent != before:
        before = counting.sent
        await asyncio.sleep(0.06)
    return before


async def test_a_reader_that_stops_stalls_the_upstream(client: Client) -> None:
    counting = Counting()
    async with RawServer(counting, buffer=65_536) as server:
        exchange = await client.open(server)
        assert await stalled(counting) < MANY * len(PIECE) / 2
        digest = hashlib.sha256()
        async for part in exchange:
            digest.update(part)
        assert digest.digest() == hashlib.sha256(PIECE * MANY).digest()


async def test_what_is_buffered_for_a_reader_that_stops_is_bounded(ours: Client) -> None:
    counting = Counting()
    async with RawServer(counting, buffer=65_536) as server:
        exchange = await ours.open(server)
        for _ in range(2):  # also after it has gone on for a while
            await stalled(counting)
            stream = cast(Answer, exchange._reply)
            assert stream._unread <= 256 * 1024 + 256 * 1024  # the mark, and one read that passed it
            for _ in range(20):
                await anext(aiter(exchange))
        exchange.abort()


async def test_a_stalled_exchange_does_not_hold_up_another(client: Client) -> None:
    async with RawServer(Counting(), buffer=65_536) as server:
        slow = await client.open(server)
        assert len((await client.fetch(server))[1]) == MANY * len(PIECE)
        slow.abort()


async def test_an_answer_that_ends_while_reading_is_paused_is_read_to_its_end(ours: Client) -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(CHUNKED_HEAD)
            await wire.send(*[chunked(b"y" * 50_000, end=b"")] * 8, b"0\r\n\r\n")

    async with RawServer(script) as server:
        for _ in range(3):
            exchange = await ours.open(server)
            await asyncio.sleep(0.05)
            assert await exchange.read(1 << 20) == b"y" * 400_000
            assert exchange.finished
        assert len(server.wires) == 1
