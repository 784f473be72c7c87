"""Where an upstream is, and what every request to it carries.

Rule: what requests say before their bodies is made once, when it is first needed; a request only adds its body, and
where it is passed through, its client's headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import httpx

from ccproxy_sanic.context import HOP_HEADER
from ccproxy_sanic.upstream.engine import Deadlines, EngineTransport
from ccproxy_sanic.upstream.head import Head, Headers

Api = Literal["chat", "responses", "messages"]

USER_AGENT: Final = "ccproxy-sanic"
PATHS: Final[dict[Api, str]] = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}
_VERSIONED: Final = "/v1"  # what a base URL of the Messages API may or may not end in
_QUERIES: Final = ("", "beta=true")  # of which the heads are kept: any other is a client's own


class Target:
    """One upstream: its name in logs and errors (never its address), what carries its requests, URLs, headers and
    deadlines.

    ``api`` and ``profile`` are what the user forces, None where the profile decides; of several ``keys`` one goes with
    a request, an upstream without any gets none.  ``place`` tells apart what may answer differently: another address,
    or other headers; not to be shown.
    """

    __slots__ = ("_fixed", "_heads", "api", "base_url", "deadlines", "keys", "name", "place", "profile", "transport")

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        transport: EngineTransport,
        keys: tuple[str, ...] = (),
        hop: str,
        deadlines: Deadlines,
        extra_headers: Mapping[str, str] | None = None,
        profile: str | None = None,
        api: Api | None = None,
    ) -> None:
        self.name, self.base_url, self.deadlines, self.keys = name, base_url.rstrip("/"), deadlines, keys
        self.transport, self.profile, self.api = transport, profile, api
        self._heads: dict[tuple[Api, int, str, str, str, str], Head] = {}
        self._fixed: Headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),  # nobody here decompresses: a proxy wants bytes as they come
            (HOP_HEADER.encode(), hop.encode()),
        ]
        said = {header.lower(): value for header, value in (extra_headers or {}).items()}
        self._fixed += [(header.encode(), value.encode()) for header, value in said.items()]
        self.place = f"{self.base_url} {sorted(said.items())}" if said else self.base_url

    def __repr__(self) -> str:
        return f"<Target {self.name}>"

    def head(
        self,
        api: Api,
        key: int = 0,
        messages_key: Literal["bearer", "x-api-key"] = "bearer",
        messages_path: str = "",
        suffix: str = "",
        query: str = "",
    ) -> Head:
        """What a request of ``api`` with the ``key``-th key says; ``messages_path`` is that API's own path at this
        host, if it has one.

        Heads of the Messages API go beside the client's own headers, which say what it accepts and who it is.
        """
        known = (api, key, messages_key, messages_path, suffix, query)
        if (found := self._heads.get(known)) is not None:
            return found
        head = Head("POST", self._url(api, messages_path, suffix, query), self._headers(api, key, messages_key))
        if query in _QUERIES:
            self._heads[known] = head
        return head

    def _url(self, api: Api, messages_path: str, suffix: str, query: str) -> httpx.URL:
        base = httpx.URL(self.base_url)
        if api != "messages":
            path = base.path.rstrip("/") + PATHS[api]
        elif messages_path:
            path = messages_path
        else:
            path = base.path.rstrip("/").removesuffix(_VERSIONED) + _VERSIONED + PATHS[api]
        return base.copy_with(path=path + suffix, query=query.encode() or None)

    def _headers(self, api: Api, key: int, messages_key: str) -> Headers:
        found = list(self._fixed)
        if api != "messages":
            found += [
                (b"accept", b"application/json, text/event-stream"),
                (b"user-agent", USER_AGENT.encode()),
            ]
        if self.keys:
            # A reload may have given the endpoint more keys than this target, of a request from before it, knows.
            secret = self.keys[key % len(self.keys)].encode()
            bare = api == "messages" and messages_key == "x-api-key"
            found.append((b"x-api-key", secret) if bare else (b"authorization", b"Bearer " + secret))
        return found
