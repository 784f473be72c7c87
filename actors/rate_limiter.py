"""Who may begin: requests per minute and requests at once, per key.

Rule: a refusal costs nothing.  Only a granted :class:`Permit` spends budget, and every refusal says when to return.

Requests per minute are metered by GCRA (one float per key, the *theoretical arrival time*: when the budget is whole
again), so an admission is O(1) however high the limit.  A rested key may spend a whole minute's requests plus ``burst``
at once; after that it gets one every ``60 / requests_per_minute`` seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from actors.kernel import Actor, Clock, Mailbox, Reply
from actors.lease import TIME_TO_LIVE, Lease, LeaseTable
from actors.messages import Query, Refused, Tick

MINUTE: Final = 60.0
# Keys may be chosen by strangers.  Above this many active ones the longest silent is forgotten, and so forgiven.
MAX_KEYS: Final = 100_000
# Nobody knows when a request in flight ends; a second is long enough not to be hammered.
RETRY_CONCURRENT: Final = 1.0
ROUNDING: Final = 1e-6  # seconds; who waited exactly as long as told is admitted, whatever floats make of it


class Limits(msgspec.Struct, frozen=True):
    """Per key; ``None`` is unlimited.  ``burst`` is what a rested key may send beyond a minute's worth at once."""

    requests_per_minute: float | None = None
    burst: int = 0
    concurrent: int | None = None

    def __post_init__(self) -> None:
        if self.requests_per_minute is not None and not self.requests_per_minute > 0:
            raise ValueError("requests_per_minute must be above 0")
        if self.burst < 0:
            raise ValueError("burst must not be below 0")
        if self.concurrent is not None and self.concurrent < 1:
            raise ValueError("concurrent must be at least 1")


class RateLimited(Refused):
    """Over budget; ``retry_after`` seconds from now there is room for one more request."""


class Permit(Lease):
    """One admitted request.  ``cost`` is what was estimated for it; settle it with what it really cost."""

    __slots__ = ("cost",)
    key: str

    def __init__(self, key: str, cost: int, owner: Mailbox) -> None:
        super().__init__(key, owner)
        self.cost = cost

    def settle(self, actual: int) -> None:
        """Return the permit, with the real cost.  Idempotent: the first settlement counts."""
        self._give_back(Settle(self, actual))

    def release(self) -> None:
        """Return it unused: ``settle(0)``."""
        self.settle(0)


class Admit(Query[Permit], frozen=True):
    """May ``key`` begin a request of about ``cost``?  A :class:`Permit`, or :class:`RateLimited` is raised."""

    key: str
    cost: int = 0


class Settle(msgspec.Struct, frozen=True, gc=False):
    """A permit comes back (sent by :meth:`Permit.settle`)."""

    permit: Permit
    actual: int


class RateStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included; ``keys`` have not their whole budget at this moment."""

    admitted: int
    refused_rate: int
    refused_concurrent: int
    in_flight: int
    keys: int
    cost_reserved: int  # estimates of permits in flight
    cost_settled: int
    permits_lost: int


class RateBooks:
    """What survives a restart, so that limits stay exact: budgets, permits in flight, totals.  ``ttl`` in seconds."""

    def __init__(self, ttl: float = TIME_TO_LIVE) -> None:
        self.permits: LeaseTable[Permit] = LeaseTable(ttl)
        self.arrivals: OrderedDict[str, float] = OrderedDict()  # key -> theoretical arrival time; longest silent first
        self.admitted = self.refused_rate = self.refused_concurrent = self.cost_settled = 0

    def __repr__(self) -> str:
        return f"<RateBooks in flight {len(self.permits)}, keys {len(self.arrivals)}, admitted {self.admitted}>"

    def statistics(self) -> RateStatistics:
        return RateStatistics(
            admitted=self.admitted,
            refused_rate=self.refused_rate,
            refused_concurrent=self.refused_concurrent,
            in_flight=len(self.permits),
            keys=len(self.arrivals),
            cost_reserved=sum(permit.cost for permit in self.permits),
            cost_settled=self.cost_settled,
            permits_lost=self.permits.lost,
        )


class RateLimiterActor(Actor[Admit | Settle | Tick]):
    """Admits, or refuses at once with the seconds to wait; it never keeps a question."""

    def __init__(self, limits: Limits, books: RateBooks, clock: Clock) -> None:
        self._limits, self._books, self._clock = limits, books, clock
        rate = limits.requests_per_minute
        self._interval = MINUTE / rate if rate is not None else 0.0
        # How far ahead of now a key's arrival time may lie for one more request to conform.
        self._tolerance = (max(1.0, rate + limits.burst) - 1.0) * self._interval if rate is not None else 0.0

    def started(self) -> None:
        self._books.permits.prune()

    def handle(self, message: Admit | Settle | Tick, reply: Reply) -> None:
        match message:
            case Admit():
                self._admit(message, reply)
            case Settle(permit, actual):
                self._books.permits.discard(permit)
                self._books.cost_settled += actual
            case Tick():
                self._sweep(self._clock())

    def _admit(self, query: Admit, reply: Reply) -> None:
        books, limits, key, now = self._books, self._limits, query.key, self._clock()
        if limits.concurrent is not None and books.permits.count(key) >= limits.concurrent:
            books.refused_concurrent += 1
            reply.fail(RateLimited(RETRY_CONCURRENT, "too many requests at once"))
            return
        arrival = now
        if self._interval:
            arrival = max(now, books.arrivals.get(key, now))
            early = arrival - now - self._tolerance
            if early > ROUNDING:
                books.refused_rate += 1
                reply.fail(RateLimited(early, "too many requests per minute"))
                return
        permit = books.permits.add(Permit(key, query.cost, self.ref), now)
        if not reply.ok(permit):
            books.permits.discard(permit)
            return
        books.admitted += 1
        if self._interval:
            books.arrivals[key] = arrival + self._interval
            books.arrivals.move_to_end(key)
            if len(books.arrivals) > MAX_KEYS:
                books.arrivals.popitem(last=False)

    def _sweep(self, now: float) -> None:
        books = self._books
        books.permits.sweep(now)
        # A key whose arrival time has passed has its whole budget, like one never seen.  The front was silent longest;
        # should it still be in debt, those behind it wait at most until it is not: a minute and the burst.
        while books.arrivals:
            key = next(iter(books.arrivals))
            if books.arrivals[key] > now:
                break
            del books.arrivals[key]
