"""How each upstream is reached: with which engine, over which HTTP, through which proxy.

Rule: the upstream's scheme picks the proxy, NO_PROXY takes it away again, as for curl and httpx; what a proxy's URL
holds besides its address is shown nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from ccproxy_sanic.masking import Secret
from ccproxy_sanic.settings_upstream import is_loopback

Engine = Literal["h1", "httpx", "aiohttp"]

# the variables that the constructor of Network takes, in its order
NETWORK: Final = ("CCPROXY_ENGINE", "CCPROXY_HTTP2", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_SPOKEN: Final = frozenset({"http", "https"})
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
# (variable, its value) -> what must be there, and the extra that brings it
_EXTRAS: Final[Mapping[tuple[str, object], tuple[str, str]]] = {
    ("CCPROXY_ENGINE", "aiohttp"): ("httpx_aiohttp", "aiohttp"),
    ("CCPROXY_HTTP2", True): ("h2", "http2"),
}


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy.  ``address`` is its host and port, ``url`` all that was given; it prints without credentials."""

    scheme: str
    address: str
    host: str
    url: Secret
    credential: Secret | None  # the password; without one the user's name, which then is a token

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


class _Exempt(NamedTuple):
    """One entry of NO_PROXY: a name with all that ends in it, or the addresses of a network; None is any port."""

    name: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    def covers(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is None:
            return host == self.name or host.endswith(f".{self.name}")
        try:
            return ip_address(host) in self.network
        except ValueError:
            return False


class NoProxy(msgspec.Struct, frozen=True):
    """The hosts that no proxy leads to; ``everything`` is ``*``."""

    text: str
    entries: tuple[_Exempt, ...]
    everything: bool

    def __str__(self) -> str:
        return self.text

    def covers(self, host: str, port: int) -> bool:
        return self.everything or any(entry.covers(host, port) for entry in self.entries)


class Reach(NamedTuple):
    """How one upstream is reached.  ``variable`` is what named the proxy."""

    engine: Engine
    http2: bool = False
    proxy: Proxy | None = None
    variable: str = ""

    def __str__(self) -> str:
        ways = [f"through the proxy {self.proxy}"] if self.proxy is not None else []
        ways += ["over HTTP/2 where it has that"] if self.http2 else []
        return f"{' and '.join(ways)} with the {self.engine} engine".lstrip()


class Network(NamedTuple):
    """What the settings say of all upstreams.  Its fields are :data:`NETWORK`."""

    engine: Engine
    http2: bool
    http_proxy: Proxy | None
    https_proxy: Proxy | None
    all_proxy: Proxy | None
    no_proxy: NoProxy | None

    @property
    def plain(self) -> Reach:
        """How an upstream is reached for which nothing special holds."""
        return Reach(self.engine)

    def reach(self, base_url: str) -> Reach:
        """How the upstream at ``base_url`` is reached.

        This machine is reached through a proxy only if that is here too: any other would reach itself.
        """
        parts = urlsplit(base_url)
        host = (parts.hostname or "").rstrip(".")
        secure = parts.scheme == "https"
        named = ("HTTPS_PROXY", self.https_proxy) if secure else ("HTTP_PROXY", self.http_proxy)
        variable, proxy = named if named[1] is not None else ("ALL_PROXY", self.all_proxy)
        http2 = self.http2 and secure
        direct = (
            proxy is None
            or (is_loopback(host) and not is_loopback(proxy.host))
            or (self.no_proxy is not None and self.no_proxy.covers(host, parts.port or _PORTS.get(parts.scheme, 0)))
        )
        if direct:
            return Reach("httpx", http2=True) if http2 else self.plain
        return Reach("httpx", http2, proxy, variable)

    def remarks(self, base_urls: Mapping[str, str]) -> list[str]:
        """One line for each upstream (name -> base URL) that is not reached plainly."""
        found = {name: self.reach(url) for name, url in base_urls.items()}
        return [f"upstream {name} is reached {reach}" for name, reach in found.items() if reach != self.plain]

    def faults(self, base_urls: Mapping[str, str]) -> list[tuple[str, str]]:
        """What of it can't be had: (variable, reason) pairs."""
        found = []
        for variable, value in zip(NETWORK, self, strict=True):
            package, extra = _EXTRAS.get((variable, value), ("", ""))
            if package and find_spec(package) is None:
                named = package.replace("_", "-")
                found.append((variable, f"needs {named}, which is missing: pip install 'ccproxy-sanic[{extra}]'"))
        for name, url in base_urls.items():
            reach = self.reach(url)
            if reach.proxy is not None and reach.proxy.scheme not in _SPOKEN:
                found.append(
                    (
                        reach.variable,
                        f"upstream {name} would be reached through {reach.proxy}, but only http:// and https:// "
                        "proxies are spoken to: name one of those, or the upstream's host in NO_PROXY",
                    )
                )
        return found


def proxy(text: str) -> Proxy:
    """A proxy's URL; without a scheme it is one of HTTP.  Raises ValueError."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise ValueError("is no address of a proxy, as in http://host:port") from None
    host = parts.hostname
    if not host or not text.isascii() or not text.isprintable() or " " in text or parts.path not in ("", "/"):
        raise ValueError("is no address of a proxy, as in http://host:port")
    address = f"[{host}]" if ":" in host else host
    if port is not None:
        address += f":{port}"
    credential = parts.password or parts.username
    return Proxy(
        scheme=parts.scheme,
        address=address,
        host=host,
        url=Secret(parts.geturl()),
        credential=Secret(unquote(credential)) if credential else None,
    )


def no_proxy(text: str) -> NoProxy:
    """Names, addresses and networks (CIDR), each with or without a port, with commas or spaces between.

    A name stands for all that ends in it, with or without a dot (or ``*.``) before it; ``*`` for everything.
    """
    words = [word for word in re.split(r"[\s,]+", text.lower()) if word]
    return NoProxy(text, tuple(_exempt(word) for word in words if word != "*"), "*" in words)


def _exempt(word: str) -> _Exempt:
    host, port = word.rpartition("://")[2], None
    if found := _WITH_PORT.fullmatch(host):  # an IPv6 address without brackets is all host
        host, port = found[1] or found[2], int(found[3]) if found[3] else None
    try:
        return _Exempt("", ip_network(host, strict=False), port)
    except ValueError:
        return _Exempt(host.removeprefix("*").strip("."), None, port)
