"""The four actors behind real mailboxes, in the order of a request: admit, look up, open, done, settle, report."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from actors import (
    Admit,
    CacheActor,
    CacheBooks,
    Crashed,
    Endpoint,
    Exchange,
    Hit,
    Lead,
    Limits,
    Lookup,
    MetricsActor,
    MetricsRegistry,
    Open,
    Outcome,
    ProviderActor,
    ProviderBooks,
    Query,
    RateBooks,
    RateLimiterActor,
    Ref,
    Stopped,
    Supervisor,
    Tick,
)
from tests.actors.support import LOOPS, run, settle


class Poison(Query[None], frozen=True):
    """No actor knows it; those of this house crash on it."""

    key: str = ""


def fragile(actor: Any) -> Any:
    handle = actor.handle

    def crashing(message: Any, reply: Any) -> None:
        if isinstance(message, Poison):
            raise ZeroDivisionError
        handle(message, reply)

    actor.handle = crashing
    return actor


class House:
    def __init__(self, supervisor: Supervisor) -> None:
        clock = supervisor.clock
        self.supervisor = supervisor
        self.rates, self.flights, self.registry = RateBooks(), CacheBooks(), MetricsRegistry()
        self.books = ProviderBooks([Endpoint("a", slots=2), Endpoint("b", slots=1)])
        self.limiter: Ref[Any] = Ref(
            "limiter", lambda: fragile(RateLimiterActor(Limits(concurrent=40), self.rates, clock))
        )
        self.cache: Ref[Any] = Ref("cache", lambda: fragile(CacheActor(self.flights, clock)))
        self.provider: Ref[Any] = Ref("provider", lambda: fragile(ProviderActor(self.books, clock)))
        self.metrics: Ref[Any] = Ref(
            "metrics", lambda: fragile(MetricsActor(self.registry, lambda event: None, clock)), capacity=10_000
        )
        self.refs = (self.limiter, self.cache, self.provider, self.metrics)

    async def __aenter__(self) -> House:
        for ref in self.refs:
            await self.supervisor.start(ref)
            if ref is not self.metrics:
                ref.every(1.0, Tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.stop()

    async def request(self, name: str, key: bytes | None, work: Callable[[], Any]) -> Any:
        permit = await self.limiter.ask(Admit(name, 10))
        lead = lease = None
        outcome = Outcome.CANCELLED
        try:
            if key is not None:
                found = await self.cache.ask(Lookup(key))
                if isinstance(found, Hit):
                    return found.value
                lead = found if isinstance(found, Lead) else None
            lease = await self.provider.ask(Open(("a", "b")))
            value = await work()
            if lead is not None:
                lead.store(value)
            outcome = Outcome.OK
            return value
        finally:
            if lead is not None:
                lead.release()
            if lease is not None:
                lease.done(outcome)
            permit.settle(5)
            self.metrics.tell(Exchange(request_id="", path="", caller=name, status=200, outcome=outcome))

    def assert_quiet(self) -> None:
        assert len(self.rates.permits) == len(self.flights.leads) == len(self.books.leases) == 0
        assert self.rates.permits.lost == self.flights.leads.lost == self.books.leases.lost == 0
        assert [ref.waiting for ref in self.refs] == [0, 0, 0, 0]


@LOOPS
def test_a_request_costs_two_asks_and_three_notes(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        async with House(Supervisor()) as house:
            before = sum(ref.stats.handled for ref in house.refs)
            await house.request("caller", None, lambda: asyncio.sleep(0, "value"))
            await settle()
            assert sum(ref.stats.handled for ref in house.refs) - before == 5
            house.assert_quiet()

    run(loop_factory, main())


@LOOPS
@pytest.mark.parametrize("seed", range(6))
def test_the_house_is_quiet_after_askers_left_and_actors_crashed_at_random(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], seed: int
) -> None:
    async def main() -> None:
        chance = random.Random(seed)
        async with House(Supervisor(intensity=math.inf)) as house:

            async def work() -> int:
                await settle(chance.randrange(6))
                return chance.randrange(100)

            tasks: list[asyncio.Task[Any]] = []
            for number in range(150):
                key = chance.choice([None, b"x", b"y"])
                tasks.append(asyncio.ensure_future(house.request(f"caller {number % 3}", key, work)))
                await settle(chance.randrange(4))
                if chance.random() < 0.3:
                    chance.choice(tasks).cancel()
                if chance.random() < 0.2:
                    chance.choice(house.refs).tell(Poison())
            done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20.0)
            await settle()
            house.assert_quiet()
            assert {type(result) for result in done if isinstance(result, BaseException)} <= {asyncio.CancelledError}
            assert sum(ref.stats.crashes for ref in house.refs) > 5

    run(loop_factory, main())


async def test_only_the_request_whose_message_crashed_an_actor_fails() -> None:
    async with House(Supervisor()) as house:
        results: list[Any] = await asyncio.gather(
            *(house.request("caller", None, lambda: asyncio.sleep(0.001, "value")) for _ in range(10)),
            house.limiter.ask(Poison("caller")),
            *(house.request("caller", b"x", lambda: asyncio.sleep(0.001, "value")) for _ in range(10)),
            return_exceptions=True,
        )
        culprit = results.pop(10)
        assert isinstance(culprit, Crashed)
        assert results == ["value"] * 20
        await settle()
        house.assert_quiet()


async def test_streams_may_still_come_back_after_the_doors_are_closed() -> None:
    async with House(Supervisor()) as house:
        held = asyncio.Event()
        running = asyncio.ensure_future(house.request("caller", None, lambda: asyncio.wait_for(held.wait(), 5.0)))
        await settle(20)
        for ref in house.refs:
            ref.close()
        with pytest.raises(Stopped):
            await house.request("late", None, lambda: asyncio.sleep(0))
        held.set()
        assert await running is True
        await settle()
        house.assert_quiet()
        assert house.registry.totals().by_outcome["ok"] == 1
