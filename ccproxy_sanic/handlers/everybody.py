"""What all workers know together, and what all of them are to do.

Rule: a worker that does not answer in time costs its numbers, never the page; alone, nothing is asked of anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from actors import About, Family, Render, Reset, Series, Snapshot, Totals, merged
from ccproxy_sanic import merging, pipeline
from ccproxy_sanic.frames import DUMP, RESET, Told
from ccproxy_sanic.runtime import Runtime

OfMetrics = Callable[[Runtime, Totals], dict[str, Any]]
OfCache = Callable[[Runtime], dict[str, Any]]

CACHE_PAGE: Final = "cache page"
CACHE_CLEAR: Final = "cache clear"
WORKERS: Final = About("ccproxy_workers", "gauge", "Workers that serve, and that there should be.", ("state",))


def answer(runtime: Runtime, metrics_page: OfMetrics, cache_page: OfCache) -> None:
    """Let the other workers ask this one."""

    async def dump() -> bytes:
        return (await _own(runtime, metrics_page)).packed()

    async def reset() -> bytes:
        await _reset(runtime)
        return await dump()

    async def cache() -> bytes:
        return msgspec.msgpack.encode(cache_page(runtime))

    async def clear() -> bytes:
        await _clear(runtime)
        return b""

    runtime.crew.siblings.errands.update({DUMP: dump, RESET: reset, CACHE_PAGE: cache, CACHE_CLEAR: clear})


async def families(runtime: Runtime, metrics_page: OfMetrics) -> list[Family]:
    """The families of all workers."""
    if runtime.place.count == 1:
        own: list[Family] = await runtime.house.metrics.ask(Render())
        return own
    numbers, told = await _all(runtime, metrics_page)
    states = (Series(("up",), float(told.up)), Series(("expected",), float(told.expected)))
    return [*merged([numbers.families]), Family(WORKERS, states)]


async def metrics(runtime: Runtime, metrics_page: OfMetrics) -> dict[str, Any]:
    """``/v1/metrics`` of all workers."""
    if runtime.place.count == 1:
        totals: Totals = await runtime.house.metrics.ask(Snapshot())
        return metrics_page(runtime, totals)
    numbers, told = await _all(runtime, metrics_page)
    return {**numbers.page, "workers": {"up": told.up, "expected": told.expected}}


async def cache(runtime: Runtime, cache_page: OfCache) -> dict[str, Any]:
    """``/v1/cache/stats`` of all workers."""
    own = cache_page(runtime)
    if runtime.place.count == 1:
        return own
    told = await runtime.crew.siblings.ask(CACHE_PAGE)
    return merging.pages([msgspec.to_builtins(own), *map(msgspec.msgpack.decode, told.answers)])


async def reset(runtime: Runtime, metrics_page: OfMetrics) -> None:
    """Begin at zero."""
    await _reset(runtime)
    if runtime.place.count > 1:
        await runtime.crew.siblings.ask(RESET, (await _own(runtime, metrics_page)).packed())


async def clear(runtime: Runtime) -> None:
    """Forget all answers; the second level first, or what is there would come back from it."""
    if runtime.caching.second is not None:
        await runtime.caching.second.clear()
    await _clear(runtime)
    if runtime.place.count > 1:
        await runtime.crew.siblings.ask(CACHE_CLEAR)


async def _reset(runtime: Runtime) -> None:
    runtime.crew.inherited = b""
    await runtime.house.metrics.ask(Reset())


async def _clear(runtime: Runtime) -> None:
    await pipeline.clear(runtime.house)
    runtime.caching.known.clear()


async def _own(runtime: Runtime, metrics_page: OfMetrics) -> merging.Numbers:
    """This worker's numbers, and what those counted that had its place before."""
    families: list[Family] = await runtime.house.metrics.ask(Render())
    totals: Totals = await runtime.house.metrics.ask(Snapshot())
    own = merging.numbers(families, metrics_page(runtime, totals), totals.newest)
    inherited = merging.read(filter(None, (runtime.crew.inherited,)))
    return merging.together([own, *map(merging.lasting, inherited)]) if inherited else own


async def _all(runtime: Runtime, metrics_page: OfMetrics) -> tuple[merging.Numbers, Told]:
    own = await _own(runtime, metrics_page)
    told = await runtime.crew.siblings.ask(DUMP, own.packed())
    departed = map(merging.lasting, merging.read(told.departed))
    return merging.together([own, *merging.read(told.answers), *departed]), told
