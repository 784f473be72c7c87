"""Heads of requests that were let in, by their bytes.

Rule: it only remembers.  A head that equals one that has passed Sanic and every check of ours, but for the length of
its body, says the same: nothing of it is read again (reading one takes Sanic a quarter of what a small request costs).
What is held of heads, credentials too, never leaves it.
"""

from __future__ import annotations

from typing import Any, Final

from sanic.exceptions import SanicException

from ccproxy_sanic.context import Asker

MOST: Final = 512  # heads
LARGEST: Final = 4096  # bytes of one; those of clients have some 700
LENGTHS: Final = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")  # as clients write it; both are equally long
LENGTH: Final = len(LENGTHS[0])
DIGITS: Final = 12


class KnownHead:
    """What Sanic made of a head: everything of its request but ``content-length``, and the handler it leads to."""

    __slots__ = (
        "asker",
        "handler",
        "headers",
        "keep_alive",
        "method",
        "parsed_url",
        "raw_url",
        "route",
        "url",
        "version",
    )

    def __init__(self, http: Any, asker: Asker, route: Any, handler: Any) -> None:
        request = http.request
        self.asker, self.route, self.handler = asker, route, handler
        self.keep_alive, self.url = http.keep_alive, http.url
        self.headers = request.headers.copy()
        del self.headers["content-length"]
        self.method, self.version = request.method, request.version
        self.raw_url, self.parsed_url = request.raw_url, request._parsed_url


class Heads:
    """At most ``most`` heads; the first noted is the first to go."""

    def __init__(self, app: Any, most: int = MOST) -> None:
        self._app, self._most = app, most
        self._known: dict[bytes, KnownHead] = {}

    def __repr__(self) -> str:
        return f"<Heads {len(self._known)}/{self._most}>"

    def find(self, head: bytes) -> tuple[KnownHead, int] | None:
        """What is known of a head, and the length of the body that it announces."""
        parts = cut(head)
        if parts is None:
            return None
        rest, length = parts
        known = self._known.get(rest)
        return None if known is None else (known, int(length))

    def note(self, http: Any) -> None:
        """Remember the head that ``http`` (Sanic's) has just read, if no more than a body of known length follows."""
        request = http.request
        if http.request_body is not True or http.expecting_continue or http.upgrade_websocket or http.head_only:
            return
        parts = cut(request.head)
        if parts is None or len(request.head) > LARGEST:
            return
        host = request.headers.getone("host", None)
        try:
            route, handler, found = self._app.router.get(request.path, request.method, host)
        except SanicException:
            return
        extra = route.extra
        if found or extra.ignore_body or extra.request_middleware or hasattr(handler, "is_stream"):
            return
        self._known[parts[0]] = KnownHead(http, request.asker, route, handler)
        if len(self._known) > self._most:  # one that came in pieces may have been known already
            del self._known[next(iter(self._known))]


def cut(head: bytes) -> tuple[bytes, bytes] | None:
    """A head without the length of its body, and that."""
    at = head.find(LENGTHS[0])
    if at < 0:
        at = head.find(LENGTHS[1])
        if at < 0:
            return None
    at += LENGTH
    end = head.find(b"\r\n", at)
    length = head[at:] if end < 0 else head[at:end]
    if not length.isdigit() or len(length) > DIGITS:
        return None
    return head[:at] + head[at + len(length) :], length
