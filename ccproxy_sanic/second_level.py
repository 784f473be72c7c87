"""Whole answers in a Redis or Valkey that several processes share: the cache's second level.

Rule: it may be slow or away and nobody notices.  A read has 50 ms, and whatever goes wrong, here or there, is a miss;
once something failed nobody asks it until a probe in the background has found it well again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from aiocache import RedisCache  # type: ignore[import-untyped]
from aiocache.serializers import BaseSerializer  # type: ignore[import-untyped]

from ccproxy_sanic.pipeline.keeping import Answer
from ccproxy_sanic.redis_client import client_of

log = logging.getLogger("ccproxy")

NAMESPACE: Final = "ccproxy:cache"
READ: Final = 0.05  # seconds
WRITE: Final = 2.0  # seconds
PROBE: Final = 2.0  # seconds a probe may take: a connection with TLS may need more than a read may
PAUSES: Final = (0.0, 1.0, 2.0, 5.0, 10.0)  # seconds between probes, the first ones and all later ones
LARGEST: Final = 8 << 20  # bytes of an answer that is sent there: what is larger would not come back within 50 ms
TOLD: Final = 60.0  # seconds between two outages that the log tells of, at least


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """``at``: when it was made, on the wall clock; without the request."""

    at: float
    answer: Answer


class SecondStatistics(msgspec.Struct, frozen=True):
    up: bool
    hits: int
    misses: int
    skipped: int  # not asked, while it was away
    failures: int
    outages: int
    stored: int


class _Codec(BaseSerializer):  # type: ignore[misc]  # aiocache has no types
    """MessagePack; what can't be read, of another version or of somebody else, is not there."""

    DEFAULT_ENCODING = None

    def __init__(self) -> None:
        super().__init__()
        self._decoder = msgspec.msgpack.Decoder(Stored)
        self._encoder = msgspec.msgpack.Encoder()

    def dumps(self, value: Stored) -> bytes:
        return self._encoder.encode(value)

    def loads(self, value: bytes | None) -> Stored | None:
        try:
            return None if value is None else self._decoder.decode(value)
        except msgspec.DecodeError:
            return None


class SecondLevel:
    """``ttl`` in seconds; ``now`` is the wall clock; ``spawn`` has a probe done in the background.  Raises ValueError
    for a URL that names no server."""

    def __init__(
        self,
        url: str,
        ttl: float,
        now: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._ttl, self._now, self._spawn = ttl, now, spawn
        self._cache = RedisCache(serializer=_Codec(), namespace=NAMESPACE, timeout=0)
        self._cache.client = self._client = client_of(url)
        self._up, self._probing, self._probes, self._next = True, False, 0, 0.0  # the last: on the wall clock
        self._told, self._telling = float("-inf"), True
        self._hits = self._misses = self._skipped = self._failures = self._outages = self._stored = 0

    def __repr__(self) -> str:
        return f"<SecondLevel {'up' if self._up else 'away'} | hits {self._hits}, outages {self._outages}>"

    def statistics(self) -> SecondStatistics:
        return SecondStatistics(
            self._up, self._hits, self._misses, self._skipped, self._failures, self._outages, self._stored
        )

    def open(self) -> None:
        """Have it looked at now, so that the first request finds a connection or knows that there is none."""
        self._look()

    async def get(self, key: bytes) -> tuple[Answer, float] | None:
        """The answer and its age in seconds."""
        if not self._up:
            self._skipped += 1
            self._look()
            return None
        try:
            async with asyncio.timeout(READ):
                stored: Stored | None = await self._cache.get(key.hex())
        except Exception as fault:
            self._failed(fault)
            return None
        age = self._ttl if stored is None else max(0.0, self._now() - stored.at)
        if stored is None or age >= self._ttl:
            self._misses += 1
            return None
        self._hits += 1
        return stored.answer, age

    async def put(self, key: bytes, answer: Answer) -> None:
        if not self._up or answer.size > LARGEST:
            return
        stored = Stored(self._now(), msgspec.structs.replace(answer, origin=None))
        try:
            async with asyncio.timeout(WRITE):
                await self._cache.set(key.hex(), stored, ttl=float(self._ttl))
            self._stored += 1
        except Exception as fault:
            self._failed(fault)

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(WRITE):
                await self._client.aclose()
        except Exception as fault:
            log.debug("the cache's second level could not be closed (%s)", type(fault).__name__)

    def _failed(self, fault: Exception) -> None:
        self._failures += 1
        if self._up:
            self._up, self._probes, self._next = False, 0, 0.0
            self._outages += 1
            self._telling = self._now() - self._told >= TOLD
            if self._telling:
                self._told = self._now()
                log.warning("the cache's second level does not answer (%s)", type(fault).__name__)
        self._look()

    def _look(self) -> None:
        """Have it probed in the background, now and then, for as long as somebody would like to ask it."""
        now = self._now()
        if not self._probing and now >= self._next:
            self._probing = True
            self._next = now + PAUSES[min(self._probes, len(PAUSES) - 1)]
            self._probes += 1
            self._spawn(self._probe())

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(PROBE):
                await self._client.ping()
            if not self._up and self._telling:
                log.info("the cache's second level answers again")
            self._up = True
        except Exception as fault:
            self._failed(fault)
        finally:
            self._probing = False
