"""The cache of whole answers as the runtime has it: its books, its second level, what it is warmed with.

Rule: everything of it is made, started and ended here; without a URL nothing of the second level is imported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from ccproxy_sanic.caching.known import MOST, Known
from ccproxy_sanic.caching.warmup import Warmup
from ccproxy_sanic.context import Caller
from ccproxy_sanic.pipeline import House
from ccproxy_sanic.pipeline.keeping import new_books
from ccproxy_sanic.pipeline.report import Hits
from ccproxy_sanic.settings import Settings

if TYPE_CHECKING:
    from ccproxy_sanic.caching.second_level import SecondLevel

MIB: Final = 1 << 20
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]]


class Caching:
    """``known`` and ``hits`` are there from :meth:`serve` on; ``second`` where there is a URL, ``warmup`` where it is
    wanted."""

    known: Known
    hits: Hits

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.books = new_books(settings.cache_max_entries, settings.cache_max_mb * MIB, settings.cache_ttl)
        self.second: SecondLevel | None = None
        self.warmup: Warmup | None = None
        self._warming: asyncio.Task[Any] | None = None

    def begin(self, clock: Callable[[], float], spawn: Spawn) -> None:
        """Before the first actor is made.  Raises ValueError for a URL that names no server."""
        settings = self._settings
        self.books.forget(clock())
        self.books.renew()
        if url := settings.cache_url or settings.redis_url:
            from ccproxy_sanic.caching.second_level import SecondLevel

            self.second = SecondLevel(
                url.reveal(), settings.cache_ttl, time.time, lambda work: spawn(work, "second level")
            )

    def serve(self, house: House, callers: Sequence[Caller], spawn: Spawn, *, first: bool) -> None:
        """When everything else runs; ``first``: this process is the one of all workers that saves files."""
        settings = self._settings
        self.hits = Hits(house)
        # Where callers have limits each request asks the limiter: who is above them gets no hit either.
        limited = settings.rate_limit_per_minute is not None or settings.max_concurrent is not None
        self.known = Known(0 if limited else MOST, house.clock, house.timer, self.hits.event_of)
        house.second = self.second
        if self.second is not None:
            self.second.open()
        if settings.cache_warmup_enabled:
            saves = first and settings.cache_warmup_auto_save_popular
            house.remember = saves
            self.warmup = Warmup(settings, house, callers, saves=saves)
            self._warming = spawn(self.warmup.run(), "ccproxy:warm-up")

    def end(self) -> None:
        """The drain begins: nothing is warmed any more."""
        if self._warming is not None:
            self._warming.cancel()

    async def aclose(self) -> None:
        if self.second is not None:
            await self.second.aclose()
