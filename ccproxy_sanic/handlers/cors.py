"""A browser's question before a page's request: may it?

Rule: asked without a credential, answered without one; only where CORS is on.
"""

from __future__ import annotations

from sanic import HTTPResponse, Request

from ccproxy_sanic.handlers import answer
from ccproxy_sanic.runtime import Runtime


async def preflight(request: Request, **_path: str) -> HTTPResponse:
    """Raises Forbidden."""
    runtime: Runtime = request.app.ctx.runtime
    return answer.plain(b"", headers=runtime.guards.preflight(request.headers))
