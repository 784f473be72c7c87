"""What is said to and by the provider: endpoints, outcomes, leases, questions.

Rule: every message is frozen, and a name stands for the same endpoint in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from actors.lease import Lease
from actors.messages import Query, Refused
from actors.provider_breaker import BreakerRules
from actors.provider_keys import KeyRing, Pair


class Outcome(StrEnum):
    """How the work under a lease ended."""

    OK = "ok"
    CLIENT_FAULT = "client_fault"  # the endpoint was right to refuse
    UPSTREAM_FAULT = "upstream_fault"
    THROTTLED = "throttled"
    KEY_REFUSED = "key_refused"
    TIMEOUT = "timeout"
    BROKEN = "broken"  # ended in the middle
    CANCELLED = "cancelled"  # nobody wanted it any more


class Manner(StrEnum):
    """How work is answered; what a wait means to whoever waits depends on it."""

    STREAM = "stream"  # piece by piece
    WHOLE = "whole"


class Endpoint(msgspec.Struct, frozen=True):
    """``slots`` leases at a time (``None``: unlimited), up to ``queue`` askers waiting for one.

    ``keys``: how many interchangeable keys it has; they are known here by number only.  ``breaker``: when it is left
    alone.
    """

    name: str
    slots: int | None = None
    queue: int = 1024
    keys: int = 1
    breaker: BreakerRules = BreakerRules()

    def __post_init__(self) -> None:
        if self.slots is not None and self.slots < 1:
            raise ValueError("slots must be at least 1")
        if self.queue < 0:
            raise ValueError("queue must not be below 0")
        if self.keys < 1:
            raise ValueError("keys must be at least 1")


def check_distinct(endpoints: Iterable[Endpoint]) -> None:
    """Raises :class:`ValueError` for two endpoints of one name."""
    names = [endpoint.name for endpoint in endpoints]
    if len(set(names)) < len(names):
        raise ValueError("two endpoints have one name")


class ProviderLease(Lease):
    """One slot of ``endpoint``, to be used with its key number ``key_index``.

    ``passed``: the endpoints that would have gone before it, had their breakers let anything through.
    """

    __slots__ = ("affinity", "first_byte", "hurried", "key_index", "limits", "manner", "passed", "ring", "shape")
    # set by the actor that grants it
    key: str
    ring: KeyRing  # to which the number belongs: the endpoint may have other keys by the time the lease comes back
    key_index: int
    affinity: str
    limits: Mapping[int, float]
    passed: tuple[str, ...]
    # set by its holder
    manner: Manner | None  # None: nothing is learned from this, and it has no shape
    shape: int
    first_byte: float  # 0: not here
    hurried: bool  # it was given less time than its asker would have

    @property
    def endpoint(self) -> str:
        return self.key

    def patience(self, manner: Manner, shape: int, least: float, most: float) -> float:
        """Seconds within which work of this ``shape`` should begin to be answered: ``most`` where too little is known,
        else what was learned of others of its shape, within ``least`` and ``most``.

        How long it takes will be shown under ``manner``.
        """
        self.manner, self.shape = manner, shape
        limit = self.limits.get(shape)
        if limit is None or limit >= most or least >= most:
            return most
        self.hurried = True
        return max(limit, least)

    def answered(self, seconds: float) -> None:
        """The first byte is here, after ``seconds``."""
        self.first_byte = seconds

    def done(self, outcome: Outcome, retry_after: float | None = None) -> None:
        """Give the slot back and say how it went.  Idempotent: the first outcome counts.

        Work still attached is aborted whatever the outcome: detach what has ended well first.  ``retry_after``: the
        seconds for which the endpoint asked to be left alone (when it throttled; kept within bounds).
        """
        self._give_back(Done(self, outcome, retry_after))

    def release(self) -> None:
        """``done(Outcome.CANCELLED)``."""
        self.done(Outcome.CANCELLED)


class Done(msgspec.Struct, frozen=True, gc=False):
    """A lease comes back (sent by :meth:`ProviderLease.done`)."""

    lease: ProviderLease
    outcome: Outcome
    retry_after: float | None = None


class Unavailable(Refused):
    """No slot by the deadline, too many waiting already, no endpoint left to try, no retry left in the budget, or every
    breaker open: then ``retry_after`` says when the first of them tries its endpoint again."""


class Open(Query[ProviderLease], frozen=True):
    """A slot of the first of ``endpoints`` that has one and a fit key; waits for one until the deadline.

    ``spent``: the endpoint and key pairs that this work has used up.  ``affinity``: whoever asks with the same text
    again gets the same endpoint and key while that serves; it is kept as it is, so bound its length.
    """

    endpoints: tuple[str, ...]
    spent: frozenset[Pair] = frozenset()
    affinity: str = ""


class Retry(Query[None], frozen=True):
    """May work that has failed at ``endpoint`` be opened there once more?  One retry of its budget, or Unavailable.

    Asked before the pause, so that nobody waits for a refusal.
    """

    endpoint: str


class Configure(Query[None], frozen=True):
    """``endpoints`` from now on.  Leases in flight end as they would have, also those of an endpoint that goes.

    Those who wait ask anew, in their order: who waits for what is gone is refused, and new room is taken at once.  When
    an endpoint's number of keys changes, all its keys count as new: their cool-downs are forgotten.  When the rules of
    its breaker change, the breaker is closed.
    """

    endpoints: tuple[Endpoint, ...]

    def __post_init__(self) -> None:
        check_distinct(self.endpoints)
