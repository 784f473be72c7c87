"""What Sanic lets in and RFC 9112 does not; and clients that never get to the end of a sentence.

Rule: a head is checked where Sanic makes a request of it, before any route, without a signal (a registered ``http.*``
signal costs every request); a read deadline is absolute and looked at every few seconds, without a timer per request.
Findings and their cures: sanic-and-httpx.md G.
"""

from __future__ import annotations

import re
from time import monotonic
from typing import Any, Final

from sanic import Request
from sanic.exceptions import BadRequest, RequestTimeout
from sanic.http import Stage
from sanic.server import HttpProtocol

MAX_HEADERS: Final = 100
HEAD_DEADLINE: Final = 10.0  # seconds from a request's first byte to the end of its head
BODY_FLOOR: Final = 1024.0  # bytes a second, on average, that a body must bring after that

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")  # RFC 9110 5.6.2, lower-cased by Sanic
_METHOD: Final = re.compile(r"[A-Z]+")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "OPTIONS"})  # what nearly everybody sends
_known: set[str] = set()  # header names that were found to be good: a few dozen in practice
_KNOWN_MAX: Final = 4096


def check_head(head: bytes, method: str, version: str, headers: Any) -> None:
    """Raise BadRequest for a head that another server on the way could read differently."""
    # Counting is ten times as fast as a search for a CR or LF that stands alone, and one count of all three is enough:
    # whatever is no part of a line's end makes it more than two for each.
    if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * head.count(b"\r\n"):
        raise BadRequest("bad control characters in the request head")
    if method not in _METHODS and not _METHOD.fullmatch(method):
        raise BadRequest("bad request method")
    if len(headers) > MAX_HEADERS:
        raise BadRequest("too many header fields")
    for name in headers:
        if name in _known:
            continue
        if not _TOKEN.fullmatch(name):
            raise BadRequest("bad header field name")
        if len(_known) < _KNOWN_MAX:
            _known.add(name)
    hosts = headers.getall("host", [])
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise BadRequest("exactly one Host header is needed")
    length = headers.getone("content-length", None)
    if length is not None and not (length.isascii() and length.isdigit()):
        raise BadRequest("bad content-length")
    if version == "1.0" and "transfer-encoding" in headers:
        raise BadRequest("transfer-encoding needs HTTP/1.1")


class StrictRequest(Request):
    """Sanic's request, made only of a head that is beyond doubt."""

    __slots__ = ()

    def __init__(
        self,
        url_bytes: bytes,
        headers: Any,
        version: str,
        method: str,
        transport: Any,
        app: Any,
        head: bytes = b"",
        stream_id: int = 0,
    ) -> None:
        if head:  # Sanic makes an empty request of its own to report a bad one
            check_head(head, method, version, headers)
        super().__init__(url_bytes, headers, version, method, transport, app, head, stream_id)


class NamedHostRequest(StrictRequest):
    """For a proxy that answers under some names only: a class of its own, so that all others pay nothing for it."""

    __slots__ = ()

    def __init__(
        self,
        url_bytes: bytes,
        headers: Any,
        version: str,
        method: str,
        transport: Any,
        app: Any,
        head: bytes = b"",
        stream_id: int = 0,
    ) -> None:
        if head:
            app.ctx.guards.check_host(headers.getone("host", ""))
        super().__init__(url_bytes, headers, version, method, transport, app, head, stream_id)


class StrictProtocol(HttpProtocol):
    """Sanic's protocol with an absolute deadline for reading: its own timeouts start anew at each byte."""

    __slots__ = ("_reading", "_reading_since")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._reading: object = None
        self._reading_since = 0.0

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
