"""httpx's own engine: for a proxy in between, or in doubt about ours.

Rule: it is used as httpx gives it; only its words are made ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx

from ccproxy_sanic.upstream.engine import Closer, Deadlines, EngineTransport, Statistics
from ccproxy_sanic.upstream.head import Head, Headers


class StockReply:
    """A response's body, and what closes it; complete when it was read to its end, not before."""

    __slots__ = ("_closer", "_parts", "_stream", "complete", "headers", "status")

    def __init__(self, response: httpx.Response, closer: Closer) -> None:
        self.status: int = response.status_code
        self.headers: Headers = response.headers.raw
        self.complete = False
        self._closer = closer
        self._stream = cast(httpx.AsyncByteStream, response.stream)
        self._parts: AsyncIterator[bytes] | None = self._stream.__aiter__()

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
            await self._stream.aclose()
            raise

    async def flow(self, sink: Callable[[bytes], bool]) -> bool:
        while True:
            try:
                part = await self.__anext__()
            except StopAsyncIteration:
                return False
            if not sink(part):
                return True

    def rest(self) -> bytes:
        return b""

    def abort(self) -> None:
        self._parts = None  # a generator: the loop closes it when it is let go of, and should while it runs
        self._closer(self._stream.aclose())


class StockTransport(httpx.AsyncHTTPTransport, EngineTransport):
    async def send(self, head: Head, body: bytes, deadlines: Deadlines, closer: Closer | None) -> StockReply:
        if closer is None:
            raise TypeError("httpx's engine closes asynchronously and needs a closer")
        timeout = {
            "connect": deadlines.connect,
            "read": deadlines.first_byte,
            "write": deadlines.write,
            "pool": None,
        }
        request = httpx.Request(
            head.method,
            head.url,
            headers=[(b"host", head.url.netloc), *head.headers, (b"content-length", b"%d" % len(body))],
            stream=httpx.ByteStream(body),
            extensions={"timeout": timeout},
        )
        response = await self.handle_async_request(request)
        timeout["read"] = deadlines.idle  # httpcore looks it up again when the body is begun
        return StockReply(response, closer)

    def statistics(self) -> Statistics:
        connections = self._pool.connections
        idle = sum(connection.is_idle() for connection in connections)
        closed = sum(connection.is_closed() for connection in connections)
        return Statistics(connecting=0, busy=len(connections) - idle - closed, idle=idle)

    def __repr__(self) -> str:
        return f"<StockTransport | {self._pool!r}>"
