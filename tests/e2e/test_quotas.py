"""Limits that several processes share through a real Redis: together they admit what one would, and no more.

The limiter and the quotas of several processes run in one loop here, each with its own connection; what a client sees
of real processes is in test_workers_sharing.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from actors import Admit, Limits, Permit, RateBooks, RateLimiterActor, Ref, Supervisor
from actors.rate_messages import Demand, RateLimited, UpstreamLimits
from ccproxy_sanic.crew import quotas as quotas_module
from ccproxy_sanic.crew.quotas import Quotas, Share
from tests.support.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis
MANY = 10_000
HOUR = 3600.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as often as it is done in earnest; what a busy machine may delay has its time, or more."""
    for name in ("LOOK", "EVERY", "AGAIN", "LEASE"):
        monkeypatch.setattr(quotas_module, name, getattr(quotas_module, name) / 4)
    monkeypatch.setattr(quotas_module, "WITHIN", 5.0)  # else a slow answer is an outage: each has its even part then
    slow, quick = "ACTIVE, YOUNG, FORGET = 60000, 1000, 3000, 2000,", "ACTIVE, YOUNG, FORGET = 60000, 1000, 3000, 500,"
    assert slow in quotas_module.SCRIPT
    monkeypatch.setattr(quotas_module, "SCRIPT", quotas_module.SCRIPT.replace(slow, quick))


@pytest.fixture
def patient(brisk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For exact sums: an allotment outlasts whatever keeps a busy machine from renewing it; else each has its even part
    then."""
    monkeypatch.setattr(quotas_module, "LEASE", 5.0)


class Member:
    """One of several processes: its limiter, and what shares it."""

    def __init__(self, limits: Limits, url: str) -> None:
        self.limits, self.url = limits, url
        self.books = RateBooks()
        self.admitted = 0
        self.permits: list[Permit] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.supervisor = Supervisor()
        actor = lambda: RateLimiterActor(self.limits, self.books, loop.time, loop.call_later)  # noqa: E731
        self.limiter = await self.supervisor.start(Ref("limiter", actor, capacity=MANY))
        self.quotas = Quotas(
            self.url,
            lambda: self.limiter.ask(Demand()),
            lambda note: self.limiter.tell(note, urgent=True),
            Share(self.limits.burst, self.limits.processes),
            loop.time,
        )
        self.running = asyncio.ensure_future(self.quotas.run())

    async def stop(self) -> None:
        self.quotas.stop()
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.quotas.aclose()
        await self.supervisor.stop()

    async def ask(self, count: int, patience: float = 0.0, tokens: int = 0, keep: bool = False) -> int:
        """How many of so many at once are admitted."""
        query = Admit("caller", tokens, ("upstream",), patience)

        async def one() -> int:
            try:
                permit = await self.limiter.ask(query)
            except RateLimited:
                return 0
            if keep:
                self.permits.append(permit)
            else:
                permit.settle(tokens)
            self.admitted += 1
            return 1

        return sum(await asyncio.gather(*(one() for _ in range(count))))


@asynccontextmanager
async def members(count: int, limits: Limits, redis: RedisServer) -> AsyncIterator[list[Member]]:
    found = [Member(limits, redis.url) for _ in range(count)]
    for member in found:
        await member.start()
    try:
        await until(*found, up=True)
        yield found
    finally:
        for member in found:
            await member.stop()


async def until(*found: Member, up: bool) -> None:
    async with asyncio.timeout(10):
        while any(member.quotas.statistics().up is not up for member in found):
            await asyncio.sleep(0.02)


def upstream(requests: float | None = None, tokens: float | None = None, processes: int = 3) -> Limits:
    return Limits(upstream=UpstreamLimits(requests=requests, tokens=tokens, burst=MANY), processes=processes)


async def load(found: list[Member], seconds: float, each: int = 3, tokens: int = 0) -> int:
    """All of them ask for more than there is, again and again; how many they have admitted in all."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await asyncio.gather(*(member.ask(each, 0.2, tokens) for member in found))
    return admitted(found)


def admitted(found: list[Member]) -> int:
    return sum(member.admitted for member in found)


async def load_until(found: list[Member], wanted: int, each: int = 3, tokens: int = 0) -> None:
    """... until they have admitted so many."""
    async with asyncio.timeout(15):
        while admitted(found) < wanted:
            await load(found, 0.1, each, tokens)


@pytest.mark.usefixtures("patient")
async def test_three_processes_admit_exactly_the_limit_of_an_upstream(redis: RedisServer) -> None:
    async with members(3, upstream(requests=100), redis) as found:
        await load_until(found, 100)
        assert await load(found, 1.0) == 100
        assert min(member.admitted for member in found) >= 1  # nobody was left with nothing


@pytest.mark.usefixtures("patient")
async def test_one_process_may_use_all_that_the_others_do_not(redis: RedisServer) -> None:
    async with members(3, upstream(requests=60), redis) as found:
        await load_until(found[:1], 60, each=10)
        assert await load(found[:1], 0.5) == 60
        assert await found[1].ask(5) == 1  # the one that brings the first allotment
        await asyncio.sleep(0.5)
        assert await found[1].ask(5) == 0


@pytest.mark.usefixtures("patient")
async def test_tokens_are_shared_too(redis: RedisServer) -> None:
    async with members(2, upstream(tokens=50_000, processes=2), redis) as found:
        await load_until(found, 50, tokens=1000)
        # The last request of each may use more than is left, and the first one brings the allotment.
        assert await load(found, 1.0, tokens=1000) <= 50 + 2 * 2


async def test_a_caller_has_the_burst_and_the_pace_of_one_process(redis: RedisServer) -> None:
    limits = Limits(requests_per_minute=60, burst=20, processes=3)
    loop = asyncio.get_running_loop()
    async with members(3, limits, redis) as found:
        began = loop.time()
        await load_until(found, 80)
        total = await load(found, 1.0)
        grown = loop.time() - began  # one a second
        assert 80 + grown - 3 <= total <= 80 + grown + 3


async def test_an_upstream_that_complains_to_one_process_is_spared_by_all(redis: RedisServer) -> None:
    async with members(2, upstream(requests=100, processes=2), redis) as found:
        await load_until(found, 20)
        for _ in range(10):
            found[1].books.upstream("upstream").requests.lower(0)
        lowest = int(found[1].books.upstream("upstream").whole[0] or 0)
        await load(found, 1.2)
        assert lowest < 40
        assert admitted(found) <= max(60, lowest + 20)  # what had been allotted before


async def test_requests_at_once_are_shared(redis: RedisServer) -> None:
    async with members(3, Limits(concurrent=9, processes=3), redis) as found:
        for member in found:  # one keeps its key in use, and is told what the others do
            await member.ask(1, keep=True)
        async with asyncio.timeout(10):
            while len(found[0].permits) <= 3:
                await found[0].ask(2, 0.5, keep=True)
        assert len(found[0].permits) > 3  # its even part
        assert sum(len(member.permits) for member in found) <= 9
        for member in found:
            for permit in member.permits:
                permit.release()


async def test_a_server_that_goes_and_comes_back_costs_the_sharing_only(redis: RedisServer) -> None:
    async with members(2, upstream(requests=90, processes=2), redis) as found:
        before = await load(found, 1.0, each=2)
        redis.kill()
        await until(*found, up=False)
        await load(found, 1.0, each=30)  # each keeps to its part
        assert all(45 <= member.admitted <= max(45, before) for member in found)
        during = admitted(found)
        redis.start()
        await until(*found, up=True)
        # The server has forgotten everything: it was told what had been spent, so nothing is left.
        assert await load(found, 1.5, each=2) <= max(90, during) + 2
        for member in found:
            statistics = member.quotas.statistics()
            assert (statistics.outages, statistics.up) == (1, True)


async def test_a_server_that_is_not_there_at_all_leaves_each_its_even_part(redis: RedisServer) -> None:
    redis.kill()
    member = Member(upstream(requests=30), redis.url)
    await member.start()
    try:
        assert await member.ask(50) == 10
        assert member.quotas.statistics().outages == 0  # it never was shared
    finally:
        await member.stop()


async def test_what_is_given_back_can_be_admitted_elsewhere(redis: RedisServer) -> None:
    async with members(2, upstream(requests=20, processes=2), redis) as found:
        while len(found[0].permits) < 20:
            await found[0].ask(5, 0.5, keep=True)
        for permit in found[0].permits:
            permit.release()
        await load_until(found[1:], 20, each=10)


async def test_the_server_is_called_by_the_second_and_not_by_the_request(redis: RedisServer) -> None:
    async with members(2, upstream(requests=MANY, processes=2), redis) as found:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 1.0:
            await asyncio.gather(*(member.ask(50, 1.0) for member in found))
        for member in found:
            assert member.admitted > 100
            assert member.quotas.statistics().calls <= (loop.time() - began) / quotas_module.EVERY + 3


async def test_a_cancellation_that_the_client_takes_for_a_fault_ends_it_all_the_same(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting = asyncio.Event()

    async def exchange(*_: object) -> None:
        connecting.set()
        try:
            await asyncio.sleep(HOUR)
        except asyncio.CancelledError:
            raise ConnectionError from None

    member = Member(upstream(requests=30), redis.url)
    await member.start()
    monkeypatch.setattr(member.quotas, "_exchange", exchange)
    await member.ask(1)
    await asyncio.wait_for(connecting.wait(), 5)
    await asyncio.wait_for(member.stop(), 5)


async def test_the_server_keeps_nothing_of_who_is_gone(redis: RedisServer) -> None:
    from redis.asyncio import Redis

    async with members(1, Limits(requests_per_minute=60, processes=2), redis) as found:
        await found[0].ask(1)
        await asyncio.sleep(0.5)
        client: Redis = Redis.from_url(redis.url)
        keys = await client.keys()
        assert len(keys) == 1
        assert b"caller" not in keys[0].rsplit(b":", 1)[1]
        assert 0 < await client.pttl(keys[0]) <= HOUR * 1000
        await client.aclose()
