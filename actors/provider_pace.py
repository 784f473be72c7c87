"""How soon an endpoint answers, and for how long it is worth waiting.

Rule: a limit is made of work of the same shape only, and of enough of it; whoever had to wait for nothing makes the
endpoint's limit of that shape unknown again.  So a limit may be too long, never too short for long.

Noting a time is O(1).  Sorting waits for the tick (:meth:`Paces.refresh`), and for whoever looks at the statistics.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from actors.provider_messages import Manner

LEAST: Final = 10.0  # seconds: no limit is below, however fast an endpoint has been
MOST: Final = 600.0
FACTOR: Final = 2.0  # times the 95th percentile
ENOUGH: Final = 20  # times, below which there is no limit
WINDOW: Final = 128  # times that a limit is made of
SHOWN_WINDOW: Final = 1000  # times that percentiles for people are made of
MAX_SHAPES: Final = 128  # per endpoint; the longest unused out first


class Percentiles(msgspec.Struct, frozen=True):
    """Of the last ``count`` times, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float


def percentile(ordered: list[float], share: float) -> float:
    """The nearest rank of a sorted, non-empty list."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentiles(times: Collection[float]) -> Percentiles:
    """All 0 where there are no times."""
    ordered = sorted(times) or [0.0]
    return Percentiles(len(times), *(percentile(ordered, share) for share in (0.5, 0.95, 0.99)))


class Paces:
    """Of one endpoint: times by manner for people, by ``shape`` (any number) for limits.

    ``limits`` is replaced, never changed: who has been handed one keeps what held then.
    """

    __slots__ = ("_fresh", "_shapes", "limits", "shown")

    def __init__(self) -> None:
        self.shown: dict[Manner, deque[float]] = {manner: deque(maxlen=SHOWN_WINDOW) for manner in Manner}
        self.limits: Mapping[int, float] = {}  # shape -> seconds
        self._shapes: OrderedDict[int, deque[float]] = OrderedDict()
        self._fresh: set[int] = set()  # shapes with times that no limit is made of yet

    def note(self, manner: Manner, shape: int, seconds: float) -> None:
        """The first byte came after ``seconds``."""
        self.shown[manner].append(seconds)
        times = self._shapes.get(shape)
        if times is None:
            times = self._shapes[shape] = deque(maxlen=WINDOW)
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.popitem(last=False)
        times.append(seconds)
        self._fresh.add(shape)

    def forget(self, shape: int) -> bool:
        """Its limit passed without an answer: what it was made of holds no more.  False: that was known already."""
        if shape not in self.limits:
            return False
        self._shapes.pop(shape, None)
        self.limits = {known: limit for known, limit in self.limits.items() if known != shape}
        return True

    def refresh(self) -> None:
        """Make limits of what was noted since the last time."""
        if not self._fresh:
            return
        limits = {shape: limit for shape, limit in self.limits.items() if shape in self._shapes}
        for shape in self._fresh & self._shapes.keys():
            self._shapes.move_to_end(shape)
            times = self._shapes[shape]
            if len(times) >= ENOUGH:
                limits[shape] = min(MOST, max(LEAST, FACTOR * percentile(sorted(times), 0.95)))
        self.limits, self._fresh = limits, set()
