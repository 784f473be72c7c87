"""A body that is handed on where it arrives: the same bytes, faults and ends as for a reader (relay's way)."""

from __future__ import annotations

import asyncio

import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import Deadlines
from tests.contract.conftest import QUICK, Client
from tests.support.raw_server import CHUNKED_HEAD, RawServer, Wire, answer, saying

PIECES = (b"one ", b"two ", b"three")
LAST = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def slowly(wire: Wire) -> None:
    """Each piece in a write of its own."""
    while True:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        for data in PIECES:
            await asyncio.sleep(0.01)
            await wire.send(piece(data))
        await asyncio.sleep(0.01)
        await wire.send(LAST)


async def test_all_of_it_flows_and_the_connection_is_used_again(client: Client) -> None:
    async with RawServer(slowly) as server:
        for _ in range(2):
            got: list[bytes] = []
            exchange = await client.open(server)
            assert await exchange.flow(lambda part, got=got: got.append(part) is None) is False  # type: ignore[misc]
            assert b"".join(got) == b"".join(PIECES)
            assert exchange.finished
        assert len(server.wires) == 1


async def test_what_is_here_already_flows_at_once(client: Client) -> None:
    async with RawServer(saying(answer(b"hello"))) as server:
        got: list[bytes] = []
        exchange = await client.open(server)
        assert await exchange.flow(lambda part: got.append(part) is None) is False
        assert b"".join(got) == b"hello"


async def test_a_sink_that_has_enough_gets_the_next_part_when_it_asks_again(client: Client) -> None:
    async with RawServer(slowly) as server:
        got: list[bytes] = []
        exchange = await client.open(server)
        while await exchange.flow(lambda part: bool(got.append(part))):
            await asyncio.sleep(0.025)  # parts that come meanwhile wait
        assert b"".join(got) == b"".join(PIECES)


async def test_what_came_before_a_fault_flows_before_it_is_raised(client: Client) -> None:
    async def cut(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD + piece(b"half"))
        await asyncio.sleep(0.01)
        wire.close()

    async with RawServer(cut) as server:
        got: list[bytes] = []
        exchange = await client.open(server)
        with pytest.raises(errors.Broken):
            await exchange.flow(lambda part: got.append(part) is None)
        assert b"".join(got) == b"half"
        with pytest.raises(errors.Broken):
            await exchange.flow(lambda part: True)


async def test_silence_ends_a_flow(client: Client) -> None:
    async def stops(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD + piece(b"half"))
        await wire.gone()

    async with RawServer(stops) as server:
        exchange = await client.open(server, deadlines=Deadlines(connect=5, first_byte=5, idle=0.1, write=5))
        with pytest.raises(errors.TimedOut, match="idle"):
            await exchange.flow(lambda part: True)


async def test_an_abort_from_elsewhere_ends_a_flow(client: Client) -> None:
    async def stops(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD + piece(b"half"))
        await wire.gone()

    async with RawServer(stops) as server:
        exchange = await client.open(server)
        flowing = asyncio.ensure_future(exchange.flow(lambda part: True))
        await asyncio.sleep(0.02)
        exchange.abort()
        with pytest.raises(errors.Broken):
            async with asyncio.timeout(2):
                await flowing


async def test_a_cancelled_flow_leaves_the_rest_to_the_next_reader(ours: Client) -> None:
    async with RawServer(slowly) as server:
        got: list[bytes] = []
        exchange = await ours.open(server)
        flowing = asyncio.ensure_future(exchange.flow(lambda part: got.append(part) is None))
        while not got:
            await asyncio.sleep(0)
        flowing.cancel()
        await asyncio.gather(flowing, return_exceptions=True)
        rest, fault = await ours.collect(exchange)
        assert fault is None
        assert b"".join(got) + rest == b"".join(PIECES)


async def test_what_the_sink_raises_comes_out_of_the_flow(ours: Client) -> None:
    def fails(part: bytes) -> bool:
        raise ZeroDivisionError

    async with RawServer(slowly) as server:
        exchange = await ours.open(server)
        with pytest.raises(ZeroDivisionError):
            await exchange.flow(fails)
        exchange.abort()


@pytest.mark.parametrize("last", [False, True], ids=["more comes", "the last part"])
async def test_a_sink_may_abort_what_it_is_fed_from(ours: Client, last: bool) -> None:
    """The connection's own call is still running then: it must not bring an aborted connection back to the pool."""

    async def twice(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(CHUNKED_HEAD)
            await asyncio.sleep(0.01)
            await wire.send(piece(b"one") + (LAST if last else b""))
            if not last:
                await wire.gone()

    async with RawServer(twice) as server:
        exchange = await ours.open(server, deadlines=QUICK)

        def aborts(part: bytes) -> bool:
            exchange.abort()
            return True

        with pytest.raises(errors.Broken):
            await exchange.flow(aborts)
        assert ours.busy == 0
        assert ours.transport.statistics().idle == 0
