"""The default engine: HTTP/1.1 with keep-alive behind ``httpx.AsyncBaseTransport``.

Rule: every connection is in exactly one place, on its origin's idle stack or among the busy ones, and leaves it by
push, never by polling.  No limits of its own: admission is the ProviderActor's.  No proxies, redirects, cookies,
HTTP/2, decompression (issue 5, item 1; sanic-and-httpx.md B.4).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from ccproxy_sanic.upstream.engine import EngineTransport, Statistics
from ccproxy_sanic.upstream.h1_answer import Answer
from ccproxy_sanic.upstream.h1_connection import Connection, Limits, StaleConnection
from ccproxy_sanic.upstream.h1_dial import dial

DEFAULT_PORT: Final = {b"http": 80, b"https": 443}
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})  # ours to say: the body is sent whole
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})  # say content-length: 0 rather than nothing (RFC 9110 8.6)

Origin = tuple[bytes, bytes, int]  # scheme, host, port


class H1Transport(EngineTransport):
    """One per process and loop.

    ``tls`` gives the context of https origins and is called at the first one, in a thread (it reads files for tens of
    ms); ``keepalive`` is in seconds; ``max_idle`` counts all origins.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext], *, keepalive: float = 120.0, max_idle: int = 500) -> None:
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._keepalive = keepalive
        self._max_idle = max_idle
        self._stacks: dict[Origin, dict[Connection, None]] = {}  # a dict is a stack that also removes from the middle
        self._busy: set[Connection] = set()
        self._closed = False
        self._idle = self._connecting = 0
        self._opened = self._reused = self._retried = self._failed = self._lost = 0

    def __repr__(self) -> str:
        state = "closed | " if self._closed else ""
        return (
            f"<H1Transport {state}busy {len(self._busy)}, connecting {self._connecting}, idle {self._idle} | "
            f"opened {self._opened}, reused {self._reused}, retried {self._retried}>"
        )

    def statistics(self) -> Statistics:
        return Statistics(
            connecting=self._connecting,
            busy=len(self._busy),
            idle=self._idle,
            opened=self._opened,
            reused=self._reused,
            retried_stale=self._retried,
            failed_connects=self._failed,
            closed=self._lost,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response's ``stream`` is an :class:`Answer`.

        Deadlines: ``extensions["timeout"]`` as in httpx (``read`` is the idle deadline; ``pool`` means nothing here)
        and ``extensions["first_byte"]`` (default: ``read``), in seconds.  Raises ConnectError, ConnectTimeout,
        ReadError, ReadTimeout, WriteTimeout, RemoteProtocolError, LocalProtocolError, UnsupportedProtocol.
        """
        origin = _origin(request.url)
        content = await _content(request)
        head = _head(request, len(content))
        timeout: Mapping[str, float | None] = request.extensions.get("timeout", {})
        idle = timeout.get("read")
        limits = Limits(request.extensions.get("first_byte", idle), idle, timeout.get("write"))
        bodiless = request.method == "HEAD"
        connection = self._pop(origin)
        if connection is not None:
            try:
                answer = await connection.exchange(head, content, limits, bodiless=bodiless)
            except StaleConnection:
                self._retried += 1
            else:
                return _response(answer)
        connection = await self._open(origin, timeout.get("connect"))
        return _response(await connection.exchange(head, content, limits, bodiless=bodiless))

    async def aclose(self) -> None:
        """Closes the idle connections, aborts the busy ones, refuses new ones."""
        self._closed = True
        for connection in [c for stack in self._stacks.values() for c in stack] + list(self._busy):
            connection.fail(httpx.ReadError("The engine was closed."))

    # For the connections

    def released(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if self._closed or self._idle >= self._max_idle:
            connection.close()
            return
        self._stacks.setdefault(connection.origin, {})[connection] = None
        self._idle += 1

    def lost(self, connection: Connection) -> None:
        self._lost += connection.opened
        self._busy.discard(connection)
        stack = self._stacks.get(connection.origin)
        if stack is not None and connection in stack:
            del stack[connection]
            self._idle -= 1
            if not stack:
                del self._stacks[connection.origin]

    # Connections

    def _pop(self, origin: Origin) -> Connection | None:
        """The one used last: it is the least likely to have been closed, and the others may rest until they expire."""
        stack = self._stacks.get(origin)
        if not stack:
            return None
        connection, _ = stack.popitem()
        self._idle -= 1
        if connection.loop.time() - connection.idle_since >= self._keepalive:
            connection.close()
            for expired in list(stack):  # they rest for longer
                expired.close()
            return None
        self._busy.add(connection)
        self._reused += 1
        return connection

    async def _open(self, origin: Origin, deadline: float | None) -> Connection:
        self._refuse_if_closed()
        loop = asyncio.get_running_loop()
        scheme, host, port = origin
        connection = Connection(loop, self, origin, self._keepalive)
        self._connecting += 1
        try:
            async with asyncio.timeout(deadline):
                if scheme == b"https" and self._tls is None:
                    self._tls = await asyncio.to_thread(self._make_tls)
                await dial(loop, connection, host.decode("ascii"), port, self._tls if scheme == b"https" else None)
            self._refuse_if_closed()  # meanwhile
        except TimeoutError as exc:
            self._failed += 1
            connection.close()
            # The kernel has a connect deadline too (ETIMEDOUT); for whoever waits it is the same.
            raise httpx.ConnectTimeout("No connection in time.") from exc
        except (OSError, ValueError) as exc:  # ValueError: a name that no resolver takes (UnicodeError)
            self._failed += 1
            connection.close()
            raise httpx.ConnectError(f"No connection: {type(exc).__name__}") from exc
        except BaseException:
            connection.close()
            raise
        finally:
            self._connecting -= 1
        connection.opened = True
        self._opened += 1
        self._busy.add(connection)
        return connection

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise httpx.ConnectError("The engine is closed.")


def _origin(url: httpx.URL) -> Origin:
    scheme = url.raw_scheme
    default = DEFAULT_PORT.get(scheme)
    if default is None or not url.raw_host:
        raise httpx.UnsupportedProtocol("The URL must begin with http:// or https:// and name a host.")
    return scheme, url.raw_host, url.port or default


async def _content(request: httpx.Request) -> bytes:
    stream: Any = request.stream
    if isinstance(stream, httpx.SyncByteStream):  # httpx.ByteStream is both; this way costs no coroutine per part
        return b"".join(stream)
    return b"".join([part async for part in stream])


def _head(request: httpx.Request, length: int) -> bytes:
    method, url = request.method, request.url
    lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), url.raw_path)]
    named = False
    for name, value in request.headers.raw:
        lowered = name.lower()
        if lowered in FRAMING:
            continue
        named = named or lowered == b"host"
        lines.append(b"%b: %b" % (name, value))
    if not named:
        lines.insert(1, b"host: " + url.netloc)
    if length or method in WITH_BODY:
        lines.append(b"content-length: %d" % length)
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("A header has a line break in it.")  # it would begin another header, or request
    return head + b"\r\n\r\n"


def _response(answer: Answer) -> httpx.Response:
    return httpx.Response(answer.status, headers=answer.headers, stream=answer)
