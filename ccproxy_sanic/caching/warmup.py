"""Requests that are answered ahead of time, and those that became popular.

Rule: a warm-up request is like any other: through the pipeline, under its caller's limits, asked of the upstream.  It
runs beside the server, which waits for none of it, and ends when the drain begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ccproxy_sanic import context, errors, pipeline
from ccproxy_sanic.caching import warmup_file
from ccproxy_sanic.context import Asker, Caller, RequestContext
from ccproxy_sanic.pipeline import House
from ccproxy_sanic.pipeline.keeping import Origin, popular
from ccproxy_sanic.settings import Settings
from ccproxy_sanic.wire import anthropic

log = logging.getLogger("ccproxy")

AT_ONCE: Final = 4  # requests
TRIES: Final = 3  # of a request that a limit refuses
LONGEST_WAIT: Final = 60.0  # seconds between them
STEPS: Final = 10  # progress lines of one warm-up, about
FAULTS_SHOWN: Final = 20  # lines about items that can't be used
PATH: Final = "warm-up"  # what the log and the counters call them


class Warmup:
    """``callers`` are all who may call; each gets its own answer to an item that names nobody."""

    def __init__(self, settings: Settings, house: House, callers: Sequence[Caller], *, saves: bool) -> None:
        self._settings, self._house = settings, house
        self._callers = {caller.key: caller for caller in callers}
        self._path = Path(settings.cache_warmup_file_path).expanduser()
        self._saves = saves
        self.total = self.done = self.failed = 0

    def __repr__(self) -> str:
        return f"<Warmup {self.done} of {self.total}, failed {self.failed}>"

    async def run(self) -> None:
        """Until it is cancelled, or has nothing left to do."""
        settings = self._settings
        if settings.cache_warmup_on_startup:
            await self._warm(await self._items())
        while self._saves:
            await asyncio.sleep(settings.cache_warmup_save_interval_seconds)
            await self._save()

    # -- sending

    async def _items(self) -> list[Origin]:
        items = await self._read(self._path)
        if self._settings.cache_warmup_preload_common:
            items += await self._read(warmup_file.popular_path(self._path))
        return items

    async def _read(self, path: Path) -> list[Origin]:
        found = await asyncio.to_thread(warmup_file.read, path, self._settings.cache_warmup_max_items)
        for fault in found.faults[:FAULTS_SHOWN]:
            log.warning("%s: %s", path.name, fault)
        if len(found.faults) > FAULTS_SHOWN:
            log.warning("%s: and %d more that can't be used", path.name, len(found.faults) - FAULTS_SHOWN)
        for note in found.notes:
            log.info("%s: %s", path.name, note)
        return found.items

    async def _warm(self, items: Iterable[Origin]) -> None:
        wanted = [(item, caller) for item in items for caller in self._callers_of(item)]
        self.total = len(wanted)
        if not wanted:
            return
        log.info("warm-up: %d requests", self.total)
        waiting = iter(wanted)
        await asyncio.gather(*(self._work(waiting) for _ in range(AT_ONCE)))
        log.info("warm-up: %d of %d requests answered, %d failed", self.done, self.total, self.failed)

    def _callers_of(self, item: Origin) -> list[Caller]:
        if not item.caller:
            return list(self._callers.values())
        return [self._callers[item.caller]] if item.caller in self._callers else []

    async def _work(self, waiting: Iterator[tuple[Origin, Caller]]) -> None:
        step = max(1, self.total // STEPS)
        for item, caller in waiting:
            fault: errors.ProxyError | None = None
            for _ in range(TRIES):
                fault = await self._ask(item, caller)
                if not isinstance(fault, (errors.RateLimited, errors.Overloaded)):
                    break
                await asyncio.sleep(min(fault.retry_after or 1.0, LONGEST_WAIT))
            self.done += fault is None
            self.failed += fault is not None
            if (self.done + self.failed) % step == 0 and self.done + self.failed < self.total:
                log.info("warm-up: %d of %d, %d failed", self.done + self.failed, self.total, self.failed)

    async def _ask(self, item: Origin, caller: Caller) -> errors.ProxyError | None:
        """One request, counted and logged like any other."""
        house, raw = self._house, item.body
        ctx = context.begin(Asker({}, PATH), house.clock(), house.timer(), len(raw), 0.0)
        ctx.caller = caller
        ctx.deadline = ctx.started + self._settings.total_timeout
        fault: errors.ProxyError | None = None
        try:
            async with asyncio.timeout_at(ctx.deadline):
                ctx.bytes_out = len(await self._answer(item, ctx))
        except errors.ProxyError as refused:
            fault = refused
        except TimeoutError:
            fault = errors.TimedOut("the request took longer than this proxy allows")
        except Exception:
            log.exception("bug while warming up with %s", ctx.request_id)
            fault = errors.Bug("internal error")
        if fault is None:
            pipeline.report(house, ctx, 200, "ok", None)
        else:
            pipeline.report(house, ctx, fault.status, pipeline.outcome(fault), fault.type)
        return fault

    async def _answer(self, item: Origin, ctx: RequestContext) -> bytes:
        req = anthropic.decode_request(item.body)
        ctx.client_model = req.model
        work = pipeline.begin(self._house, ctx, req, item.body, item.headers, item.query, cache="on")
        return await pipeline.complete(self._house, ctx, work)

    # -- saving

    async def _save(self) -> None:
        settings, path = self._settings, warmup_file.popular_path(self._path)
        items = await popular(self._house, settings.cache_warmup_popularity_threshold, settings.cache_warmup_max_items)
        if not items:
            return  # what was popular before is better than nothing
        try:
            await asyncio.to_thread(warmup_file.write, path, items)
        except OSError as fault:
            log.warning("popular requests can't be saved to %s: %s", path.name, fault.strerror)
        else:
            log.info("%d popular requests saved to %s", len(items), path.name)
