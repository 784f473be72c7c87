"""One HTTP/1.1 connection: requests out, answers in.

Rule: a connection serves one exchange at a time and lets go of it in the very read that completes the answer; what the
reader has not fetched yet lives in the :class:`Answer`.  No tasks, no locks, and at most one timer per connection,
armed at the turns of an exchange and never per chunk.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Final, Protocol, cast

import httptools
import httpx

from ccproxy_sanic.upstream.engine import Deadlines
from ccproxy_sanic.upstream.h1_answer import Answer
from ccproxy_sanic.upstream.head import Headers, Origin

MAX_OVERHEAD: Final = 64 * 1024  # bytes in a row that are not body: heads, 1xx answers, chunk extensions, trailers
NO_DEADLINES: Final = Deadlines(None, None, None, None)
JOIN_LIMIT: Final = 128 * 1024  # up to here one copy is cheaper than a second segment


class StaleConnection(httpx.ReadError):
    """A reused connection went away before the first byte of an answer: the request may be sent once more."""


class Owner(Protocol):
    """The pool, as its connections see it.  ``released`` and ``lost`` are called once each per change."""

    def released(self, connection: Connection, /) -> None: ...
    def lost(self, connection: Connection, /) -> None: ...


class Connection(asyncio.Protocol):
    """``origin``, ``opened`` and ``idle_since`` (loop time) are the pool's notes.  Faults are httpx's own, without an
    address."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, origin: Origin, keepalive: float) -> None:
        self.loop = loop
        self.origin = origin
        self.opened = False
        self.idle_since = 0.0
        self._owner = owner
        self._keepalive = keepalive
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []  # of the answer's body, out of one read
        self.on_body = self._parts.append  # httptools calls it for each chunk: half the time of a method of ours
        self._whole = 0  # so many of them, once the answer is complete
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None  # None: idle or closed
        self._deadlines = NO_DEADLINES
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # when it goes off
        self._last = 0.0  # when the exchange last moved
        self._served = 0
        self._closed = False
        self._paused = False  # we don't listen: the reader is behind
        self._stalled = False  # the peer does not take the request
        self._untaken = 0  # of the request, when the write deadline was last looked at
        # Of the answer that is being parsed:
        self._headers: list[tuple[bytes, bytes]] = []
        self._overhead = 0
        self._touched = False  # a byte came
        self._headed = False
        self._framed = False  # by a length or by chunks: the end of the connection is not the end of the body
        self._bodiless = False  # the answer to HEAD
        self._done = False
        self._spent = False  # no second exchange after this one

    def __repr__(self) -> str:
        state = "closed" if self._closed else "idle" if self._answer is None else "busy"
        return f"<Connection {state} | served {self._served}>"

    # For the pool

    def begin(self, head: bytes, content: bytes, deadlines: Deadlines, *, bodiless: bool = False) -> Answer:
        """Sends a request.  The head of its answer is still to come: wait for changes until there is a status, and
        abort it to give up.

        Raises :class:`StaleConnection`; so may the wait, and ReadError, ReadTimeout, WriteTimeout, RemoteProtocolError.
        """
        transport = self._transport
        if transport is None or self._closed:
            raise StaleConnection("The connection was closed before it was used.")
        answer = self._answer = Answer(self)
        self._deadlines = deadlines
        self._served += 1
        self._bodiless = bodiless
        self._touched = self._headed = self._framed = self._done = self._spent = False
        self._overhead = 0
        self._last = now = self.loop.time()
        if deadlines.first_byte is not None and (at := now + deadlines.first_byte) < self._timer_at:
            self._arm(at)
        if len(content) <= JOIN_LIMIT:
            transport.write(head + content)
        else:
            transport.write(head)  # not writelines: in some 3.12 and 3.13 it forgets to tell when the buffer is full
            transport.write(content)
        return answer

    def fail(self, fault: Exception) -> None:
        """Ends the exchange with this fault, and the connection with it."""
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None:
            answer.end(fault)

    def close(self) -> None:
        """At once and without farewell: an idle or broken connection has nothing to flush."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._parser = None  # parser and connection refer to each other
        self._owner.lost(self)

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._last = self.loop.time()  # silence while we did not listen is not the peer's
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:
            self.close()  # an answer to nothing: whatever follows could be taken for the next answer
            return
        self._touched = True
        if self._headed:  # before that, bytes are no progress: the deadline is for the whole head
            self._last = self.loop.time()
        fault: Exception | None = None
        self._overhead += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            fault = httpx.RemoteProtocolError("The answer is not HTTP/1.1.")
        behind = False
        parts = self._parts
        if self._done and len(parts) > self._whole:
            del parts[self._whole :]
        if parts:
            behind = answer.put(parts[0] if len(parts) == 1 else b"".join(parts))
            parts.clear()
            self._overhead = 0
            if self._answer is not answer:  # who took it ended it
                return
        elif self._overhead > MAX_OVERHEAD and not self._done and fault is None:
            fault = httpx.RemoteProtocolError("The answer's head or framing is too large.")
        if self._done:
            self._release(answer, clean=fault is None)
        elif fault is not None:
            self.fail(fault)
        elif self._headed:
            answer.wake()
            if behind and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def eof_received(self) -> None:
        self._lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)

    def pause_writing(self) -> None:
        self._stalled = True
        self._last = self.loop.time()
        self._untaken = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if self._deadlines.write is not None and (at := self._last + self._deadlines.write) < self._timer_at:
            self._arm(at)

    def resume_writing(self) -> None:
        self._stalled = False
        self._last = self.loop.time()

    # httptools

    def on_message_begin(self) -> None:
        if self._done:
            self._spent = True  # more came than was asked for
        else:
            self._headers = []  # what 1xx answers said is forgotten

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # later ones are trailers, or of an answer to nothing
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        answer, parser = self._answer, self._parser
        if self._headed or answer is None or parser is None:
            return
        status = parser.get_status_code()
        if status < 200:
            return
        if self._overhead > MAX_OVERHEAD and sum(map(len, itertools.chain(*self._headers))) > MAX_OVERHEAD:
            raise httptools.HttpParserError("head too large")
        reusable = parser.should_keep_alive()  # later the parser has forgotten
        self._framed = reusable or _is_framed(self._headers)  # else the parser would not say so
        self._headed = True
        self._last = self.loop.time()
        self._spent = not reusable
        answer.status, answer.headers = status, self._headers
        if self._bodiless:
            self._done = self._spent = True  # the parser now waits for a body
            self._whole = 0
        elif (idle := self._deadlines.idle) is not None and (at := self._last + idle) < self._timer_at:
            self._arm(at)

    def on_message_complete(self) -> None:
        if not self._done and self._headed:  # a 1xx answer is complete too, and not the end
            self._done, self._whole = True, len(self._parts)

    # Turns

    def _release(self, answer: Answer, *, clean: bool) -> None:
        transport = self._transport
        self._answer = None
        if (
            clean
            and not self._spent
            and not self._stalled
            and transport is not None
            and not transport.get_write_buffer_size()
        ):
            if self._paused:
                self.resume()  # only who listens hears that the peer closes
            self.idle_since = last = self._last
            if (at := last + self._keepalive) < self._timer_at:  # seldom: it will go off earlier, and then look
                self._arm(at)
            self._owner.released(self)
        else:
            self.close()
        answer.end(None)

    def _lost(self, exc: Exception | None) -> None:
        answer = self._answer
        if self._closed:
            return
        if answer is None:
            self.close()
        elif self._headed and not self._framed and exc is None:
            self._release(answer, clean=False)  # the end of the connection is the end of the body (RFC 9112 6.3)
        elif self._headed:
            self.fail(httpx.ReadError("The connection was lost before the body was complete."))
        elif self._served > 1 and not self._touched:
            self.fail(StaleConnection("The connection was closed while it was idle."))
        else:
            self.fail(httpx.ReadError("The connection was lost before the answer's head was complete."))

    def _arm(self, at: float) -> None:
        """For those who want the timer earlier than it goes off: mostly deadlines move on, and a look at the clock is
        cheaper than a new timer.  It outlives its exchange for the same reason."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now, deadlines = self.loop.time(), self._deadlines
        since: float = self._last
        period: float | None
        fault: Exception
        if self._answer is None:
            since, period = self.idle_since, self._keepalive
            fault = httpx.CloseError("idle")
        elif self._stalled:
            untaken = self._transport.get_write_buffer_size() if self._transport is not None else 0
            if untaken != self._untaken:
                self._untaken, since = untaken, now
                self._last = now
            period, fault = deadlines.write, httpx.WriteTimeout("The peer takes nothing of the request.")
        elif not self._headed:
            period, fault = deadlines.first_byte, httpx.ReadTimeout("No answer.")
        else:
            since = now if self._paused else since
            period, fault = deadlines.idle, httpx.ReadTimeout("The answer stopped.")
        if period is None:
            return
        if now < since + period:
            self._arm(since + period)
        else:
            self.fail(fault)


def _is_framed(headers: Headers) -> bool:
    """Whether chunks or a length tell where the body ends (RFC 9112 6.3)."""
    framed = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"content-length":
            framed = True
        elif lowered == b"transfer-encoding":
            framed = value.strip().lower().endswith(b"chunked")
    return framed
