"""Which engine carries the requests.

Rule: whatever the engine, the rest of the house sees an :class:`EngineTransport` that has no limits of its own
(admission is the ProviderActor's) and verifies TLS.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import httpx

from ccproxy_sanic.upstream.engine import EngineTransport, Statistics
from ccproxy_sanic.upstream.h1 import H1Transport

Engine = Literal["h1", "httpx", "aiohttp"]


@functools.lru_cache(maxsize=8)
def tls_context(ca_file: str | None, http2: bool = False) -> ssl.SSLContext:
    """Verifies names and chains against httpx's roots (certifi, or SSL_CERT_FILE, SSL_CERT_DIR) and ``ca_file`` (PEM)
    besides.  Costs tens of ms, so it is built once.  Raises OSError for a file that can't be used.

    HTTP/2 has one of its own: httpcore offers it by changing the context, and h1 must not be taken at that word.
    """
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1", "h2"] if http2 else ["http/1.1"])
    return context


class _Options(NamedTuple):
    ca_file: str | None
    keepalive_s: float
    max_idle: int
    proxy: str | None
    http2: bool


def _h1(options: _Options) -> EngineTransport:
    tls = functools.partial(tls_context, options.ca_file)
    return H1Transport(tls, keepalive=options.keepalive_s, max_idle=options.max_idle)


def _httpx(options: _Options) -> EngineTransport:
    from ccproxy_sanic.upstream.stock import StockTransport  # httpcore takes 20 ms and 1 MB, and most never need it

    # Both None: a pool with a limit dies of cancelled requests, which keep their slots (httpcore#1093), and httpcore
    # counts busy connections too when it looks for idle ones to close; so that is StockTransport's.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=options.keepalive_s)
    proxy: httpx.Proxy | None = None
    if options.proxy is not None:
        proxy = httpx.Proxy(options.proxy)
        if proxy.url.scheme == "https":
            proxy = httpx.Proxy(options.proxy, ssl_context=tls_context(options.ca_file))
    verify = tls_context(options.ca_file, options.http2)
    return StockTransport(verify=verify, limits=limits, max_idle=options.max_idle, proxy=proxy, http2=options.http2)


def _aiohttp(options: _Options) -> EngineTransport:
    from ccproxy_sanic.upstream.with_aiohttp import AiohttpTransport

    return AiohttpTransport(tls_context(options.ca_file), keepalive=options.keepalive_s, max_idle=options.max_idle)


_BUILDERS: Final[dict[Engine, Callable[[_Options], EngineTransport]]] = {
    "h1": _h1,
    "httpx": _httpx,
    "aiohttp": _aiohttp,
}


def build(
    engine: Engine,
    *,
    ca_file: str | None = None,
    keepalive_s: float = 120.0,
    max_idle: int = 500,
    proxy: str | None = None,
    http2: bool = False,
) -> EngineTransport:
    """A fresh transport; its owner closes it with ``aclose``.

    ``ca_file`` adds a certificate authority; ``proxy`` is the URL of an HTTP proxy, which like ``http2`` needs the
    ``httpx`` engine (ValueError otherwise).  At most ``max_idle`` connections to one upstream are kept when they have
    nothing to do, and one that had nothing for ``keepalive_s`` is not used again; those that run are not limited here.
    Raises ImportError where the package of an engine, or that of HTTP/2, is not installed.
    """
    if engine != "httpx" and (proxy is not None or http2):
        raise ValueError(f"The {engine} engine speaks to no proxy and no HTTP/2; choose the httpx engine.")
    return _BUILDERS[engine](_Options(ca_file, keepalive_s, max_idle, proxy, http2))


class Transports:
    """The transports in use, each for all upstreams that are reached in the same way.

    One is made when it is first asked for, and stays until all are closed; arguments as for :func:`build`.
    """

    def __init__(self, ca_file: str | None, *, keepalive_s: float = 120.0, max_idle: int = 500) -> None:
        self._ca_file, self._keepalive_s, self._max_idle = ca_file, keepalive_s, max_idle
        self._made: dict[tuple[Engine, str | None, bool], EngineTransport] = {}

    def __repr__(self) -> str:
        return f"<Transports {list(self._made.values())}>"

    def get(self, engine: Engine, proxy: str | None = None, http2: bool = False) -> EngineTransport:
        """The transport of :func:`build` with these options.  Raises what that does."""
        way = engine, proxy, http2
        if (found := self._made.get(way)) is None:
            found = self._made[way] = build(
                engine,
                ca_file=self._ca_file,
                keepalive_s=self._keepalive_s,
                max_idle=self._max_idle,
                proxy=proxy,
                http2=http2,
            )
        return found

    @property
    def busy(self) -> int:
        """Connections in use."""
        return sum(transport.statistics().busy for transport in self._made.values())

    def statistics(self) -> dict[str, Statistics]:
        """By engine, whatever proxies are on its ways."""
        found: dict[str, Statistics] = {}
        for (engine, _, _), transport in self._made.items():
            own = transport.statistics()
            found[engine] = own if engine not in found else found[engine].plus(own)
        return found

    async def aclose(self) -> None:
        for transport in self._made.values():
            await transport.aclose()
