"""Sanic's protocol, with clients that never get to the end of a sentence, and with those that say the same again.

Rule: a read deadline is absolute and looked at every few seconds, without a timer per request; a head that is known is
not read again, and its request goes straight to its handler.  All others go Sanic's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import Any, Final

from sanic import HTTPResponse, Request
from sanic.exceptions import PayloadTooLarge, RequestTimeout
from sanic.http import Http, Stage
from sanic.server import HttpProtocol
from sanic.server.protocols.base_protocol import current_time  # type: ignore[attr-defined]

from ccproxy_sanic.front.heads import END, Heads, KnownHead
from ccproxy_sanic.front.requests import KnownRequest
from ccproxy_sanic.relay import IDLE, connect

HEAD_DEADLINE: Final = 10.0  # seconds from a request's first byte to the end of its head
NO_REQUEST: Final[Any] = None
BODY_FLOOR: Final = 1024.0  # bytes a second, on average, that a body must bring after that


class StrictHttp(Http):
    """Sanic's HTTP/1.1 for one connection."""

    __slots__ = ("_heads", "_last", "fresh")

    # as Sanic uses them
    protocol: Any
    recv_buffer: Any
    request_body: Any
    request_bytes: Any
    request_max_size: Any

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self._heads: Heads = protocol.app.ctx.heads
        self._last: KnownHead | None = None  # a client's next head is that of its last request
        self.fresh = b""  # the read that a request begins with: it need not be copied where it is all of it

    async def http1_request_header(self) -> None:
        """Make :attr:`request` of what has come."""
        known: Any = self._last
        protocol, fresh, buffer = self.protocol, self.fresh, self.recv_buffer
        body, measures = b"", None
        self.fresh = b""
        if known is not None and fresh and not buffer:
            measures = known.measure(fresh)
        if measures is not None and len(fresh) - measures[0] == measures[1] <= self.request_max_size:
            end, _ = measures
            head, body = fresh[: end - len(END)], fresh[end:]
        else:
            buffer[:0] = fresh
            measures = None if known is None else known.measure(buffer)
            if measures is None:
                end = buffer.find(END)
                found = self._heads.find(bytes(buffer[:end])) if end > 0 else None
                if found is None:
                    await self._read_head()
                    return
                known, measures = found[0], (end + len(END), found[1])
                self._last = known
            end, size = measures
            head = bytes(buffer[: end - len(END)])
            del buffer[:end]
            if len(buffer) == size <= self.request_max_size:
                body = bytes(buffer)
                buffer.clear()
            else:
                self.request_body, self.request_bytes, self.request_bytes_left = True, size, size
        self.keep_alive, self.url = known.keep_alive, known.url
        self.request = KnownRequest(known, head, self, body)
        protocol.state["requests_count"] += 1
        if protocol._paused:
            protocol.listen()

    async def _read_head(self) -> None:
        """Sanic's way."""
        await super().http1_request_header()  # type: ignore[no-untyped-call]
        # Nobody asks for Sanic's current request, but all that is made meanwhile would keep it, with its body:
        # connections to upstreams, and timers.
        Request._current.set(NO_REQUEST)
        self._heads.note(self)

    async def whole_body(self) -> bytes:
        """The rest of a body whose length is known.  Raises PayloadTooLarge."""
        buffer, size = self.recv_buffer, self.request_bytes
        if size > self.request_max_size:
            self.keep_alive = False
            raise PayloadTooLarge("Request body exceeds the size limit")
        while len(buffer) < size:
            await self._receive_more()
        with memoryview(buffer) as view:
            body = bytes(view[:size])
        del buffer[:size]
        self.request_body, self.request_bytes_left = None, 0
        self.protocol.listen()
        return body


class StrictProtocol(HttpProtocol):
    """Sanic's protocol with an absolute deadline for reading: its own timeouts start anew at each byte."""

    HTTP_CLASS = StrictHttp
    __slots__ = ("_most", "_paused", "_reading", "_reading_since", "_waiter")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._reading: object = None
        self._reading_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._most: int = self.app.config.REQUEST_BUFFER_SIZE  # Sanic's config takes a microsecond to say so
        self._paused = False
        self.request_handler = self.app.ctx.handle

    def data_received(self, data: bytes) -> None:
        self._time = current_time()
        buffer, waiter = self.recv_buffer, self._waiter
        if waiter is not None and not waiter.done():  # whoever waits takes it, and says when it wants more
            self._waiter = None
            http = self._http
            if http.stage is IDLE and http.request is None:  # else it is the rest of one that is answered already
                http.fresh = data
            else:
                buffer += data
            waiter.set_result(None)
            return
        buffer += data
        if len(buffer) >= self._most and self.transport is not None:
            self.transport.pause_reading()
            self._paused = True

    def listen(self) -> None:
        """Read on where what made us pause has been taken: who does not read does not see a client leave either."""
        if self._paused and len(self.recv_buffer) < self._most and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def receive_more(self) -> Awaitable[None]:  # type: ignore[override]  # Sanic only awaits it
        if self._paused and self.transport is not None:  # as much as this may be only a part of what is needed
            self._paused = False
            self.transport.resume_reading()
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._waiter = waiter
        return waiter

    def check_timeouts(self) -> None:
        if self._too_slow():
            self._http.exception = RequestTimeout("Request Timeout")
            self._http.request_body = None  # else Sanic would answer and then wait for the rest of it
            if self._task is not None:
                self._task.cancel()
            return
        super().check_timeouts()  # type: ignore[no-untyped-call]

    def _too_slow(self) -> bool:
        http = self._http
        if http is None or self._task is None:
            return False
        in_head = http.stage is Stage.REQUEST
        if not in_head and not (http.stage is Stage.HANDLER and http.request_body):
            self._reading = None
            return False
        request = self.state["requests_count"] + (1 if in_head else 0)
        now = monotonic()
        if self._reading != request:  # first seen reading this one: the clock starts here, a look late at most
            self._reading, self._reading_since = request, now
            return False
        elapsed = now - self._reading_since
        if elapsed < HEAD_DEADLINE:
            return False
        if in_head:
            return True
        arrived = (http.request_bytes or 0) - (http.request_bytes_left or 0) + len(self.recv_buffer)
        return arrived < elapsed * BODY_FLOOR


def handler_of(app: Any) -> Any:
    """What Sanic's protocol calls with each request."""

    async def answer(request: KnownRequest) -> None:
        """What Sanic's ``handle_request`` does where the handler is known and there is no middleware."""
        http: Any = request.stream
        try:
            if http.request_body:
                request.body = await http.whole_body()
            response = request.known.handler(request)
            if not isinstance(response, HTTPResponse):
                response = await response
            if response is not None:
                connect(request, response)
                await response.send(end_stream=True)
        except Exception as error:
            await app.handle_exception(request, error, run_middleware=False)

    def handle(request: Any) -> Awaitable[None]:
        if type(request) is not KnownRequest:
            return app.handle_request(request)  # type: ignore[no-any-return]
        known: KnownHead = request.known
        http: Any = request.stream
        if not known.thorough or http.request_body:
            return answer(request)
        # A coroutine less, through which each wait would go; what is raised before there is one is for Sanic's loop.
        response = known.handler(request)
        if not isinstance(response, HTTPResponse):
            return response  # type: ignore[no-any-return]
        connect(request, response)
        return response.send(end_stream=True)

    return handle
