"""The client's wire, from commit to end: the only caller of ``request.respond``.

Rule: one writer per client connection, and two points that are not one.  *Committed*: the status line is out, so a
fault can only be an SSE ``error`` event.  *Spoken*: first content is out, so nothing may be tried again; between the
two lies *opened*: message_start is out, which no second upstream may send again.  Sanic ends a body cleanly after a
raise, so nothing may raise past this module once it has committed (ARCHITECTURE.md 1.5).  Both points are reached with
a write, never before it: who is interrupted while the client takes nothing has said nothing of what it waits with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic, perf_counter
from typing import Any, Final, Protocol

from sanic import Request
from sanic.helpers import STATUS_CODES
from sanic.http import Http, Stage
from sanic.response import HTTPResponse

from ccproxy_sanic.context import RequestContext, lines_of
from ccproxy_sanic.errors import ProxyError, as_event, as_response
from ccproxy_sanic.pump import Pump

HANDLER, IDLE, RESPONSE = Stage.HANDLER, Stage.IDLE, Stage.RESPONSE  # Python 3.11 takes 0.1 us to look one up
CHUNKED: Final = b"transfer-encoding: chunked"
LAST_CHUNK: Final = b"0\r\n\r\n"
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
JSON: Final = "application/json"
JSON_LINES: Final = b"content-type: application/json\r\n"
STREAM_LINES: Final = (
    b"cache-control: no-cache\r\nx-accel-buffering: no\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
)
NO_HEADERS: Final[Mapping[str, str]] = {}
STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, STATUS_CODES.get(status, b"UNKNOWN")) for status in range(200, 600)
}
# What follows the id in the value of an answer's last header, x-request-id: the time from the end of the request's head
# on, in ms, and the lines of all answers (guards.py).  One line to format for Sanic, not six.
LAST: Final = b"%b\r\nx-response-time-ms: %.2f%b"
OPENING: Final = b"%brequest-id: %b\r\n%b%b\r\nconnection: %b\r\nx-request-id: " + LAST + b"\r\n\r\n"
LARGE: Final = 16 << 10  # bytes of a body that is sooner written beside its head than joined to it (25 kB: 0.95 x)
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
        http: Any = self.stream
        headers = self.headers
        lines = [
            (name.encode("ascii"), str(value).encode("utf-8", "surrogateescape")) for name, value in headers.items()
        ]
        taken = 0.0 if http.perft0 is None else perf_counter() - http.perft0
        last = headers["request-id"].encode("ascii"), taken * 1e3, http.protocol.app.ctx.guards.more(http)
        return [*lines, (b"x-request-id", LAST % last)]


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
    if http.stage is HANDLER and http.response is None:
        http.response, response.stream = response, http  # all that `respond` does then, in a third of the time
    else:
        http.respond(response)
    request.responded = True
    return http


class Direct(HTTPResponse):
    """The answer to a POST, written without Sanic, whose walk over the headers is a tenth of what a small answer
    costs.  ``lines`` are the headers that not every answer has, as bytes, each with its end."""

    __slots__ = ("lines", "request_id")

    def __init__(self, status: int, request_id: str, lines: bytes, body: bytes | None = None) -> None:
        self.stream = None
        self.status, self.request_id, self.lines, self.body = status, request_id, lines, body

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {self.request_id}>"

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # only records of failures ask for them
        lines = self.lines.decode("utf-8", "surrogateescape").split("\r\n")[:-1]
        return {"request-id": self.request_id, **dict(line.split(": ", 1) for line in lines)}

    def opening(self, framing: bytes) -> bytes:
        """The head, up to the empty line; ``framing`` is the header that tells where the body ends."""
        http: Any = self.stream
        name = self.request_id.encode("ascii")
        return OPENING % (
            STATUS_LINES[self.status],
            name,
            self.lines,
            framing,
            b"keep-alive" if http.keep_alive else b"close",
            name,
            (perf_counter() - http.perft0) * 1e3,
            http.protocol.app.ctx.guards.more(http),
        )


class Whole(Direct):
    """One whose body is known when it begins, in one write."""

    __slots__ = ()

    def put(self) -> None:
        """Write it: for whoever knows that this needs no waiting."""
        http: Any = self.stream
        protocol, (head, body) = http.protocol, self._parts()
        if len(body) < LARGE:
            protocol.transport.write(head + body)
        else:
            protocol.transport.write(head)  # not writelines, as in upstream/h1_connection.py
            protocol.transport.write(body)
        protocol._time = monotonic()  # as in `write`
        http.response_func, http.stage = None, IDLE  # what Sanic itself does when a whole answer is out

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        http: Any = self.stream
        if http.response_func is None:  # Sanic sends once more what a handler has sent
            return
        if is_writable(http.protocol):
            self.put()
            return
        await http.protocol.send(b"".join(self._parts()))
        http.response_func, http.stage = None, IDLE

    def _parts(self) -> tuple[bytes, bytes]:
        body = self.body or b""
        return self.opening(b"content-length: %d" % len(body)), body


class Terms(Protocol):
    """What the settings say of an answer, in seconds (settings.py)."""

    @property
    def ping_after(self) -> float: ...
    @property
    def ping_every(self) -> float: ...
    @property
    def stream_timeout(self) -> float: ...


class Client(Pump):
    """One client and its answer.

    ``ping_after`` seconds of silence commit a stream with a ping, every ``ping_every`` seconds of silence another
    follows.  Until ``deadline``, on the loop's clock, may it take: another one, when the first content has left.
    """

    __slots__ = (
        "_busy",
        "_clock",
        "_ended",
        "_request",
        "_terms",
        "_wire",
        "_wrote_at",
        "committed",
        "ctx",
        "cut",
        "deadline",
        "headers",
        "status",
    )

    def __init__(self, request: Request, ctx: RequestContext, clock: Callable[[], float], terms: Terms) -> None:
        started = self._wrote_at = ctx.started
        Pump.__init__(self, started)
        self.ctx, self._request, self._clock, self._terms = ctx, request, clock, terms
        self.deadline = ctx.deadline
        self.cut: ProxyError | None = None  # what it was ended with
        self.headers: dict[str, str] = {}  # sent with whatever answer it becomes
        self.committed = self._busy = self._ended = False
        self.status = 0
        self._wire: Any = None  # Sanic's protocol of the client's connection, once the head is out

    def __repr__(self) -> str:
        state = "ended" if self._ended else "spoken" if self.spoken else "committed" if self.committed else "waiting"
        return f"<Client {self.ctx.request_id} {state}{', writing' if self._busy else ''}>"

    # -- whole answers

    async def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer, which is JSON."""
        lines = self._lines(headers) + JSON_LINES
        if self._free:
            self._begun(status, lines, body).put()
        else:
            await self._later(status, lines, body)

    async def _later(self, status: int, lines: bytes, body: bytes) -> None:
        await self._room()
        await self._begun(status, lines, body).send()

    def _begun(self, status: int, lines: bytes, body: bytes) -> Whole:
        """A whole answer that is to be written now."""
        ctx = self.ctx
        self.committed = self._ended = True
        self.status, self._wrote_at = status, self._clock()
        ctx.bytes_out += len(body)
        response = Whole(status, ctx.request_id, lines, body)
        connect(self._request, response)
        return response

    @property
    def _free(self) -> bool:
        http: Any = self._request.stream
        return is_writable(http.protocol)

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

    def _lines(self, more: Mapping[str, str] = NO_HEADERS) -> bytes:
        """What every answer says of its request, and ``more``."""
        ctx = self.ctx
        outline = None if more or self.headers else ctx.outline()
        if outline is None:
            outline = lines_of({**ctx.account(dict(ctx.upstream_headers)), **self.headers, **more})
        elif ctx.upstream_headers:
            outline = lines_of(ctx.upstream_headers) + outline
        return ctx.timing() + outline

    # -- streams

    def _framed(self, data: bytes) -> bytes:
        """``data`` as a chunk (none where it is empty: it would end the body), the first time with the head before."""
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self.committed:
            return chunk
        self.committed, self.status = True, 200
        response = Direct(200, self.ctx.request_id, self._lines() + STREAM_LINES)
        http = connect(self._request, response)
        http.response_func, http.stage = http.http1_response_chunked, RESPONSE
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
            lines = self._lines() + STREAM_LINES
            if self._free:
                self._begun(200, lines, data).put()
            else:
                await self._later(200, lines, data)
            return
        if self._full:
            await self._room()
        self._ended = True
        self.ctx.bytes_out += len(data)
        block = self._framed(data) + LAST_CHUNK
        if not write(self._wire, block):
            await self._wire.send(block)
        http: Any = self._request.stream
        http.response_func, http.stage = None, IDLE

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
        if data:
            self.opened = True
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
        started = self.ctx.started
        self.ctx.first_content_s = self._clock() - started
        self.deadline = started + self._terms.stream_timeout

    # -- what the ticker calls: synchronous, never waiting

    def look(self, now: float) -> None:
        """One look of the ticker: ping, end or cut, whatever is due."""
        if self._busy:
            if now - self._wrote_at >= WRITE_STALL:
                self.abort()
            return
        if self._ended or self.end_the_late(now) or not (self.committed or self.ctx.stream):
            return
        if now - self._wrote_at >= (self._terms.ping_every if self.committed else self._terms.ping_after):
            self.ping_now()

    def ping_now(self) -> None:
        """Send a ping without waiting, with the head before the first; skipped while paused, or after the end."""
        http: Any = self._request.stream
        if self._busy or self._ended or http is None or not is_writable(http.protocol):
            return
        write(http.protocol, self._framed(PING))
        self._wrote_at = self._clock()
        self.ctx.bytes_out += len(PING)

    def end_with(self, fault: ProxyError) -> None:
        """Have whoever answers say ``fault``, wherever it waits."""
        self.cut = fault
        self.task.cancel()

    @property
    def task(self) -> asyncio.Task[None]:
        """That of the client's connection, in which it is answered."""
        http: Any = self._request.stream
        return http.protocol._task  # type: ignore[no-any-return]

    def abort(self) -> None:
        """Break the connection: the only way to end a chunked body visibly unfinished."""
        self._ended = True
        if self._request.transport is not None:
            self._request.transport.abort()  # type: ignore[attr-defined]
