"""What is known of one request, from its first byte to its last.

Rule: a request has one :class:`RequestContext`; whoever learns something of the request writes it there, and the one
event that is sent at the end is made from it, so that log, counters and headers can't disagree.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

_ID_BYTES: Final = 12  # 24 digits
_FOREIGN_ID_MAX: Final = 128
_SHOWN_MAX: Final = 200  # characters of a foreign name that a header shows

SESSION_HEADER: Final = "x-claude-code-session-id"  # claude-code.md 2
HOP_HEADER: Final = "x-ccproxy-hop"  # names of the proxies a request has already passed


def new_id(prefix: str) -> str:
    """``prefix`` + 24 hexadecimal digits, of the length of Anthropic's ids (protocol.md 3.1).  Not a secret."""
    return prefix + random.getrandbits(8 * _ID_BYTES).to_bytes(_ID_BYTES).hex()  # half the time of a format


class Caller(msgspec.Struct, frozen=True):
    """Who is calling.  ``key`` is safe to store and to count by: it never contains a credential."""

    name: str
    key: str


class Asker:
    """What a request's head alone says of who asks, for what, and how.

    It lives as long as its head is remembered, so what a handler has found out from the head is found out once;
    ``caller`` is None until it has been let in.
    """

    __slots__ = ("caller", "client_app", "encoding", "onward", "path", "query", "session", "wishes")

    def __init__(self, headers: Mapping[str, str], path: str, query: str = "") -> None:
        self.path, self.query = path, query
        self.session = foreign_id(headers.get(SESSION_HEADER))
        self.client_app = foreign_id(headers.get("x-app"))
        self.encoding = headers.get("content-encoding", "").strip().lower()
        self.caller: Caller | None = None
        self.wishes: Any = None
        self.onward: dict[Any, Any] = {}  # what is said of this head to upstreams that speak its protocol


class Answer(Protocol):
    """What is known of an upstream's answer, when it has been read."""

    @property
    def usage(self) -> Any: ...
    @property
    def stop_reason(self) -> str | None: ...
    @property
    def upstream_id(self) -> str | None: ...
    @property
    def upstream_model(self) -> str | None: ...


class Trace(Protocol):
    """What is told of a request while it is answered, where tracing is on (ops/tracing.py)."""

    def hop(
        self, upstream: str, profile: str, model: str, operation: str, origin: tuple[bytes, bytes, int]
    ) -> list[tuple[bytes, bytes]]:
        """An upstream is asked now: the headers that tell it of the trace."""

    def headed(self, status: int) -> None:
        """The head of its answer is here."""

    def left(self, answer: Answer | None, fault: Exception | None = None, status: int = 0) -> None:
        """It has answered, or failed; ``status`` is its own where it refused."""

    def end(self, status: int, outcome: str, error_type: str | None) -> None:
        """The request is over; ``status`` is what was sent, 0 for nothing."""


class Tracer(Protocol):
    """What begins traces."""

    def begin(
        self,
        ctx: RequestContext,
        *,
        method: str,
        scheme: str,
        client: str,
        traceparent: str,
        tracestate: str,
        agent: str,
    ) -> Trace:
        """That of a request that has just been read; the last three are what its headers say, or empty."""

    async def close(self) -> bool:
        """Send what waits; False where that took too long."""


class RequestContext(msgspec.Struct, gc=False):
    """``started`` and ``deadline`` are seconds of the loop's clock, ``began`` of a finer one.

    Token counts are Anthropic's (input without cached tokens).  ``hops`` are the upstreams that were asked, the last
    one answers; ``notes`` are ``adjustments`` with their fields, as a header shows them; ``upstream_headers`` came
    from an upstream that speaks the client's own protocol.
    """

    request_id: str
    path: str
    started: float
    began: float
    caller: Caller
    session: str = ""
    client_app: str = ""
    bytes_in: int = 0
    deadline: float = 0.0
    stream: bool = False
    client_model: str = ""
    upstream_model: str = ""
    endpoint: str = ""
    bytes_out: int = 0
    queue_s: float = 0.0
    translate_s: float = 0.0
    upstream_s: float = 0.0
    flow_s: float = 0.0  # from the answer's head to its last byte
    first_content_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    cost_usd: float | None = None  # as the upstream says
    adjustments: tuple[str, ...] = ()
    notes: str = ""
    rule: str = ""
    hops: tuple[str, ...] = ()
    upstream_headers: Mapping[str, str] = {}
    shared: bool = False
    answered: bool = False  # an upstream's answer is complete
    limits: Mapping[str, str] = {}  # what its limits leave the caller, as headers
    cache: str = ""  # what became of it there: hit, miss, shared, refresh; "": it had nothing to do with it
    cache_age: int = 0  # seconds, of what was hit
    kept: Any = None  # the cache's handle to what was hit
    trace: Trace | None = None  # where tracing is on

    def timing(self) -> bytes:
        """``server-timing``: what the proxy itself cost, in ms, visible from outside (ARCHITECTURE.md 6)."""
        return b"server-timing: queue;dur=%.2f, translate;dur=%.2f, upstream;dur=%.2f\r\n" % (
            self.queue_s * 1e3,
            self.translate_s * 1e3,
            self.upstream_s * 1e3,
        )

    def account(self, headers: dict[str, str]) -> dict[str, str]:
        """Adds to ``headers`` those that tell what became of the request: model, way and adjustments."""
        cache = f"hit; age={self.cache_age}" if self.cache == "hit" else self.cache
        headers.update(_outline(self.upstream_model, self.hops, self.notes, cache))
        if self.limits:
            headers.update(self.limits)
        return headers

    def outline(self) -> bytes | None:
        """The lines of :meth:`account`, where many requests have the same (a fifth of the time); else None."""
        if self.limits or self.cache == "hit":
            return None
        return _outline_lines(self.upstream_model, self.hops, self.notes, self.cache)


NOBODY: Final = Caller(name="", key="")
current: ContextVar[RequestContext | None] = ContextVar("ccproxy_request", default=None)


@lru_cache(1024)
def shown(name: str) -> str:
    """A foreign name as a header may hold it: printable ASCII, the rest percent-encoded, not without end."""
    if len(name) > _SHOWN_MAX or not name.isascii() or not name.isprintable():
        name = quote(name[:_SHOWN_MAX], safe="/:@ ", errors="replace")[:_SHOWN_MAX]
    return name


def lines_of(headers: Mapping[str, str]) -> bytes:
    """Headers as lines, each with its end."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("utf-8", "surrogateescape")


def _outline(model: str, hops: tuple[str, ...], notes: str, cache: str) -> dict[str, str]:
    told = {
        "x-upstream-model": shown(model),
        "x-ccproxy-route": ", ".join(hops),
        "x-ccproxy-adjustments": notes,
        "x-ccproxy-cache": cache,
    }
    return {name: value for name, value in told.items() if value}


@lru_cache(512)
def _outline_lines(model: str, hops: tuple[str, ...], notes: str, cache: str) -> bytes:
    return lines_of(_outline(model, hops, notes, cache))


def foreign_id(value: str | None) -> str:
    """An id that somebody else chose, if it is fit to stand in a log line or header; else ''."""
    if not value or len(value) > _FOREIGN_ID_MAX or not value.isascii() or not value.isprintable() or " " in value:
        return ""
    return value


def begin(asker: Asker, started: float, began: float, bytes_in: int, deadline: float) -> RequestContext:
    """The context of a request that has just been read; the caller is not known yet."""
    ctx = RequestContext(
        new_id("req_"), asker.path, started, began, NOBODY, asker.session, asker.client_app, bytes_in, deadline
    )
    current.set(ctx)
    return ctx
