"""One request to an upstream, and its answer: the only thing of this package that the pipeline uses.

Rule: httpx's exceptions end here; what leaves is a :class:`~ccproxy_sanic.errors.ProxyError` that names the provider
and never its address or key (protocol.md 5.2, last rows).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, cast

import httpx
import msgspec

from ccproxy_sanic import errors
from ccproxy_sanic.upstream.h1 import H1Transport
from ccproxy_sanic.upstream.h1_answer import Answer

GRACE: Final = 0.25  # seconds that `finish` waits for the rest of an answer that nobody wants to read

Closer = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine to its end, some time: the runtime's, which owns the tasks."""


class Deadlines(msgspec.Struct, frozen=True):
    """Seconds.  ``connect``: DNS, TCP and TLS.  ``first_byte``: from the request to the answer's head.  ``idle``:
    between two reads of the body.  ``write``: while the upstream takes nothing of the request."""

    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 300.0
    write: float = 30.0


async def open_exchange(
    transport: httpx.AsyncBaseTransport,
    method: str,
    url: httpx.URL,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    deadlines: Deadlines,
    *,
    provider: str,
    closer: Closer | None = None,
) -> Exchange:
    """Returns when the answer's head is here, whatever its status.

    ``headers`` are complete but for host and content-length; ``provider`` is the label that errors use; ``closer`` is
    needed by engines that can only close asynchronously (TypeError without it).  Cancelled, it leaves nothing behind.

    Raises Unreachable, TimedOut, Garbled, Broken (closed before the head), Bug (a header that is none).
    """
    ours = isinstance(transport, H1Transport)
    if closer is None and not ours:
        raise TypeError(f"{type(transport).__name__} closes asynchronously and needs a closer")
    timeout: dict[str, float | None] = {
        "connect": deadlines.connect,
        "read": deadlines.idle if ours else deadlines.first_byte,
        "write": deadlines.write,
        "pool": None,
    }
    framed = [(b"host", url.netloc), *headers, (b"content-length", b"%d" % len(body))]
    request = httpx.Request(
        method,
        url,
        headers=framed,
        stream=httpx.ByteStream(body),
        extensions={"timeout": timeout, "first_byte": deadlines.first_byte},
    )
    try:
        response = await transport.handle_async_request(request)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        # The writer's complaint quotes the header that it can't write, and that may be the key.
        cause = None if isinstance(exc, httpx.LocalProtocolError) else exc
        raise _translate(exc, provider, deadlines, began=False) from cause
    timeout["read"] = deadlines.idle  # httpcore looks it up again when the body is begun
    return Exchange(response, provider, deadlines, closer)


class Exchange:
    """An answer whose head is here.  It belongs to no task: started in one, it may be finished in another.

    ``headers`` has lower-case names; values of equal names are joined by ", ".  ``finished``: the last byte was read
    and the connection is back in the pool.  One reader at a time.
    """

    __slots__ = ("_closer", "_deadlines", "_failed", "_next", "_provider", "_stream", "finished", "headers", "status")

    def __init__(self, response: httpx.Response, provider: str, deadlines: Deadlines, closer: Closer | None) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = _plain(response.headers.raw)
        self.finished = False
        self._provider = provider
        self._deadlines = deadlines
        self._closer = closer
        self._failed = False
        self._stream = cast(httpx.AsyncByteStream, response.stream)
        parts: Any = self._stream.__aiter__()
        self._next: Callable[[], Awaitable[bytes]] = parts.__anext__

    def __repr__(self) -> str:
        return f"<Exchange {self._provider} | {self.status}, {'finished' if self.finished else 'open'}>"

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The payload of one socket read.  Raises Broken, Garbled, TimedOut, after all bytes that came before."""
        try:
            return await self._next()
        except StopAsyncIteration:
            if not self.finished:
                self.finished = True
                await self._stream.aclose()
            raise
        except httpx.HTTPError as exc:
            fault = _translate(exc, self._provider, self._deadlines, began=True)
            self._fail(fault)
            raise fault from exc

    async def read(self, limit: int) -> bytes:
        """The whole body; Garbled when it is longer than ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        async for part in self:
            size += len(part)
            if size > limit:
                self.abort()
                raise errors.Garbled(f"The answer of {self._provider} is larger than {limit} bytes.")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abort(self) -> None:
        """Stops the upstream's work by closing the connection; nothing if the answer was read to its end.  Whoever is
        waiting for the next bytes gets Broken."""
        if not self.finished:
            self._fail(errors.Broken("The upstream exchange was aborted"))

    async def finish(self) -> None:
        """Brings the connection back to the pool.  What is left of the answer (mostly the end mark after the last
        event) is waited for briefly; a stream that still goes on then is aborted."""
        if self.finished:
            return
        try:
            async with asyncio.timeout(GRACE):
                async for _ in self:
                    pass
        except (errors.ProxyError, TimeoutError):
            self.abort()

    def _fail(self, fault: errors.ProxyError) -> None:
        if self._failed:
            return
        self._failed = True

        async def again() -> bytes:
            raise fault

        self._next = again
        if isinstance(self._stream, Answer):
            self._stream.abort()
        elif self._closer is not None:
            self._closer(self._stream.aclose())


def _plain(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
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
    return errors.Unreachable(f"Could not connect to {provider}{_why(exc)}")


def _why(exc: BaseException | None) -> str:
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            # OpenSSL's words up to the comma: what follows may be the name that was looked for.
            return f": its TLS certificate was refused ({exc.verify_message.partition(',')[0].lower()})"
        for kind, text in _WHY:
            if isinstance(exc, kind):
                return f": {text}"
        exc = exc.__cause__ or exc.__context__
    return ""
