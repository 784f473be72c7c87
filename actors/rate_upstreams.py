"""One upstream's book: what went to it in the last minute, and how much may.

Rule: everything that began counts, also while nothing is limited, because the first 429 asks what the rate was.

Limits adapt (original.md 1.6, as corrected by the issue).  A 429 lowers a limit to 80 % of itself; where there is none
yet, to 80 % of what the last minute held; never under the floor.  A 429 to a call that was charged before the limits
were last lowered says nothing new and lowers nothing: twenty calls at once are one lesson.  Ten successes without a 429
between them (other faults say nothing about limits) raise it by 10 %, up to what is configured.  A limit that nobody
configured grows on, and is forgotten: when it is twice what the upstream bore when it last complained, or when it has
not complained for five minutes.

The floor of requests is a number, and so is that of tokens where they are configured.  Where nobody has said what a
minute may hold, it is the tokens of as many requests as the floor of those: three large requests in a minute, one of
which is refused, show no limit of tokens that the fourth would have to wait a minute for.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.rate_messages import Budget, Kind, Permit, UpstreamLimits
from actors.rate_share import Tally
from actors.rate_window import MINUTE, ROUNDING, Window, given_back

LOWER: Final = 0.8
RAISE: Final = 1.1
ROW: Final = 10  # successes that raise a limit
FORGET: Final = 2.0  # times what it bore
FORGET_AFTER: Final = 300.0  # seconds without a 429
FLOOR_REQUESTS: Final = 10.0
FLOOR_TOKENS: Final = 1000.0
LONGEST_PAUSE: Final = 600.0  # seconds; what an upstream asks for beyond that is tried anyway
LEAST_RATIO, MOST_RATIO = 0.25, 4.0  # bounds of what is learned of the estimate
LEARNING: Final = 0.1  # weight of the newest of the ratios
INFINITY: Final = float("inf")


class Level:
    """One limit that adapts; ``limit`` None is none."""

    __slots__ = ("_bore", "_cap", "_floor", "limit")

    def __init__(self, cap: float | None, floor: float, processes: int) -> None:
        self._cap = self.limit = cap if cap is None else cap / processes
        self._floor = floor / processes if self._cap is None else min(floor / processes, self._cap)
        self._bore = 0.0

    def lower(self, observed: int, need: float = 0.0) -> None:
        """``need`` is what the floor of requests takes: the floor of a limit that nobody configured."""
        floor = max(self._floor, need) if self._cap is None else self._floor
        self._bore = max(floor, observed)
        if self.limit is None:
            self.limit = max(floor, LOWER * observed)
        else:
            self.limit = max(min(floor, self.limit), LOWER * self.limit)

    def grow(self) -> None:
        if self.limit is None:
            return
        self.limit *= RAISE
        if self._cap is not None:
            self.limit = min(self.limit, self._cap)
        elif self.limit >= FORGET * self._bore:
            self.limit = None

    def forget(self) -> None:
        """What was learned; not what is configured."""
        if self._cap is None:
            self.limit = None


class UpstreamStatistics(msgspec.Struct, frozen=True):
    """``requests`` and ``tokens`` of the last minute; limits are this process's own, ``None`` unlimited; ``ratio`` is
    of real tokens to estimated ones; ``pause`` is what is left of it in seconds; ``throttled`` counts its 429s."""

    name: str
    requests: int
    tokens: int
    limit_requests: float | None
    limit_tokens: float | None
    ratio: float
    pause: float
    throttled: int
    waiting: int


class Upstream:
    """Made for each name when it is first charged.  All of it survives a restart of the actor."""

    __slots__ = (
        "_burst",
        "_complained",
        "_limits",
        "_processes",
        "_row",
        "arrival",
        "learnt",
        "name",
        "pause",
        "ratio",
        "requests",
        "tally",
        "throttled",
        "tokens",
        "window",
    )

    def __init__(self, name: str, limits: UpstreamLimits, processes: int) -> None:
        self.name, self._limits, self._processes = name, limits, processes
        self.requests = Level(limits.requests, FLOOR_REQUESTS, processes)
        self.tokens = Level(limits.tokens, FLOOR_TOKENS, processes)
        self.window = Window()
        self.arrival = 0.0  # theoretical arrival time: when the even pace is whole again
        self.pause = 0.0  # until then
        self.ratio = 1.0
        self._complained = float("-inf")  # the newest 429
        self.learnt = 0  # charges up to this number have been heard of
        self.throttled = self._row = 0
        self._burst = limits.burst / processes
        self.tally: Tally | None = None  # where several processes share

    def __repr__(self) -> str:
        limits = f"{self.requests.limit} requests, {self.tokens.limit} tokens"
        return f"<Upstream {self.name} | {self.window.requests}/{limits}, ratio {self.ratio:.2f}>"

    @property
    def limited(self) -> bool:
        """Whether :meth:`wait` may be anything but 0."""
        return self.requests.limit is not None or self.tokens.limit is not None or self.pause > 0.0

    def estimate(self, cost: int) -> int:
        """The tokens that a request will probably need."""
        return int(cost * self.ratio)

    @property
    def whole(self) -> tuple[float | None, float | None]:
        """Its limits of requests and of tokens, for all processes together."""
        requests, tokens, processes = self.requests.limit, self.tokens.limit, self._processes
        return requests and requests * processes, tokens and tokens * processes

    # -- is there room?

    def _times(self, now: float) -> float:
        """How many times its even part this process may go up to."""
        return self._processes if self.tally is not None and self.tally.in_force(now) else 1.0

    def wait(self, tokens: int, now: float, ahead: int = 0, tokens_ahead: int = 0) -> float:
        """Seconds until a request of so many ``tokens`` may begin, behind ``ahead`` others with their ``tokens_ahead``;
        0: now.  Exact as long as nothing is given back; what is allotted meanwhile nobody knows."""
        window, times = self.window, self._times(now)
        window.expire(now)
        wait, rounds = self.pause - now, 0
        requests_left = tokens_left = INFINITY
        if (limit := self.requests.limit) is not None:
            whole = max(1, int(limit * times))
            rounds, place = divmod(ahead, whole)
            requests_left = whole - place - 1
            begin = max(self.arrival, self.pause, now)
            wait = max(wait, begin + (ahead - self._burst * times) * MINUTE / (limit * times) - now)
        if (limit := self.tokens.limit) is not None:
            whole = max(1, int(limit * times))
            full, place = divmod(tokens_ahead, whole)
            rounds = max(rounds, min(full, ahead))  # nobody has more than one minute for itself
            # Who needs more than the whole limit waits until nothing is left of the minute: else it would wait forever.
            tokens_left = max(0, whole - place - tokens)
        if rounds or window.requests > requests_left or window.tokens > tokens_left:
            wait = max(wait, rounds * MINUTE + window.wait(requests_left, tokens_left, now))
        tally = self.tally
        bound = requests_left < INFINITY or tokens_left < INFINITY
        if tally is not None and bound and now < tally.until and not tally.allows(tokens):
            wait = max(wait, tally.until - now)
        return wait if wait > ROUNDING else 0.0

    # -- charges

    def charge(self, permit: Permit, number: int, now: float, late: float = 0.0) -> None:
        """A request begins; it could have begun up to ``late`` seconds earlier, and the even pace counts that way."""
        permit.book, permit.number = self, number
        tokens = permit.tokens = int(permit.cost * self.ratio)
        permit.bucket = self.window.add(tokens, now)
        permit.pace = None
        if (limit := self.requests.limit) is not None:
            interval = MINUTE / (limit * self._times(now))
            self.arrival = max(self.arrival, now - late) + interval
            permit.pace = self.arrival, interval
        if self.tally is not None:
            self.tally.spend(1, tokens)

    def give_back(self, permit: Permit, requests: int, now: float) -> None:
        """Take all reserved tokens and so many ``requests`` off the permit's charge."""
        tokens, permit.tokens = permit.tokens, 0
        self.window.change(permit.bucket, -requests, -tokens)
        if requests and permit.pace is not None:
            self.arrival -= given_back(permit.pace, now)
        if self.tally is not None and permit.bucket.live:
            self.tally.spend(-requests, -tokens)

    def settle(self, permit: Permit, actual: int) -> None:
        """The permit's request took ``actual`` tokens, whatever was reserved."""
        more = actual - permit.tokens
        if more and permit.bucket.live:
            self.window.change(permit.bucket, 0, more)
            if self.tally is not None:
                self.tally.spend(0, more)
        permit.tokens = actual

    # -- what answers teach

    def learn(self, cost: int, actual: int) -> None:
        """An answered request whose estimate was ``cost`` took ``actual`` tokens."""
        if cost > 0:
            seen = actual / cost
            if seen < LEAST_RATIO:
                seen = LEAST_RATIO
            elif seen > MOST_RATIO:
                seen = MOST_RATIO
            self.ratio += LEARNING * (seen - self.ratio)

    def succeeded(self) -> bool:
        """Whether that was the last of a row, so that limits have grown."""
        if not self._limits.adaptive or (self.requests.limit is None and self.tokens.limit is None):
            return False
        self._row += 1
        if self._row < ROW:
            return False
        self._row = 0
        self.requests.grow()
        self.tokens.grow()
        return True

    def complained(self, permit: Permit, newest: int, retry_after: float | None, now: float) -> bool:
        """A 429 to what ``permit`` was charged for last; ``newest`` is the highest number of a charge so far.

        Whether anybody may have to wait longer than before.
        """
        self.throttled += 1
        self._row = 0
        self._complained = now
        until = now + min(retry_after or 0.0, LONGEST_PAUSE)
        if longer := until > max(self.pause, now):
            self.pause = until
        if not self._limits.adaptive or permit.number <= self.learnt:
            return longer
        self.learnt = newest
        window = self.window
        window.expire(now)
        size = max(permit.tokens, window.tokens / max(1, window.requests))
        self.requests.lower(window.requests)
        self.tokens.lower(window.tokens, FLOOR_REQUESTS / self._processes * size)
        return True

    # -- what is to be seen

    def budgets(self, now: float) -> tuple[Budget, ...]:
        """As the upstream's users may know them."""
        self.window.expire(now)
        times = self._times(now)
        reset = max(self.window.wait(0, 0, now), self.pause - now, 0.0)
        kinds = (
            (Kind.REQUESTS, self.requests.limit, self.window.requests),
            (Kind.TOKENS, self.tokens.limit, self.window.tokens),
        )
        return tuple(
            Budget(kind, int(limit * times), 0 if self.pause > now else max(0, int(limit * times) - used), reset)
            for kind, limit, used in kinds
            if limit is not None
        )

    def statistics(self, now: float, waiting: int) -> UpstreamStatistics:
        self.window.expire(now)
        return UpstreamStatistics(
            name=self.name,
            requests=self.window.requests,
            tokens=self.window.tokens,
            limit_requests=self.requests.limit,
            limit_tokens=self.tokens.limit,
            ratio=self.ratio,
            pause=max(0.0, self.pause - now),
            throttled=self.throttled,
            waiting=waiting,
        )

    def sweep(self, now: float) -> None:
        """Forget what is over."""
        self.window.expire(now)
        if now >= self.pause:
            self.pause = 0.0
        if now >= self._complained + FORGET_AFTER:
            self.requests.forget()
            self.tokens.forget()
