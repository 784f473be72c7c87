"""Which connection carries which request.  Only the h1 engine promises this much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from ccproxy_sanic.upstream.engine import Statistics
from tests.contract.conftest import QUICK, Client, make_client
from tests.support.raw_server import CHUNKED_HEAD, RawServer, Wire, answer, chunked, saying


@pytest.fixture
async def short_lived() -> AsyncIterator[Client]:
    async for made in make_client("h1", keepalive_s=0.15):
        yield made


@pytest.fixture
async def small() -> AsyncIterator[Client]:
    async for made in make_client("h1", max_idle=2):
        yield made


async def who(wire: Wire) -> None:
    """Answers with the number of the connection, after the given number of ms."""
    while True:
        request = await wire.request()
        await asyncio.sleep(int(request.body) / 1000)
        await wire.send(answer(b"%d" % wire.index))


async def test_the_connection_used_last_is_used_next(ours: Client) -> None:
    async with RawServer(who) as server:
        await asyncio.gather(*[ours.fetch(server, body=b"%d" % delay) for delay in (10, 90, 50)])
        assert len(server.wires) == 3
        slowest = next(wire.index for wire in server.wires if wire.requests[0].body == b"90")
        for _ in range(3):
            assert await ours.fetch(server, body=b"0") == (200, b"%d" % slowest)


async def test_origins_do_not_share_connections(ours: Client) -> None:
    async with RawServer(who) as one, RawServer(who) as other:
        for server in (one, other, one, other):
            assert await ours.fetch(server, body=b"0") == (200, b"0")
        assert await ours.fetch(f"http://localhost:{one.port}", body=b"0") == (200, b"1")
        assert ours.transport.statistics().idle == 3


async def test_any_number_of_exchanges_run_at_once(ours: Client) -> None:
    async with RawServer(who) as server:
        await asyncio.gather(*[ours.fetch(server, body=b"200") for _ in range(150)])
        assert len(server.wires) == 150
        assert ours.transport.statistics().idle == 150


async def test_no_more_idle_connections_are_kept_than_allowed(small: Client) -> None:
    async with RawServer(who) as server:
        await asyncio.gather(*[small.fetch(server, body=b"50") for _ in range(6)])
        assert small.transport.statistics().idle == 2
        assert small.transport.statistics().closed == 4


async def test_a_timer_that_goes_off_on_an_idle_connection_closes_it_when_it_has_expired(short_lived: Client) -> None:
    early = msgspec.structs.replace(QUICK, first_byte=0.1, idle=0.1)  # its timer outlives the exchange, and is re-armed
    async with RawServer(who) as server:
        assert await short_lived.fetch(server, body=b"0", deadlines=early) == (200, b"0")
        assert short_lived.transport.statistics().idle == 1
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)
        assert short_lived.transport.statistics().idle == 0


async def test_when_the_youngest_has_expired_all_are_closed(short_lived: Client) -> None:
    async with RawServer(who) as server:
        await asyncio.gather(*[short_lived.fetch(server, body=b"20") for _ in range(4)])
        await asyncio.sleep(0.3)
        await short_lived.fetch(server, body=b"0")
        for wire in server.wires[:4]:
            await asyncio.wait_for(wire.ended.wait(), 5)
        assert short_lived.transport.statistics().idle == 1


async def test_a_slow_reader_of_a_finished_answer_holds_no_connection(ours: Client) -> None:
    async with RawServer(saying(CHUNKED_HEAD + chunked(b"hello"))) as server:
        exchanges = [await ours.open(server) for _ in range(3)]
        assert len(server.wires) == 1
        assert ours.busy == 0
        for exchange in reversed(exchanges):
            assert await exchange.read(100) == b"hello"
            assert exchange.status == 200


async def test_statistics_and_repr_tell_the_truth(ours: Client) -> None:
    async with RawServer(who) as server:
        running = asyncio.create_task(ours.fetch(server, body=b"100"))
        await ours.fetch(server, body=b"0")
        await ours.fetch(server, body=b"0")
        assert ours.transport.statistics() == Statistics(
            connecting=0, busy=1, idle=1, opened=2, reused=1, retried_stale=0, failed_connects=0, closed=0
        )
        assert repr(ours.transport) == "<H1Transport busy 1, connecting 0, idle 1 | opened 2, reused 1, retried 0>"
        await running
        await ours.transport.aclose()
        assert repr(ours.transport).startswith("<H1Transport closed | busy 0, connecting 0, idle 0 |")
        assert ours.transport.statistics().closed == 2
