"""What has been counted.

Rule: with tokens, only this machine or a token may look; without, only what :func:`auth.refuse_web_pages` lets through.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sanic import HTTPResponse, Request

from actors import CONTENT_TYPE, Render, Reset, Snapshot
from ccproxy_sanic import auth
from ccproxy_sanic.handlers import answer
from ccproxy_sanic.runtime import Runtime

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


def _local(request: Request) -> bool:
    """Whether a program of this machine asks, and not a reverse proxy on this machine for somebody else."""
    return auth.is_loopback(request.client_ip or "") and not any(name in request.headers for name in FORWARDED)


def _runtime(request: Request) -> Runtime:
    """The runtime, if the caller may see its numbers."""
    runtime: Runtime = request.app.ctx.runtime
    if not (runtime.tokens and _local(request)):
        auth.identify(request.headers, runtime.tokens, open_to_all=runtime.settings.open)
    return runtime


async def prometheus(request: Request) -> HTTPResponse:
    text: bytes = await _runtime(request).house.metrics.ask(Render())
    return answer.plain(text, CONTENT_TYPE)


async def snapshot(request: Request) -> HTTPResponse:
    """Totals as JSON; ``quiet`` (what is under way right now) for callers of this machine only."""
    runtime = _runtime(request)
    totals = await runtime.house.metrics.ask(Snapshot())
    body: dict[str, Any] = {"performance": totals, "actors": runtime.actor_stats()}
    if _local(request):
        body["quiet"] = msgspec.structs.asdict(runtime.quiet())
    return answer.json(body)


async def reset(request: Request) -> HTTPResponse:
    await _runtime(request).house.metrics.ask(Reset())
    return answer.json({"status": "metrics_reset"})
