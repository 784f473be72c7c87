"""What Sanic lets in and RFC 9112 does not.

Rule: a head is checked where Sanic makes a request of it, before any route, without a signal (a registered ``http.*``
signal costs every request).  Findings and their cures: sanic-and-httpx.md G.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sanic.exceptions import BadRequest

MAX_HEADERS: Final = 100

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
