"""A provider behind a hand-turned mailbox."""

from __future__ import annotations

from typing import Any

from actors import (
    Configure,
    Endpoint,
    EndpointStatistics,
    Manner,
    Open,
    Outcome,
    ProviderActor,
    ProviderBooks,
    Retry,
    Tick,
)
from actors.testing import FakeReply, ManualClock, Rig

FOREVER = float("inf")
Pair = tuple[str, int]


class Desk:
    def __init__(self, *endpoints: Endpoint, ttl: float = 1_000.0) -> None:
        self.clock, self.books = ManualClock(), ProviderBooks(endpoints, ttl)
        self.rig: Rig[Any] = Rig(lambda: ProviderActor(self.books, self.clock), self.clock)

    def open(
        self, *names: str, spent: frozenset[Pair] = frozenset(), affinity: str = "", deadline: float = FOREVER
    ) -> FakeReply:
        reply = self.rig.ask(Open(names, spent, affinity), deadline)
        self.rig.drain()
        return reply

    def take(self, *names: str, **asked: Any) -> Pair:
        """Endpoint and key of a lease that is given back, unused, at once."""
        reply = self.open(*names, **asked)
        self.done(reply, Outcome.CANCELLED)
        return pair(reply)

    def serve(self, *names: str, **asked: Any) -> Pair:
        """The same, of one that was of use."""
        reply = self.open(*names, **asked)
        self.done(reply)
        return pair(reply)

    def fail(self, *names: str, retry_after: float | None = None, outcome: Outcome = Outcome.THROTTLED) -> Pair:
        """The same, of one that was refused."""
        reply = self.open(*names)
        self.done(reply, outcome, retry_after)
        return pair(reply)

    def answer(self, *names: str, after: float, shape: int = 0, manner: Manner = Manner.STREAM) -> float:
        """Work whose first byte came ``after`` seconds; its limit."""
        reply = self.open(*names)
        limit: float = reply.value.patience(manner, shape, 0.0, FOREVER)
        reply.value.answered(after)
        self.done(reply)
        return limit

    def retry(self, name: str) -> FakeReply:
        reply = self.rig.ask(Retry(name))
        self.rig.drain()
        return reply

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.rig.tell(Tick())
        self.rig.drain()

    def done(self, reply: FakeReply, outcome: Outcome = Outcome.OK, retry_after: float | None = None) -> None:
        reply.value.done(outcome, retry_after)
        self.rig.drain()

    def configure(self, *endpoints: Endpoint) -> None:
        reply = self.rig.ask(Configure(endpoints))
        self.rig.drain()
        assert reply.answered
        assert reply.error is None

    def of(self, name: str) -> EndpointStatistics:
        return next(endpoint for endpoint in self.books.statistics().endpoints if endpoint.name == name)

    def names(self) -> list[str]:
        return [endpoint.name for endpoint in self.books.statistics().endpoints]


def pair(reply: FakeReply) -> Pair:
    return reply.value.endpoint, reply.value.key_index
