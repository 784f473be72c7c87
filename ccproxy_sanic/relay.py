"""The client's wire, from commit to end: the only caller of ``request.respond``.

Rule: one writer per client connection, and two points that are not one.  *Committed*: the status line is out, so a
fault can only be an SSE ``error`` event.  *Spoken*: first content is out, so nothing may be tried again; between the
two lies *opened*: message_start is out, which no second upstream may send again.  Sanic ends a body cleanly after a
raise, so nothing may raise past this module once it has committed (ARCHITECTURE.md 1.5).  Both points are reached with
a write, never before it: who is interrupted while the client takes nothing has said nothing of what it waits with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final, cast

from sanic import Request
from sanic.helpers import STATUS_CODES
from sanic.http import Http, Stage
from sanic.response import HTTPResponse

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.errors import ProxyError, as_event, as_response
from ccproxy_sanic.pump import Pump

CHUNKED: Final = b"transfer-encoding: chunked"
LAST_CHUNK: Final = b"0\r\n\r\n"
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, STATUS_CODES.get(status, b"UNKNOWN")) for status in range(200, 600)
}
WRITE_STALL: Final = 120.0  # seconds a client may leave our writes unread


class Head(HTTPResponse):
    """Sanic's response without its care for each header (a sixth of the cost of one with our headers), and with the
    lines that every answer has (guards.py).

    Rule: it has a ``request-id``, and whatever gets into ``headers`` is a valid header value already: made here, or
    checked where it came in (context.shown, wire.forwarding).
    """

    __slots__ = ()

    def __init__(self, status: int, headers: dict[str, Any], content_type: str, body: bytes | None = None) -> None:
        self.asgi, self.stream, self._cookies = False, None, None
        self.status, self.body, self.content_type = status, body, content_type
        headers["content-type"] = content_type
        self.headers = headers  # type: ignore[assignment]  # Sanic only writes and removes members

    @property
    def processed_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]  # Sanic only walks through it
        headers, http = self.headers, cast(Any, self.stream)
        lines = [
            (name.encode("ascii"), str(value).encode("utf-8", "surrogateescape")) for name, value in headers.items()
        ]
        lines.append(http.protocol.app.ctx.guards.lines(http, headers["request-id"]))
        return lines


def is_writable(protocol: Any) -> bool:
    """Whether a client's connection (Sanic's protocol) takes a block without anybody's waiting."""
    transport = protocol.transport
    return transport is not None and protocol._can_write.is_set() and not transport.is_closing()


def write(protocol: Any, block: bytes) -> bool:
    """Write a block to a client, if that needs no waiting: half of the cost of Sanic's ``send``."""
    if not is_writable(protocol):
        return False
    protocol.transport.write(block)
    protocol._time = monotonic()  # Sanic's own clock: it would take us for silent
    return True


def connect(request: Request, response: HTTPResponse) -> Any:
    """Sanic's stream, which ``response`` now answers.  Sanic's own ``request.respond`` also looks for middleware."""
    http: Any = request.stream
    http.respond(response)
    request.responded = True
    return http


class Direct(Head):
    """The answer to a POST, written without Sanic, whose walk over the headers is a tenth of what a small answer
    costs."""

    __slots__ = ()

    def _said(self) -> bytes:
        """Status line and headers, each with its end."""
        lines = [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        return STATUS_LINES[self.status] + "".join(lines).encode("utf-8", "surrogateescape")

    def opening(self, framing: bytes) -> bytes:
        """The head, up to the empty line; ``framing`` is the header that tells where the body ends."""
        http = cast(Any, self.stream)
        return b"%b%b\r\nconnection: %b\r\n%b: %b\r\n\r\n" % (
            self._said(),
            framing,
            b"keep-alive" if http.keep_alive else b"close",
            *http.protocol.app.ctx.guards.lines(http, self.headers["request-id"]),
        )


class Whole(Direct):
    """One whose body is known when it begins, in one block."""

    __slots__ = ()

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        http, body = cast(Any, self.stream), cast(bytes, self.body)
        if http.response_func is None:  # Sanic sends once more what a handler has sent
            return
        block = self.opening(b"content-length: %d" % len(body)) + body
        if not write(http.protocol, block):
            await http.protocol.send(block)
        http.response_func, http.stage = None, Stage.IDLE  # what Sanic itself does when a whole answer is out


class Ready(Whole):
    """One whose ``lines`` are rendered already, each with its end."""

    __slots__ = ("_lines",)

    def __init__(self, request_id: str, lines: bytes, body: bytes) -> None:
        super().__init__(200, {"request-id": request_id}, JSON, body)
        self._lines = lines

    def _said(self) -> bytes:
        request_id = self.headers["request-id"].encode("ascii")
        return b"%brequest-id: %b\r\ncontent-type: application/json\r\n%b" % (
            STATUS_LINES[200],
            request_id,
            self._lines,
        )


class Client(Pump):
    """One client and its answer.

    ``ping_after`` seconds of silence commit a stream with a ping, every ``ping_every`` seconds of silence another
    follows. ``on_spoken`` is called once, when the first content leaves.
    """

    __slots__ = (
        "_busy",
        "_clock",
        "_ended",
        "_on_spoken",
        "_ping_after",
        "_ping_every",
        "_request",
        "_wire",
        "_wrote_at",
        "committed",
        "ctx",
        "headers",
        "status",
    )

    def __init__(
        self,
        request: Request,
        ctx: RequestContext,
        clock: Callable[[], float],
        *,
        ping_after: float,
        ping_every: float,
        on_spoken: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(ctx.started)
        self.ctx, self._request, self._clock = ctx, request, clock
        self._ping_after, self._ping_every, self._on_spoken = ping_after, ping_every, on_spoken
        self.headers: dict[str, str] = {}  # sent with whatever answer it becomes
        self.committed = self._busy = self._ended = False
        self.status = 0
        self._wrote_at = ctx.started
        self._wire: Any = None  # Sanic's protocol of the client's connection, once the head is out

    def __repr__(self) -> str:
        state = "ended" if self._ended else "spoken" if self.spoken else "committed" if self.committed else "waiting"
        return f"<Client {self.ctx.request_id} {state}{', writing' if self._busy else ''}>"

    # -- whole answers

    async def reply(self, status: int, headers: Mapping[str, str], body: bytes, content_type: str = JSON) -> None:
        """Send a whole answer: the one place where ``request-id`` and ``server-timing`` are put on."""
        told = self._standing({})
        if headers:
            told.update(headers)
        await self._whole(Whole(status, told, content_type, body))

    async def _whole(self, response: Whole) -> None:
        if self._full:
            await self._room()
        self.committed = self._ended = True
        self.status, self._wrote_at = response.status, self._clock()
        self.ctx.bytes_out += len(cast(bytes, response.body))
        connect(self._request, response)
        await response.send()

    @property
    def _full(self) -> bool:
        """Whether the client has left so much unread that it takes no more."""
        http: Any = self._request.stream
        return not http.protocol._can_write.is_set()

    async def _room(self) -> None:
        """Wait until the client takes a block, or has gone."""
        if not self.committed:
            self._wrote_at = self._clock()  # what it leaves unread is of an answer before this one
        http: Any = self._request.stream
        self._busy = True
        try:
            await http.protocol._can_write.wait()
        finally:
            self._busy = False

    def _standing(self, told: dict[str, str]) -> dict[str, str]:
        """``told``, with what every answer says."""
        ctx = self.ctx
        if ctx.upstream_headers:
            told.update(ctx.upstream_headers)
        told["request-id"], told["server-timing"] = ctx.request_id, ctx.server_timing()
        ctx.account(told)
        if self.headers:
            told.update(self.headers)
        return told

    # -- streams

    def _framed(self, data: bytes) -> bytes:
        """``data`` as a chunk (none where it is empty: it would end the body), the first time with the head before."""
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self.committed:
            return chunk
        self.committed, self.status = True, 200
        response = Direct(200, self._standing({**STREAM_HEADERS}), EVENT_STREAM)
        http = connect(self._request, response)
        http.response_func, http.stage = http.http1_response_chunked, Stage.RESPONSE
        self._wire = http.protocol
        return response.opening(CHUNKED) + chunk

    async def send(self, data: bytes) -> None:
        """Write ready SSE frames; waits while the client does not read (that is the back-pressure)."""
        if self._full:
            await self._room()
        block = self._framed(data)
        if not write(self._wire, block):
            await self._wire.send(block)  # which raises: it has gone
        self._wrote_at = self._clock()
        self.ctx.bytes_out += len(data)

    async def end(self, data: bytes = b"") -> None:
        """Write the last frames and the end of the body."""
        if self._ended:
            return
        if not self.committed:
            await self._whole(Whole(200, self._standing({**STREAM_HEADERS}), EVENT_STREAM, data))
            return
        if self._full:
            await self._room()
        self._ended = True
        self.ctx.bytes_out += len(data)
        block = self._framed(data) + LAST_CHUNK
        if not write(self._wire, block):
            await self._wire.send(block)
        http: Any = self._request.stream
        http.response_func, http.stage = None, Stage.IDLE

    async def fail(self, fault: ProxyError) -> None:
        """Say ``fault`` in the form that is still possible: an HTTP answer, else an ``error`` event and the end."""
        if self._ended:
            return
        if self.committed:
            await self.end(as_event(fault, self.ctx.request_id))
            return
        status, headers, body = as_response(fault, self.ctx.request_id)
        if fault.closes and isinstance(self._request.stream, Http):
            self._request.stream.keep_alive = False
        await self.reply(status, headers, body)

    def _take(self, block: bytes) -> bool:
        machine = self.machine
        assert machine is not None  # noqa: S101 (only the pump's exchange calls this)
        now = self._read_at = self._clock()
        data = machine.feed(block)
        if not self.spoken and machine.spoken:
            self.speak()
        if machine.done or machine.fault is not None or not self.offer(data, now):
            self._held = data
            return self._wire is None and not data and not machine.done and machine.fault is None
        return True

    def offer(self, data: bytes, now: float) -> bool:
        """Write without waiting, if the client takes it now, and has got the head."""
        wire = self._wire
        if wire is None:
            return False
        if not data:
            return is_writable(wire)
        if not write(wire, b"%x\r\n%b\r\n" % (len(data), data)):
            return False
        self._wrote_at = now
        self.ctx.bytes_out += len(data)
        return True

    def speak(self) -> None:
        self.spoken = True
        self.ctx.first_content_s = self._clock() - self.ctx.started
        self._on_spoken()

    # -- what the ticker calls: synchronous, never waiting

    def look(self, now: float) -> None:
        """One look of the ticker: ping, end or cut, whatever is due."""
        if self._busy:
            if now - self._wrote_at >= WRITE_STALL:
                self.abort()
            return
        if self._ended:
            return
        if self.end_the_late(now):
            return
        if not self.committed:
            if self.ctx.stream and now - self._wrote_at >= self._ping_after:
                self.commit_now()
        elif now - self._wrote_at >= self._ping_every:
            self.ping_now()

    def commit_now(self) -> None:
        """Send status line, headers and a ping without waiting."""
        self.ping_now()

    def ping_now(self) -> None:
        """Send a ping without waiting; skipped while writing is paused or the body has ended."""
        http: Any = self._request.stream
        if self._busy or self._ended or http is None or not is_writable(http.protocol):
            return
        write(http.protocol, self._framed(PING))
        self._wrote_at = self._clock()
        self.ctx.bytes_out += len(PING)

    def abort(self) -> None:
        """Break the connection: the only way to end a chunked body visibly unfinished."""
        self._ended = True
        if self._request.transport is not None:
            self._request.transport.abort()  # type: ignore[attr-defined]

    @property
    def gone(self) -> bool:
        """Whether the client has closed its side."""
        return self._request.conn_info is not None and self._request.conn_info.lost
