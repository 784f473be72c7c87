"""What every answer says besides its own headers, to browsers above all; and which hosts and pages are answered.

Rule: what is the same for all answers is written once, as bytes; an answer only puts its id and its time before that
(original.md 1.11, behaviours 35 and 36).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from ccproxy_sanic.auth import host_name
from ccproxy_sanic.errors import Forbidden
from ccproxy_sanic.settings import Settings

SECURITY: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
HSTS: Final = {"strict-transport-security": "max-age=63072000; includeSubDomains; preload"}
PREFLIGHT_AGE: Final = 600  # seconds a browser may remember what it was allowed
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "POST"})  # a page may use them whatever we say (Fetch, 2.2.1)
ALL: Final = "*"
# What a page may read of an answer's headers besides the few that it always may.
EXPOSED: Final = (
    *("request-id", "x-request-id", "retry-after", "x-should-retry", "server-timing", "x-upstream-model"),
    *("x-ccproxy-route", "x-ccproxy-adjustments", "x-ccproxy-shared", "x-ccproxy-cache"),
)


def _lines(headers: Mapping[str, str]) -> bytes:
    """Header lines that can stand behind a header's value."""
    return b"".join(b"\r\n%b: %b" % (name.encode("ascii"), value.encode("ascii")) for name, value in headers.items())


class _Everybody:
    def __contains__(self, origin: object) -> bool:
        return True


class Guards:
    """``welcome`` are the origins of pages that may call; with CORS off there are none."""

    __slots__ = ("_fixed", "_headers", "_hosts", "_hsts", "_methods", "_tails", "_vary", "cors", "welcome")

    def __init__(self, settings: Settings) -> None:
        self._fixed = _lines(SECURITY) if settings.security_headers_enabled else b""
        self._hsts = _lines(HSTS) if settings.enable_hsts else b""
        self.cors = settings.enable_cors
        origins = settings.cors_allow_origins if settings.enable_cors else ()
        self.welcome: Container[str] = _Everybody() if ALL in origins else frozenset(origins)
        self._vary = _lines({} if ALL in origins else {"vary": "Origin"})
        self._methods = {method.upper() for method in settings.cors_allow_methods} | SAFE_METHODS
        self._headers = tuple(header.lower() for header in settings.cors_allow_headers)
        self._hosts = frozenset(settings.allowed_hosts)
        self._tails = tuple(host.removeprefix(ALL) for host in settings.allowed_hosts if host.startswith("*."))

    def __repr__(self) -> str:
        return f"<Guards of {', '.join(self._hosts) or 'all hosts'}{', CORS' if self.cors else ''}>"

    # -- what an answer says

    def more(self, http: Any) -> bytes:
        """Behind an answer's last header on ``http`` (Sanic's stream): all these lines, after the end of that one."""
        more = self._fixed
        if self._hsts and http.request.scheme == "https":
            more += self._hsts
        if self.cors:
            more += self._vary + self._for_page(http.request.headers.get("origin"))
        return more

    def _for_page(self, origin: str | None) -> bytes:
        if origin is None or origin not in self.welcome:
            return b""
        allowed = ALL if isinstance(self.welcome, _Everybody) else origin
        return _lines({"access-control-allow-origin": allowed, "access-control-expose-headers": ", ".join(EXPOSED)})

    # -- who is answered

    @property
    def names_hosts(self) -> bool:
        """Whether :meth:`check_host` can refuse any."""
        return bool(self._hosts) and ALL not in self._hosts

    def check_host(self, host: str) -> None:
        """Raise Forbidden where a Host header names nobody of ALLOWED_HOSTS."""
        name = host_name(host).lower().rstrip(".")
        if name not in self._hosts and not name.endswith(self._tails):
            raise Forbidden("this host name is not one of ALLOWED_HOSTS")

    def preflight(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that allow a page what it asks for (Fetch, 4.8).  Raises Forbidden, saying what is not allowed.

        The origin's own header is on every answer.
        """
        if headers.get("origin", "") not in self.welcome:
            raise Forbidden("CORS_ALLOW_ORIGINS does not allow this origin")
        method = headers.get("access-control-request-method", "")
        if method.upper() not in self._methods:
            raise Forbidden("CORS_ALLOW_METHODS does not allow this method")
        parts = headers.get("access-control-request-headers", "").split(",")
        asked = [name for part in parts if (name := part.strip())]
        for name in asked:
            if not self._takes(name.lower()):
                raise Forbidden(f"CORS_ALLOW_HEADERS does not allow {name[:80]!r}")
        return {
            "access-control-allow-methods": ", ".join(sorted(self._methods)),
            "access-control-allow-headers": ", ".join(asked),
            "access-control-max-age": str(PREFLIGHT_AGE),
        }

    def _takes(self, header: str) -> bool:
        return any(
            header.startswith(allowed[:-1]) if allowed.endswith(ALL) else header == allowed for allowed in self._headers
        )
