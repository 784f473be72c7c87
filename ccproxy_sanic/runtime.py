"""What lives as long as the process: actors, the upstream engines, the ticker, the log, the demo upstream.

Rule: started in one order, stopped in the reverse; a request is in :attr:`Runtime.active` from its first line to its
last, so that a drain can wait for it and, when the grace is over, end it with a word (ARCHITECTURE.md 1.7, 1.9;
sanic-and-httpx.md A.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import msgspec

from actors import (
    CacheActor,
    Configure,
    Family,
    MetricsActor,
    MetricsRegistry,
    Priced,
    ProviderActor,
    ProviderBooks,
    RateBooks,
    RateLimiterActor,
    Ref,
    Supervisor,
    Tick,
)
from ccproxy_sanic import catalog, demo, gauges
from ccproxy_sanic.auth import ANONYMOUS, Token, identify
from ccproxy_sanic.caching.wiring import Caching
from ccproxy_sanic.context import Caller, Tracer
from ccproxy_sanic.crew.crew import Crew, carrier_key
from ccproxy_sanic.errors import Draining, TimedOut
from ccproxy_sanic.fleet import Fleet, fleet_of, limits_of
from ccproxy_sanic.frames import Place, alone
from ccproxy_sanic.guards import Guards
from ccproxy_sanic.learning.look import Profiles
from ccproxy_sanic.ops.cost import Prices
from ccproxy_sanic.ops.error_records import ErrorRecords
from ccproxy_sanic.ops.logging import LogWriter
from ccproxy_sanic.pipeline import House
from ccproxy_sanic.pipeline.retry import RetryRules
from ccproxy_sanic.relay import Client
from ccproxy_sanic.settings import Settings
from ccproxy_sanic.settings_network import Reach
from ccproxy_sanic.sharing.running import SharedStreams
from ccproxy_sanic.tokens import Memory, TokenCounter, pool_size
from ccproxy_sanic.upstream.engine import EngineTransport
from ccproxy_sanic.upstream.transport import Transports
from ccproxy_sanic.watch import Watch
from ccproxy_sanic.wire import beginnings

log = logging.getLogger("ccproxy")
TICK: Final = 1.0  # seconds between two sweeps of an actor
LEASE_MARGIN: Final = 60.0  # seconds a lease outlives the longest stream: what is swept after that was lost
CUT_WAIT: Final = 1.5  # seconds that requests have to say their last word when the grace is over
# tasks that are there while nothing happens: ours have these names, Sanic's and the demo's these coroutines
RESIDENT_NAMES: Final = ("actor:", "ccproxy:")
RESIDENT_COROUTINES: tuple[str, ...] = ("connection_task", "DemoServer")


class Quiet(msgspec.Struct, frozen=True):
    """What is still under way.  All zero: nothing leaked (invariant 7)."""

    leases: int
    open_streams: int
    requests: int
    tasks: int
    busy_connections: int


class Runtime:
    """Made without a loop; everything that needs one is made by :meth:`start`."""

    house: House
    watch: Watch

    def __init__(self, settings: Settings, place: Place | None = None) -> None:
        self.settings, self.place = settings, place or alone()
        self.crew = Crew(settings, self.place, self.spawn)
        self.ready = self.draining = self.fatal = False
        self.on_fatal: Callable[[], object] = lambda: None
        self.active: set[Client] = set()
        self._idle = asyncio.Event()
        self.hop = self.place.derived(b"hop").hex()[:16]
        self.tokens = tuple(Token(token.name, token.token.reveal()) for token in settings.auth_tokens)
        self.guards = Guards(settings)
        self.profiles = Profiles(catalog.required(settings))
        self._looks: set[asyncio.Task[None]] = set()
        self.transports = Transports(
            str(settings.ca_file) if settings.ca_file else None,
            keepalive_s=settings.pool_keepalive_expiry,
            max_idle=settings.pool_max_keepalive_connections,
        )
        self.log_writer = LogWriter(settings, worker=self.place.label)
        self.tracer: Tracer | None = None
        self.failures = ErrorRecords(settings, self.log_writer.redactor, self.log_writer.later)
        self.counter = _counter(settings)
        self.demo: demo.DemoServer | None = None
        self.caching = Caching(settings)
        self._rates = RateBooks(settings.stream_timeout + LEASE_MARGIN)
        self._endpoints = ProviderBooks((), settings.stream_timeout + LEASE_MARGIN)
        self._closing: set[asyncio.Task[Any]] = set()
        self._elders: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def __repr__(self) -> str:
        state = "draining" if self.draining else "ready" if self.ready else "not ready"
        return f"<Runtime {state} | {len(self.active)} requests, {self._endpoints!r}>"

    # -- life

    async def start(self) -> None:
        """Start everything.  What is raised here fails the boot."""
        settings, loop = self.settings, asyncio.get_running_loop()
        self._elders.update(asyncio.all_tasks(loop))
        self.log_writer.start()
        self.tracer = _tracer(settings, self.log_writer.redactor)
        if settings.state_dir is not None:
            self.profiles.keep_in(settings.state_dir, self._close_later)
        if settings.upstream.demo and settings.routing.default is not None:
            self.demo = await demo.start(pace=settings.demo_pace)
        self.watch = Watch(loop.time, self._end_the_late)
        self.supervisor = Supervisor(on_escalate=self._escalate)
        fleet = self._fleet()
        self.house = await self._build(fleet, loop.time)
        await self.house.provider.ask(Configure(fleet.endpoints))
        self._look()
        callers = [token.caller for token in self.tokens] or [ANONYMOUS]
        self.caching.serve(self.house, callers, self.spawn, first=self.place.number == 1)
        self.crew.begin(self.house.limiter, loop.time)
        self.watch.start()

    def _fleet(self) -> Fleet:
        base_url = self.demo.base_url if self.demo is not None else self.settings.upstream.base_url
        fleet = fleet_of(self.settings, self.hop, base_url, self._transport_of)
        for remark in fleet.remarks:
            log.info("%s", remark)
        return fleet.part(self.place.share)

    def _base_url_of(self, upstream: str) -> str | None:
        target = self.house.upstreams.targets.get(upstream)
        return None if target is None else target.base_url

    def _transport_of(self, reach: Reach) -> EngineTransport:
        return self.transports.get(reach.engine, reach.proxy.url.reveal() if reach.proxy else None, reach.http2)

    def _look(self) -> None:
        """Ask the upstreams that only a look can tell who they are."""
        for target in filter(self.profiles.is_unsure, self.house.upstreams.targets.values()):
            looking = self.profiles.look(target, self._close_later)
            task = asyncio.get_running_loop().create_task(looking, name="ccproxy:look")
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def reroute(self, settings: Settings) -> None:
        """Use the routes of these settings from now on; requests that run keep the ones that they began with."""
        self.settings = settings
        self.log_writer.hide(settings.secrets)
        fleet = self._fleet()
        await self.house.provider.ask(Configure(fleet.endpoints))
        self.house.upstreams = fleet.upstreams
        self.house.metrics.tell(Priced())
        self.caching.known.clear()
        self._look()

    async def _build(self, fleet: Fleet, clock: Callable[[], float]) -> House:
        settings, start = self.settings, self.supervisor.start
        limits, alarm = limits_of(settings, self.place.count), asyncio.get_running_loop().call_later
        prices = Prices(self._base_url_of, lambda: metrics.tell(Priced()))
        registry = MetricsRegistry(since=clock(), tariff=prices.tariff)
        self.caching.begin(clock, self.spawn)
        limiter = await start(Ref("limiter", lambda: RateLimiterActor(limits, self._rates, clock, alarm)))
        cache = await start(Ref("cache", lambda: CacheActor(self.caching.books, clock)))
        provider = await start(Ref("provider", lambda: ProviderActor(self._endpoints, clock)))
        metrics = await start(
            Ref("metrics", lambda: MetricsActor(registry, self.log_writer.exchange, clock, self._gauges))
        )
        for ref in (limiter, cache, provider):
            ref.every(TICK, Tick())
        return House(
            limiter=limiter,
            cache=cache,
            provider=provider,
            metrics=metrics,
            upstreams=fleet.upstreams,
            profile_of=self.profiles.of,
            learn=self.profiles.learn,
            clock=clock,
            timer=time.perf_counter,
            now=time.time,
            chance=random.random,
            carrier_key=carrier_key(settings, self.place),
            closer=self._close_later,
            retry=RetryRules(
                settings.provider_max_retries, settings.provider_retry_base_delay, settings.provider_retry_jitter
            ),
            streams=SharedStreams(
                self.spawn, clock, longest=settings.stream_timeout, enabled=settings.stream_dedupe_enabled
            ),
            patience=settings.queue_wait,
            strict=settings.strict,
            share=settings.cache,
        )

    async def drain(self) -> None:
        """Refuse new work, wait for what is under way; when the grace is over, end it with an error it can act on."""
        self.ready, self.draining = False, True
        self.caching.end()
        self.house.streams.close()
        await self._until_idle(self.settings.grace)
        for client in list(self.active):
            client.end_with(Draining("the proxy is restarting", retry_after=1))
        await self._until_idle(CUT_WAIT)

    async def _until_idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.active:
                    self._idle.clear()
                    await self._idle.wait()

    async def stop(self) -> None:
        """Stop everything, last started first; waits for leases, whose holders may only now be cancelled."""
        await self._until_idle(CUT_WAIT)
        await self.watch.stop()
        for looking in self._looks:
            looking.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        await self.crew.end()
        await self.transports.aclose()
        await self.caching.aclose()
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)
        await self.supervisor.stop()
        if self.demo is not None:
            await self.demo.close()
        self.counter.close()
        if self.tracer is not None:
            await self.tracer.close()
        self.log_writer.stop()
        self.failures.close()

    def _escalate(self, error: BaseException) -> None:
        """An actor failed for good: drain and exit 1, so that the platform starts a new process."""
        self.ready, self.fatal = False, True
        self.on_fatal()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Have short work done that no request waits for; the end waits for it, though not long."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    def _close_later(self, closing: Coroutine[Any, Any, Any]) -> None:
        """Engines whose responses can only be closed asynchronously leave that here."""
        self.spawn(closing, "closing")

    # -- requests

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Who is calling.  Raises Unauthenticated, Forbidden."""
        return identify(headers, self.tokens, open_to_all=self.settings.open, welcome=self.guards.welcome)

    def leave(self, client: Client) -> None:
        """Its request is over."""
        self.watch.clients.discard(client)
        self.active.discard(client)
        if not self.active:
            self._idle.set()

    def _end_the_late(self, now: float) -> None:
        """The ticker looks who is late: a timer for each request would cost as much as asking an actor."""
        for client in list(self.active):
            if now >= client.deadline and client.cut is None:
                client.end_with(TimedOut("the request took longer than this proxy allows"))
        self.house.streams.look(now)

    # -- what is to be seen

    def quiet(self) -> Quiet:
        return Quiet(
            leases=len(self._rates.permits) + len(self._endpoints.leases) + self.caching.books.in_flight,
            open_streams=len(self.watch.clients) + self.house.streams.parked,
            requests=len(self.active),
            tasks=len(self.stray_tasks()),
            busy_connections=self.transports.busy,
        )

    def stray_tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that nobody accounts for."""
        current = asyncio.current_task()
        return [task for task in asyncio.all_tasks() if task is not current and not self._resident(task)]

    def _resident(self, task: asyncio.Task[Any]) -> bool:
        name = getattr(task.get_coro(), "__qualname__", "")
        return (
            task in self._elders
            or task.get_name().startswith(RESIDENT_NAMES)
            or any(part in name for part in RESIDENT_COROUTINES)
        )

    def actor_stats(self) -> dict[str, Any]:
        """Each actor's mailbox: handled, shed, dead, crashes, waits."""
        return {ref.name: ref.stats for ref in self.supervisor.refs}

    def parts(self) -> dict[str, Callable[[], Any]]:
        """Who tells what each part knows of itself, by its name (gauges_table)."""
        books, second, memory = self.caching.books, self.caching.second, self.counter.memory
        return {
            "under_way": self.quiet,
            "watch": lambda: self.watch,
            "limiter": self._rates.statistics,
            "provider": self._endpoints.statistics,
            "lessons": self.profiles.statistics,
            "connections": self.transports.statistics,
            "cache": lambda: books.statistics(self.house.clock()),
            "second_level": lambda: None if second is None else second.statistics(),
            "known": self.caching.known.statistics,
            "conversations": beginnings.statistics,
            "streams": books.streams.statistics,
            "sharing": self.house.streams.statistics,
            "token_counts": lambda: None if memory is None else memory.statistics(),
            "log": self.log_writer.statistics,
            "records": self.failures.statistics,
            "quotas": self.crew.quotas,
        }

    def _gauges(self) -> Iterable[Family]:
        return gauges.families(self.supervisor.refs, self.parts())


def _counter(settings: Settings) -> TokenCounter:
    workers = settings.thread_pool_max_workers or pool_size(os.cpu_count() or 1, settings.web_concurrency)
    memory = None
    if settings.cache_token_counts_enabled:
        memory = Memory(settings.cache_token_counts_max, settings.cache_token_counts_ttl_s, time.monotonic)
    return TokenCounter(workers, memory)


def _tracer(settings: Settings, redact: Callable[[str], str]) -> Tracer | None:
    if not settings.tracing_enabled:
        return None
    from ccproxy_sanic.ops import tracing  # OpenTelemetry, which nobody else needs

    return tracing.Tracer(settings, redact)
