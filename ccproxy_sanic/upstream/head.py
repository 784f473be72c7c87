"""What a request says before its body, written once for all requests that say the same.

Rule: nothing is written that could begin another header, or another request; what is wrong is said when the head is
first needed, so that whoever sends it hears it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import httpx

Headers = list[tuple[bytes, bytes]]
Origin = tuple[bytes, bytes, int]  # scheme, host, port

DEFAULT_PORT: Final = {b"http": 80, b"https": 443}
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})  # ours to say: the body is sent whole
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})  # say content-length: 0 rather than nothing (RFC 9110 8.6)


class Head:
    """``headers`` (to be read, not changed) are complete but for host and what frames the body."""

    __slots__ = ("_base", "_framing", "_lines", "_more", "_origin", "headers", "method", "url")

    def __init__(self, method: str, url: httpx.URL, headers: Headers) -> None:
        self.method, self.url, self.headers = method, url, headers
        self._base: Head | None = None
        self._more: Headers = []  # what is said besides the base
        self._lines: bytes | None = None
        self._framing = b""  # the lines up to the length, once they have been needed
        self._origin: Origin | None = None

    def __repr__(self) -> str:
        return f"<Head {self.method}>"  # the rest is an address and a key

    def beside(self, more: Headers) -> Head:
        """The same request, saying ``more`` too: only that is written anew."""
        head = Head(self.method, self.url, [*self.headers, *more])
        head._base, head._more = self, more
        return head

    @property
    def origin(self) -> Origin:
        """Raises UnsupportedProtocol."""
        if self._origin is None:
            self._origin = _origin(self.url) if self._base is None else self._base.origin
        return self._origin

    @property
    def lines(self) -> bytes:
        """All but what depends on the body.  Raises LocalProtocolError."""
        if self._lines is None:
            if self._base is None:
                self._lines = _first_lines(self.method, self.url, self.headers) + _lines(self.headers)
            else:
                self._lines = self._base.lines + _lines(self._more)
        return self._lines

    def framed(self, length: int) -> bytes:
        """The whole head of a request with so many bytes of body.  Raises LocalProtocolError."""
        if not length and self.method not in WITH_BODY:
            return self.lines + b"\r\n"
        if not self._framing:
            self._framing = self.lines + b"content-length: "
        return b"%b%d\r\n\r\n" % (self._framing, length)


def _origin(url: httpx.URL) -> Origin:
    scheme = url.raw_scheme
    default = DEFAULT_PORT.get(scheme)
    if default is None or not url.raw_host:
        raise httpx.UnsupportedProtocol("The URL must begin with http:// or https:// and name a host.")
    return scheme, url.raw_host, url.port or default


def _first_lines(method: str, url: httpx.URL, headers: Headers) -> bytes:
    first = b"%b %b HTTP/1.1" % (method.encode("ascii"), url.raw_path)
    named = any(name.lower() == b"host" for name, _ in headers)
    return _joined([first] if named else [first, b"host: " + url.netloc])


def _lines(headers: Headers) -> bytes:
    return _joined([b"%b: %b" % field for field in headers if field[0].lower() not in FRAMING])


def _joined(lines: Iterable[bytes]) -> bytes:
    lines = [*lines, b""]
    text = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count(b"\n") != breaks or text.count(b"\r") != breaks or b"\0" in text:
        raise httpx.LocalProtocolError("A header has a line break in it.")  # it would begin another header, or request
    return text
