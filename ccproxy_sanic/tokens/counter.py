"""Counting off the loop, and remembering what was counted.

Rule: a short text is counted where it is, everything else in the pool, vocabularies included; a count is remembered
by the digest of its text, so that neither an equal request nor the old part of a longer one is counted twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from ccproxy_sanic.tokens import encoders
from ccproxy_sanic.tokens.encoders import Count
from ccproxy_sanic.tokens.prompt import Prompt

T = TypeVar("T")
Key = tuple[str, bytes]

INLINE: Final = 16 * 1024  # bytes that cost less than the way to a thread and back: 0.1 ms
WORTH_KEEPING: Final = 256  # characters from which looking up is cheaper than counting


def pool_size(cpus: int, processes: int = 1) -> int:
    """Threads where the settings say none: the original's formula (original.md 1.2)."""
    if processes == 1:
        return min(40, max(4, cpus * 5))
    return max(4, min(20, cpus * 5 // processes))


class MemoryStatistics(msgspec.Struct, frozen=True):
    """``hits`` and ``misses`` since the start; ``ttl`` in seconds."""

    entries: int
    most: int
    ttl: float
    hits: int
    misses: int


class Memory:
    """Counts by digest: bounded, and forgotten when unused for ``ttl`` seconds.  For several threads."""

    def __init__(self, most: int, ttl: float, clock: Callable[[], float]) -> None:
        self.most, self.ttl, self.clock = most, ttl, clock
        self._counts: OrderedDict[Key, tuple[int, float]] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def __len__(self) -> int:
        return len(self._counts)

    def find(self, keys: Sequence[Key]) -> list[int | None]:
        now = self.clock()
        with self._lock:
            self._forget(now)
            found: list[int | None] = []
            for key in keys:
                entry = self._counts.get(key)
                found.append(entry[0] if entry else None)
                if entry:
                    self._put(key, entry[0], now)
            known = sum(count is not None for count in found)
            self._hits += known
            self._misses += len(found) - known
        return found

    def statistics(self) -> MemoryStatistics:
        return MemoryStatistics(len(self), self.most, self.ttl, self._hits, self._misses)

    def store(self, counts: Sequence[tuple[Key, int]]) -> None:
        now = self.clock()
        with self._lock:
            for key, count in counts:
                self._put(key, count, now)
            self._forget(now)

    def _put(self, key: Key, count: int, now: float) -> None:
        self._counts[key] = (count, now)
        self._counts.move_to_end(key)

    def _forget(self, now: float) -> None:
        while self._counts:
            oldest, (_, used) = next(iter(self._counts.items()))
            if len(self._counts) <= self.most and now - used <= self.ttl:
                return
            del self._counts[oldest]


class TokenCounter:
    """Counts prompts; :meth:`close` it when the process ends.  No thread and no vocabulary before the first use."""

    def __init__(
        self,
        workers: int,
        memory: Memory | None,
        load: Callable[[str], Count] = encoders.load,
    ) -> None:
        self.memory = memory
        self._load = load
        self._encoders: dict[str, Count] = {}
        self._loading = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ccproxy-tokens")

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """``work()``, in the pool where ``size`` bytes are too many for the loop."""
        if size <= INLINE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def count(self, prompt: Prompt) -> int:
        """Tokens of a prompt, at least 1."""
        # the first of an encoding loads it: never on the loop
        size = prompt.size if prompt.encoding in self._encoders else INLINE + 1
        return await self.run(size, lambda: self.total(prompt))

    def close(self) -> None:
        """What is being counted is let finish, what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def total(self, prompt: Prompt) -> int:
        """As :meth:`count`, here and now.  Safe in any thread."""
        counted = sum(self._texts(prompt))
        return max(1, math.ceil(counted * prompt.factor) + sum(piece.fixed for piece in prompt.pieces))

    def _texts(self, prompt: Prompt) -> list[int]:
        """The counts of each piece's texts; only those that are not remembered go to the encoder, together."""
        pieces = [piece.texts for piece in prompt.pieces]
        found: list[int | None] = [None] * len(pieces)
        keys: dict[int, Key] = {}
        if self.memory is not None:
            worthy = [at for at, texts in enumerate(pieces) if sum(map(len, texts)) >= WORTH_KEEPING]
            keys = {at: (prompt.encoding, digest(pieces[at])) for at in worthy}
            for at, count in zip(keys, self.memory.find(list(keys.values())), strict=True):
                found[at] = count
        new = [at for at, count in enumerate(found) if count is None]
        counts = iter(self._encoder(prompt.encoding)([text for at in new for text in pieces[at]]))
        for at in new:
            found[at] = sum(next(counts) for _ in pieces[at])
        if self.memory is not None:
            self.memory.store([(keys[at], found[at] or 0) for at in new if at in keys])
        return [count or 0 for count in found]

    def _encoder(self, encoding: str) -> Count:
        known = self._encoders.get(encoding)
        if known is None:
            with self._loading:  # of many first requests, one loads and the others wait
                known = self._encoders.get(encoding) or self._load(encoding)
                self._encoders[encoding] = known
        return known


def digest(texts: Sequence[str]) -> bytes:
    """One digest of several texts and of where each ends."""
    total = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        total.update(b"%d:" % len(data))
        total.update(data)
    return total.digest()
