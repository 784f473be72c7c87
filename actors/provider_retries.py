"""How many retries an endpoint gets: a share of its successes, so that retries never make an outage worse.

Rule: within a period they are at most :data:`SHARE` of the successes, or :data:`FLOOR` where that is more (finagle's
retry budget; actors.md C.1).
"""

from __future__ import annotations

from collections import deque
from typing import Final

SHARE: Final = 0.2
FLOOR: Final = 10  # so that the first request after a start, or after a quiet hour, may be retried
PERIOD: Final = 60.0  # seconds; it slides by a tick at a time


class RetryBudget:
    """Of one endpoint; ``granted`` and ``refused`` are totals.

    A success costs nothing here: whoever asks says how many there have been in all, and so does every tick.
    """

    __slots__ = ("_marks", "granted", "refused")

    def __init__(self) -> None:
        self.granted = self.refused = 0
        self._marks: deque[tuple[float, int, int]] = deque([(float("-inf"), 0, 0)])  # time, successes, retries

    def take(self, successes: int, now: float) -> bool:
        """Whether there may be one retry more; then it is counted."""
        self._slide(now)
        _, old_successes, old_retries = self._marks[0]
        if self.granted - old_retries >= max(FLOOR, int(SHARE * (successes - old_successes))):
            self.refused += 1
            return False
        self.granted += 1
        return True

    def tick(self, successes: int, now: float) -> None:
        """What was counted up to now is older than what comes."""
        self._marks.append((now, successes, self.granted))
        self._slide(now)

    def _slide(self, now: float) -> None:
        """The first mark is the last one from before the period."""
        while len(self._marks) > 1 and self._marks[1][0] <= now - PERIOD:
            self._marks.popleft()
