"""Heads of requests that were let in, by their bytes.

Rule: it only remembers.  A head that equals one that has passed Sanic and every check of ours, but for the length of
its body, says the same: nothing of it is read again (reading one takes Sanic a quarter of what a small request costs).
What is held of heads, credentials too, never leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from sanic.exceptions import SanicException

from ccproxy_sanic.context import Asker

MOST: Final = 512  # heads
LARGEST: Final = 4096  # bytes of one; those of clients have some 700
LENGTHS: Final = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")  # as clients write it; both are equally long
LENGTH: Final = len(LENGTHS[0])
DIGITS: Final = 12
END: Final = b"\r\n\r\n"
Parts: TypeAlias = tuple[bytes, bytes, bytes]  # what stands before the length of the body, that, and what follows
Handler = TypeVar("Handler", bound=Callable[..., Any])


def thorough(handler: Handler) -> Handler:
    """Marks a handler that sends what it does not return, and that sees to whatever is raised meanwhile."""
    handler.thorough = True  # type: ignore[attr-defined]
    return handler


class KnownHead:
    """What Sanic made of a head: everything of its request but ``content-length``, and the handler it leads to."""

    __slots__ = (
        "_after",
        "_before",
        "asker",
        "handler",
        "headers",
        "keep_alive",
        "method",
        "parsed_url",
        "raw_url",
        "route",
        "thorough",
        "url",
        "version",
    )

    def __init__(self, http: Any, asker: Asker, route: Any, handler: Any, parts: Parts) -> None:
        request = http.request
        self._before, self._after = parts[0], parts[2] + END
        self.asker, self.route, self.handler = asker, route, handler
        self.thorough = hasattr(handler, "thorough")
        self.keep_alive, self.url = http.keep_alive, http.url
        self.headers = request.headers.copy()
        del self.headers["content-length"]
        self.method, self.version = request.method, request.version
        self.raw_url, self.parsed_url = request.raw_url, request._parsed_url

    def measure(self, data: bytes | bytearray) -> tuple[int, int] | None:
        """How long this head is in ``data``, with the empty line, and the body that it announces there; None: ``data``
        does not begin with it.  A third of the time it takes to find it among all."""
        before, after = self._before, self._after
        start = len(before)
        end = data.find(b"\r", start, start + DIGITS + 1)
        if not data.startswith(before) or not data.startswith(after, end):
            return None
        length = data[start:end]
        return (end + len(after), int(length)) if length.isdigit() else None


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
        before, length, after = parts
        known = self._known.get(before + after)
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
        self._known[parts[0] + parts[2]] = KnownHead(http, request.asker, route, handler, parts)
        if len(self._known) > self._most:  # one that came in pieces may have been known already
            del self._known[next(iter(self._known))]


def cut(head: bytes) -> Parts | None:
    """A head in its parts, if it tells the length of a body as clients do."""
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
    return head[:at], length, head[at + len(length) :]
