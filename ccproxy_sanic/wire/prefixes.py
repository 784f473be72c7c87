"""What was made of texts, found again by longer ones that begin with the same bytes.

Rule: found is only what begins with every byte of a text that was added; within bounds, the least recently used goes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, Generic, TypeVar

V = TypeVar("V")

SHORTEST: Final = 16 * 1024  # bytes: to find a shorter text again saves too little
# Where texts are looked up: four places an octave, so that a window stands near the end of any text, where those that
# have much in common differ, and a text that is not known costs a dozen lookups.
PLACES: Final = tuple(quarter * 4096 << octave for octave in range(7) for quarter in (4, 5, 6, 7))
LONGEST: Final = PLACES[-1]  # shorter is every text that is kept
_BACKWARDS: Final = PLACES[::-1]
_WINDOW: Final = 64  # bytes before a place


class Entry(Generic[V]):
    """The first ``size`` bytes of ``text``, what was made of them, and what that takes of the limit."""

    __slots__ = ("key", "start", "value", "weight")

    def __init__(self, text: bytes, size: int, value: V, weight: int) -> None:
        self.start = memoryview(text)[:size]  # not a copy: it is compared in place
        self.key = _key(text, size)
        self.value = value
        self.weight = weight


class Prefixes(Generic[V]):
    """Of all entries the weights are ``limit`` at most; of those that look alike at their last place, which only
    comparing all of their bytes tells apart, there are ``alike`` at most."""

    __slots__ = ("_alike", "_left", "_limit", "_order", "_rows", "found")

    def __init__(self, limit: int, alike: int) -> None:
        self._limit = self._left = limit
        self._alike = alike
        self.found = 0
        self._order: dict[Entry[V], None] = {}  # the most recently used one last
        self._rows: dict[bytes, list[Entry[V]]] = {}  # by the window before the last place; in the same order

    def __len__(self) -> int:
        return len(self._order)

    @property
    def weight(self) -> int:
        """Of all entries."""
        return self._limit - self._left

    def find(self, text: bytes) -> Entry[V] | None:
        """The longest known text that ``text`` begins with."""
        rows = self._rows
        for place in _BACKWARDS[len(PLACES) - bisect_right(PLACES, len(text)) :]:
            row = rows.get(text[place - _WINDOW : place])
            if row is not None and (fitting := [entry for entry in row if text.startswith(entry.start)]):
                found = max(fitting, key=_size)
                row.remove(found)
                row.append(found)
                del self._order[found]
                self._order[found] = None
                self.found += 1
                return found
        return None

    def add(self, entry: Entry[V]) -> None:
        """One that was not found.  A text that is too short, too long or too heavy is not kept."""
        if not entry.key or entry.weight > self._limit:
            return
        row = self._rows.get(entry.key)
        if row is not None and len(row) >= self._alike:
            self.forget(row[0])
        self._rows.setdefault(entry.key, []).append(entry)
        self._order[entry] = None
        self._left -= entry.weight
        while self._left < 0:
            self.forget(next(iter(self._order)))

    def forget(self, entry: Entry[V]) -> None:
        """One that was found, if it is still there."""
        if entry not in self._order:
            return
        del self._order[entry]
        row = self._rows[entry.key]
        row.remove(entry)
        if not row:
            del self._rows[entry.key]
        self._left += entry.weight

    def cache_clear(self) -> None:
        """Forgets all; by the name that :func:`functools.lru_cache` has for it."""
        self._order.clear()
        self._rows.clear()
        self._left = self._limit
        self.found = 0


def _size(entry: Entry[V]) -> int:
    return len(entry.start)


def _key(text: bytes, size: int) -> bytes:
    """The window before the last place in ``size`` bytes; b"" where they are too few, or too many, to be kept."""
    at = bisect_right(PLACES, size)
    return text[PLACES[at - 1] - _WINDOW : PLACES[at - 1]] if 0 < at < len(PLACES) else b""
