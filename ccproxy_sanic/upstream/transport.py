"""Which engine carries the requests.

Rule: whatever the engine, the rest of the house sees an :class:`EngineTransport` that has no limits of its own
(admission is the ProviderActor's) and verifies TLS.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from typing import Final, Literal

import httpx

from ccproxy_sanic.upstream.engine import EngineTransport
from ccproxy_sanic.upstream.h1 import H1Transport
from ccproxy_sanic.upstream.stock import StockTransport

Engine = Literal["h1", "httpx"]


@functools.lru_cache(maxsize=8)
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifies names and chains against httpx's roots (certifi, or SSL_CERT_FILE, SSL_CERT_DIR) and ``ca_file`` (PEM)
    besides.  Costs tens of ms, so it is built once.  Raises OSError for a file that can't be used."""
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _h1(ca_file: str | None, keepalive_s: float, max_idle: int, proxy: str | None) -> EngineTransport:
    if proxy is not None:
        raise ValueError("The h1 engine speaks to no proxy; choose the httpx engine.")
    return H1Transport(functools.partial(tls_context, ca_file), keepalive=keepalive_s, max_idle=max_idle)


def _httpx(ca_file: str | None, keepalive_s: float, max_idle: int, proxy: str | None) -> EngineTransport:
    # Both None: a pool with a limit dies of cancelled requests, which keep their slots (httpcore#1093), and httpcore
    # counts busy connections too when it looks for idle ones to close; so max_idle can't be kept here.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=keepalive_s)
    return StockTransport(verify=tls_context(ca_file), limits=limits, proxy=proxy)


_BUILDERS: Final[dict[Engine, Callable[[str | None, float, int, str | None], EngineTransport]]] = {
    "h1": _h1,
    "httpx": _httpx,
}


def build(
    engine: Engine,
    *,
    ca_file: str | None = None,
    keepalive_s: float = 120.0,
    max_idle: int = 500,
    proxy: str | None = None,
) -> EngineTransport:
    """A fresh transport; its owner closes it with ``aclose``.

    ``ca_file`` adds a certificate authority; ``proxy`` is the URL of an HTTP proxy and needs the ``httpx`` engine
    (ValueError otherwise); ``max_idle`` is kept by ``h1`` only.
    """
    return _BUILDERS[engine](ca_file, keepalive_s, max_idle, proxy)
