"""What has been counted: for Prometheus, and as the original's JSON with numbers that are true (original.md 1.1).

Rule: a page is made of what the parts know of themselves; nothing is counted here, and a number that does not exist is
the one of an empty cache, never a guess.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sanic import HTTPResponse, Request

from actors import Totals
from ccproxy_sanic.caching.numbers import request_validator, response_cache
from ccproxy_sanic.handlers import answer, everybody
from ccproxy_sanic.handlers.looking import allowed, is_local
from ccproxy_sanic.ops.prometheus import page
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.tokens.counter import MemoryStatistics
from ccproxy_sanic.translate.tools import cleaned_parameters

NO_ERROR: Final = ("ok", "client_closed")  # outcomes
MS: Final = 1000.0
DIGITS: Final = 3


async def prometheus(request: Request) -> HTTPResponse:
    families = await everybody.families(allowed(request), sections)
    # A thousand lines take 20 ms: in a thread, so that streams go on meanwhile.
    text, content_type = await asyncio.to_thread(page, families, request.headers.get("accept", ""))
    return answer.plain(text, content_type)


async def snapshot(request: Request) -> HTTPResponse:
    """The numbers as JSON; ``quiet`` (what is under way right now) for callers of this machine only."""
    body = await everybody.metrics(allowed(request), sections)
    if not is_local(request):
        del body["quiet"]
    return answer.json(body)


def sections(runtime: Runtime, totals: Totals) -> dict[str, Any]:
    """The page of this process."""
    parts, caching = runtime.parts(), runtime.caching
    return {
        "performance": performance(totals, len(runtime.active), time.time() - runtime.house.clock()),
        "response_cache": response_cache(caching, runtime.house.clock(), time.time()),
        "request_validator_cache": request_validator(caching),
        "token_count_cache": token_counts(parts["token_counts"]()),
        "converter_caches": converter_caches(),
        "providers": parts["provider"](),
        "connections": parts["connections"](),
        "limits": parts["limiter"](),
        "learned": parts["lessons"](),
        "streams": msgspec.structs.asdict(parts["sharing"]()) | msgspec.structs.asdict(parts["streams"]()),
        "cost": totals.costs,
        "actors": runtime.actor_stats(),
        "quiet": runtime.quiet(),
    }


async def reset(request: Request) -> HTTPResponse:
    """Begin at zero what requests are counted into; what parts know of themselves goes on."""
    await everybody.reset(allowed(request), sections)
    return answer.json({"status": "metrics_reset"})


def performance(totals: Totals, active: int, offset: float) -> dict[str, Any]:
    """The original's fields, then all sums but the costs.  ``error_rate`` from 0 to 1; percentiles are of the newest
    requests, exactly, everything else is ``since`` the start or the last reset (a time in UTC); ``offset`` leads to the
    wall clock from the actors'."""
    errors = totals.requests - sum(totals.by_outcome.get(outcome, 0) for outcome in NO_ERROR)
    count = max(1, totals.requests)
    sums = msgspec.structs.asdict(totals)
    del sums["costs"], sums["newest"]
    sums["since"] = datetime.fromtimestamp(totals.since + offset, UTC).isoformat(timespec="seconds")
    return {
        "request_count": totals.requests,
        "active_requests": active,
        "error_count": errors,
        "error_rate": round(errors / count, DIGITS),
        "avg_duration_ms": round(totals.duration_sum_s / count * MS, DIGITS),
        "p95_duration_ms": round(totals.duration_p95_s * MS, DIGITS),
        "p99_duration_ms": round(totals.duration_p99_s * MS, DIGITS),
        **sums,
    }


def token_counts(memory: MemoryStatistics | None) -> dict[str, Any]:
    """``hit_rate`` in percent.  The memory has one shard, and is cleaned whenever it is used."""
    there = memory or MemoryStatistics(0, 0, 0.0, 0, 0)
    asked = there.hits + there.misses
    return {
        "total_entries": there.entries,
        "hits": there.hits,
        "misses": there.misses,
        "hit_rate": round(100 * there.hits / asked, 2) if asked else 0.0,
        "max_entries": there.most,
        "ttl_seconds": there.ttl,
        "shard_distribution": [there.entries],
        "num_shards": 1,
        "most_loaded_shard": 0,
        "least_loaded_shard": 0,
        "avg_entries_per_shard": float(there.entries),
        "initialized": memory is not None,
        "cleanup_enabled": memory is not None,
    }


def converter_caches() -> dict[str, dict[str, int]]:
    """Tools are remembered; choices and results cost less than it would take to find them again."""
    tools = cleaned_parameters.cache_info()
    none = {"currsize": 0, "maxsize": 0}
    return {
        "tools": {"currsize": tools.currsize, "maxsize": tools.maxsize or 0},
        "tool_choice": none,
        "tool_result": none,
    }
