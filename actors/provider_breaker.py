"""When an endpoint that fails is left alone, and how it is tried again.

Rule: :data:`NEXT` holds every change of state; between two changes a breaker only counts.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Final

import msgspec


class BreakerState(StrEnum):
    CLOSED = "closed"  # everything goes through
    OPEN = "open"  # nothing does
    HALF_OPEN = "half_open"  # a few at a time do, as probes


class Event(Enum):
    TRIPPED = auto()  # too many faults in a row
    RESTED = auto()  # left alone long enough
    FAILED = auto()  # a probe did
    PROVED = auto()  # enough probes have succeeded


NEXT: Final = {
    BreakerState.CLOSED: {Event.TRIPPED: BreakerState.OPEN},
    BreakerState.OPEN: {Event.RESTED: BreakerState.HALF_OPEN},
    BreakerState.HALF_OPEN: {Event.FAILED: BreakerState.OPEN, Event.PROVED: BreakerState.CLOSED},
}


class BreakerRules(msgspec.Struct, frozen=True):
    """``faults`` in a row open it for ``rest`` seconds; then ``probes`` at a time, and as many successes close it."""

    faults: int = 5
    rest: float = 60.0
    probes: int = 3

    def __post_init__(self) -> None:
        if self.faults < 1:
            raise ValueError("faults must be at least 1")
        if not self.rest > 0:
            raise ValueError("rest must be above 0")
        if self.probes < 1:
            raise ValueError("probes must be at least 1")


class Breaker:
    """Of one endpoint.  Times are on the actor's clock; ``work`` is whatever stands for one use of the endpoint.

    What was begun before the breaker opened says nothing about the endpoint after it: it is no probe.
    """

    __slots__ = ("_probes", "faults", "opened", "opened_at", "proofs", "rules", "state")

    def __init__(self, rules: BreakerRules) -> None:
        self.rules = rules
        self.state = BreakerState.CLOSED
        self.faults = 0  # in a row, while closed
        self.proofs = 0  # successes, while half open
        self.opened = 0  # how often, ever
        self.opened_at = 0.0
        self._probes: set[object] = set()  # under way

    def __repr__(self) -> str:
        return f"<Breaker {self.state}>"

    @property
    def probes(self) -> int:
        """How many are under way."""
        return len(self._probes)

    def lets_through(self, now: float) -> bool:
        """Whether one more may be sent; this is where it finds out that it has been open long enough."""
        if self.state is BreakerState.OPEN and now >= self.opened_at + self.rules.rest:
            self._go(Event.RESTED, now)
        if self.state is BreakerState.HALF_OPEN:
            return len(self._probes) < self.rules.probes
        return self.state is BreakerState.CLOSED

    def left(self, now: float) -> float:
        """Seconds until it is half open; 0 where it is not open."""
        return max(0.0, self.opened_at + self.rules.rest - now) if self.state is BreakerState.OPEN else 0.0

    def sent(self, work: object) -> None:
        """``work`` is let through."""
        if self.state is BreakerState.HALF_OPEN:
            self._probes.add(work)

    def succeeded(self, work: object, now: float) -> None:
        if self.state is BreakerState.CLOSED:
            self.faults = 0
        elif work in self._probes:
            self._probes.discard(work)
            self.proofs += 1
            if self.proofs >= self.rules.probes:
                self._go(Event.PROVED, now)

    def failed(self, work: object, now: float) -> bool:
        """A fault of the endpoint; whether that has opened it."""
        if self.state is BreakerState.CLOSED:
            self.faults += 1
            if self.faults >= self.rules.faults:
                self._go(Event.TRIPPED, now)
                return True
        elif work in self._probes:
            self._go(Event.FAILED, now)
            return True
        return False

    def given_back(self, work: object) -> None:
        """``work`` ended without a word about the endpoint: its place as a probe is free."""
        self._probes.discard(work)

    def reset(self, rules: BreakerRules | None = None) -> None:
        """Closed, as if new, but for how often it has opened."""
        self.rules = rules or self.rules
        self.state = BreakerState.CLOSED
        self._count_anew()

    def _go(self, event: Event, now: float) -> None:
        self.state = NEXT[self.state][event]
        self._count_anew()
        if self.state is BreakerState.OPEN:
            self.opened += 1
            self.opened_at = now

    def _count_anew(self) -> None:
        self.faults = self.proofs = 0
        self._probes = set()
