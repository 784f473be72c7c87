"""Who is calling, and whether a web page is behind it.

Rule: with tokens, only a token counts; without tokens, only this machine's own programs may call, and a web page that
a browser shows is not one of them (DNS rebinding, cross-site requests).  Nothing here keeps or prints a credential.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from ccproxy_sanic.context import Caller
from ccproxy_sanic.errors import Forbidden, Unauthenticated

ANONYMOUS: Final = Caller(name="local", key="local")
_OWN_SITES: Final = frozenset({"same-origin", "none"})  # Sec-Fetch-Site values that a page of somebody else can't have


class Token:
    """One accepted credential: a name for logs and a digest to compare with."""

    __slots__ = ("caller", "digest")

    def __init__(self, name: str, secret: str) -> None:
        self.digest = hashlib.sha256(secret.encode()).digest()
        self.caller = Caller(name=name, key=f"token:{name or self.digest.hex()[:12]}")


def credential(headers: Mapping[str, str]) -> str:
    """``x-api-key``, else ``Authorization: Bearer``: with both, the real API uses x-api-key (protocol.md 0.2)."""
    if key := headers.get("x-api-key"):
        return key
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def identify(
    headers: Mapping[str, str], tokens: Sequence[Token], *, open_to_all: bool = False, welcome: Container[str] = ()
) -> Caller:
    """The caller.  Raises Unauthenticated (401) for a wrong or missing token, Forbidden (403) for a web page whose
    origin is not ``welcome``."""
    if not tokens:
        refuse_web_pages(headers, open_to_all=open_to_all, welcome=welcome)
        return ANONYMOUS
    digest = hashlib.sha256(credential(headers).encode("utf-8", "surrogateescape")).digest()
    found: Caller | None = None
    for token in tokens:  # every one is compared, so that the time says nothing about which matched
        if hmac.compare_digest(token.digest, digest):
            found = token.caller
    if found is None:
        raise Unauthenticated("invalid x-api-key or Authorization header", should_retry=False)
    return found


def refuse_web_pages(headers: Mapping[str, str], *, open_to_all: bool, welcome: Container[str] = ()) -> None:
    """Raise Forbidden unless the request can only come from a program of this machine's user."""
    host = headers.get("host", "")
    if not open_to_all and not _is_own(host):
        raise Forbidden(
            "this proxy has no CCPROXY_AUTH_TOKENS and so answers only requests for a loopback host name; "
            "set tokens, or CCPROXY_OPEN=1 to serve everybody who can reach it"
        )
    origin = headers.get("origin")
    if origin and origin in welcome:
        return
    if origin and urlsplit(origin).netloc.lower() != host.lower():
        raise Forbidden("requests from web pages of another origin are refused; set CCPROXY_AUTH_TOKENS to allow them")
    site = headers.get("sec-fetch-site")
    if site and site.lower() not in _OWN_SITES:
        raise Forbidden("cross-site requests of web pages are refused; set CCPROXY_AUTH_TOKENS to allow them")


@lru_cache(256)
def _is_own(host: str) -> bool:
    """Whether a Host header names this machine."""
    return is_loopback(host_name(host))


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: the whole .localhost tree is loopback
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
