"""A breaker around bad values: too many of them, and for a while nothing is kept or given.

Rule: it always closes again.  A failure counts one up, a success one down; at ``threshold`` it opens for
``period`` seconds, and when it opens again before it has recovered (no net failures left), for one period more each
time, at most ``LONGEST`` of them.  After an opening one failure less than the threshold is on the books.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.cache_shelf import NEVER

LONGEST: Final = 10  # periods


class BreakerStatistics(msgspec.Struct, frozen=True):
    """``open_for``: seconds until it closes, 0 while it is closed."""

    failures: int  # net
    threshold: int
    open_for: float
    openings: int  # since it last had recovered


class ValidationBreaker:
    """``open_until`` is on the caller's clock."""

    def __init__(self, threshold: int = 25, period: float = 300.0) -> None:
        self.threshold, self.period = threshold, period
        self.reset()

    def __repr__(self) -> str:
        return f"<ValidationBreaker {self._failures}/{self.threshold}, opened {self._openings} times>"

    def reset(self) -> None:
        self._failures = self._openings = 0
        self.open_until = NEVER

    def failed(self, now: float) -> None:
        """A bad value.  Those that come while it is open were asked for before, and count no more."""
        if now < self.open_until:
            return
        self._failures += 1
        if self._failures >= self.threshold:
            self._openings = min(self._openings + 1, LONGEST)
            self._failures = self.threshold - 1
            self.open_until = now + self.period * self._openings

    def succeeded(self) -> None:
        if self._failures:
            self._failures -= 1
            if not self._failures:
                self._openings = 0

    def statistics(self, now: float) -> BreakerStatistics:
        is_open = now < self.open_until
        return BreakerStatistics(
            failures=self.threshold if is_open else self._failures,
            threshold=self.threshold,
            open_for=self.open_until - now if is_open else 0.0,
            openings=self._openings,
        )
