"""What is known about each endpoint: its leases, its outcomes, its keys, and who was served where.

Rule: all of it survives a restart of the actor, but for the lines of those who wait, which are delivered again, and for
the breakers, which are closed: one that is wrong about its endpoint must not outlive a fault of ours.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from actors.kernel import Reply
from actors.lease import TIME_TO_LIVE, LeaseTable
from actors.provider_breaker import Breaker, BreakerState
from actors.provider_health import Health, health
from actors.provider_keys import Affinities, KeyRing
from actors.provider_messages import Endpoint, Manner, Open, Outcome, ProviderLease, check_distinct
from actors.provider_pace import Paces, Percentiles, percentiles
from actors.provider_retries import RetryBudget


class CoolDown(msgspec.Struct, frozen=True):
    """How long a key rests, in seconds: ``usual``, or what the endpoint asked for within ``least`` and ``most``."""

    usual: float
    least: float
    most: float

    def seconds(self, asked: float | None) -> float:
        return self.usual if asked is None else max(self.least, min(self.most, asked))


COOL_DOWNS: Final = {
    Outcome.THROTTLED: CoolDown(30.0, least=1.0, most=600.0),
    Outcome.KEY_REFUSED: CoolDown(300.0, least=300.0, most=300.0),  # it takes a person to make it good again
}
# what an endpoint is to blame for; nothing else moves its breaker or lowers its health
FAULTS: Final = frozenset({Outcome.UPSTREAM_FAULT, Outcome.TIMEOUT, Outcome.BROKEN})
RECENT: Final = 100  # successes and faults that an endpoint's health is made of


class EndpointStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included.  Times are as of the last tick.

    Up to the next tick ``waiting`` may count askers who have left, and ``cooling`` keys that have rested enough.
    ``opened`` counts how often the breaker has opened, ``opened_at`` is the last time on the actor's clock (None:
    never), ``open_for`` the seconds until it is half open.  ``first_byte`` is the time to it.
    """

    name: str
    slots: int | None
    in_flight: int
    waiting: int
    ok: int
    failed: dict[Outcome, int]  # every outcome but OK
    keys: int
    cooling: int
    removed: bool  # listed until its last lease is back
    breaker: BreakerState
    opened: int
    opened_at: float | None
    open_for: float
    health: Health
    first_byte: dict[Manner, Percentiles]
    limits: int  # shapes of work that have a limit of their own for the first byte
    retries_granted: int
    retries_refused: int


class ProviderStatistics(msgspec.Struct, frozen=True):
    endpoints: tuple[EndpointStatistics, ...]
    refused: int
    leases_lost: int
    affinities: int


class Place(msgspec.Struct, frozen=True, eq=False):
    """Where one asker stands: in all of ``lines``, behind everybody with a lower ``number``."""

    number: int
    query: Open
    lines: tuple[Desk, ...]


class Desk:
    """One endpoint: what became of the work there, its keys, and the line in front of it (of the living instance of the
    actor)."""

    __slots__ = ("breaker", "endpoint", "failed_at", "keys", "line", "outcomes", "paces", "recent", "retries")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.recent: deque[bool] = deque(maxlen=RECENT)  # True: a success, False: a fault
        self.failed_at = float("-inf")
        self.keys = KeyRing(endpoint.name, endpoint.keys)
        self.breaker = Breaker(endpoint.breaker)
        self.paces = Paces()
        self.retries = RetryBudget()
        self.line: OrderedDict[Reply, Place] = OrderedDict()

    def change(self, endpoint: Endpoint) -> None:
        """The same endpoint, with other figures."""
        if endpoint.keys != self.endpoint.keys:
            self.keys = KeyRing(endpoint.name, endpoint.keys)
        if endpoint.breaker != self.endpoint.breaker:
            self.breaker.reset(endpoint.breaker)
        self.endpoint = endpoint


class ProviderBooks:
    """What survives a restart: endpoints, leases in flight, cool-downs, affinities, totals.  ``ttl`` in seconds."""

    def __init__(self, endpoints: Iterable[Endpoint], ttl: float = TIME_TO_LIVE) -> None:
        self.leases: LeaseTable[ProviderLease] = LeaseTable(ttl)
        self.desks: dict[str, Desk] = {}
        self.leaving: dict[str, Desk] = {}  # removed, with leases still in flight
        self.affinities = Affinities()
        self.refused = 0
        self.ticked_at = 0.0
        self.configure(tuple(endpoints))

    def __repr__(self) -> str:
        return f"<ProviderBooks {', '.join(self._describe(desk) for desk in self.all())}>"

    def configure(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Replace the set of endpoints.  Raises :class:`ValueError` for two of one name."""
        check_distinct(endpoints)
        known = self.desks | self.leaving
        self.desks = {}
        for endpoint in endpoints:
            desk = known.pop(endpoint.name, None)
            if desk is None:
                desk = Desk(endpoint)
            else:
                desk.change(endpoint)
            self.desks[endpoint.name] = desk
        self.leaving = known
        self.forget()

    def forget(self) -> None:
        """Drop removed endpoints whose last lease is back."""
        self.leaving = {name: desk for name, desk in self.leaving.items() if self.leases.count(name)}

    def all(self) -> Iterator[Desk]:
        """All desks, those of removed endpoints last."""
        yield from self.desks.values()
        yield from self.leaving.values()

    def statistics(self) -> ProviderStatistics:
        return ProviderStatistics(
            endpoints=tuple(self._statistics(desk) for desk in self.all()),
            refused=self.refused,
            leases_lost=self.leases.lost,
            affinities=len(self.affinities),
        )

    def _statistics(self, desk: Desk) -> EndpointStatistics:
        name, breaker, now = desk.endpoint.name, desk.breaker, self.ticked_at
        first_byte = {manner: percentiles(times) for manner, times in desk.paces.shown.items()}
        streams = first_byte[Manner.STREAM]
        felt = streams if streams.count else first_byte[Manner.WHOLE]  # whole answers begin when they are finished
        successes = sum(desk.recent)
        return EndpointStatistics(
            name=name,
            slots=desk.endpoint.slots,
            in_flight=self.leases.count(name),
            waiting=len(desk.line),
            ok=desk.outcomes[Outcome.OK],
            failed={outcome: n for outcome, n in desk.outcomes.items() if outcome is not Outcome.OK},
            keys=desk.keys.count,
            cooling=len(desk.keys.cooling),
            removed=name in self.leaving,
            breaker=breaker.state,
            opened=breaker.opened,
            opened_at=breaker.opened_at if breaker.opened else None,
            open_for=breaker.left(now),
            health=health(
                successes,
                len(desk.recent) - successes,
                breaker.state,
                felt.p99,
                now - desk.failed_at,
            ),
            first_byte=first_byte,
            limits=len(desk.paces.limits),
            retries_granted=desk.retries.granted,
            retries_refused=desk.retries.refused,
        )

    def _describe(self, desk: Desk) -> str:
        slots = "unlimited" if desk.endpoint.slots is None else desk.endpoint.slots
        name, keys = desk.endpoint.name, desk.keys
        cooling = f", cooling {len(keys.cooling)}/{keys.count} keys" if keys.cooling else ""
        state = desk.breaker.state
        broken = "" if state is BreakerState.CLOSED else f", breaker {state}"
        removed = ", removed" if name in self.leaving else ""
        return f"{name} | slots {self.leases.count(name)}/{slots}, waiting {len(desk.line)}{cooling}{broken}{removed}"
