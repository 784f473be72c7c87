"""What is known of one request, from its first byte to its last.

Rule: a request has one :class:`RequestContext`; whoever learns something of the request writes it there, and the one
event that is sent at the end is made from it, so that log, counters and headers can't disagree.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec

_ID_BITS: Final = 96  # 24 digits
_FOREIGN_ID_MAX: Final = 128
_SHOWN_MAX: Final = 200  # characters of a foreign name that a header shows

SESSION_HEADER: Final = "x-claude-code-session-id"  # claude-code.md 2
HOP_HEADER: Final = "x-ccproxy-hop"  # names of the proxies a request has already passed


def new_id(prefix: str) -> str:
    """``prefix`` + 24 hexadecimal digits, of the length of Anthropic's ids (protocol.md 3.1).  Not a secret."""
    return f"{prefix}{random.getrandbits(_ID_BITS):024x}"


class Caller(msgspec.Struct, frozen=True):
    """Who is calling.  ``key`` is safe to store and to count by: it never contains a credential."""

    name: str
    key: str


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
    trace_id: str = ""
    client_app: str = ""
    stream: bool = False
    client_model: str = ""
    upstream_model: str = ""
    endpoint: str = ""
    deadline: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    queue_s: float = 0.0
    translate_s: float = 0.0
    upstream_s: float = 0.0
    first_content_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    adjustments: tuple[str, ...] = ()
    notes: str = ""
    rule: str = ""
    hops: tuple[str, ...] = ()
    upstream_headers: Mapping[str, str] = {}
    shared: bool = False

    def server_timing(self) -> str:
        """``server-timing``: what the proxy itself cost, in ms, visible from outside (ARCHITECTURE.md 6)."""
        return (
            f"queue;dur={self.queue_s * 1e3:.2f}, translate;dur={self.translate_s * 1e3:.2f}, "
            f"upstream;dur={self.upstream_s * 1e3:.2f}"
        )

    def account(self) -> dict[str, str]:
        """The headers that tell what became of the request: model, way and adjustments."""
        headers: dict[str, str] = {}
        if self.upstream_model:
            headers["x-upstream-model"] = shown(self.upstream_model)
        if self.hops:
            headers["x-ccproxy-route"] = ", ".join(self.hops)
        if self.notes:
            headers["x-ccproxy-adjustments"] = self.notes
        return headers


NOBODY: Final = Caller(name="", key="")
current: ContextVar[RequestContext | None] = ContextVar("ccproxy_request", default=None)


@lru_cache(1024)
def shown(name: str) -> str:
    """A foreign name as a header may hold it: printable ASCII, the rest percent-encoded, not without end."""
    if len(name) > _SHOWN_MAX or not name.isascii() or not name.isprintable():
        name = quote(name[:_SHOWN_MAX], safe="/:@ ", errors="replace")[:_SHOWN_MAX]
    return name


def foreign_id(value: str | None) -> str:
    """An id that somebody else chose, if it is fit to stand in a log line or header; else ''."""
    if not value or len(value) > _FOREIGN_ID_MAX or not value.isascii() or not value.isprintable() or " " in value:
        return ""
    return value


def begin(path: str, headers: Mapping[str, str], started: float, began: float, bytes_in: int) -> RequestContext:
    """The context of a request that has just been read; the caller is not known yet."""
    ctx = RequestContext(
        request_id=new_id("req_"),
        path=path,
        started=started,
        began=began,
        caller=NOBODY,
        session=foreign_id(headers.get(SESSION_HEADER)),
        trace_id=foreign_id(headers.get("x-request-id")),
        client_app=foreign_id(headers.get("x-app")),
        bytes_in=bytes_in,
    )
    current.set(ctx)
    return ctx
