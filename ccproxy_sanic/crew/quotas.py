"""Limits that several processes share through Redis or Valkey, also on several machines: quota leasing.

Rule: no request ever waits for the server.  The limiter spends what was allotted; once a second, what was spent is told
for each limit in use, and what the next second may bring is asked for (actors.md C.6).  A server that is slow or away
costs the sharing: each process then keeps to its even part of the limit, and tells afterwards what it spent meanwhile.

Callers are known to the server by a hash.  One server, or one of its databases, is for one proxy: limits of upstreams
are kept by their names.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from redis.exceptions import NoScriptError, RedisError

from actors.messages import ActorError
from actors.rate_messages import Allot, Book, Claim, Sharing
from ccproxy_sanic.crew.script import SCRIPT
from ccproxy_sanic.redis_client import client_of

log = logging.getLogger("ccproxy")

LOOK: Final = 0.2  # seconds between looks at what is claimed: so long a burst waits under a key that was not in use
EVERY: Final = 1.0  # seconds between two calls for one key
WITHIN: Final = 0.25  # seconds that the server has
AGAIN: Final = 1.0  # seconds between two calls to a server that did not answer
PROBE: Final = 5.0  # seconds without a call after which it is asked whether it is there
LEASE: Final = 2.5  # seconds an allotment is good for: a late answer or two cost nothing
MINUTE: Final = 60.0
FORGET: Final = 120.0  # seconds after which a key that is not in use is forgotten
NONE: Final = -1  # in the script's answer
LAW: Final = {Book.CALLERS: "pace", Book.UPSTREAMS: "window"}
PREFIX: Final = "ccproxy:quota"


class QuotaStatistics(msgspec.Struct, frozen=True):
    """Totals since the start.  ``up``: whether limits are shared now; ``keys``: limits in use."""

    up: bool
    calls: int
    failures: int
    outages: int
    keys: int


class Share(msgspec.Struct, frozen=True):
    """``burst`` is that of callers; ``processes`` are those whose even parts make the whole limit."""

    burst: int
    processes: int


class _Spent(msgspec.Struct):
    """What began within one second; ``at`` is its end so far, so that nothing seems older than it is."""

    at: float
    requests: int
    tokens: int


class _Key:
    """One limit that this process uses."""

    def __init__(self, claim: Claim) -> None:
        digest = hashlib.blake2b(claim.key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self.name = f"{PREFIX}:{claim.book}:{digest}"
        self.claim = claim
        self.requests = self.tokens = 0  # spent since it is known, cumulative
        self.spent: deque[_Spent] = deque()  # of the last minute, the oldest first
        self.seen = self.called = self.heard = self.until = float("-inf")
        self.pressing = True

    def look(self, claim: Claim, now: float) -> None:
        self.pressing = self.pressing or (claim.waiting > 0 and not self.claim.waiting)
        self.claim, self.seen = claim, now
        self.requests += claim.requests
        self.tokens += claim.tokens
        if not self.spent or int(now) != int(self.spent[-1].at):
            self.spent.append(_Spent(now, 0, 0))
        newest = self.spent[-1]
        newest.at = now
        newest.requests += max(0, claim.requests)  # what was given back is in the cumulative figures
        newest.tokens += max(0, claim.tokens)
        while self.spent[0].at <= now - MINUTE:
            self.spent.popleft()

    def is_due(self, now: float) -> bool:
        if self.seen <= self.called:
            return False
        return self.pressing or now - self.called >= EVERY or now >= self.until

    def arguments(self, me: str, share: Share, now: float, *, everything: bool) -> list[str | int | float]:
        """As the script wants them; ``everything`` of the last minute, or what is newer than the last answer."""
        claim = self.claim
        since = float("-inf") if everything else self.heard - EVERY
        entries: list[str | int | float] = []
        for spent in reversed(self.spent):
            if spent.at < since:
                break
            entries += [int((now - spent.at) * 1000), spent.requests, spent.tokens]
        limits = (claim.limit_requests, claim.limit_tokens, claim.limit_concurrent)
        return [
            *(me, int(everything), LAW[claim.book]),
            *("" if limit is None else limit for limit in limits),
            *(share.burst if claim.book is Book.CALLERS else 0, share.processes, int(LEASE * 1000)),
            *(self.requests, self.tokens),
            *(claim.in_flight, claim.waiting, claim.waiting_tokens),
            *entries,
        ]


class Quotas:
    """``claims`` asks the limiter, ``tell`` tells it; ``clock`` is monotonic."""

    def __init__(
        self,
        url: str,
        claims: Callable[[], Awaitable[tuple[Claim, ...]]],
        tell: Callable[[Allot | Sharing], object],
        share: Share,
        clock: Callable[[], float],
    ) -> None:
        self._client = client_of(url)
        self._claims, self._tell, self._share, self._clock = claims, tell, share, clock
        self._me = secrets.token_hex(8)
        self._script = ""  # its digest, once the server has it
        self._keys: dict[tuple[Book, str], _Key] = {}
        self._going = True
        self._up: bool | None = None  # None: not asked yet
        self._asked = float("-inf")
        self._calls = self._failures = self._outages = 0

    def __repr__(self) -> str:
        return f"<Quotas {'shared' if self._up else 'not shared'} | {len(self._keys)} keys, failures {self._failures}>"

    def statistics(self) -> QuotaStatistics:
        return QuotaStatistics(bool(self._up), self._calls, self._failures, self._outages, len(self._keys))

    async def run(self) -> None:
        """Until :meth:`stop`; to be cancelled after that."""
        while self._going:
            with contextlib.suppress(ActorError):  # it is asked again
                await self.look()
            await asyncio.sleep(LOOK)

    def stop(self) -> None:
        """A cancellation alone is not enough: the client turns one that comes while it connects into a fault."""
        self._going = False

    async def aclose(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(WITHIN):
                await self._client.aclose()

    async def look(self) -> None:
        """One round.  What was claimed is counted even where nobody can be told."""
        claims = await self._claims()
        now = self._clock()
        for claim in claims:
            place = (claim.book, claim.key)
            key = self._keys.get(place)
            if key is None:
                key = self._keys[place] = _Key(claim)
            key.look(claim, now)
        for place in [place for place, key in self._keys.items() if now - key.seen > FORGET]:
            del self._keys[place]
        due = [key for key in self._keys.values() if key.is_due(now)]
        if not self._up and now - self._asked < AGAIN:
            return
        if due or now - self._asked >= PROBE or not self._up:
            self._asked = now
            await self._call(due, now)

    async def _call(self, due: list[_Key], now: float) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                await self._exchange(due, now)
        except Exception as error:  # whatever goes wrong there
            self._failures += 1
            if self._up is not False:
                self._outages += self._up is not None
                log.warning("limits are not shared: %s", type(error).__name__)
                self._tell(Sharing(on=False))
            self._up = False
            return
        if not self._up:
            log.info("limits are shared by Redis")
            self._tell(Sharing(on=True))
        self._up = True

    async def _exchange(self, due: list[_Key], now: float) -> None:
        if not due:
            await self._client.ping()
            return
        unknown = [key for key, told in zip(due, await self._ask(due, now, everything=False), strict=True) if not told]
        if unknown and not all(await self._ask(unknown, now, everything=True)):
            raise RedisError("the script did not answer")

    async def _ask(self, due: list[_Key], now: float, *, everything: bool) -> list[bool]:
        """One round trip for all; which of them were answered with an allotment."""
        if not self._script:
            self._script = await self._client.script_load(SCRIPT)
        pipeline = self._client.pipeline(transaction=False)
        for key in due:
            # After an outage all is told again: each second of it in its place.
            full = everything or now - key.heard > 2 * EVERY
            pipeline.evalsha(self._script, 1, key.name, *key.arguments(self._me, self._share, now, everything=full))
        self._calls += len(due)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, NoScriptError):
                self._script = ""  # a server that was started anew: it is told with the next call
            if isinstance(answer, Exception):
                raise answer
        return [self._take(key, answer, now) for key, answer in zip(due, answers, strict=True)]

    def _take(self, key: _Key, answer: list[int], now: float) -> bool:
        key.called = now
        if not answer[0]:
            return False
        _, requests, tokens, concurrent, milliseconds = answer
        key.heard, key.pressing = now, False
        key.until = now + milliseconds / 1000
        self._tell(
            Allot(
                key.claim.book,
                key.claim.key,
                milliseconds / 1000,
                None if requests == NONE else requests,
                None if tokens == NONE else tokens,
                None if concurrent == NONE else concurrent,
            )
        )
        return True
