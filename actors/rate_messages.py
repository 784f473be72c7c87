"""What is said to and by the limiter: limits, permits, refusals, and how several processes share one limit.

Rule: every message is frozen; a permit is what budget is charged to and given back by, never a place in a list.

**Several processes** (``Limits.processes`` of them).  Each process may use its even part of every limit: the limit
divided by their number.  Whoever knows more (a store that all can reach) may *allot*: it asks for :class:`Demand` from
time to time, and tells :class:`Allot` for each key that is in use.  While an allotment is in force the process may go
up to the whole limit, but begins no more than was allotted; when it ends, and nobody tells a new one, the even part is
what is left.  So a store that goes away costs only the sharing.

While the store can be reached (:class:`Sharing`), a key without an allotment may begin one request, whose claim brings
one: with its even part it could begin what another process has been allotted already.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from actors.lease import Lease
from actors.messages import Query, Refused
from actors.rate_window import ROUNDING

if TYPE_CHECKING:
    from actors.rate_upstreams import Upstream
    from actors.rate_window import Bucket

NOBODY: Final[frozenset[str]] = frozenset()


class UpstreamLimits(msgspec.Struct, frozen=True):
    """The same for each upstream; ``None`` is unlimited until an upstream's 429 shows that there is a limit.

    ``requests`` and ``tokens`` are for any 60 seconds.  ``burst``: so many requests may run ahead of the even pace of
    one every ``60 / requests`` seconds; a rested upstream gets ``1 + burst`` at once.  ``enabled`` False: nothing is
    counted, whatever upstreams say; ``adaptive`` False: limits stay as they are set, but a pause is kept.
    """

    requests: float | None = None
    tokens: float | None = None
    burst: int = 30
    enabled: bool = True
    adaptive: bool = True

    def __post_init__(self) -> None:
        for name in ("requests", "tokens"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} must be above 0")
        if self.burst < 0:
            raise ValueError("burst must not be below 0")


class Limits(msgspec.Struct, frozen=True):
    """Per caller; ``None`` is unlimited.  ``burst`` is what a rested one may send beyond a minute's worth at once.

    ``upstream`` are those of the other book; ``processes`` share all of them.
    """

    requests_per_minute: float | None = None
    burst: int = 0
    concurrent: int | None = None
    upstream: UpstreamLimits = UpstreamLimits()
    processes: int = 1

    def __post_init__(self) -> None:
        if self.requests_per_minute is not None and not self.requests_per_minute > 0:
            raise ValueError("requests_per_minute must be above 0")
        if self.burst < 0:
            raise ValueError("burst must not be below 0")
        if self.concurrent is not None and self.concurrent < 1:
            raise ValueError("concurrent must be at least 1")
        if self.processes < 1:
            raise ValueError("processes must be at least 1")


class Kind(StrEnum):
    """What a budget is of."""

    REQUESTS = "requests"
    TOKENS = "tokens"


class Budget(msgspec.Struct, frozen=True):
    """A limit as its user may know it: ``remaining`` of ``limit`` now, all of it again in ``reset`` seconds."""

    kind: Kind
    limit: int
    remaining: int
    reset: float


class Pace(msgspec.Struct, frozen=True):
    """A budget of requests that fills evenly: seconds of ``interval`` between two; how far ahead of now a theoretical
    arrival time may lie for one more to conform (``tolerance``); how many a rested caller has (``whole``)."""

    interval: float
    tolerance: float
    whole: float

    def budget(self, debt: float) -> Budget:
        """What is left when the arrival time lies ``debt`` seconds ahead."""
        spare = self.tolerance - debt + ROUNDING
        return Budget(Kind.REQUESTS, int(self.whole), int(spare / self.interval) + 1 if spare >= 0 else 0, debt)


class RateLimited(Refused):
    """Over budget; ``retry_after`` seconds from now there is room for one more request.

    ``upstream`` is the one that has no room, "" where it is the caller's own limit; ``budgets`` are of that book.
    """

    def __init__(
        self, retry_after: float, reason: str = "", upstream: str = "", budgets: tuple[Budget, ...] = ()
    ) -> None:
        super().__init__(retry_after, reason)
        self.upstream, self.budgets = upstream, budgets


class Permit(Lease):
    """One admitted request.

    ``cost`` is the estimate it came with, in tokens.  ``upstream`` is where it is charged ("": nowhere), the first of
    its upstreams with room; ``barred`` are those of its upstreams that had none.
    """

    __slots__ = ("arrival", "barred", "book", "bucket", "called", "cost", "left", "number", "pace", "tokens")
    # set by the actor that grants it
    key: str
    cost: int
    barred: frozenset[str]
    called: bool  # whether the upstream it is charged at has been called; all below is for the limiter
    left: tuple[Pace, float] | None  # what its caller has; None where callers have no limit per minute
    arrival: tuple[float, float] | None  # its caller's theoretical arrival time with it, and by how much it moved that
    book: Upstream | None  # where it is charged; the rest is set with it
    bucket: Bucket
    tokens: int  # reserved
    pace: tuple[float, float] | None  # as arrival, of the upstream
    number: int  # of its charge: later ones have higher numbers

    @property
    def upstream(self) -> str:
        return self.book.name if self.book is not None else ""

    @property
    def budget(self) -> Budget | None:
        """What its caller had left with it, where callers have a limit per minute."""
        return None if self.left is None else self.left[0].budget(self.left[1])

    def used(self, upstream: str) -> None:
        """``upstream`` is about to be called.  To be said of every call: each counts as a request there, and the tokens
        are reserved where the newest call goes.  The first call where the permit is charged costs no message.

        A first call elsewhere moves the charge: the upstream that was passed over has served nothing.
        """
        if self.book is None:
            return
        if self.called or upstream != self.book.name:
            self._owner.tell(Used(self, upstream, moved=not self.called), urgent=True)
        self.called = True

    def throttled(self, upstream: str, retry_after: float | None = None) -> None:
        """``upstream`` answered a call that it has too many requests; leave it alone for ``retry_after`` seconds."""
        if self.book is None:
            return
        self.called = True
        self._owner.tell(Throttled(self, upstream, retry_after), urgent=True)

    def settle(self, actual: int | None, succeeded: bool = True) -> None:
        """Return the permit, with the tokens that were really used where it was charged last; ``None``: not known, so
        that the estimate stands.  Idempotent: the first settlement counts."""
        self._give_back(Settle(self, actual, succeeded))

    def release(self) -> None:
        """Return it unused: it has cost its caller and its upstream nothing.  Idempotent, as :meth:`settle`."""
        self._give_back(Unused(self))


class Admit(Query[Permit], frozen=True):
    """May ``key`` begin a request of about ``cost`` tokens, to one of ``upstreams``?

    A :class:`Permit`, charged at the first of them that has room.  Without room it waits its turn for up to
    ``patience`` seconds if the wait is that short, else :class:`RateLimited` is raised at once.
    """

    key: str
    cost: int = 0
    upstreams: tuple[str, ...] = ()
    patience: float = 0.0


class Settle(msgspec.Struct, frozen=True, gc=False):
    """A permit comes back (sent by :meth:`Permit.settle`)."""

    permit: Permit
    actual: int | None
    succeeded: bool


class Unused(msgspec.Struct, frozen=True, gc=False):
    """A permit comes back that nothing was done with (sent by :meth:`Permit.release`)."""

    permit: Permit


class Used(msgspec.Struct, frozen=True, gc=False):
    """A call that the permit is not charged for yet (sent by :meth:`Permit.used`)."""

    permit: Permit
    upstream: str
    moved: bool


class Throttled(msgspec.Struct, frozen=True, gc=False):
    """An upstream's 429 (sent by :meth:`Permit.throttled`)."""

    permit: Permit
    upstream: str
    retry_after: float | None


class Wake(msgspec.Struct, frozen=True, gc=False):
    """Something that somebody waits for may be due (asked for through the actor's alarm)."""


class Book(StrEnum):
    """Which book a key is in."""

    CALLERS = "callers"
    UPSTREAMS = "upstreams"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What this process does under one limited key: charged since the last :class:`Demand` (given back is taken off, so
    it may be below 0), under way (of callers only), and waiting (1 also where somebody was refused).  Limits are those
    of all processes together; ``None`` is unlimited, and a caller's burst comes on top."""

    book: Book
    key: str
    requests: int
    tokens: int
    waiting: int
    in_flight: int = 0
    waiting_tokens: int = 0
    limit_requests: float | None = None
    limit_tokens: float | None = None
    limit_concurrent: int | None = None


class Demand(Query[tuple[Claim, ...]], frozen=True):
    """The claims on all keys with a limit that were in use since the last time, or are now."""


class Sharing(msgspec.Struct, frozen=True, gc=False):
    """Whether the store can be reached.  When it no longer can, all allotments end at once."""

    on: bool


class Allot(msgspec.Struct, frozen=True, gc=False):
    """For the next ``seconds`` this process may begin so many ``requests`` of so many ``tokens`` under ``key``, in all,
    and have so many ``concurrent`` under way.  Replaces what was allotted before; what began since the last
    :class:`Demand` is a part of it.

    ``None``: nothing is said of that; of requests and tokens then the whole limit counts, of those under way the even
    part.  A last request may use more tokens than are left; they are in the next claim.
    """

    book: Book
    key: str
    seconds: float
    requests: float | None = None
    tokens: float | None = None
    concurrent: int | None = None
