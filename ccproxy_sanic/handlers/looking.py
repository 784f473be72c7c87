"""Who may see the proxy's numbers.

Rule: with tokens, only this machine or a token may look; without, only what :func:`auth.refuse_web_pages` lets through.
"""

from __future__ import annotations

from typing import Final

from sanic import Request

from ccproxy_sanic import auth
from ccproxy_sanic.runtime import Runtime

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


def is_local(request: Request) -> bool:
    """Whether a program of this machine asks, and not a reverse proxy on this machine for somebody else."""
    return auth.is_loopback(request.client_ip or "") and not any(name in request.headers for name in FORWARDED)


def allowed(request: Request) -> Runtime:
    """The runtime, if the caller may see its numbers."""
    runtime: Runtime = request.app.ctx.runtime
    if not (runtime.tokens and is_local(request)):
        runtime.identify(request.headers)
    return runtime
