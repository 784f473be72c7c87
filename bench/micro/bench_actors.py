"""What the mailbox costs: one ask, one note, one request's worth of both.

    python -m pytest bench/micro/bench_actors.py --benchmark-only

Runs on uvloop, as the server does.  A round is OPERATIONS operations, so that entering the loop does not count; the
median of one operation stands in ``extra_info["us_each"]`` (--benchmark-json) and, with -s, in the output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from actors import (
    Actor,
    Admit,
    Endpoint,
    Exchange,
    Limits,
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
    Reply,
    Supervisor,
)

OPERATIONS = 1_000


class Ping(Query[int], frozen=True):
    pass


class Ponger(Actor[Any]):
    def handle(self, message: Any, reply: Reply) -> None:
        reply.ok(1)


class House:
    """One of each actor, as a request meets them."""

    def __init__(self, limits: Limits) -> None:
        self.supervisor = Supervisor()
        clock = self.supervisor.clock
        rates, books, registry = RateBooks(), ProviderBooks([Endpoint("a", slots=64)]), MetricsRegistry()
        self.ponger: Ref[Any] = Ref("ponger", Ponger, capacity=2 * OPERATIONS)
        self.limiter: Ref[Any] = Ref("limiter", lambda: RateLimiterActor(limits, rates, clock))
        self.provider: Ref[Any] = Ref("provider", lambda: ProviderActor(books, clock))
        self.metrics: Ref[Any] = Ref("metrics", lambda: MetricsActor(registry, lambda event: None, clock))

    async def start(self) -> House:
        for ref in (self.ponger, self.limiter, self.provider, self.metrics):
            await self.supervisor.start(ref)
        return self


Runner = Callable[[Callable[[House], Awaitable[None]]], None]


@pytest.fixture
def measure(benchmark: Any) -> Iterator[Runner]:
    async def build() -> House:
        return await House(Limits(requests_per_minute=1e9, concurrent=64)).start()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        house = runner.run(build())

        def measure(operations: Callable[[House], Awaitable[None]]) -> None:
            async def once() -> None:
                await operations(house)

            benchmark.extra_info["operations"] = OPERATIONS
            benchmark(lambda: runner.run(once()))
            benchmark.extra_info["us_each"] = each = round(benchmark.stats.stats.median / OPERATIONS * 1e6, 2)
            print(f" {each} us each", end="")

        yield measure
        runner.run(house.supervisor.stop())


def bench_ask(measure: Runner) -> None:
    async def operations(house: House) -> None:
        for _ in range(OPERATIONS):
            await house.ponger.ask(Ping())

    measure(operations)


def bench_33_messages_32_of_them_notes(measure: Runner) -> None:
    async def operations(house: House) -> None:
        message = Ping()
        for _ in range(OPERATIONS // 33):
            for _ in range(32):
                house.ponger.tell(message)
            await house.ponger.ask(Ping())  # behind them all: wait until they are handled

    measure(operations)


def bench_admit_and_settle(measure: Runner) -> None:
    async def operations(house: House) -> None:
        for _ in range(OPERATIONS):
            (await house.limiter.ask(Admit("key", 100, ("a",), 10.0))).settle(90)

    measure(operations)


def bench_open_and_done(measure: Runner) -> None:
    async def operations(house: House) -> None:
        for _ in range(OPERATIONS):
            (await house.provider.ask(Open(("a",)))).done(Outcome.OK)

    measure(operations)


async def whole_request(house: House) -> None:
    permit = await house.limiter.ask(Admit("key", 100, ("a",), 10.0))
    lease = await house.provider.ask(Open(("a",)))
    lease.done(Outcome.OK)
    permit.settle(90)
    house.metrics.tell(
        Exchange(
            request_id="req",
            path="/p",
            caller="key",
            client_model="m",
            endpoint="a",
            status=200,
            outcome="ok",
            input_tokens=10,
            output_tokens=10,
            duration_s=0.1,
            upstream_s=0.05,
        )
    )


def bench_whole_requests_of_50_at_once(measure: Runner) -> None:
    async def one_after_another(house: House) -> None:
        for _ in range(OPERATIONS // 50):
            await whole_request(house)

    async def operations(house: House) -> None:
        await asyncio.gather(*[one_after_another(house) for _ in range(50)])

    measure(operations)


def bench_a_whole_request_of_two_asks_and_three_notes(measure: Runner) -> None:
    async def operations(house: House) -> None:
        for _ in range(OPERATIONS):
            await whole_request(house)

    measure(operations)
