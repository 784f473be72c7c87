"""What of the cache survives a restart: the leads in flight and the totals.

Rule: what is kept does not survive: an instance begins with an empty shelf and a closed breaker, and shows them here.
"""

from __future__ import annotations

import msgspec

from actors.cache_breaker import BreakerStatistics, ValidationBreaker
from actors.cache_messages import Lead
from actors.cache_shelf import Shelf, ShelfCounts, ShelfLimits
from actors.lease import TIME_TO_LIVE, LeaseTable
from actors.stream_table import StreamTable


class CacheStatistics(msgspec.Struct, frozen=True):
    """Totals since the start or the last :class:`Clear`, restarts included; those of calls since the start."""

    entries: int
    bytes: int
    max_entries: int
    max_bytes: int
    hits: int  # kept values given
    misses: int  # looked for in vain
    stored: int
    evicted: int  # to make room
    expired: int
    too_large: int  # not kept
    bad: int  # calls that made no value
    since: float  # the actor's clock
    breaker: BreakerStatistics
    in_flight: int
    led: int  # leads granted to first askers
    shared: int  # followers answered with another's value
    promoted: int  # followers that became the lead
    alone: int  # told to go on alone: no room, or waited long enough
    leads_lost: int


class CacheBooks:
    """At most ``keys`` keys are in flight and at most ``followers`` wait for one; who comes above that goes on alone.
    ``ttl``, that of leads, in seconds."""

    def __init__(
        self,
        limits: ShelfLimits | None = None,
        *,
        keys: int = 10_000,
        followers: int = 1_000,
        ttl: float = TIME_TO_LIVE,
        since: float = 0.0,
        streams: StreamTable | None = None,
    ) -> None:
        self.limits = limits or ShelfLimits()
        self.max_keys, self.max_followers = keys, followers
        self.leads: LeaseTable[Lead] = LeaseTable(ttl)
        self.streams = streams or StreamTable()
        self.led = self.shared = self.promoted = self.alone = 0
        self.forget(since)
        self.shelf, self.breaker = Shelf(self.limits, self.counts), ValidationBreaker()

    def __repr__(self) -> str:
        return f"<CacheBooks {self.shelf!r}, in flight {len(self.leads)}, led {self.led}, shared {self.shared}>"

    @property
    def in_flight(self) -> int:
        """Leads of calls and of streams."""
        return len(self.leads) + self.streams.running

    def renew(self) -> None:
        """An empty shelf and a closed breaker, for a new instance."""
        self.shelf.clear()  # handles of the one before must not outlive it
        self.shelf, self.breaker = Shelf(self.limits, self.counts), ValidationBreaker()

    def forget(self, now: float) -> None:
        """Count anew what has to do with kept values."""
        self.counts, self.misses, self.bad, self.since = ShelfCounts(), 0, 0, now

    def statistics(self, now: float) -> CacheStatistics:
        shelf, counts = self.shelf, self.counts
        return CacheStatistics(
            entries=len(shelf),
            bytes=shelf.bytes,
            max_entries=self.limits.max_entries,
            max_bytes=self.limits.max_bytes,
            hits=counts.hits,
            misses=self.misses,
            stored=counts.stored,
            evicted=counts.evicted,
            expired=counts.expired,
            too_large=counts.too_large,
            bad=self.bad,
            since=self.since,
            breaker=self.breaker.statistics(now),
            in_flight=len(self.leads),
            led=self.led,
            shared=self.shared,
            promoted=self.promoted,
            alone=self.alone,
            leads_lost=self.leads.lost,
        )
