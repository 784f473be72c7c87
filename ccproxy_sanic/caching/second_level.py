"""Whole answers in a Redis or Valkey that several processes share: the cache's second level.

Rule: it may be slow or away and nobody notices.  A read has 50 ms, and whatever goes wrong, here or there, is a miss;
once something failed nobody asks it until a probe in the background has found it well again.

It is cleared without a walk through all keys: each answer says in which *epoch* it was asked for, a random word at a
key of its own, which is read together with the answer.  A new word, and all that is there from before is none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from aiocache import RedisCache  # type: ignore[import-untyped]
from aiocache.serializers import BaseSerializer  # type: ignore[import-untyped]

from ccproxy_sanic.pipeline.keeping import Answer
from ccproxy_sanic.redis_client import client_of

log = logging.getLogger("ccproxy")

NAMESPACE: Final = "ccproxy:cache"
EPOCH: Final = "ccproxy:cache-epoch"
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
    epoch: bytes = b""


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
        except (msgspec.DecodeError, UnicodeDecodeError):  # the latter for text that is no UTF-8
            return None


_codec: Final = _Codec()


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
        self._cache = RedisCache(serializer=_codec, namespace=NAMESPACE, timeout=0)
        self._cache.client = self._client = client_of(url)
        self._up, self._probing, self._probes, self._next = True, False, 0, 0.0  # the last: on the wall clock
        self._told, self._telling = float("-inf"), True
        self.epoch = b""  # the newest that is known
        self._owed = False  # the server has not been told that it is a new one
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
                held, epoch = await self._cache.raw("mget", f"{NAMESPACE}:{key.hex()}", EPOCH)
        except Exception as fault:
            self._failed(fault)
            return None
        if self._owed:  # cleared meanwhile
            epoch = self.epoch
        self.epoch = epoch or b""
        stored = _codec.loads(held)
        if stored is not None and stored.epoch != self.epoch:
            stored = None
        age = self._ttl if stored is None else max(0.0, self._now() - stored.at)
        if stored is None or age >= self._ttl:
            self._misses += 1
            return None
        self._hits += 1
        return stored.answer, age

    async def put(self, key: bytes, answer: Answer, epoch: bytes) -> None:
        """``epoch`` is that in which it was asked for: what was cleared meanwhile must not come back."""
        if not self._up or answer.size > LARGEST:
            return
        stored = Stored(self._now(), msgspec.structs.replace(answer, origin=None), epoch)
        try:
            async with asyncio.timeout(WRITE):
                await self._cache.set(key.hex(), stored, ttl=float(self._ttl))
            self._stored += 1
        except Exception as fault:
            self._failed(fault)

    async def clear(self) -> None:
        """What is there counts no more, for whoever shares it; while it is away it is not read, and when it is back
        this comes first."""
        self.epoch, self._owed = secrets.token_bytes(8), True
        if not self._up:
            self._look()
            return
        try:
            async with asyncio.timeout(WRITE):
                await self._begin()
        except Exception as fault:
            self._failed(fault)

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(WRITE):
                await self._client.aclose()
        except Exception as fault:
            log.debug("the cache's second level could not be closed (%s)", type(fault).__name__)

    async def _begin(self) -> None:
        """Agree on the epoch with all others."""
        epoch: bytes | None = await self._cache.raw("get", EPOCH)
        if not self._owed:
            self.epoch = epoch or b""
        while self._owed:  # it may be cleared once more meanwhile
            new = self.epoch
            await self._client.set(EPOCH, new)
            self._owed = self.epoch != new

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
                await self._begin()
            if not self._up and self._telling:
                log.info("the cache's second level answers again")
            self._up = True
        except Exception as fault:
            self._failed(fault)
        finally:
            self._probing = False
