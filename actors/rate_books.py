"""What the limiter knows, in one object that survives its restarts.

Rule: limits are exact after a crash, because nothing that counts is kept anywhere else; who waits is delivered again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from actors.kernel import Reply
from actors.lease import TIME_TO_LIVE, LeaseTable
from actors.rate_callers import Callers
from actors.rate_messages import Book, Claim, Limits, Permit
from actors.rate_queue import Room
from actors.rate_share import Tally
from actors.rate_upstreams import Upstream, UpstreamStatistics

MAX_UPSTREAMS: Final = 1000  # more than anybody configures; above it the one that was first seen is forgotten


class RateStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included; ``keys`` have not their whole budget at this moment.

    ``waited`` of the ``admitted`` had to; ``waiting`` do now.  What is said of upstreams is as of the last tick.
    """

    admitted: int
    refused_rate: int
    refused_concurrent: int
    refused_upstream: int
    waited: int
    waiting: int
    in_flight: int
    keys: int
    cost_reserved: int  # estimates of permits in flight
    cost_settled: int
    permits_lost: int
    upstreams: tuple[UpstreamStatistics, ...]


class RateBooks:
    """Budgets, permits in flight, totals, and the room of those who wait.  ``ttl`` in seconds."""

    def __init__(self, ttl: float = TIME_TO_LIVE) -> None:
        self.permits: LeaseTable[Permit] = LeaseTable(ttl)
        self.callers = Callers()
        self.upstreams: dict[str, Upstream] = {}
        self.bounded: set[str] = set()  # of them: those that have a limit or a pause
        self.room = Room()  # of the living instance of the actor
        self.until: dict[Reply, float] = {}  # when the patience of those who wait ends: a restart does not renew it
        self.shared = self.sharing = False  # whether anybody has asked for what is claimed; whether he allots
        self.number = 0  # of the newest charge
        self.seen = 0.0  # the last tick
        self.admitted = self.waited = self.cost_settled = 0
        self.refused_rate = self.refused_concurrent = self.refused_upstream = 0
        self._limits = Limits()

    def __repr__(self) -> str:
        return f"<RateBooks in flight {len(self.permits)}, waiting {len(self.until)}, admitted {self.admitted}>"

    def limit(self, limits: Limits) -> None:
        """The limits from now on; upstreams that are known keep theirs."""
        self.callers.limit(limits)
        self._limits = limits

    def upstream(self, name: str) -> Upstream:
        """The book of ``name``, made where there is none."""
        book = self.upstreams.get(name)
        if book is None:
            if len(self.upstreams) >= MAX_UPSTREAMS:
                self.bounded.discard(oldest := next(iter(self.upstreams)))
                del self.upstreams[oldest]
            book = self.upstreams[name] = Upstream(name, self._limits.upstream, self._limits.processes)
            if self.shared:
                book.tally = Tally(self.sharing)
            self.note_bounds(book)
        return book

    def note_bounds(self, book: Upstream) -> None:
        """To be called whenever a limit or a pause of ``book`` may have come or gone."""
        if book.limited:
            self.bounded.add(book.name)
        else:
            self.bounded.discard(book.name)

    def sweep(self, now: float) -> None:
        """Forget what is over."""
        self.seen = now
        self.callers.sweep(now)
        for book in self.upstreams.values():
            book.sweep(now)
            self.note_bounds(book)

    def share(self) -> None:
        """From now on count what is claimed."""
        self.shared = self.callers.shared = True
        for book in self.upstreams.values():
            book.tally = book.tally or Tally(self.sharing)

    def allots(self, on: bool) -> None:
        """Whether allotments can be had."""
        self.share()
        self.sharing = on
        self.callers.share(on)
        for book in self.upstreams.values():
            if book.tally is not None:
                book.tally.share(on)

    def claims(self, now: float) -> tuple[Claim, ...]:
        """What this process does under each limited key; counting begins anew, and goes on from now on."""
        self.share()
        all_of_them = [(book, self._claim_at(book)) for book in self.upstreams.values()]
        claims = [claim for book, claim in all_of_them if book.limited]
        if self.callers.limited:
            in_flight = Counter(permit.key for permit in self.permits)
            claims += [self._claim_of(key, in_flight[key]) for key in {*self.callers.tallies, *in_flight}]
            self.callers.forget(in_flight, now)
        return tuple(claim for claim in claims if claim.requests or claim.tokens or claim.in_flight or claim.waiting)

    def _claim_at(self, book: Upstream) -> Claim:
        line = [waiter.tokens for waiter in self.room.lines.get(book.name, ()) if not waiter.gone]
        requests, tokens, short = (book.tally or Tally()).told()
        return Claim(
            book=Book.UPSTREAMS,
            key=book.name,
            requests=requests,
            tokens=tokens,
            waiting=max(len(line), int(short)),
            waiting_tokens=sum(line),
            limit_requests=book.whole[0],
            limit_tokens=book.whole[1],
        )

    def _claim_of(self, key: str, in_flight: int) -> Claim:
        requests, tokens, short = self.callers.tally(key).told()
        return Claim(
            book=Book.CALLERS,
            key=key,
            requests=requests,
            tokens=tokens,
            in_flight=in_flight,
            waiting=max(self.room.at_gate_of(key), int(short)),
            limit_requests=self._limits.requests_per_minute,
            limit_concurrent=self._limits.concurrent,
        )

    def statistics(self) -> RateStatistics:
        return RateStatistics(
            admitted=self.admitted,
            refused_rate=self.refused_rate,
            refused_concurrent=self.refused_concurrent,
            refused_upstream=self.refused_upstream,
            waited=self.waited,
            waiting=len(self.until),
            in_flight=len(self.permits),
            keys=len(self.callers.arrivals),
            cost_reserved=sum(permit.cost for permit in self.permits),
            cost_settled=self.cost_settled,
            permits_lost=self.permits.lost,
            upstreams=tuple(
                book.statistics(self.seen, self.room.waiting(name)) for name, book in self.upstreams.items()
            ),
        )
