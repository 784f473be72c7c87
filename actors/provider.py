"""Where the work may be done: endpoints with a bounded number of slots and interchangeable keys.

Rule: as long as anybody waits for an endpoint, none of its slots is free, or its breaker lets nobody through.  Waiting
is in order, bounded in depth, and ends at the asker's deadline (at the first tick after it) or when the breaker opens.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import Final

from actors.kernel import Actor, Clock, Reply
from actors.messages import Tick
from actors.provider_books import (
    COOL_DOWNS,
    FAULTS,
    Desk,
    EndpointStatistics,
    Place,
    ProviderBooks,
    ProviderStatistics,
)
from actors.provider_breaker import BreakerRules, BreakerState
from actors.provider_health import Health
from actors.provider_keys import NOWHERE
from actors.provider_messages import (
    Configure,
    Done,
    Endpoint,
    Manner,
    Open,
    Outcome,
    ProviderLease,
    Retry,
    Unavailable,
)
from actors.provider_pace import Percentiles

__all__ = [
    "COOL_DOWNS",
    "FAULTS",
    "RETRY",
    "BreakerRules",
    "BreakerState",
    "Configure",
    "Done",
    "Endpoint",
    "EndpointStatistics",
    "Health",
    "Manner",
    "Open",
    "Outcome",
    "Percentiles",
    "ProviderActor",
    "ProviderBooks",
    "ProviderLease",
    "ProviderStatistics",
    "Retry",
    "Unavailable",
]

# Nobody knows when a slot comes free; a second is long enough not to be hammered.
RETRY: Final = 1.0
TOO_LATE: Final = "no slot came free in time"
BROKEN: Final = "it failed too often and is left alone for now"
# To look a member up on its class costs as much as two calls (Python 3.11).
CLOSED: Final = BreakerState.CLOSED
OK: Final = Outcome.OK


class ProviderActor(Actor[Open | Done | Retry | Configure | Tick]):
    """Grants slots; keeps those who wait for one, in order, each in the lines of all endpoints it may use."""

    def __init__(self, books: ProviderBooks, clock: Clock) -> None:
        self._books, self._clock = books, clock
        self._numbers = count()

    def started(self) -> None:
        self._books.leases.prune()
        self._books.forget()
        for desk in self._books.all():
            desk.line = OrderedDict()  # those who stood in the old one are delivered again
            desk.breaker.reset()

    def handle(self, message: Open | Done | Retry | Configure | Tick, reply: Reply) -> None:
        # The two of every request: a class in a `match` costs five times as much, and so does each one before it.
        if type(message) is Open:
            self._open(message, reply, self._clock())
            return
        if type(message) is Done:
            self._done(message, self._clock())
            return
        match message:
            case Retry(endpoint):
                self._retry(endpoint, reply, self._clock())
            case Configure(endpoints):
                self._configure(endpoints, self._clock())
                reply.ok()
            case Tick():
                self._sweep(self._clock())

    def _open(self, query: Open, reply: Reply, now: float) -> None:
        books, names, spent = self._books, query.endpoints, query.spent
        home = NOWHERE
        if query.affinity and (home := books.affinities.find(query.affinity, now))[0] in names[1:]:
            names = (home[0], *names)
        full: tuple[Desk, ...] = ()
        broken: tuple[str, ...] = ()
        soonest: tuple[float, Desk, int] | None = None  # of the keys that cool
        for name in names:
            desk = books.desks.get(name)
            if desk is None or (spent and not desk.keys.unspent(spent)):
                continue
            if desk.breaker.state is not CLOSED and not desk.breaker.lets_through(now):
                broken += () if name in broken else (name,)
                continue
            if (slots := desk.endpoint.slots) is not None and books.leases.count(name) >= slots:
                full += (desk,)
                continue
            keys = desk.keys
            key = keys.take(spent, now, home) if keys.count > 1 else 0
            rest = keys.rest(key, now) if keys.cooling else 0.0
            if not rest:
                self._grant(desk, key, query, reply, now, broken)
                return
            if soonest is None or rest < soonest[0]:
                soonest = rest, desk, key
        if soonest is not None:
            _, desk, key = soonest
            self._grant(desk, key, query, reply, now, broken)
        elif full:
            self._wait(full, query, reply, now)
        elif broken:
            self._refuse(reply, BROKEN, min(books.desks[name].breaker.left(now) or RETRY for name in broken))
        else:
            self._refuse(reply, "no endpoint left to try")

    def _wait(self, desks: tuple[Desk, ...], query: Open, reply: Reply, now: float) -> None:
        lines = tuple([desk for desk in desks if self._room(desk, now)])
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

    def _grant(self, desk: Desk, key: int, query: Open, reply: Reply, now: float, passed: tuple[str, ...] = ()) -> None:
        books = self._books
        lease = books.leases.add(ProviderLease(desk.endpoint.name, self.ref), now)
        lease.ring, lease.key_index, lease.affinity = desk.keys, key, query.affinity
        lease.limits, lease.passed = desk.paces.limits, passed
        lease.manner, lease.first_byte, lease.hurried = None, 0.0, False
        if not reply.ok(lease):
            books.leases.discard(lease)
        elif desk.breaker.state is not CLOSED:
            desk.breaker.sent(lease)

    def _refuse(self, reply: Reply, reason: str, seconds: float = RETRY) -> None:
        self._books.refused += reply.fail(Unavailable(seconds, reason))

    def _retry(self, endpoint: str, reply: Reply, now: float) -> None:
        desk = self._books.desks.get(endpoint)
        if desk is None:
            self._refuse(reply, "no endpoint left to try")
        elif not desk.breaker.lets_through(now):
            self._refuse(reply, BROKEN, desk.breaker.left(now) or RETRY)
        elif not desk.retries.take(desk.outcomes[OK], now):
            self._refuse(reply, "too many retries")
        else:
            reply.ok()

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
        while desk.line and self._free(desk) and desk.breaker.lets_through(now):
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
        if outcome is OK:
            self._succeeded(desk, lease, now)
        elif outcome in FAULTS and not self._hurried(desk, lease, outcome):
            self._failed(desk, lease, now)
        else:
            desk.breaker.given_back(lease)
            if outcome in COOL_DOWNS:
                lease.ring.cool(lease.key_index, now + COOL_DOWNS[outcome].seconds(note.retry_after))
        if desk.line:
            self._serve(desk, now)
        elif books.leaving:
            books.forget()

    def _succeeded(self, desk: Desk, lease: ProviderLease, now: float) -> None:
        desk.recent.append(True)
        if desk.breaker.faults or desk.breaker.state is not CLOSED:
            desk.breaker.succeeded(lease, now)
        if lease.manner is not None and lease.first_byte:
            desk.paces.note(lease.manner, lease.shape, lease.first_byte)
        if lease.ring.cooling:
            lease.ring.warm(lease.key_index)
        if lease.affinity:
            self._books.affinities.remember(lease.affinity, (lease.key, lease.key_index), now)

    def _hurried(self, desk: Desk, lease: ProviderLease, outcome: Outcome) -> bool:
        """Whether this is one more that was cut by a limit that has proved wrong: all of them are one fault."""
        cut = outcome is Outcome.TIMEOUT and lease.hurried and not lease.first_byte
        return cut and not desk.paces.forget(lease.shape)

    def _failed(self, desk: Desk, lease: ProviderLease, now: float) -> None:
        desk.recent.append(False)
        self._books.ticked_at = desk.failed_at = now  # what is left of a rest counts from here
        if desk.breaker.failed(lease, now):
            self._send_away(desk, now)

    def _send_away(self, desk: Desk, now: float) -> None:
        """Its breaker has opened: who stands in no other line is refused."""
        line, desk.line = desk.line, OrderedDict()
        for reply, place in line.items():
            if not any(reply in other.line for other in place.lines):
                self._refuse(reply, BROKEN, desk.breaker.left(now))

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
        self._books.ticked_at = now
        for lease in self._books.leases.sweep(now):
            if (came_free := self._books.desks.get(lease.key)) is not None:
                came_free.breaker.given_back(lease)
                self._serve(came_free, now)
        self._books.forget()
        for desk in self._books.all():
            desk.keys.sweep(now)
            desk.paces.refresh()
            desk.retries.tick(desk.outcomes[OK], now)
            desk.breaker.lets_through(now)  # so that it is half open for those who look
            for reply in [reply for reply in desk.line if not reply.wanted(now)]:
                self._dismiss(desk, reply)
