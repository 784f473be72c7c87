"""What of a limit that several processes share this one may use, and what it has used (rate_messages.py).

Rule: without an allotment that is in force, its even part, or where there could be one, a single request; nothing here
asks anybody.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.rate_messages import Allot

FIRST: Final = 2.0  # seconds that a single request counts for


class Tally(msgspec.Struct):
    """One key: ``spent_*`` since the last time somebody asked, what was allotted until ``until`` and is left.

    ``sharing``: whether somebody allots; ``short``: whether it was asked for more than that since that last time.
    """

    sharing: bool = False
    spent_requests: int = 0
    spent_tokens: int = 0
    until: float = 0.0
    requests: float | None = None
    tokens: float | None = None
    concurrent: int | None = None
    short: bool = False

    def allot(self, note: Allot, now: float) -> None:
        self.until = now + note.seconds
        self.requests = None if note.requests is None else note.requests - self.spent_requests
        self.tokens = None if note.tokens is None else note.tokens - self.spent_tokens
        self.concurrent = note.concurrent

    def share(self, on: bool) -> None:
        self.sharing = on
        if not on:
            self.until = 0.0

    def in_force(self, now: float) -> bool:
        """Whether it counts what was allotted."""
        if now < self.until:
            return True
        if self.sharing:
            self.until = now + FIRST
            self.requests, self.tokens, self.concurrent = 1.0, None, 1
        return self.sharing

    def spend(self, requests: int, tokens: int) -> None:
        """Below 0: it was given back."""
        self.spent_requests += requests
        self.spent_tokens += tokens
        if self.requests is not None:
            self.requests -= requests
        if self.tokens is not None:
            self.tokens -= tokens

    def allows(self, tokens: int) -> bool:
        """One more request.  A last one may use more tokens than are left: they are missing from what is allotted next,
        and else one that needs more than is ever allotted at once would wait for good."""
        enough = self.requests is None or self.requests >= 1
        if enough and self.tokens is not None and tokens:
            enough = self.tokens > 0
        self.short = self.short or not enough
        return enough

    def told(self) -> tuple[int, int, bool]:
        """What was spent, and whether it was short; counting begins anew."""
        told = self.spent_requests, self.spent_tokens, self.short
        self.spent_requests = self.spent_tokens = 0
        self.short = False
        return told
