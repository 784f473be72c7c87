"""An exchange that nobody wants stops the upstream and leaves nothing behind; one that changes hands goes on."""

from __future__ import annotations

import asyncio
import random

import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import Exchange
from tests.contract.conftest import Client
from tests.support.raw_server import CHUNKED_HEAD, PeerGone, RawServer, Wire, answer, chunked, saying, silent

PIECES = [b"data: %d\n\n" % n for n in range(8)]
WHOLE = b"".join(PIECES)


async def endless(wire: Wire) -> None:
    await wire.request()
    await wire.send(CHUNKED_HEAD)
    while True:
        await wire.send(chunked(b"x", end=b""))
        await asyncio.sleep(0.001)


async def cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_it_connects(client: Client) -> None:
    async def mute(wire: Wire) -> None:
        await wire.gone()

    async with RawServer(mute) as server:
        task = asyncio.create_task(client.open(f"https://localhost:{server.port}"))
        while not server.wires:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        await cancelled(task)
        await asyncio.wait_for(server.wires[0].ended.wait(), 2)
        assert client.transport.statistics().connecting == 0


async def test_cancelled_while_it_waits_for_the_head(client: Client) -> None:
    async with RawServer(silent, saying(answer(b"ok"))) as server:
        task = asyncio.create_task(client.open(server))
        while not server.requests:
            await asyncio.sleep(0.005)
        await cancelled(task)
        await asyncio.wait_for(server.wires[0].ended.wait(), 2)
        assert await client.fetch(server) == (200, b"ok")


async def test_cancelled_at_every_turn_of_the_loop(client: Client) -> None:
    async with RawServer(saying(CHUNKED_HEAD, chunked(b"hello"))) as server:
        for turns in range(25):

            async def call() -> None:
                exchange = await client.open(server)
                try:
                    assert await exchange.read(100) == b"hello"
                    await exchange.finish()
                finally:
                    exchange.abort()

            task = asyncio.create_task(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.settled()
            assert client.busy == 0, f"after {turns} turns"
            assert client.transport.statistics().connecting == 0
        assert await client.fetch(server) == (200, b"hello")


async def test_aborted_in_the_body_stops_the_upstream_at_once(client: Client) -> None:
    async with RawServer(endless, saying(answer(b"ok"))) as server:
        exchange = await client.open(server)
        assert await anext(aiter(exchange))
        exchange.abort()
        exchange.abort()
        await client.settled()
        assert client.busy == 0
        await asyncio.wait_for(server.wires[0].ended.wait(), 2)
        with pytest.raises(errors.Broken, match="aborted"):
            await anext(aiter(exchange))
        assert not exchange.finished
        assert await client.fetch(server) == (200, b"ok")


async def test_abort_frees_the_connection_before_it_returns(ours: Client) -> None:
    async with RawServer(endless) as server:
        exchange = await ours.open(server)
        assert ours.busy == 1
        exchange.abort()
        assert ours.busy == 0


async def test_abort_wakes_the_reader(client: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        await wire.gone()

    async with RawServer(script) as server:
        exchange = await client.open(server)
        reader = asyncio.create_task(exchange.read(100))
        await asyncio.sleep(0.02)
        exchange.abort()
        with pytest.raises(errors.Broken):
            await asyncio.wait_for(reader, 5)


async def test_abort_after_the_last_byte_costs_no_connection(client: Client) -> None:
    async with RawServer(saying(answer(b"ok"))) as server:
        for _ in range(3):
            exchange = await client.open(server)
            assert await exchange.read(10) == b"ok"
            assert exchange.finished
            exchange.abort()
            await exchange.finish()
            await client.settled()
        assert len(server.wires) == 1


async def test_finish_waits_for_the_end_mark_and_keeps_the_connection(client: Client) -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(CHUNKED_HEAD + chunked(b"data: [DONE]\n\n", end=b""))
            await asyncio.sleep(0.02)
            await wire.send(b"0\r\n\r\n")

    async with RawServer(script) as server:
        for _ in range(2):
            exchange = await client.open(server)
            assert await anext(aiter(exchange)) == b"data: [DONE]\n\n"
            assert not exchange.finished
            await exchange.finish()
            await exchange.finish()
            assert exchange.finished
        assert len(server.wires) == 1


async def test_finish_does_not_wait_for_a_stream_that_goes_on(client: Client) -> None:
    async with RawServer(endless) as server:
        exchange = await client.open(server)
        await anext(aiter(exchange))
        await asyncio.wait_for(exchange.finish(), 5)
        await client.settled()
        assert (client.busy, exchange.finished) == (0, False)
        await asyncio.wait_for(server.wires[0].ended.wait(), 2)


async def test_started_in_one_task_and_finished_in_another(client: Client) -> None:
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD + chunked(PIECES[0], end=b""))
        await go.wait()
        for piece in PIECES[1:]:
            await wire.send(chunked(piece, end=b""))
        await wire.send(b"0\r\n\r\n")
        await wire.gone()

    async with RawServer(script) as server:
        handed: asyncio.Future[tuple[Exchange, bytes]] = asyncio.get_running_loop().create_future()

        async def first() -> None:
            exchange = await client.open(server)
            handed.set_result((exchange, await anext(aiter(exchange))))
            await asyncio.sleep(60)

        task = asyncio.create_task(first())
        exchange, start = await handed
        await cancelled(task)
        go.set()
        rest = await asyncio.create_task(exchange.read(1000))
        assert start + rest == WHOLE
        assert exchange.finished


async def test_a_reader_cancelled_while_it_waits_loses_nothing(ours: Client) -> None:
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        for piece in PIECES:
            await go.wait()
            go.clear()
            await wire.send(chunked(piece, end=b""))
        await wire.send(b"0\r\n\r\n")
        await wire.gone()

    async with RawServer(script) as server:
        exchange = await ours.open(server)
        got = bytearray()

        async def reader() -> None:
            async for part in exchange:
                got.extend(part)

        for turn in range(len(PIECES) - 1):
            task = asyncio.create_task(reader())
            await asyncio.sleep(0)
            go.set()  # the bytes come before, with, or after the cancellation
            for _ in range(turn):
                await asyncio.sleep(0)
            await cancelled(task)
        go.set()
        last = asyncio.create_task(reader())
        await asyncio.wait_for(last, 5)
        assert bytes(got) == WHOLE


async def test_two_readers_at_once_are_an_error_of_the_second(ours: Client) -> None:
    async with RawServer(saying(CHUNKED_HEAD)) as server:
        exchange = await ours.open(server)
        first = asyncio.create_task(exchange.read(10))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="already being read"):
            await exchange.read(10)
        await cancelled(first)
        exchange.abort()


@pytest.mark.timeout(60)
async def test_cancel_storm_leaves_engine_usable(client: Client) -> None:
    dice = random.Random(11)

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await asyncio.sleep(dice.random() * 0.02)
            await wire.send(CHUNKED_HEAD)
            for piece in PIECES:
                await wire.send(chunked(piece, end=b""))
                await asyncio.sleep(dice.random() * 0.005)
            await wire.send(b"0\r\n\r\n")

    async with RawServer(script) as server:

        async def call() -> None:
            exchange = await client.open(server)
            try:
                assert await exchange.read(1000) == WHOLE
            finally:
                exchange.abort()

        async def leave(task: asyncio.Task[None]) -> None:
            await asyncio.sleep(dice.random() * 0.06)
            task.cancel()
            await asyncio.wait([task])

        for _ in range(3):
            await asyncio.gather(*[leave(asyncio.create_task(call())) for _ in range(100)])
        await client.settled()
        assert client.busy == 0, repr(client.transport)
        results = await asyncio.gather(*[client.fetch(server) for _ in range(20)])
        assert results == [(200, WHOLE)] * 20
        assert client.busy == 0, repr(client.transport)
        assert len(repr(client.transport)) < 200


async def test_closing_the_engine_ends_what_is_open(ours: Client) -> None:
    async with RawServer(endless, saying(answer(b"ok")), silent) as server:
        streaming = await ours.open(server)
        assert await ours.fetch(server) == (200, b"ok")
        assert ours.transport.statistics().idle == 1
        waiting = asyncio.create_task(ours.open(server, method="GET", body=b""))
        while len(server.requests) < 3:
            await asyncio.sleep(0.005)
        await ours.transport.aclose()
        with pytest.raises(errors.Broken):
            await streaming.read(1 << 20)
        if server.wires[1].requests[-1].line.startswith(b"GET"):
            assert await waiting  # it was answered on the idle connection
        else:
            with pytest.raises(errors.Broken):
                await waiting
        assert (ours.busy, ours.transport.statistics().idle) == (0, 0)
        with pytest.raises(errors.Unreachable):
            await ours.open(server)


async def test_a_peer_that_has_gone_is_what_scripts_see() -> None:
    """The server's side of the above: without this, a test that waits for ``ended`` could not fail."""

    async def script(wire: Wire) -> None:
        with pytest.raises(PeerGone):
            await wire.request()

    async with RawServer(script) as server:
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.close()
        while not server.wires:
            await asyncio.sleep(0.005)
        await asyncio.wait_for(server.wires[0].ended.wait(), 2)
