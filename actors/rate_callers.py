"""The callers' book: requests per minute with a burst, and requests at once.

Rule: one float per caller.  Requests per minute are metered by GCRA (the *theoretical arrival time*: when the budget is
whole again), so an admission is O(1) however high the limit.  A rested caller may begin a whole minute's requests plus
``burst`` at once; after that it gets one every ``60 / requests_per_minute`` seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import Final

from actors.rate_messages import Budget, Limits, Pace, Permit
from actors.rate_share import Tally
from actors.rate_window import MINUTE, ROUNDING, given_back

# Keys may be chosen by strangers.  Above this many active ones the longest silent is forgotten, and so forgiven.
MAX_KEYS: Final = 100_000


def _pace(limits: Limits, part: float) -> Pace:
    """The pace of this ``part`` of the limit."""
    if limits.requests_per_minute is None:
        return Pace(0.0, 0.0, 0.0)
    rate = limits.requests_per_minute * part
    whole, interval = max(1.0, rate + limits.burst * part), MINUTE / rate
    return Pace(interval, (whole - 1.0) * interval, whole)


class Callers:
    """Survives a restart of the actor, which tells it the limits."""

    def __init__(self) -> None:
        self.arrivals: OrderedDict[str, float] = OrderedDict()  # theoretical arrival times; longest silent first
        self.tallies: dict[str, Tally] = {}  # where several processes share
        self.shared = self.sharing = False  # whether somebody asks what is claimed; whether he allots
        self.limit(Limits())

    def limit(self, limits: Limits) -> None:
        self.limited = limits.requests_per_minute is not None or limits.concurrent is not None
        self._even, self._whole = _pace(limits, 1.0 / limits.processes), _pace(limits, 1.0)
        self._concurrent = limits.concurrent
        if limits.concurrent is not None:
            self._concurrent = max(1, limits.concurrent // limits.processes)

    def concurrent(self, key: str, now: float) -> int | None:
        """How many requests of ``key`` may be under way; ``None``: any number."""
        most = self._concurrent
        if most is not None and self.shared and (tally := self._in_force(key, now)) and tally.concurrent is not None:
            return tally.concurrent
        return most

    def tally(self, key: str) -> Tally:
        """What is counted of ``key``, made where there is nothing yet."""
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally(self.sharing)
        return tally

    def _in_force(self, key: str, now: float) -> Tally | None:
        """What ``key`` was allotted, unless that has ended."""
        tally = self.tally(key) if self.sharing else self.tallies.get(key)
        return tally if tally is not None and tally.in_force(now) else None

    def wait(self, key: str, now: float, ahead: int = 0) -> float:
        """Seconds until ``key`` may begin one more request, after ``ahead`` others; 0: now."""
        pace = self._even
        if not pace.interval:
            return 0.0
        wait = 0.0
        if self.shared and (tally := self._in_force(key, now)) is not None:
            pace = self._whole
            if not tally.allows(0):
                wait = tally.until - now
        turn = self.arrivals.get(key, now) + ahead * pace.interval - pace.tolerance - now
        if turn > wait:
            wait = turn
        return wait if wait > ROUNDING else 0.0

    def charge(self, permit: Permit, now: float) -> None:
        pace = self._even
        if not pace.interval:
            return
        key = permit.key
        if self.shared:
            tally = self.tally(key)
            tally.spend(1, 0)
            if now < tally.until:
                pace = self._whole
        arrivals, interval = self.arrivals, pace.interval
        mark = arrivals.get(key, now)
        mark = (mark if mark > now else now) + interval
        permit.arrival = mark, interval
        arrivals[key] = mark
        arrivals.move_to_end(key)
        if len(arrivals) > MAX_KEYS:
            arrivals.popitem(last=False)
        permit.left = pace, mark - now

    def give_back(self, permit: Permit, now: float) -> None:
        if permit.arrival is None:
            return
        key = permit.key
        if key in self.arrivals:
            self.arrivals[key] -= given_back(permit.arrival, now)
        if self.shared:
            self.tally(key).spend(-1, 0)

    def budgets(self, key: str, now: float) -> tuple[Budget, ...]:
        pace = self._whole if self._in_force(key, now) else self._even
        return (pace.budget(max(0.0, self.arrivals.get(key, now) - now)),) if pace.interval else ()

    def share(self, on: bool) -> None:
        self.sharing = on
        for tally in self.tallies.values():
            tally.share(on)

    def forget(self, in_use: Container[str], now: float) -> None:
        """Drop what is counted of keys that are not in use, have no debt, and were told nothing that still counts."""
        items = self.tallies.items()
        self.tallies = {
            key: tally for key, tally in items if key in in_use or key in self.arrivals or now < tally.until
        }

    def sweep(self, now: float) -> None:
        """Forget who has a whole budget: as good as never seen.

        The front was silent longest; should it still be in debt, those behind it wait at most until it is not: a minute
        and the burst.
        """
        arrivals = self.arrivals
        while arrivals:
            key = next(iter(arrivals))
            if arrivals[key] > now:
                break
            del arrivals[key]
