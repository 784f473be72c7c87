"""Where an upstream is, and what every request to it carries.

Rule: URLs and headers are made once, when they are first needed; a request only adds its body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import httpx

from ccproxy_sanic.context import HOP_HEADER
from ccproxy_sanic.upstream.exchange import Deadlines

Api = Literal["chat", "responses", "messages"]
Headers = list[tuple[bytes, bytes]]

USER_AGENT: Final = "ccproxy-sanic"
PATHS: Final[dict[Api, str]] = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}
_VERSIONED: Final = "/v1"  # what a base URL of the Messages API may or may not end in
_QUERIES: Final = ("", "beta=true")  # of which the URLs are kept: any other is a client's own


class Target:
    """One upstream: its name in logs and errors (never its address), URLs, headers and deadlines.

    ``api`` and ``profile`` are what the user forces, None where the profile decides; of several ``keys`` one goes with
    a request, an upstream without any gets none.
    """

    __slots__ = ("_fixed", "_headers", "_urls", "api", "base_url", "deadlines", "keys", "name", "profile")

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        keys: tuple[str, ...] = (),
        hop: str,
        deadlines: Deadlines,
        extra_headers: Mapping[str, str] | None = None,
        profile: str | None = None,
        api: Api | None = None,
    ) -> None:
        self.name, self.base_url, self.deadlines, self.keys = name, base_url.rstrip("/"), deadlines, keys
        self.profile, self.api = profile, api
        self._urls: dict[tuple[Api, str, str, str], httpx.URL] = {}
        self._headers: dict[tuple[bool, int, str], Headers] = {}
        self._fixed: Headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),  # nobody here decompresses: a proxy wants bytes as they come
            (HOP_HEADER.encode(), hop.encode()),
        ]
        self._fixed += [(header.lower().encode(), value.encode()) for header, value in (extra_headers or {}).items()]

    def __repr__(self) -> str:
        return f"<Target {self.name}>"

    def url(self, api: Api, messages_path: str = "", suffix: str = "", query: str = "") -> httpx.URL:
        """Where requests of ``api`` go; ``messages_path`` is that API's own path at this host, if it has one."""
        key = (api, messages_path, suffix, query)
        if (found := self._urls.get(key)) is not None:
            return found
        base = httpx.URL(self.base_url)
        if api != "messages":
            path = base.path.rstrip("/") + PATHS[api]
        elif messages_path:
            path = messages_path
        else:
            path = base.path.rstrip("/").removesuffix(_VERSIONED) + _VERSIONED + PATHS[api]
        url = base.copy_with(path=path + suffix, query=query.encode() or None)
        if query in _QUERIES:
            self._urls[key] = url
        return url

    def headers(self, api: Api, key: int = 0, messages_key: Literal["bearer", "x-api-key"] = "bearer") -> Headers:
        """The headers of a request with the ``key``-th key; to be read, not changed.

        Those of the Messages API go beside the client's own, which say what it accepts and who it is.
        """
        through = api == "messages"
        kind = messages_key if through else "bearer"
        found = self._headers.get((through, key, kind))
        if found is None:
            found = list(self._fixed)
            if not through:
                found += [
                    (b"accept", b"application/json, text/event-stream"),
                    (b"user-agent", USER_AGENT.encode()),
                ]
            if self.keys:
                secret = self.keys[key].encode()
                bearer = (b"authorization", b"Bearer " + secret)
                found.append(bearer if kind == "bearer" else (b"x-api-key", secret))
            self._headers[through, key, kind] = found
        return found
