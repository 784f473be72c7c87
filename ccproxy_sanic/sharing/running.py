"""All answers of this process that several may read (sharing.SharedStream), and what they have in common.

Rule: an answer is in :attr:`SharedStreams.running` from its first upstream call until its last one is over, so that the
ticker, a drain and whoever looks for leaks find it also when nobody reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sized
from typing import Any, Final, Protocol

import msgspec

from ccproxy_sanic.errors import TimedOut

GRACE: Final = 5.0  # seconds that an answer without readers runs on: Claude Code is back after 0.5 to 1 s
REPLAY: Final = 8 << 20  # bytes of one answer that are kept for those who still come
MEMORY: Final = 256 << 20  # ... of all answers together
LAG: Final = 1 << 20  # bytes that a reader may fall behind the others, besides what it had to be replayed
PIECE: Final = 64 << 10  # bytes, about, that are replayed in one write; so many may wait before the upstream does
GRANT: Final = 16 << 10  # bytes by which an answer's part of the memory grows: counting each frame would cost more


class Answer(Protocol):
    """What is needed of an answer here."""

    deadline: float

    @property
    def readers(self) -> Sized: ...
    def end_the_late(self, now: float) -> bool: ...
    def stop(self, fault: BaseException) -> None: ...
    def abandon(self) -> None: ...


class SharingStatistics(msgspec.Struct, frozen=True):
    """What is there now, and totals since the start."""

    running: int
    parked: int  # of them, without a reader
    readers: int
    kept_bytes: int  # for those who still come
    joined: int  # requests that read another one's answer
    resumed: int  # of them, those that came back to an answer without readers
    promoted: int  # that made a call of their own, when the one before failed
    cut: int  # that were too slow
    abandoned: int  # answers that nobody came back to


class SharedStreams:
    """``longest``: seconds that an answer may take in all."""

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        clock: Callable[[], float],
        *,
        longest: float,
        enabled: bool = True,
    ) -> None:
        self.spawn, self.clock, self.longest, self.enabled = spawn, clock, longest, enabled
        self.grace, self.replay, self.memory, self.lag, self.piece = GRACE, REPLAY, MEMORY, LAG, PIECE
        self.running: set[Answer] = set()
        self.kept = self.joined = self.resumed = self.promoted = self.cut = self.abandoned = 0

    def __repr__(self) -> str:
        return f"<SharedStreams {len(self.running)} running, {self.parked} without a reader, {self.kept} bytes>"

    @property
    def parked(self) -> int:
        """Answers that nobody reads just now."""
        return sum(not answer.readers for answer in self.running)

    def statistics(self) -> SharingStatistics:
        return SharingStatistics(
            running=len(self.running),
            parked=self.parked,
            readers=sum(len(answer.readers) for answer in self.running),
            kept_bytes=self.kept,
            joined=self.joined,
            resumed=self.resumed,
            promoted=self.promoted,
            cut=self.cut,
            abandoned=self.abandoned,
        )

    def look(self, now: float) -> None:
        """One look of the ticker: what takes too long is ended."""
        for answer in list(self.running):
            if not answer.end_the_late(now) and now >= answer.deadline:
                answer.stop(TimedOut("the request took longer than this proxy allows"))

    def close(self) -> None:
        """From now on nobody comes back: answers without readers end."""
        self.grace = 0.0
        for answer in list(self.running):
            answer.abandon()
