"""Where the work may be done: endpoints with a bounded number of slots.

Rule: as long as anybody waits for an endpoint, none of its slots is free.  Waiting is in order, bounded in depth, and
ends at the asker's deadline (at the first tick after it).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from actors.kernel import Actor, Clock, Reply
from actors.lease import TIME_TO_LIVE, Lease, LeaseTable
from actors.messages import Query, Refused, Tick

# Nobody knows when a slot comes free; a second is long enough not to be hammered.
RETRY: Final = 1.0


class Outcome(StrEnum):
    """How the work under a lease ended."""

    OK = "ok"
    CLIENT_FAULT = "client_fault"  # the endpoint was right to refuse
    UPSTREAM_FAULT = "upstream_fault"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    BROKEN = "broken"  # ended in the middle
    CANCELLED = "cancelled"  # nobody wanted it any more


class Endpoint(msgspec.Struct, frozen=True):
    """``slots`` leases at a time (``None``: unlimited), up to ``queue`` askers waiting for one."""

    name: str
    slots: int | None = None
    queue: int = 1024

    def __post_init__(self) -> None:
        if self.slots is not None and self.slots < 1:
            raise ValueError("slots must be at least 1")
        if self.queue < 0:
            raise ValueError("queue must not be below 0")


class Unavailable(Refused):
    """No slot by the deadline, too many waiting already, or no endpoint left to try."""


class ProviderLease(Lease):
    """One slot of ``endpoint``."""

    __slots__ = ()
    key: str

    @property
    def endpoint(self) -> str:
        return self.key

    def done(self, outcome: Outcome) -> None:
        """Give the slot back and say how it went.  Idempotent: the first outcome counts.

        Work still attached is aborted whatever the outcome: detach what has ended well first.
        """
        self._give_back(Done(self, outcome))

    def release(self) -> None:
        """``done(Outcome.CANCELLED)``."""
        self.done(Outcome.CANCELLED)


class Open(Query[ProviderLease], frozen=True):
    """A slot of the first of ``endpoints`` that has one and is not in ``tried``; waits for one until the deadline."""

    endpoints: tuple[str, ...]
    tried: frozenset[str] = frozenset()


class Done(msgspec.Struct, frozen=True, gc=False):
    """A lease comes back (sent by :meth:`ProviderLease.done`)."""

    lease: ProviderLease
    outcome: Outcome


class EndpointStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included.  ``waiting`` may count, up to the next tick, askers who have left."""

    name: str
    slots: int | None
    in_flight: int
    waiting: int
    ok: int
    failed: dict[Outcome, int]  # every outcome but OK


class ProviderStatistics(msgspec.Struct, frozen=True):
    endpoints: tuple[EndpointStatistics, ...]
    refused: int
    leases_lost: int


class _Desk:
    """One endpoint: its outcomes, and the line in front of it (of the living instance: a new one begins a new line)."""

    __slots__ = ("endpoint", "line", "outcomes")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.line: OrderedDict[Reply, tuple[_Desk, ...]] = OrderedDict()  # -> all the lines it stands in


class ProviderBooks:
    """What survives a restart: the leases in flight and the totals.  ``ttl`` in seconds."""

    def __init__(self, endpoints: Iterable[Endpoint], ttl: float = TIME_TO_LIVE) -> None:
        self.leases: LeaseTable[ProviderLease] = LeaseTable(ttl)
        self.desks = {endpoint.name: _Desk(endpoint) for endpoint in endpoints}
        self.refused = 0

    def __repr__(self) -> str:
        return f"<ProviderBooks {', '.join(self._describe(desk) for desk in self.desks.values())}>"

    def _describe(self, desk: _Desk) -> str:
        slots = "unlimited" if desk.endpoint.slots is None else desk.endpoint.slots
        name = desk.endpoint.name
        return f"{name} | slots {self.leases.count(name)}/{slots}, waiting {len(desk.line)}"

    def statistics(self) -> ProviderStatistics:
        return ProviderStatistics(
            endpoints=tuple(
                EndpointStatistics(
                    name=name,
                    slots=desk.endpoint.slots,
                    in_flight=self.leases.count(name),
                    waiting=len(desk.line),
                    ok=desk.outcomes[Outcome.OK],
                    failed={outcome: n for outcome, n in desk.outcomes.items() if outcome is not Outcome.OK},
                )
                for name, desk in self.desks.items()
            ),
            refused=self.refused,
            leases_lost=self.leases.lost,
        )


class ProviderActor(Actor[Open | Done | Tick]):
    """Grants slots; keeps those who wait for one, in order, each in the lines of all endpoints it may use."""

    def __init__(self, books: ProviderBooks, clock: Clock) -> None:
        self._books, self._clock = books, clock

    def started(self) -> None:
        self._books.leases.prune()
        for desk in self._books.desks.values():
            desk.line = OrderedDict()  # those who stood in the old one are delivered again

    def handle(self, message: Open | Done | Tick, reply: Reply) -> None:
        match message:
            case Open():
                self._open(message, reply)
            case Done(lease, outcome):
                self._books.leases.discard(lease)
                desk = self._books.desks[lease.endpoint]
                desk.outcomes[outcome] += 1
                self._serve(desk)
            case Tick():
                self._sweep(self._clock())

    def _open(self, query: Open, reply: Reply) -> None:
        desks: list[_Desk] = []
        for name in query.endpoints:
            desk = self._books.desks.get(name)
            if desk is None or name in query.tried:
                continue
            if self._free(desk):
                self._grant(desk, reply)
                return
            desks.append(desk)
        if not desks:
            self._refuse(reply, "no endpoint left to try")
            return
        now = self._clock()
        lines = tuple(desk for desk in desks if self._room(desk, now))
        if not lines:
            self._refuse(reply, "too many are waiting")
            return
        for desk in lines:
            desk.line[reply] = lines

    def _free(self, desk: _Desk) -> bool:
        slots = desk.endpoint.slots
        return slots is None or self._books.leases.count(desk.endpoint.name) < slots

    def _room(self, desk: _Desk, now: float) -> bool:
        """Whether one more may join the line.  Who gave up stands in front, mostly; ticks find the rest."""
        line = desk.line
        while len(line) >= desk.endpoint.queue and line:
            first = next(iter(line))
            if first.wanted(now):
                return False
            self._dismiss(desk, first)
        return len(line) < desk.endpoint.queue

    def _grant(self, desk: _Desk, reply: Reply) -> None:
        lease = self._books.leases.add(ProviderLease(desk.endpoint.name, self.ref), self._clock())
        if not reply.ok(lease):
            self._books.leases.discard(lease)

    def _refuse(self, reply: Reply, reason: str) -> None:
        self._books.refused += reply.fail(Unavailable(RETRY, reason))

    def _leave(self, desk: _Desk, reply: Reply) -> None:
        for other in desk.line[reply]:
            other.line.pop(reply, None)  # a query may name an endpoint twice

    def _dismiss(self, desk: _Desk, reply: Reply) -> None:
        """Out of line without a slot: too late, or gone."""
        self._leave(desk, reply)
        self._refuse(reply, "no slot came free in time")

    def _serve(self, desk: _Desk) -> None:
        """Give free slots to those in line."""
        now = self._clock()
        while desk.line and self._free(desk):
            first = next(iter(desk.line))
            if first.wanted(now):
                self._leave(desk, first)
                self._grant(desk, first)
            else:
                self._dismiss(desk, first)

    def _sweep(self, now: float) -> None:
        for lease in self._books.leases.sweep(now):
            self._serve(self._books.desks[lease.endpoint])
        for desk in self._books.desks.values():
            for reply in [reply for reply in desk.line if not reply.wanted(now)]:
                self._dismiss(desk, reply)
