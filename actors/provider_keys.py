"""Which of an endpoint's interchangeable keys is used next, and which endpoint and key an asker had last.

Rule: a key that is spent is never taken; one that cools is taken only where no other is left.  Nothing is
refused here that the endpoint itself might accept.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_AFFINITIES: Final = 10_000
# Seconds.  What an endpoint keeps for whoever comes again, it has dropped by then.
AFFINITY_IDLE: Final = 3_600.0

Pair = tuple[str, int]  # endpoint, key
NOWHERE: Final[Pair] = ("", -1)


class KeyRing:
    """The keys 0..count-1 of the endpoint ``name``, used in turn, and how long each has to rest."""

    __slots__ = ("cooling", "count", "name", "turn")

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        self.turn = 0
        self.cooling: dict[int, float] = {}  # key -> when its cool-down ends

    def unspent(self, spent: frozenset[Pair]) -> bool:
        """Whether any key is left to take."""
        return any((self.name, key) not in spent for key in range(self.count))

    def take(self, spent: frozenset[Pair], now: float, home: Pair = NOWHERE) -> int:
        """The key of ``home`` or the next in turn, neither spent nor cooling; else the one that is fit again first.

        At least one has to be unspent.
        """
        order = (*range(self.turn, self.count), *range(self.turn))
        left: list[int] = [key for key in order if (self.name, key) not in spent]
        fit = [key for key in left if not self.rest(key, now)]
        if not fit:
            return min(left, key=lambda key: self.cooling[key])
        if home[0] == self.name and home[1] in fit:
            return home[1]
        self.turn = (fit[0] + 1) % self.count
        return fit[0]

    def rest(self, key: int, now: float) -> float:
        """Seconds until ``key`` has cooled down; 0: it may be used."""
        return max(0.0, self.cooling[key] - now) if key in self.cooling else 0.0

    def cool(self, key: int, until: float) -> None:
        """Let ``key`` rest; of several reasons the longest counts."""
        self.cooling[key] = max(until, self.cooling.get(key, until))

    def warm(self, key: int) -> None:
        """``key`` serves."""
        self.cooling.pop(key, None)

    def sweep(self, now: float) -> None:
        """Forget the cool-downs that are over."""
        for key in [key for key, until in self.cooling.items() if until <= now]:
            del self.cooling[key]


class _Place:
    """Where somebody was served, and when last."""

    __slots__ = ("pair", "used")

    def __init__(self, pair: Pair, used: float) -> None:
        self.pair, self.used = pair, used


class Affinities:
    """Who was served where last: at most ``limit`` texts, the longest unused out first, none after ``idle`` seconds.

    A text is kept as it is: whoever makes it bounds its length.
    """

    def __init__(self, limit: int = MAX_AFFINITIES, idle: float = AFFINITY_IDLE) -> None:
        self._limit, self._idle = limit, idle
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def find(self, text: str, now: float) -> Pair:
        """Where ``text`` was served last, or :data:`NOWHERE`; asking for it is a use."""
        place = self._places.get(text)
        if place is None:
            return NOWHERE
        if now - place.used >= self._idle:
            del self._places[text]
            return NOWHERE
        place.used = now
        self._places.move_to_end(text)
        return place.pair

    def remember(self, text: str, pair: Pair, now: float) -> None:
        place = self._places.get(text)
        if place is not None:
            place.pair, place.used = pair, now
            self._places.move_to_end(text)
            return
        self._places[text] = _Place(pair, now)
        if len(self._places) > self._limit:
            self._places.popitem(last=False)
