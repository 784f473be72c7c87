"""Which headers cross the proxy when a request is passed through to an upstream that speaks Messages itself.

Rule: towards the upstream the list is open, because features come with headers of their own (claude-code.md 2): all go
on but for the rows of :data:`DENIED`, each with its reason.  Towards the client it is closed: a header of the upstream
speaks for the upstream's connection, cookies and policies, and clients read few of them (peers.md 0).

Not denied on purpose: ``anthropic-dangerous-direct-browser-access``, which Claude Code always sends and which switches
nothing on without an ``origin``; ``traceparent``, which names a trace and nobody; ``user-agent`` and ``x-app``, by
which upstreams tell clients apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ccproxy_sanic.errors import InvalidRequest

_HOP: Final = "belongs to one connection (RFC 9110 7.6.1)"
_OURS: Final = "said by the proxy for its own request"
_BODY: Final = "describes bytes that the proxy has decoded or changed"
_CREDENTIAL: Final = "is a credential for the proxy, not for the upstream"
_CLIENT: Final = "says where the client is, which is nobody's business"
_BROWSER: Final = "a browser's, for the site it believes to talk to"
_ROUTER: Final = "set by a router in front of the proxy"

DENIED: Final[dict[str, str]] = {
    **dict.fromkeys(("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"), _HOP),
    **dict.fromkeys(("host", "accept-encoding", "content-length", "content-type"), _OURS),
    **dict.fromkeys(("content-encoding", "content-md5", "content-digest", "repr-digest", "digest"), _BODY),
    **dict.fromkeys(("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "cookie2"), _CREDENTIAL),
    **dict.fromkeys(("forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"), _CLIENT),
    **dict.fromkeys(("via", "cdn-loop", "client-ip", "from"), _CLIENT),
    **dict.fromkeys(("origin", "referer", "dnt"), _BROWSER),
    **dict.fromkeys(("x-request-id", "x-request-start", "connect-time", "total-route-time"), _ROUTER),
    "x-cloud-trace-context": _ROUTER,
}
DENIED_PREFIXES: Final[dict[str, str]] = {
    "proxy-": _HOP,
    "http2-": _HOP,
    ":": _HOP,
    "x-ccproxy-": "said to the proxy",
    "x-forwarded-": _CLIENT,
    "cf-": _CLIENT,
    "fastly-": _CLIENT,
    "fly-": _CLIENT,
    "x-envoy-": _ROUTER,
    "x-amzn-": _ROUTER,
    "x-amz-cf-": _ROUTER,
    "x-appengine-": _CLIENT,
    "x-azure-": _CLIENT,
    "x-vercel-": _CLIENT,
    "sec-": _BROWSER,
}
_PREFIXES: Final = tuple(DENIED_PREFIXES)

# What a client is told of an upstream's headers; the limits are Claude Code's to show, the wait is its to keep.
RETURNED: Final = frozenset({"retry-after", "x-should-retry"})
_RETURNED_PREFIX: Final = "anthropic-"
_UPSTREAM_ID: Final = "x-upstream-request-id"  # request-id is the proxy's own
_ID: Final = "request-id"
_X_ID: Final = "x-request-id"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_NAMES_KEPT: Final = 512  # a client says some 20 names, the same in each request


def onward(headers: Iterable[tuple[str, str]], own: Iterable[tuple[bytes, bytes]] = ()) -> list[tuple[bytes, bytes]]:
    """The client's headers that go on, in their order, with lower-case names; without any that is in ``own`` too.

    Raises InvalidRequest: a name or a value that could not be sent as one header.
    """
    taken = {name.lower() for name, _ in own}
    kept: list[tuple[bytes, str]] = []
    for name, value in headers:
        if sent := _sent(name):
            kept.append((sent, value))
        elif name.lower() == "connection":
            taken.update(option.strip().lower().encode("utf-8", "surrogateescape") for option in value.split(","))
    kept = [header for header in kept if header[0] not in taken]
    if _splits("".join([value for _, value in kept])):
        raise _not_allowed()
    return [(name, value.encode("utf-8", "surrogateescape")) for name, value in kept]  # the bytes that came


@lru_cache(_NAMES_KEPT)
def _sent(name: str) -> bytes:
    """The name of a header that goes on; b"" of one that is denied.  Kept, because that halves the time of all."""
    name = name.lower()
    if name in DENIED or name.startswith(_PREFIXES):
        return b""
    if not _TOKEN.fullmatch(name):
        raise _not_allowed()
    return name.encode("ascii")


def _splits(value: str) -> bool:
    """Whether it would be more than one header, or an end of one."""
    return not value.isprintable() and ("\n" in value or "\r" in value or "\0" in value)


def _not_allowed() -> InvalidRequest:
    return InvalidRequest("A header of the request has a name or a value that HTTP does not allow")


def returned(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The upstream's headers, as they came, that the client gets; names in lower case."""
    out: dict[str, str] = {}
    for name, value in headers:
        if kept := _kept[name]:
            text = value.decode("latin-1")
            out[kept] = f"{out[kept]}, {text}" if kept in out else text
    if out:
        if _splits("".join(out.values())):
            out = {name: text for name, text in out.items() if not _splits(text)}
        other = out.pop(_X_ID, "")
        if own := out.pop(_ID, "") or other:
            out[_UPSTREAM_ID] = own
    return out


class _Kept(dict[bytes, str]):
    """What the client, or the proxy, reads of a header by this name; "" for nothing.  An answer of the real API has
    some 25, the same in each: as a call, looking them up would cost a quarter more."""

    def __missing__(self, name: bytes) -> str:
        lowered = name.decode("latin-1").lower()
        wanted = lowered.startswith(_RETURNED_PREFIX) or lowered in RETURNED or lowered in (_ID, _X_ID)
        if len(self) >= _NAMES_KEPT:
            self.clear()
        self[name] = kept = lowered if wanted else ""
        return kept


_kept: Final = _Kept()
