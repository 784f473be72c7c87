"""httpx's own engine: for a proxy in between, for HTTP/2, or in doubt about ours.

Rule: it is used as httpx gives it; only its words are made ours, and what it forgets is closed.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, cast

import httpcore
import httpx

from ccproxy_sanic.upstream.engine import Closer, Deadlines, EngineTransport, Statistics
from ccproxy_sanic.upstream.head import Head, Headers

Closing = Coroutine[Any, Any, None]
_CANCEL: Final = 8  # the error code (RFC 9113 7)
_FLUSH: Final = httpcore.Request("GET", "https://nowhere", extensions={"timeout": {"write": 5.0}})  # never sent itself


class StockReply:
    """A response's body, and what closes it; complete when it was read to its end, not before."""

    __slots__ = ("_aclose", "_closer", "_parts", "complete", "headers", "status")

    def __init__(self, response: httpx.Response, closer: Closer, aclose: Callable[[], Closing]) -> None:
        self.status: int = response.status_code
        self.headers: Headers = response.headers.raw
        self.complete = False
        self._closer = closer
        self._aclose = aclose
        self._parts: AsyncIterator[bytes] | None = cast(httpx.AsyncByteStream, response.stream).__aiter__()

    def __repr__(self) -> str:
        return f"<StockReply {self.status} {'complete' if self.complete else 'open'}>"

    async def __anext__(self) -> bytes:
        if self._parts is None:
            raise StopAsyncIteration
        try:
            return await self._parts.__anext__()
        except StopAsyncIteration:
            self.complete = True
            self._parts = None
            await self._close()
            raise

    async def flow(self, sink: Callable[[bytes], bool]) -> bool:
        while True:
            try:
                part = await self.__anext__()
            except StopAsyncIteration:
                return False
            if not sink(part):
                return True

    async def _close(self) -> None:
        """In a task of its own, because httpcore 1.0.9 forgets a connection whose closing is cancelled."""
        closed = asyncio.Event()

        async def close() -> None:
            try:
                await self._aclose()
            finally:
                closed.set()

        self._closer(close())
        await closed.wait()

    def rest(self) -> bytes:
        return b""

    def abort(self) -> None:
        self._parts = None  # a generator: the loop closes it when it is let go of, and should while it runs
        self._closer(self._aclose())


class Sending(httpx.AsyncByteStream):
    """A body, and the deadlines of its request as httpcore looks them up: the answer's begins when the body is asked
    for.  Until then there is a connection to make, and the answer that is read may be that of a proxy to CONNECT."""

    def __init__(self, body: bytes, deadlines: Deadlines) -> None:
        self.begun = False
        self.timeout = {
            "connect": deadlines.connect,
            "read": deadlines.connect,
            "write": deadlines.write,
            "pool": None,
        }
        self._body, self._first_byte = body, deadlines.first_byte

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        self.timeout["read"] = self._first_byte
        yield self._body


class StockTransport(httpx.AsyncHTTPTransport, EngineTransport):
    """``proxy`` is the URL of an HTTP proxy, with its credentials; ``max_idle`` is what one origin may have."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        limits: httpx.Limits,
        max_idle: int,
        proxy: httpx.Proxy | None = None,
        http2: bool = False,
    ) -> None:
        super().__init__(verify=verify, limits=limits, proxy=proxy, http2=http2)
        self._proxied, self._http2, self._max_idle = proxy is not None, http2, max_idle

    async def send(self, head: Head, body: bytes, deadlines: Deadlines, closer: Closer | None) -> StockReply:
        if closer is None:
            raise TypeError("httpx's engine closes asynchronously and needs a closer")
        sending = Sending(body, deadlines)
        request = httpx.Request(
            head.method,
            head.url,
            headers=[(b"host", head.url.netloc), *head.headers, (b"content-length", b"%d" % len(body))],
            stream=sending,
            extensions={"timeout": sending.timeout},
        )
        try:
            response = await self.handle_async_request(request)
        except BaseException as exc:
            self._close_forgotten(closer)
            if self._http2:
                closer(self._reset_abandoned())
            if isinstance(exc, httpx.ReadTimeout) and not sending.begun:
                raise httpx.ConnectTimeout("No tunnel in time.") from exc
            if isinstance(exc, httpx.ConnectError) and self._proxied:
                raise httpx.ProxyError("No connection.") from exc
            raise
        sending.timeout["read"] = deadlines.idle  # httpcore looks it up again when the body is begun
        return StockReply(response, closer, functools.partial(self._close, response, httpcore.Origin(*head.origin)))

    async def _close(self, response: httpx.Response, origin: httpcore.Origin) -> None:
        await response.stream.aclose()  # type: ignore[union-attr]
        if self._http2:
            await self._reset_abandoned()
        if len(self._pool.connections) > self._max_idle:
            await self._close_surplus(origin)

    async def _close_surplus(self, origin: httpcore.Origin) -> None:
        """Close what rests above the limit, the oldest first: httpcore 1.0.9 counts busy connections as well."""
        resting = [one for one in self._pool.connections if one.is_idle() and one.can_handle_request(origin)]
        surplus = resting[: max(0, len(resting) - self._max_idle)]
        for connection in surplus:
            self._pool._connections.remove(connection)
        for connection in surplus:
            await connection.aclose()

    async def _reset_abandoned(self) -> None:
        """Tell upstreams which of their HTTP/2 streams nobody reads any more: httpcore 1.0.9 does not, and they would
        go on to the end."""
        for connection in self._pool.connections:
            carrier = getattr(connection, "_connection", None)  # there is none while it connects
            if isinstance(carrier, httpcore.AsyncHTTP2Connection) and carrier.is_available():
                state = carrier._h2_state
                for number, stream in list(state.streams.items()):
                    if number not in carrier._events and not stream.closed:
                        state.reset_stream(number, _CANCEL)
                try:
                    await carrier._write_outgoing_data(_FLUSH)
                except (httpcore.NetworkError, httpcore.TimeoutException):  # a write that was cancelled breaks it
                    await connection.aclose()

    def _close_forgotten(self, closer: Closer) -> None:
        """Close the connections that are in use by no request.

        httpcore 1.0.9 leaves them open, and counts them busy for ever, when a request is cancelled before it got to its
        connection (httpcore#1093), and when the TLS handshake in a tunnel fails or is cancelled.
        """
        held = {request.connection for request in self._pool._requests}
        for connection in self._pool.connections:
            if connection not in held and not connection.is_idle() and not connection.is_closed():
                self._pool._connections.remove(connection)
                closer(connection.aclose())

    def statistics(self) -> Statistics:
        connections = self._pool.connections
        idle = sum(connection.is_idle() for connection in connections)
        closed = sum(connection.is_closed() for connection in connections)
        return Statistics(connecting=0, busy=len(connections) - idle - closed, idle=idle)

    def __repr__(self) -> str:
        return f"<StockTransport | {self._pool!r}>"
