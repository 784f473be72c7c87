"""Single flight: of the askers of one key at a time, one makes the call and the others share its answer.

Rule: a key in flight has exactly one living :class:`Lead`, and a follower is always answered: with the lead's value,
with the lead itself when the one before gave up, or with :class:`Miss` (go on alone) when there is no room to wait.
No answer is stored.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from actors.kernel import Actor, Clock, Reply
from actors.lease import TIME_TO_LIVE, Lease, LeaseTable
from actors.messages import Query, Tick


class Hit(msgspec.Struct, frozen=True):
    """The value of another's call; ``shared``: made at the same time, not stored before."""

    value: Any
    shared: bool = True


class Miss(msgspec.Struct, frozen=True):
    """Nobody's answer can be shared: make the call, tell nobody."""


class Lead(Lease):
    """You make the call.  Whatever becomes of it, store or release the lead: others may be waiting."""

    __slots__ = ()
    key: bytes

    def store(self, value: Any) -> None:
        """Answer all followers with ``value``.  Idempotent with :meth:`abandon`: the first of the two counts."""
        self._give_back(Store(self, value))

    def abandon(self) -> None:
        """There is no value to share: the next follower becomes the lead."""
        self._give_back(Abandon(self))

    def release(self) -> None:
        """The same as :meth:`abandon`."""
        self.abandon()


class Lookup(Query[Lead | Hit | Miss], frozen=True):
    """The answer for ``key``?  A key in flight makes the asker wait, at most until its deadline (then ``Miss``)."""

    key: bytes


class Store(msgspec.Struct, frozen=True):
    """A lead has its value (sent by :meth:`Lead.store`)."""

    lead: Lead
    value: Any


class Abandon(msgspec.Struct, frozen=True, gc=False):
    """A lead gave up (sent by :meth:`Lead.abandon`)."""

    lead: Lead


class FlightStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included."""

    in_flight: int
    led: int  # leads granted to first askers
    shared: int  # followers answered with another's value
    promoted: int  # followers that became the lead
    alone: int  # told to go on alone: no room, or waited long enough
    leads_lost: int


class Flights:
    """What survives a restart: the leads in flight and the totals.

    At most ``keys`` keys are in flight and at most ``followers`` wait for one; who comes above that goes on alone.
    ``ttl`` in seconds.
    """

    def __init__(self, *, keys: int = 10_000, followers: int = 1_000, ttl: float = TIME_TO_LIVE) -> None:
        self.max_keys, self.max_followers = keys, followers
        self.leads: LeaseTable[Lead] = LeaseTable(ttl)
        self.led = self.shared = self.promoted = self.alone = 0

    def __repr__(self) -> str:
        return f"<Flights in flight {len(self.leads)}, led {self.led}, shared {self.shared}>"

    def statistics(self) -> FlightStatistics:
        return FlightStatistics(
            in_flight=len(self.leads),
            led=self.led,
            shared=self.shared,
            promoted=self.promoted,
            alone=self.alone,
            leads_lost=self.leads.lost,
        )


class CacheActor(Actor[Lookup | Store | Abandon | Tick]):
    """Keeps the followers of each key in flight, in the order they came."""

    def __init__(self, flights: Flights, clock: Clock) -> None:
        self._flights, self._clock = flights, clock
        self._followers: dict[bytes, OrderedDict[Reply, None]] = {}

    def started(self) -> None:
        self._flights.leads.prune()

    def handle(self, message: Lookup | Store | Abandon | Tick, reply: Reply) -> None:
        match message:
            case Lookup(key):
                self._lookup(key, reply)
            case Store(lead, value):
                self._flights.leads.discard(lead)
                # Also for a lead that a restart pruned: its value is as good for those who follow the next one.
                for follower in self._followers.pop(lead.key, ()):
                    self._flights.shared += follower.ok(Hit(value))
            case Abandon(lead):
                self._flights.leads.discard(lead)
                self._promote(lead.key)
            case Tick():
                self._sweep(self._clock())

    def _lookup(self, key: bytes, reply: Reply) -> None:
        flights = self._flights
        if not flights.leads.count(key):
            if len(flights.leads) < flights.max_keys:
                flights.led += self._lead(key, reply)
            else:
                flights.alone += reply.ok(Miss())
            return
        line = self._followers.setdefault(key, OrderedDict())
        if len(line) < flights.max_followers:
            line[reply] = None
        else:
            flights.alone += reply.ok(Miss())

    def _lead(self, key: bytes, reply: Reply) -> bool:
        lead = self._flights.leads.add(Lead(key, self.ref), self._clock())
        granted = reply.ok(lead)
        if not granted:
            self._flights.leads.discard(lead)
        return granted

    def _promote(self, key: bytes) -> None:
        """Give a key without a lead to the first of its followers who is still there."""
        now, line = self._clock(), self._followers.get(key)
        if line is None or self._flights.leads.count(key):
            return
        while line:
            follower, _ = line.popitem(last=False)
            if not follower.wanted(now):
                self._flights.alone += follower.ok(Miss())
            elif self._lead(key, follower):
                self._flights.promoted += 1
                break
        if not line:
            del self._followers[key]

    def _sweep(self, now: float) -> None:
        for lead in self._flights.leads.sweep(now):
            self._promote(lead.key)
        for key, line in list(self._followers.items()):
            for follower in [follower for follower in line if not follower.wanted(now)]:
                del line[follower]
                self._flights.alone += follower.ok(Miss())
            if not line:
                del self._followers[key]
