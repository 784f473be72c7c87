"""One request to an upstream, and its answer: the only thing of this package that the pipeline uses.

Rule: httpx's exceptions end here; what leaves is a :class:`~ccproxy_sanic.errors.ProxyError` that names the provider
and never its address or key (protocol.md 5.2, last rows).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import httpx

from ccproxy_sanic import errors
from ccproxy_sanic.upstream.engine import Closer, Deadlines, EngineTransport, Reply
from ccproxy_sanic.upstream.head import Head, Headers

__all__ = ["Closer", "Deadlines", "Exchange", "Head", "open_exchange"]

GRACE: Final = 0.25  # seconds that `finish` waits for the rest of an answer that nobody wants to read


async def open_exchange(
    transport: EngineTransport,
    head: Head,
    body: bytes,
    deadlines: Deadlines,
    provider: str,
    closer: Closer | None = None,
) -> Exchange:
    """Returns when the answer's head is here, whatever its status.

    ``provider`` is the label that errors use; ``closer`` is needed by engines that can only close asynchronously
    (TypeError without it).  Cancelled, it leaves nothing behind.

    Raises Unreachable, TimedOut, Garbled, Broken (closed before the head), Bug (a header that is none).
    """
    try:
        reply = await transport.send(head, body, deadlines, closer)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        # The writer's complaint quotes the header that it can't write, and that may be the key.
        cause = None if isinstance(exc, httpx.LocalProtocolError) else exc
        raise _translate(exc, provider, deadlines, began=False) from cause
    return Exchange(reply, provider, deadlines)


class Exchange:
    """An answer whose head is here.  It belongs to no task: started in one, it may be finished in another.

    ``finished``: the last byte was read and the connection is back in the pool; ``raw_headers`` are as they came, in
    their order.  One reader at a time.
    """

    __slots__ = ("_deadlines", "_fault", "_headers", "_provider", "_reply", "finished", "raw_headers", "status")

    def __init__(self, reply: Reply, provider: str, deadlines: Deadlines) -> None:
        self.status, self.raw_headers = reply.status, reply.headers
        self.finished = False
        self._reply = reply
        self._provider = provider
        self._deadlines = deadlines
        self._headers: dict[str, str] | None = None
        self._fault: errors.ProxyError | None = None

    def __repr__(self) -> str:
        return f"<Exchange {self._provider} | {self.status}, {'finished' if self.finished else 'open'}>"

    @property
    def headers(self) -> Mapping[str, str]:
        """With lower-case names; values of equal names are joined by ", ".  Made at the first look: of most answers
        nobody takes one."""
        if self._headers is None:
            self._headers = _plain(self.raw_headers)
        return self._headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The payload of one socket read.  Raises Broken, Garbled, TimedOut, after all bytes that came before."""
        if self._fault is not None:
            raise self._fault
        try:
            return await self._reply.__anext__()
        except StopAsyncIteration:
            self.finished = True
            raise
        except httpx.HTTPError as exc:
            raise self._fail(_translate(exc, self._provider, self._deadlines, began=True)) from exc

    async def flow(self, sink: Callable[[bytes], bool]) -> bool:
        """Hands the payload of each socket read to ``sink``: with our own engine where it arrives, and no task wakes.

        True: the sink returned False, it wants no more now; False: the answer has ended.  Raises as reading does.
        """
        if self._fault is not None:
            raise self._fault
        try:
            more = await self._reply.flow(sink)
        except httpx.HTTPError as exc:
            raise self._fail(_translate(exc, self._provider, self._deadlines, began=True)) from exc
        if not more:
            self.finished = True
        return more

    async def read(self, limit: int) -> bytes:
        """The whole body; Garbled when it is longer than ``limit`` bytes."""
        body = self.rest(limit)
        if body is None:
            parts: list[bytes] = []
            size = 0
            async for part in self:
                size += len(part)
                if size > limit:
                    self.abort()
                    raise self._too_large(limit)
                parts.append(part)
            body = b"".join(parts)
        return body

    def rest(self, limit: float = math.inf) -> bytes | None:
        """What is left of an answer that is all here, as :meth:`read` gives it; None where it must be waited for.  The
        way of small answers, which mostly come in one piece: no coroutine, no exception for the end."""
        reply = self._reply
        if self._fault is not None or not reply.complete:
            return None
        self.finished = True
        body = reply.rest()
        if len(body) > limit:
            raise self._too_large(limit)
        return body

    def abort(self) -> None:
        """Stops the upstream's work by closing the connection; nothing if the answer was read to its end.  Whoever is
        waiting for the next bytes gets Broken."""
        if not self.finished:
            self._fail(errors.Broken("The upstream exchange was aborted"))

    async def finish(self) -> None:
        """Brings the connection back to the pool.  What is left of the answer (mostly the end mark after the last
        event) is waited for briefly; a stream that still goes on then is aborted."""
        if self.finished or self.rest() is not None:
            return
        grace = asyncio.get_running_loop().call_later(GRACE, self.abort)
        try:
            with contextlib.suppress(errors.ProxyError):
                async for _ in self:
                    pass
        finally:
            grace.cancel()

    def _fail(self, fault: errors.ProxyError) -> errors.ProxyError:
        """The fault in which this ends: the first one."""
        if self._fault is None:
            self._fault = fault
            self._reply.abort()
        return self._fault

    def _too_large(self, limit: float) -> errors.Garbled:
        return errors.Garbled(f"The answer of {self._provider} is larger than {limit} bytes.")


def _plain(raw: Headers) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


_LATE: Final[dict[str, str]] = {
    "connect": "{provider} accepted no connection within {seconds:g} s",
    "first_byte": "{provider} sent no answer within {seconds:g} s",
    "idle": "{provider} sent nothing more for {seconds:g} s",
    "write": "{provider} took nothing more of the request for {seconds:g} s",
}
_DEADLINE: Final[dict[type[httpx.HTTPError], str]] = {httpx.ConnectTimeout: "connect", httpx.WriteTimeout: "write"}
# Stock httpx says with one class both "the peer closed" and "the peer talks nonsense"; these are the words of h11 and
# httpcore 1.0.9 for the former.
_CLOSED: Final = ("peer closed connection", "Server disconnected")
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)
_NONE_LEFT: Final = ": this proxy has no file descriptor left"
_WHY: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "the TLS handshake failed"),
    (socket.gaierror, "its name could not be resolved"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (httpx.UnsupportedProtocol, "its URL is not one of HTTP"),
)


def _translate(exc: Exception, provider: str, deadlines: Deadlines, *, began: bool) -> errors.ProxyError:
    if isinstance(exc, httpx.TimeoutException):
        deadline = _DEADLINE.get(type(exc), "idle" if began else "first_byte")
        text = _LATE[deadline].format(provider=provider, seconds=getattr(deadlines, deadline))
        return errors.TimedOut(f"{text} (deadline: {deadline})")
    if isinstance(exc, (httpx.ReadError, httpx.WriteError, httpx.CloseError)) or str(exc).startswith(_CLOSED):
        if began:
            return errors.Broken("The upstream stream ended before it was complete")
        return errors.Broken(f"{provider} closed the connection before it answered")
    if isinstance(exc, httpx.RemoteProtocolError):
        return errors.Garbled(f"{provider} answered something that is not HTTP/1.1")
    if isinstance(exc, (httpx.LocalProtocolError, httpx.InvalidURL)):
        return errors.Bug(f"The request to {provider} could not be written as HTTP")
    through = " through its proxy" if isinstance(exc, httpx.ProxyError) else ""
    why = _why(exc)
    kind = errors.Exhausted if why == _NONE_LEFT else errors.Unreachable
    return kind(f"Could not connect to {provider}{through}{why}")


def _why(exc: BaseException | None) -> str:
    if isinstance(exc, httpx.ProxyError) and (status := str(exc)[:3]).isdigit():  # its answer to CONNECT
        return f": it answered {status}"
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            # OpenSSL's words up to the comma: what follows may be the name that was looked for.
            return f": its TLS certificate was refused ({exc.verify_message.partition(',')[0].lower()})"
        if isinstance(exc, OSError) and exc.errno in _EXHAUSTED:
            return _NONE_LEFT
        for kind, text in _WHY:
            if isinstance(exc, kind):
                return f": {text}"
        exc = exc.__cause__ or exc.__context__
    return ""
