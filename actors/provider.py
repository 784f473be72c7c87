"""Where the work may be done: endpoints with a bounded number of slots and interchangeable keys.

Rule: as long as anybody waits for an endpoint, none of its slots is free.  Waiting is in order, bounded in depth, and
ends at the asker's deadline (at the first tick after it).
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import Final

from actors.kernel import Actor, Clock, Reply
from actors.messages import Tick
from actors.provider_books import COOL_DOWNS, Desk, EndpointStatistics, Place, ProviderBooks, ProviderStatistics
from actors.provider_keys import NOWHERE
from actors.provider_messages import Configure, Done, Endpoint, Open, Outcome, ProviderLease, Unavailable

__all__ = [
    "COOL_DOWNS",
    "RETRY",
    "Configure",
    "Done",
    "Endpoint",
    "EndpointStatistics",
    "Open",
    "Outcome",
    "ProviderActor",
    "ProviderBooks",
    "ProviderLease",
    "ProviderStatistics",
    "Unavailable",
]

# Nobody knows when a slot comes free; a second is long enough not to be hammered.
RETRY: Final = 1.0
TOO_LATE: Final = "no slot came free in time"


class ProviderActor(Actor[Open | Done | Configure | Tick]):
    """Grants slots; keeps those who wait for one, in order, each in the lines of all endpoints it may use."""

    def __init__(self, books: ProviderBooks, clock: Clock) -> None:
        self._books, self._clock = books, clock
        self._numbers = count()

    def started(self) -> None:
        self._books.leases.prune()
        self._books.forget()
        for desk in self._books.desks.values():
            desk.line = OrderedDict()  # those who stood in the old one are delivered again

    def handle(self, message: Open | Done | Configure | Tick, reply: Reply) -> None:
        match message:
            case Open():
                self._open(message, reply, self._clock())
            case Done():
                self._done(message, self._clock())
            case Configure(endpoints):
                self._configure(endpoints, self._clock())
                reply.ok()
            case Tick():
                self._sweep(self._clock())

    def _open(self, query: Open, reply: Reply, now: float) -> None:
        books, names, spent = self._books, query.endpoints, query.spent
        home = books.affinities.find(query.affinity, now) if query.affinity else NOWHERE
        if home[0] in names:
            names = (home[0], *names)
        full: list[Desk] = []
        soonest: tuple[float, Desk, int] | None = None  # of the keys that cool
        for name in names:
            desk = books.desks.get(name)
            if desk is None or (spent and not desk.keys.unspent(spent)):
                continue
            if not self._free(desk):
                full.append(desk)
                continue
            key = desk.keys.take(spent, now, home)
            rest = desk.keys.rest(key, now) if desk.keys.cooling else 0.0
            if not rest:
                self._grant(desk, key, query, reply, now)
                return
            if soonest is None or rest < soonest[0]:
                soonest = rest, desk, key
        if soonest is not None:
            _, desk, key = soonest
            self._grant(desk, key, query, reply, now)
        elif full:
            self._wait(full, query, reply, now)
        else:
            self._refuse(reply, "no endpoint left to try")

    def _wait(self, desks: list[Desk], query: Open, reply: Reply, now: float) -> None:
        lines = tuple(desk for desk in desks if self._room(desk, now))
        if not lines:
            self._refuse(reply, "too many are waiting")
            return
        place = Place(next(self._numbers), query, lines)
        for desk in lines:
            desk.line[reply] = place

    def _free(self, desk: Desk) -> bool:
        slots = desk.endpoint.slots
        return slots is None or self._books.leases.count(desk.endpoint.name) < slots

    def _room(self, desk: Desk, now: float) -> bool:
        """Whether one more may join the line.  Who gave up stands in front, mostly; ticks find the rest."""
        line = desk.line
        while len(line) >= desk.endpoint.queue and line:
            first = next(iter(line))
            if first.wanted(now):
                return False
            self._dismiss(desk, first)
        return len(line) < desk.endpoint.queue

    def _grant(self, desk: Desk, key: int, query: Open, reply: Reply, now: float) -> None:
        books = self._books
        lease = books.leases.add(ProviderLease(desk.endpoint.name, self.ref), now)
        lease.ring, lease.key_index, lease.affinity = desk.keys, key, query.affinity
        if not reply.ok(lease):
            books.leases.discard(lease)

    def _refuse(self, reply: Reply, reason: str) -> None:
        self._books.refused += reply.fail(Unavailable(RETRY, reason))

    def _leave(self, desk: Desk, reply: Reply) -> Open:
        place = desk.line[reply]
        for other in place.lines:
            other.line.pop(reply, None)  # a query may name an endpoint twice
        return place.query

    def _dismiss(self, desk: Desk, reply: Reply) -> None:
        """Out of line without a slot: too late, or gone."""
        self._leave(desk, reply)
        self._refuse(reply, TOO_LATE)

    def _serve(self, desk: Desk, now: float) -> None:
        """Give free slots to those in line."""
        while desk.line and self._free(desk):
            first = next(iter(desk.line))
            if first.wanted(now):
                query = self._leave(desk, first)
                home = self._books.affinities.find(query.affinity, now)
                self._grant(desk, desk.keys.take(query.spent, now, home), query, first, now)
            else:
                self._dismiss(desk, first)

    def _done(self, note: Done, now: float) -> None:
        books, lease, outcome = self._books, note.lease, note.outcome
        books.leases.discard(lease)
        desk = books.desks.get(lease.key) or books.leaving.get(lease.key)
        if desk is None:
            return  # a restart took this lease back, and it was the last of a removed endpoint
        desk.outcomes[outcome] += 1
        if outcome is Outcome.OK:
            if lease.ring.cooling:
                lease.ring.warm(lease.key_index)
            if lease.affinity:
                books.affinities.remember(lease.affinity, (lease.key, lease.key_index), now)
        elif outcome in COOL_DOWNS:
            lease.ring.cool(lease.key_index, now + COOL_DOWNS[outcome].seconds(note.retry_after))
        if desk.line:
            self._serve(desk, now)
        elif books.leaving:
            books.forget()

    def _configure(self, endpoints: tuple[Endpoint, ...], now: float) -> None:
        places: dict[Reply, Place] = {}
        for desk in self._books.desks.values():
            places.update(desk.line)
            desk.line = OrderedDict()
        self._books.configure(endpoints)
        for reply, place in sorted(places.items(), key=lambda item: item[1].number):
            if reply.wanted(now):
                self._open(place.query, reply, now)
            else:
                self._refuse(reply, TOO_LATE)

    def _sweep(self, now: float) -> None:
        for lease in self._books.leases.sweep(now):
            if (came_free := self._books.desks.get(lease.key)) is not None:
                self._serve(came_free, now)
        self._books.forget()
        for desk in self._books.all():
            desk.keys.sweep(now)
            for reply in [reply for reply in desk.line if not reply.wanted(now)]:
                self._dismiss(desk, reply)
