"""The composition root: settings -> runtime -> Sanic app, and the process around them.

Rule: nothing imports this module but the command.  ``create_app`` is for Sanic's own command line, ``build_app`` for
tests, ``run`` for ``ccproxy serve``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from sanic import HTTPResponse, Request, Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.config import Config
from sanic.exceptions import SanicException
from sanic.handlers import ErrorHandler
from sanic.http.constants import HTTP

import sanic_config
from ccproxy_sanic import catalog, errors, handlers, settings
from ccproxy_sanic.context import HOP_HEADER, new_id
from ccproxy_sanic.frames import Place
from ccproxy_sanic.front.heads import Heads
from ccproxy_sanic.front.protocol import StrictProtocol, handler_of
from ccproxy_sanic.front.requests import NamedHostRequest, StrictRequest
from ccproxy_sanic.handlers import failing
from ccproxy_sanic.listening import bind
from ccproxy_sanic.ops import descriptors
from ccproxy_sanic.relay import JSON, Head
from ccproxy_sanic.runtime import Runtime

log = logging.getLogger("ccproxy")
LAST_BYTES: Final = 0.5  # seconds that closing connections have to be read to their end
BACKSTOP: Final = 30  # seconds
GC_THRESHOLDS: Final = (5_000, 20, 50)  # objects, collections of them, collections of those
ENV_FILE: Final = Path(".env")
BACKLOG: Final = 4096  # 10,000 connects took 83 s at Sanic's default of 100, 2.4 s at this (sanic-and-httpx.md G)
_serial = itertools.count(1)

# what Sanic says of a status, in words a client of this API can use
MESSAGES: Final = {
    404: "not found",
    405: "method not allowed",
    408: "the request took too long to arrive",
    413: "the request is larger than the limit",
}


class AnthropicErrors(ErrorHandler):
    """Every fault that no handler caught, in Anthropic's shape."""

    def default(self, request: Request, exception: BaseException) -> HTTPResponse:
        request_id = new_id("req_")
        fault = fault_of(request, exception)
        if isinstance(fault, errors.HouseFault):
            log.error("unhandled %s while serving %s", type(exception).__name__, request_id, exc_info=exception)
            fault.__cause__ = exception
        status, headers, body = errors.as_response(fault, request_id)
        if allow := getattr(exception, "headers", {}).get("Allow"):
            headers["allow"] = allow
        answer = Head(status, {"request-id": request_id, **headers}, JSON, body)
        if not isinstance(exception, asyncio.CancelledError):
            failing.note(request.app.ctx.runtime.failures, request, fault, request_id, answer=answer)
        return answer


def fault_of(request: Request, exception: BaseException) -> errors.ProxyError:
    """The one seam where Sanic's exceptions become ours."""
    if isinstance(exception, errors.ProxyError):
        return exception
    if isinstance(exception, asyncio.CancelledError):  # the client has left: nobody reads this
        return errors.ClientFault("the client closed the connection")
    if not isinstance(exception, SanicException):
        return errors.Bug("internal error")
    status = exception.status_code or 500
    runtime: Runtime = request.app.ctx.runtime
    if status == 404 and runtime.hop in request.headers.get(HOP_HEADER, ""):
        return errors.Looped("this request has already passed through this proxy: its upstream leads back to it")
    if status == 404:
        return errors.NotFound(f"{request.method} {request.path[:200]}: {MESSAGES[404]}")
    if status < 500:
        message = MESSAGES.get(status) or str(exception) or "bad request"
        return errors.ClientFault(message, status=status)
    return errors.ProxyError(MESSAGES.get(status) or "internal error", status=status)


def build_app(conf: settings.Settings, place: Place | None = None) -> Sanic[Any, Any]:
    """A Sanic app with its runtime; nothing runs yet."""
    config = Config(defaults={key: value for key, value in vars(sanic_config).items() if key.isupper()})
    config.REQUEST_MAX_SIZE = conf.max_body_bytes
    # Sanic's own timeout is a backstop: it must lie above every silence that our deadlines allow
    silence = max(conf.total_timeout, conf.first_byte_timeout, conf.idle_timeout)
    config.RESPONSE_TIMEOUT = max(config.RESPONSE_TIMEOUT, int(silence + BACKSTOP))
    config.GRACEFUL_SHUTDOWN_TIMEOUT = conf.grace
    if conf.proxies_count:
        config.PROXIES_COUNT = conf.proxies_count
    runtime = Runtime(conf, place)
    app: Sanic[Any, Any] = Sanic(
        f"ccproxy-{next(_serial)}",
        config=config,
        error_handler=AnthropicErrors(),
        request_class=NamedHostRequest if runtime.guards.names_hosts else StrictRequest,
        configure_logging=False,
    )
    app.ctx.runtime, app.ctx.guards = runtime, runtime.guards
    app.ctx.heads, app.ctx.handle = Heads(app), handler_of(app)
    handlers.add_routes(app)

    @app.before_server_start
    async def start(app: Sanic[Any, Any]) -> None:
        await runtime.start()

    @app.after_server_start
    async def ready(app: Sanic[Any, Any]) -> None:
        runtime.ready = True

    @app.before_server_stop
    async def drain(app: Sanic[Any, Any]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one must not cut the drain short
            with contextlib.suppress(ValueError):
                signal.signal(number, signal.SIG_IGN)
        await runtime.drain()

    @app.after_server_stop
    async def stop(app: Sanic[Any, Any]) -> None:
        await runtime.stop()

    return app


def create_app(_args: object = None) -> Sanic[Any, Any]:
    """Sanic's factory: its command line first calls it with its own arguments (sanic-and-httpx.md A.1)."""
    return build_app(settings.load(os.environ, ENV_FILE))


async def start_server(app: Sanic[Any, Any], sock: socket.socket) -> Any:
    """Serve ``app`` on ``sock`` in the running loop; accepts only when the runtime has started."""
    server = await app.create_server(
        sock=sock,
        protocol=StrictProtocol,
        backlog=BACKLOG,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    # Sanic's touch-up leaves an empty alt-svc header in every answer unless it is told of the one server there is.
    app.state.server_info.append(ApplicationServerInfo(settings={"version": HTTP.VERSION_1}))
    assert server is not None  # noqa: S101 (return_asyncio_server makes it so)
    await server.startup()  # type: ignore[no-untyped-call]
    await server.before_start()  # type: ignore[no-untyped-call]
    await server.start_serving()  # type: ignore[no-untyped-call]
    await server.after_start()  # type: ignore[no-untyped-call]
    return server


async def stop_server(server: Any) -> None:
    """Drain, close every connection, stop the runtime: in that order (sanic-and-httpx.md A.2)."""
    server.server.close()  # no new connections; those that are open may still ask and get 529
    for connection in list(server.connections):
        connection.close_if_idle()
    await server.before_stop()
    for connection in list(server.connections):
        if not connection.close_if_idle():
            connection.abort()
    await _closed(server)
    for connection in list(server.connections):  # its client does not read what was left
        connection.abort()
    await _closed(server)
    await server.after_stop()


async def _closed(server: Any) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_BYTES):
            while server.connections:  # noqa: ASYNC110 (Sanic's set, which has no event)
                await asyncio.sleep(0.01)


async def _reroute(runtime: Runtime) -> None:
    """Read the routes again; a file that can't be used changes nothing."""
    try:
        again = catalog.reread(runtime.settings, os.environ, ENV_FILE, runtime.profiles.catalog)
    except settings.SettingsError as error:
        for fault in error.faults:
            log.error("%s; the old routes stay", fault)
        return
    await runtime.reroute(again)
    if again.routes is not None:
        for warning in again.routes.warnings:
            log.warning("%s", warning)
        log.info("routes read again: %d upstreams, %d rules", len(again.routes.upstreams), len(again.routes.rules))


def _obey_hangups(runtime: Runtime, stop: asyncio.Event) -> None:
    """SIGHUP reads the routes again, unless it comes because the terminal was closed."""
    loop = asyncio.get_running_loop()
    reading: set[asyncio.Task[None]] = set()
    on_terminal = sys.stdin is not None and sys.stdin.isatty()

    def hang_up() -> None:
        if on_terminal and not sys.stdin.isatty():
            stop.set()
            return
        task = loop.create_task(_reroute(runtime), name="ccproxy:reroute")
        reading.add(task)
        task.add_done_callback(reading.discard)

    with contextlib.suppress(NotImplementedError, AttributeError):  # Windows
        loop.add_signal_handler(signal.SIGHUP, hang_up)


def _rest_memory() -> None:
    """What is there at start stays: the collector need not walk it again, and comes less often (about 5 % of the CPU of
    small requests, which make nothing that only the collector can free)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _serve(conf: settings.Settings, sock: socket.socket, place: Place | None, line: socket.socket | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop.set)
    app = build_app(conf, place)
    runtime: Runtime = app.ctx.runtime
    runtime.on_fatal = runtime.crew.siblings.orphaned = stop.set
    if line is not None:
        await runtime.crew.siblings.join(line)
    server = await start_server(app, sock)
    descriptors.raise_limit()
    if conf.routes is not None:
        _obey_hangups(runtime, stop)
    _rest_memory()
    runtime.crew.siblings.ready()
    log.info("listening on %s:%s", *sock.getsockname()[:2])
    await stop.wait()
    await stop_server(server)
    return 1 if runtime.fatal else 0


def run(
    conf: settings.Settings,
    sock: socket.socket | None = None,
    place: Place | None = None,
    line: socket.socket | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code (1 when an actor failed for good).

    ``place`` is who this process is among several, ``line`` leads to their parent: when it breaks, this one ends too.
    """
    serving = _serve(conf, sock or bind(conf.host, conf.port), place, line)
    try:
        import uvloop
    except ImportError:  # Windows: the stdlib loop serves, and the drain is best effort
        log.warning("uvloop is not available here: serving on asyncio's own loop")
        return asyncio.run(serving)
    return uvloop.run(serving)
