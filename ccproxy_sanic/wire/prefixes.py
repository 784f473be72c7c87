"""What was made of texts, found again by longer ones that begin with the same bytes.

Rule: found is only what begins with every byte of a text that was added; within bounds, the least recently used goes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, Generic, NamedTuple, TypeVar

V = TypeVar("V")

SHORTEST: Final = 16 * 1024  # bytes: to find a shorter text again saves too little
# Where texts are looked up: four places an octave, so that a window stands near the end of any text, where those that
# have much in common differ, and a text that is not known costs a dozen lookups.
PLACES: Final = tuple(quarter * 4096 << octave for octave in range(7) for quarter in (4, 5, 6, 7))
_BACKWARDS: Final = PLACES[::-1]
_WINDOW: Final = 64  # bytes before a place
_SEEN: Final = 1024  # windows of texts that came once


class _Entry(NamedTuple, Generic[V]):
    text: bytes
    value: V
    weight: int


class Prefixes(Generic[V]):
    """Of all that is kept the weights are ``limit`` at most."""

    __slots__ = ("_entries", "_left", "_limit", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._entries: dict[bytes, _Entry[V]] = {}  # by the window before the last place in the text
        self._seen: dict[bytes, None] = {}

    def find(self, text: bytes) -> tuple[bytes, V] | None:
        """The longest known text that ``text`` begins with, and what was made of it."""
        for place in _places(text):
            key = text[place - _WINDOW : place]
            entry = self._entries.get(key)
            if entry is not None and text.startswith(entry.text):
                self._entries[key] = self._entries.pop(key)
                return entry.text, entry.value
        return None

    def again(self, text: bytes, size: int) -> bool:
        """Whether a text before, for all its windows tell, had the same beginning; what never comes again is not worth
        to be remembered.  If not, that of this text, of ``size`` bytes, is noted."""
        if any(text[place - _WINDOW : place] in self._seen for place in _places(text)):
            return True
        self._seen[_key(text[:size])] = None
        if len(self._seen) > _SEEN:
            del self._seen[next(iter(self._seen))]
        return False

    def add(self, text: bytes, value: V, weight: int, instead: bytes = b"") -> None:
        """Of two texts with the same window the later one stays; ``instead`` of a known text, where one is given.

        One that is too short or too long is not kept.  ``weight`` is what it takes of the limit.
        """
        key = _key(text)
        if not key:
            return
        self._forget(_key(instead))
        self._forget(key)
        self._entries[key] = _Entry(text, value, weight)
        self._left -= weight
        while self._left < 0:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._left += entry.weight

    def cache_clear(self) -> None:
        """Forgets all; by the name that :func:`functools.lru_cache` has for it."""
        self._entries.clear()
        self._seen.clear()
        self._left = self._limit


def _places(text: bytes) -> tuple[int, ...]:
    """The places in ``text``, the last one first."""
    return _BACKWARDS[len(PLACES) - bisect_right(PLACES, len(text)) :]


def _key(text: bytes) -> bytes:
    """The window before the last place in ``text``; b"" where that is too short, or too long, to be kept."""
    at = bisect_right(PLACES, len(text))
    return text[PLACES[at - 1] - _WINDOW : PLACES[at - 1]] if 0 < at < len(PLACES) else b""
