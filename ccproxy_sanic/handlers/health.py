"""Is it there, is it ready.

Rule: answers at once, from anybody, without asking an actor: what is checked is that the loop turns.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sanic import HTTPResponse, Request

from ccproxy_sanic.handlers import answer


async def root(request: Request) -> HTTPResponse:
    """The original's two keys, exactly (original.md 1.1)."""
    return answer.json({"status": "ok", "timestamp": datetime.now(UTC).isoformat()})


async def hello(request: Request) -> HTTPResponse:
    """Claude Code's warm-up probe: any status will do (claude-code.md 1)."""
    return answer.json({"status": "ok"})


async def health(request: Request) -> HTTPResponse:
    return answer.json({"status": "ok"})


async def ready(request: Request) -> HTTPResponse:
    """200 while new work is taken; 503 before the start has ended and from the first SIGTERM on."""
    is_ready: bool = request.app.ctx.runtime.ready
    return answer.json({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)


async def preflight(request: Request) -> HTTPResponse:
    return answer.plain("[BashTool] Pre-flight check passed.")
