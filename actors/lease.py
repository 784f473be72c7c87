"""Leases: the only way to hold something that an actor owns.

Rule: a lease is given back exactly once, whoever is first: its holder (``release``, from a ``finally``, without
waiting, so that it cannot be cancelled half-way) or the sweep of its time to live.  What is attached to it is aborted
with it.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from actors.kernel import Mailbox

log = logging.getLogger("actors")

# Above every deadline a holder can have (a stream may run 3,600 s), so a sweep only ever finds bugs.
TIME_TO_LIVE: Final = 3_900.0


class Abortable(Protocol):
    """Work in progress that can be ended at once, from any task, any number of times."""

    def abort(self) -> None: ...


class Lease:
    """Something held.  ``key`` names what of; the table it is in counts it until the actor has taken it back."""

    __slots__ = ("_attached", "_owner", "_table", "expires_at", "key", "released")
    expires_at: float  # on the actor's clock; set by the table

    def __init__(self, key: Hashable, owner: Mailbox) -> None:
        self.key = key
        self.released = False
        self._owner = owner
        self._attached: Abortable | None = None
        self._table: LeaseTable[Any] | None = None

    def __repr__(self) -> str:
        state = "released" if self.released else "held, busy" if self._attached else "held"
        return f"<{type(self).__name__} {self.key!r} {state}>"

    def release(self) -> None:
        """Give it back.  Idempotent, synchronous, never raises."""
        raise NotImplementedError

    def attach(self, work: Abortable) -> None:
        """Let ``work`` belong to this lease, not to a task.  Aborted at once if the lease is gone already (swept)."""
        self._attached = work
        if self.released:
            self._abort()

    def detach(self) -> None:
        """The work has ended well: releasing aborts nothing."""
        self._attached = None

    def _give_back(self, note: object) -> None:
        """Abort what is attached and tell the owner; only the first call does anything."""
        if self.released:
            return
        self.released = True
        if self._attached is not None:
            self._abort()
        if not self._owner.tell(note, urgent=True) and self._table is not None:
            self._table.discard(self)  # the owner has stopped: nobody else will

    def _lose(self) -> None:
        self.released = True
        if self._attached is not None:
            self._abort()

    def _abort(self) -> None:
        work, self._attached = self._attached, None
        try:
            if work is not None:
                work.abort()
        except Exception:  # the lease comes back all the same
            log.exception("abort of %r failed", self)


L = TypeVar("L", bound=Lease)


class LeaseTable(Generic[L]):
    """The leases in flight, counted per key.  Survives restarts: the factory hands it to each new instance.

    One time to live (seconds) for all, so the order of granting is the order of expiring.
    """

    def __init__(self, ttl: float = TIME_TO_LIVE) -> None:
        self.ttl = ttl
        self.lost = 0  # leases that nobody released: always 0, or there is a bug
        self._live: dict[L, None] = {}
        self._counts: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __repr__(self) -> str:
        return f"<LeaseTable live {len(self._live)}, lost {self.lost}>"

    def __iter__(self) -> Iterator[L]:
        return iter(self._live)

    def count(self, key: Hashable) -> int:
        """Leases in flight for ``key``."""
        return self._counts.get(key, 0)

    def add(self, lease: L, now: float) -> L:
        """Count a lease that is about to be granted."""
        lease.expires_at = now + self.ttl
        lease._table = self
        self._live[lease] = None
        counts, key = self._counts, lease.key
        counts[key] = counts.get(key, 0) + 1
        return lease

    def discard(self, lease: L) -> bool:
        """Count it no longer; ``False`` if it was not counted (swept, or pruned after a crash)."""
        if lease not in self._live:
            return False
        del self._live[lease]
        counts, key = self._counts, lease.key
        left = counts[key] - 1
        if left:
            counts[key] = left
        else:
            del counts[key]
        return True

    def sweep(self, now: float) -> list[L]:
        """Take back what has outlived its time, abort what is attached, and count it as lost."""
        lost: list[L] = []
        for lease in self._live:
            if now < lease.expires_at:
                break
            if not lease.released:  # else its note is in the mailbox
                lost.append(lease)
        for lease in lost:
            self.discard(lease)
            lease._lose()
        self.lost += len(lost)
        return lost

    def prune(self) -> int:
        """Drop leases whose holders have released them; for ``started()``.

        The note that crashed the actor is gone, and with it what it gave back; the notes behind it find nothing to do.
        """
        released = [lease for lease in self._live if lease.released]
        for lease in released:
            self.discard(lease)
        return len(released)
