"""The last minute, as buckets: how many requests began in it, and for how many tokens.

Rule: the sums are those of the buckets, always.  What is counted stays for at least 60 seconds and at most
``60 + GRAIN``, so that no 60 seconds ever hold more than a limit; a bucket is there only if something began in it, so
that adding is O(1) and nothing is kept of a silent upstream.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MINUTE: Final = 60.0
GRAIN: Final = 0.25  # seconds that one bucket takes in: at most 241 of them, and as much is a wait too long at most
ROUNDING: Final = 1e-6  # seconds; who waited exactly as long as told is admitted, whatever floats make of it


def given_back(charge: tuple[float, float], now: float) -> float:
    """How much of a charge that moved a theoretical arrival time to ``mark``, by ``interval``, is not paid yet.

    Time pays off charges in their order: this one between ``mark - interval`` and ``mark``.  What is paid is gone.
    """
    mark, interval = charge
    return min(interval, max(0.0, mark - now))


class Bucket:
    """What began within GRAIN seconds, up to ``end``."""

    __slots__ = ("end", "live", "requests", "tokens")

    def __init__(self, end: float) -> None:
        self.end = end
        self.requests = self.tokens = 0
        self.live = True  # counted in its window


class Window:
    """``requests`` and ``tokens`` of the last minute, as of the last look at the clock."""

    __slots__ = ("_buckets", "_last", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = self.tokens = 0
        self._buckets: deque[Bucket] = deque()
        self._last = Bucket(float("-inf"))

    def __len__(self) -> int:
        return len(self._buckets)

    def __repr__(self) -> str:
        return f"<Window requests {self.requests}, tokens {self.tokens}, buckets {len(self._buckets)}>"

    def add(self, tokens: int, now: float) -> Bucket:
        """Count one request that begins now; the bucket is what :meth:`change` wants to be told."""
        bucket = self._last
        if now >= bucket.end:
            self.expire(now)
            bucket = self._last = Bucket(now + GRAIN)
            self._buckets.append(bucket)
        bucket.requests += 1
        bucket.tokens += tokens
        self.requests += 1
        self.tokens += tokens
        return bucket

    def change(self, bucket: Bucket, requests: int, tokens: int) -> None:
        """Add to what was counted there; what has left the minute is not changed any more."""
        if bucket.live:
            bucket.requests += requests
            bucket.tokens += tokens
            self.requests += requests
            self.tokens += tokens

    def expire(self, now: float) -> None:
        buckets = self._buckets
        while buckets and buckets[0].end + MINUTE <= now + ROUNDING:
            bucket = buckets.popleft()
            bucket.live = False
            self.requests -= bucket.requests
            self.tokens -= bucket.tokens

    def wait(self, requests: float, tokens: float, now: float) -> float:
        """Seconds until no more than ``requests`` and ``tokens`` of what is counted now are left."""
        left, burden = self.requests, self.tokens
        until = now
        for bucket in self._buckets:
            if left <= requests and burden <= tokens:
                break
            left -= bucket.requests
            burden -= bucket.tokens
            until = bucket.end + MINUTE
        return until - now
