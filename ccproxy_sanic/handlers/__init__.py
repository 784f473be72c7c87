"""Sanic handlers, nothing else: a table of paths and the functions that answer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from sanic import HTTPResponse

from ccproxy_sanic.handlers import cache, cors, count_tokens, everybody, health, messages, metrics, models

Handler = Callable[..., HTTPResponse | Awaitable[HTTPResponse | None]]  # of the request and what the path holds

# path, methods, handler.  `/v1/v1/...` is what a base URL that ends in /v1 makes of it (claude-code.md 1)
ROUTES: Final[tuple[tuple[str, tuple[str, ...], Handler], ...]] = (
    ("/", ("GET", "HEAD"), health.root),
    ("/api/hello", ("GET", "HEAD"), health.hello),
    ("/health", ("GET", "HEAD"), health.health),
    ("/v1/health", ("GET", "HEAD"), health.health),
    ("/ready", ("GET", "HEAD"), health.ready),
    ("/v1/preflight", ("GET",), health.preflight),
    ("/v1/messages", ("POST",), messages.create),
    ("/v1/v1/messages", ("POST",), messages.create),
    ("/v1/messages/count_tokens", ("POST",), count_tokens.create),
    ("/v1/v1/messages/count_tokens", ("POST",), count_tokens.create),
    ("/v1/models", ("GET",), models.page),
    ("/v1/v1/models", ("GET",), models.page),
    ("/v1/models/<model_id:path>", ("GET",), models.one),
    ("/v1/v1/models/<model_id:path>", ("GET",), models.one),
    ("/v1/cache/stats", ("GET",), cache.stats),
    ("/v1/cache/clear", ("POST",), cache.clear),
    ("/metrics", ("GET",), metrics.prometheus),
    ("/v1/metrics", ("GET",), metrics.snapshot),
    ("/v1/metrics/reset", ("POST",), metrics.reset),
)


def add_routes(app: Any) -> None:
    """Put every handler of the table on ``app``."""
    everybody.answer(app.ctx.runtime, metrics.sections, cache.sections)
    for index, (path, methods, handler) in enumerate(ROUTES):
        app.add_route(handler, path, methods=list(methods), name=f"r{index}", strict_slashes=False)
        if app.ctx.guards.cors:
            app.add_route(cors.preflight, path, methods=["OPTIONS"], name=f"o{index}", strict_slashes=False)
