"""How many connections are kept when they have nothing to do, and for how long: POOL_MAX_KEEPALIVE_CONNECTIONS and
POOL_KEEPALIVE_EXPIRY, which every engine honours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ccproxy_sanic.upstream.h1_connection import Connection
from ccproxy_sanic.upstream.transport import Transports
from tests.contract.conftest import ENGINES, Client, make_client
from tests.contract.test_pool import who
from tests.support.raw_server import RawServer

SHORT = 0.15  # seconds


@pytest.fixture(params=ENGINES)
async def small(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for made in make_client(request.param, max_idle=2):
        yield made


@pytest.fixture(params=ENGINES)
async def none_kept(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for made in make_client(request.param, max_idle=0):
        yield made


@pytest.fixture(params=ENGINES)
async def short(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for made in make_client(request.param, keepalive_s=SHORT):
        yield made


@pytest.fixture
async def our_short() -> AsyncIterator[Client]:
    async for made in make_client("h1", keepalive_s=SHORT):
        yield made


async def test_each_upstream_keeps_as_many_as_allowed_and_any_number_run(small: Client) -> None:
    async with RawServer(who) as one, RawServer(who) as other:
        for server in (one, other):
            await asyncio.gather(*[small.fetch(server, body=b"60") for _ in range(6)])
            assert len(server.wires) == 6
        await small.settled()
        assert (small.busy, small.transport.statistics().idle) == (0, 4)
        for server in (one, other):
            await asyncio.gather(*[small.fetch(server, body=b"60") for _ in range(2)])
            assert len(server.wires) == 6


async def test_where_none_is_kept_each_request_has_its_own(none_kept: Client) -> None:
    async with RawServer(who) as server:
        for number in range(3):
            assert await none_kept.fetch(server, body=b"0") == (200, b"%d" % number)
        await none_kept.settled()
        assert none_kept.transport.statistics().idle == 0


async def test_one_that_has_expired_is_not_used(short: Client) -> None:
    async with RawServer(who) as server:
        assert await short.fetch(server, body=b"0") == (200, b"0")
        assert await short.fetch(server, body=b"0") == (200, b"0")
        await asyncio.sleep(2 * SHORT)
        assert await short.fetch(server, body=b"0") == (200, b"1")
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)


async def test_ours_goes_when_it_has_expired_though_nobody_asks_for_another(our_short: Client) -> None:
    """Its timer was that of the first byte, minutes later."""
    async with RawServer(who) as server:
        assert await our_short.fetch(server, body=b"0") == (200, b"0")
        await asyncio.wait_for(server.wires[0].ended.wait(), 3)
        assert our_short.transport.statistics().idle == 0


async def test_our_connections_need_no_timer_for_each_exchange(ours: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("uvloop does not let its timers be counted")
    made: list[float] = []
    call_at = loop.call_at

    def counted(when: float, callback: Any, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        if getattr(callback, "__func__", None) is Connection._on_timer:
            made.append(when)
        return call_at(when, callback, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", counted)
    async with RawServer(who) as server:
        for _ in range(50):
            await ours.fetch(server, body=b"0")
    assert len(made) <= 2


async def test_all_transports_of_a_process_have_the_same_limits() -> None:
    transports = Transports(None, keepalive_s=SHORT, max_idle=1)
    client = Client("h1", transports.get("h1"))
    async with RawServer(who) as server:
        await asyncio.gather(*[client.fetch(server, body=b"30") for _ in range(3)])
        assert client.transport.statistics().idle == 1
        await asyncio.sleep(2 * SHORT)
        assert client.transport.statistics().idle == 0
    await transports.aclose()
