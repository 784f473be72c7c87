"""aiohttp's engine, behind httpx's interface (``httpx_aiohttp``, an optional package): for comparison, and for those
who know it.

Rule: it is used as httpx_aiohttp gives it; its deadlines and its words are made ours.
"""

from __future__ import annotations

import contextlib
import importlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from ccproxy_sanic.upstream.engine import Closer, Deadlines, EngineTransport, Statistics
from ccproxy_sanic.upstream.head import Head
from ccproxy_sanic.upstream.stock import StockReply

# aiohttp adds these where a request says none
_NOT_TO_ADD = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _Body(httpx.AsyncByteStream):
    """An answer's body with our exceptions."""

    def __init__(self, stream: httpx.AsyncByteStream, words: Words) -> None:
        self._stream, self._words = stream, words

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._words.mapped(began=True):
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        with contextlib.suppress(httpx.HTTPError):  # it is closed all the same
            await self._stream.aclose()


class Words:
    """What aiohttp's exceptions are called here.  httpx_aiohttp calls a lost connection one that was not made."""

    def __init__(self, aiohttp: Any) -> None:
        self._client_error = aiohttp.ClientError
        self._before = (
            (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
            (aiohttp.ServerTimeoutError, httpx.ConnectTimeout),
            (aiohttp.ClientConnectorError, httpx.ConnectError),
            (aiohttp.ClientConnectionError, httpx.ReadError),
            (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
            (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
        )
        self._after = (
            (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
            (aiohttp.ClientError, httpx.ReadError),
        )

    @contextlib.contextmanager
    def mapped(self, *, began: bool) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, self._client_error) as exc:
            said = exc.__cause__ if isinstance(exc, httpx.HTTPError) else exc
            for theirs, ours in self._after if began else self._before:
                if isinstance(said, theirs):
                    raise ours(type(said).__name__) from said.__cause__ or said
            raise
        except ValueError:  # a header with a line break in it, which may be the key
            raise httpx.LocalProtocolError("A header has a line break in it.") from None


def _connector_class(aiohttp: Any, max_idle: int) -> Any:
    """aiohttp's connector, which knows no limit of its own for connections that rest."""

    class Connector(aiohttp.TCPConnector):  # type: ignore[misc]
        def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
            crowded = len(self._conns.get(key, ())) >= max_idle
            super()._release(key, protocol, should_close=should_close or crowded)

    return Connector


class AiohttpTransport(EngineTransport):
    """Raises ImportError where the package is missing."""

    def __init__(self, tls: ssl.SSLContext, *, keepalive: float, max_idle: int) -> None:
        self._aiohttp: Any = importlib.import_module("aiohttp")
        self._tls, self._keepalive, self._max_idle = tls, keepalive, max_idle
        self._words = Words(self._aiohttp)
        self._connector: Any = None
        self._inner: httpx.AsyncBaseTransport = importlib.import_module("httpx_aiohttp").AiohttpTransport(
            verify=tls, client=self._session
        )

    def __repr__(self) -> str:
        return f"<AiohttpTransport | {self.statistics()}>"

    def _session(self) -> Any:
        """Made in the loop: no limits but for what rests, no cookies, no environment."""
        self._connector = _connector_class(self._aiohttp, self._max_idle)(
            limit=0, keepalive_timeout=self._keepalive, ssl=self._tls
        )
        return self._aiohttp.ClientSession(
            connector=self._connector, cookie_jar=self._aiohttp.DummyCookieJar(), skip_auto_headers=_NOT_TO_ADD
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with self._words.mapped(began=False):
            response = await self._inner.handle_async_request(request)
        stream: Any = response.stream
        return httpx.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Body(stream, self._words),
            extensions={"aiohttp": stream._aiohttp_response},
        )

    async def send(self, head: Head, body: bytes, deadlines: Deadlines, closer: Closer | None) -> StockReply:
        if closer is None:
            raise TypeError("aiohttp's engine closes asynchronously and needs a closer")
        # its "pool" is all of the way to a connection; there is no deadline for writing
        timeout = {"pool": deadlines.connect, "connect": deadlines.connect, "read": deadlines.first_byte}
        request = httpx.Request(
            head.method,
            head.url,
            headers=[*head.headers, (b"content-length", b"%d" % len(body))],
            content=body,
            extensions={"timeout": timeout},
        )
        response = await self.handle_async_request(request)
        if (connection := response.extensions["aiohttp"].connection) is not None:  # None: the answer is all here
            connection.protocol.read_timeout = deadlines.idle
            connection.protocol.start_timeout()
        return StockReply(response, closer, response.stream.aclose)  # type: ignore[union-attr]

    def statistics(self) -> Statistics:
        if self._connector is None:
            return Statistics(connecting=0, busy=0, idle=0)
        idle = sum(map(len, self._connector._conns.values()))
        return Statistics(connecting=0, busy=len(self._connector._acquired), idle=idle)

    async def aclose(self) -> None:
        await self._inner.aclose()
