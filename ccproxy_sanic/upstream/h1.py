"""The default engine: HTTP/1.1 with keep-alive behind ``httpx.AsyncBaseTransport``.

Rule: every connection is in exactly one place, on its origin's idle stack or among the busy ones, and leaves it by
push, never by polling.  No limits of its own: admission is the ProviderActor's.  No proxies, redirects, cookies,
HTTP/2, decompression (issue 5, item 1; sanic-and-httpx.md B.4).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from ccproxy_sanic.upstream.engine import Closer, Deadlines, EngineTransport, Statistics
from ccproxy_sanic.upstream.h1_answer import Answer
from ccproxy_sanic.upstream.h1_connection import Connection, StaleConnection
from ccproxy_sanic.upstream.h1_dial import dial
from ccproxy_sanic.upstream.head import Head, Origin


class H1Transport(EngineTransport):
    """One per process and loop.

    ``tls`` gives the context of https origins and is called at the first one, in a thread (it reads files for tens of
    ms); ``keepalive`` is in seconds; ``max_idle`` is what one origin may have.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext], *, keepalive: float = 120.0, max_idle: int = 500) -> None:
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._keepalive = keepalive
        self._max_idle = max_idle
        self._stacks: dict[Origin, dict[Connection, None]] = {}  # a dict is a stack that also removes from the middle
        self._busy: set[Connection] = set()
        self._closed = False
        self._connecting = 0
        self._opened = self._reused = self._retried = self._failed = self._lost = 0

    def __repr__(self) -> str:
        state = "closed | " if self._closed else ""
        return (
            f"<H1Transport {state}busy {len(self._busy)}, connecting {self._connecting}, idle {self._idle()} | "
            f"opened {self._opened}, reused {self._reused}, retried {self._retried}>"
        )

    def statistics(self) -> Statistics:
        return Statistics(
            connecting=self._connecting,
            busy=len(self._busy),
            idle=self._idle(),
            opened=self._opened,
            reused=self._reused,
            retried_stale=self._retried,
            failed_connects=self._failed,
            closed=self._lost,
        )

    async def send(self, head: Head, body: bytes, deadlines: Deadlines, closer: Closer | None = None) -> Answer:
        """Closes at once and needs no ``closer``.  Raises ConnectError, ConnectTimeout, ReadError, ReadTimeout,
        WriteTimeout, RemoteProtocolError, LocalProtocolError, UnsupportedProtocol."""
        origin, opening, bodiless = head.origin, head.framed(len(body)), head.method == "HEAD"
        reused = connection = self._pop(origin)
        while True:
            if connection is None:
                connection = await self._open(origin, deadlines.connect)
            try:
                answer = connection.begin(opening, body, deadlines, bodiless=bodiless)
                while not answer.status:
                    await answer.change()  # a future: a coroutine around it would be 3 % of an exchange
                return answer
            except StaleConnection:
                if reused is None:
                    raise
                self._retried += 1
                reused = connection = None
            except asyncio.CancelledError:
                answer.abort()
                raise

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """For an httpx client; the response's ``stream`` is an :class:`Answer`.  Raises what :meth:`send` does.

        Deadlines: ``extensions["timeout"]`` as in httpx, in seconds: ``read`` is the deadline of the first byte and
        between two reads; ``pool`` means nothing here.
        """
        timeout: Mapping[str, float | None] = request.extensions.get("timeout", {})
        read = timeout.get("read")
        deadlines = Deadlines(connect=timeout.get("connect"), first_byte=read, idle=read, write=timeout.get("write"))
        head = Head(request.method, request.url, request.headers.raw)
        answer = await self.send(head, await _content(request), deadlines)
        return httpx.Response(answer.status, headers=answer.headers, stream=answer)

    async def aclose(self) -> None:
        """Closes the idle connections, aborts the busy ones, refuses new ones."""
        self._closed = True
        for connection in [c for stack in self._stacks.values() for c in stack] + list(self._busy):
            connection.fail(httpx.ReadError("The engine was closed."))

    def _idle(self) -> int:
        return sum(map(len, self._stacks.values()))

    # For the connections

    def released(self, connection: Connection) -> None:
        self._busy.discard(connection)
        stack = self._stacks.get(connection.origin)
        if self._closed or (len(stack) if stack else 0) >= self._max_idle:
            connection.close()
            return
        if stack is None:
            stack = self._stacks[connection.origin] = {}
        stack[connection] = None

    def lost(self, connection: Connection) -> None:
        self._lost += connection.opened
        self._busy.discard(connection)
        stack = self._stacks.get(connection.origin)
        if stack is not None and connection in stack:
            del stack[connection]
            if not stack:
                del self._stacks[connection.origin]

    # Connections

    def _pop(self, origin: Origin) -> Connection | None:
        """The one used last: it is the least likely to have been closed, and the others may rest until they expire."""
        stack = self._stacks.get(origin)
        if not stack:
            return None
        connection, _ = stack.popitem()
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


async def _content(request: httpx.Request) -> bytes:
    stream: Any = request.stream
    if isinstance(stream, httpx.SyncByteStream):  # httpx.ByteStream is both; this way costs no coroutine per part
        return b"".join(stream)
    return b"".join([part async for part in stream])
