"""``/v1/cache``: what is kept, and how to forget it.

Rule: the original's shapes, with numbers that are true (original.md 1.1); who may look is who may see the metrics.
"""

from __future__ import annotations

import time
from typing import Any

from sanic import HTTPResponse, Request

from ccproxy_sanic.caching.numbers import request_validator, response_cache
from ccproxy_sanic.handlers import answer, everybody
from ccproxy_sanic.handlers.looking import allowed
from ccproxy_sanic.runtime import Runtime


async def stats(request: Request) -> HTTPResponse:
    return answer.json(await everybody.cache(allowed(request), sections))


def sections(runtime: Runtime) -> dict[str, Any]:
    """The page of this process."""
    caching, now = runtime.caching, runtime.house.clock()
    return {
        "response_cache": response_cache(caching, now, time.time()),
        "request_validator": request_validator(caching),
    }


async def clear(request: Request) -> HTTPResponse:
    await everybody.clear(allowed(request))
    return answer.json({"status": "caches_cleared"})
