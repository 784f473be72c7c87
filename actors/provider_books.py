"""What is known about each endpoint: its leases, its outcomes, its keys, and who was served where.

Rule: all of it survives a restart of the actor, but for the lines of those who wait: they are delivered again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from actors.kernel import Reply
from actors.lease import TIME_TO_LIVE, LeaseTable
from actors.provider_keys import Affinities, KeyRing
from actors.provider_messages import Endpoint, Open, Outcome, ProviderLease, check_distinct


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


class EndpointStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included.

    Up to the next tick ``waiting`` may count askers who have left, and ``cooling`` keys that have rested enough.
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
    """One endpoint: its outcomes, its keys, and the line in front of it (of the living instance of the actor)."""

    __slots__ = ("endpoint", "keys", "line", "outcomes")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.keys = KeyRing(endpoint.name, endpoint.keys)
        self.line: OrderedDict[Reply, Place] = OrderedDict()

    def change(self, endpoint: Endpoint) -> None:
        """The same endpoint, with other figures."""
        if endpoint.keys != self.endpoint.keys:
            self.keys = KeyRing(endpoint.name, endpoint.keys)
        self.endpoint = endpoint


class ProviderBooks:
    """What survives a restart: endpoints, leases in flight, cool-downs, affinities, totals.  ``ttl`` in seconds."""

    def __init__(self, endpoints: Iterable[Endpoint], ttl: float = TIME_TO_LIVE) -> None:
        self.leases: LeaseTable[ProviderLease] = LeaseTable(ttl)
        self.desks: dict[str, Desk] = {}
        self.leaving: dict[str, Desk] = {}  # removed, with leases still in flight
        self.affinities = Affinities()
        self.refused = 0
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
        name = desk.endpoint.name
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
        )

    def _describe(self, desk: Desk) -> str:
        slots = "unlimited" if desk.endpoint.slots is None else desk.endpoint.slots
        name, keys = desk.endpoint.name, desk.keys
        cooling = f", cooling {len(keys.cooling)}/{keys.count} keys" if keys.cooling else ""
        removed = ", removed" if name in self.leaving else ""
        return f"{name} | slots {self.leases.count(name)}/{slots}, waiting {len(desk.line)}{cooling}{removed}"
