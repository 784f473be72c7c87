"""Values that are kept for a while: by entries, by bytes, by age.

Rule: ``bytes`` is exactly the sum of the sizes of what is there, and neither it nor the number of entries is ever above
its limit.  Age is looked at when a value is asked for, so nothing too old is ever given; what nobody asks for is swept,
a bounded number at a time.  All operations are O(1).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

NEVER: Final = float("-inf")
SHARE: Final = 10  # no entry may have more than the tenth part of all bytes: one answer must not push out all others
OVERHEAD: Final = 600  # bytes an entry takes beside its value: handle, key, its places in two dicts
SWEPT: Final = 256  # entries that one sweep looks at, at most


class ShelfLimits(msgspec.Struct, frozen=True):
    """``ttl`` in seconds; one entry may have ``max_bytes / 10`` with its overhead of 600."""

    max_entries: int = 1000
    max_bytes: int = 500 << 20
    ttl: float = 3600.0

    @property
    def largest(self) -> int:
        """Bytes of the largest entry that is taken."""
        return self.max_bytes // SHARE


class ShelfCounts(msgspec.Struct):
    """Totals, restarts included, until they are cleared."""

    hits: int = 0
    stored: int = 0
    evicted: int = 0  # to make room
    expired: int = 0
    too_large: int = 0  # not taken


class Kept:
    """One entry, and a handle to it: who has it may ask for the value again without asking the actor.

    :meth:`use` is the only way to the value, and is a use of the entry as any other.
    """

    __slots__ = ("_shelf", "expires_at", "key", "size", "stored_at", "uses", "value")

    def __init__(self, shelf: Shelf, key: bytes, value: Any, size: int, stored_at: float, expires_at: float) -> None:
        self._shelf, self.key, self.value, self.size = shelf, key, value, size
        self.stored_at, self.expires_at = stored_at, expires_at  # on the actor's clock
        self.uses = 0

    def __repr__(self) -> str:
        return f"<Kept {self.size} bytes, used {self.uses} times>"

    def use(self, now: float) -> bool:
        """Whether the value may still be given; if so it counts as a hit, and as the last used."""
        shelf = self._shelf
        if now >= self.expires_at or now < shelf.shut_until:
            return False
        self.uses += 1
        shelf.counts.hits += 1
        shelf._by_use.move_to_end(self.key)
        return True


class Shelf:
    """The entries.  ``shut_until`` (the actor's clock): nothing is given or taken before that."""

    def __init__(self, limits: ShelfLimits, counts: ShelfCounts) -> None:
        self.limits, self.counts = limits, counts
        self.bytes = 0
        self.shut_until = NEVER
        self._by_use: OrderedDict[bytes, Kept] = OrderedDict()  # least recently used first
        self._by_age: dict[bytes, Kept] = {}  # oldest first
        self._uses: dict[bytes, int] = {}  # of entries that grew too old, for when they come back

    def __len__(self) -> int:
        return len(self._by_use)

    def __repr__(self) -> str:
        return f"<Shelf {len(self)}/{self.limits.max_entries} entries, {self.bytes} bytes>"

    def find(self, key: bytes, now: float) -> Kept | None:
        """The entry, used once more; None: there is none, or it is too old."""
        kept = self._by_use.get(key)
        if kept is None or kept.use(now):
            return kept
        if now >= kept.expires_at:
            self._expire(kept)
        return None

    def put(self, key: bytes, value: Any, size: int, now: float, age: float = 0.0) -> bool:
        """Keep ``value`` of ``size`` bytes, which is ``age`` seconds old, instead of what was there.

        ``False``: it is too large, too old, or the shelf is shut; what was there stays.
        """
        limits, size = self.limits, size + OVERHEAD
        if size > limits.largest:
            self.counts.too_large += 1
            return False
        if age >= limits.ttl or now < self.shut_until:
            return False
        uses = self._uses.pop(key, 0)
        if (before := self._by_use.get(key)) is not None:
            uses = before.uses
            self._remove(before)
        kept = Kept(self, key, value, size, now - age, now - age + limits.ttl)
        kept.uses = uses
        self._by_use[key] = self._by_age[key] = kept
        self.bytes += size
        self.counts.stored += 1
        while self.bytes > limits.max_bytes or len(self._by_use) > limits.max_entries:
            self._remove(next(iter(self._by_use.values())))
            self.counts.evicted += 1
        return True

    def stored_at(self, key: bytes) -> float:
        """When the entry was made; long ago if there is none."""
        kept = self._by_use.get(key)
        return NEVER if kept is None else kept.stored_at

    def popular(self, uses: int, most: int) -> list[Any]:
        """The values that were used so often or more, the most used first.  The only operation that looks at all."""
        found = [kept for kept in self._by_use.values() if kept.uses >= uses]
        found.sort(key=lambda kept: kept.uses, reverse=True)
        return [kept.value for kept in found[:most]]

    def sweep(self, now: float) -> None:
        """Drop what is too old, from the oldest on."""
        for _ in range(SWEPT):
            oldest = next(iter(self._by_age.values()), None)
            if oldest is None or now < oldest.expires_at:
                return
            self._expire(oldest)

    def clear(self) -> None:
        for kept in list(self._by_use.values()):
            self._remove(kept)
        self._uses.clear()

    def _expire(self, kept: Kept) -> None:
        self._remove(kept)
        self.counts.expired += 1
        if kept.uses:
            if len(self._uses) >= self.limits.max_entries:
                self._uses.clear()
            self._uses[kept.key] = kept.uses

    def _remove(self, kept: Kept) -> None:
        del self._by_use[kept.key], self._by_age[kept.key]
        self.bytes -= kept.size
        kept.expires_at, kept.value = NEVER, None  # for those who have the handle
