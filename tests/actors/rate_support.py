"""A limiter on a clock that is moved by hand, alarms included."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from actors import Admit, Limits, Permit, RateBooks, RateLimited, RateLimiterActor, Tick, UpstreamLimits
from actors.testing import FakeReply, ManualClock, Rig


class Alarms:
    """What a loop's ``call_later`` would do."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock, self._numbers = clock, count()
        self.due: list[tuple[float, int, Callable[[], object]]] = []

    def __call__(self, seconds: float, ring: Callable[[], object]) -> None:
        heapq.heappush(self.due, (self._clock() + seconds, next(self._numbers), ring))

    def until(self, end: float) -> Callable[[], object] | None:
        """The first that rings up to then; the clock moves there."""
        if not self.due or self.due[0][0] > end:
            return None
        due, _, ring = heapq.heappop(self.due)
        self._clock.now = max(self._clock.now, due)
        return ring


class Desk:
    """The actor, and those who ask it."""

    def __init__(self, limits: Limits, ttl: float = 10_000.0, start: float = 1_000.0) -> None:
        self.clock, self.books = ManualClock(start), RateBooks(ttl)
        self.alarms = Alarms(self.clock)
        self.rig: Rig[Any] = Rig(lambda: RateLimiterActor(limits, self.books, self.clock, self.alarms), self.clock)

    def ask(self, key: str = "k", cost: int = 0, *upstreams: str, patience: float = 0.0, **more: float) -> FakeReply:
        reply = self.rig.ask(Admit(key, cost, upstreams or ("up",), patience), **more)
        self.rig.drain()
        return reply

    def permit(self, key: str = "k", cost: int = 0, *upstreams: str) -> Permit:
        reply = self.ask(key, cost, *upstreams)
        assert isinstance(reply.value, Permit), reply.error
        return reply.value

    def refusal(self, key: str = "k", cost: int = 0, *upstreams: str, patience: float = 0.0) -> RateLimited:
        reply = self.ask(key, cost, *upstreams, patience=patience)
        assert isinstance(reply.error, RateLimited), reply.value
        return reply.error

    def admits(self, number: int, key: str = "k", cost: int = 0, *upstreams: str) -> int:
        """How many of so many requests at once are admitted."""
        return sum(self.ask(key, cost, *upstreams).error is None for _ in range(number))

    def drain(self) -> None:
        self.rig.drain()

    def advance(self, seconds: float, *, tick: bool = False) -> None:
        """Let time pass; alarms ring when they are due."""
        self.rig.drain()
        end = self.clock() + seconds
        while (ring := self.alarms.until(end)) is not None:
            ring()
            self.rig.drain()
        self.clock.now = end
        if tick:
            self.rig.tell(Tick())
            self.rig.drain()

    def answered(self, number: int = 1, upstream: str = "up") -> None:
        """So many requests come and are answered, each without any load on the minute."""
        for _ in range(number):
            permit = self.permit("k", 0, upstream)
            permit.settle(0)
            self.rig.drain()

    @property
    def up(self) -> Any:
        return self.books.upstreams["up"]


def upstream(**limits: Any) -> Limits:
    return Limits(upstream=UpstreamLimits(**({"burst": 10**6} | limits)))
