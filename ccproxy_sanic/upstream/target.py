"""Where an upstream is, and what every request to it carries.

Rule: URL and headers are made once, when the process starts; a request only adds its body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from ccproxy_sanic.context import HOP_HEADER
from ccproxy_sanic.upstream.exchange import Deadlines

USER_AGENT: Final = "ccproxy-sanic"


class Target:
    """One upstream: its name in logs and errors (never its address), its chat URL, headers and deadlines."""

    __slots__ = ("base_url", "deadlines", "headers", "name", "url")

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        authorization: str | None,
        hop: str,
        deadlines: Deadlines,
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.base_url, self.deadlines = name, base_url, deadlines
        self.url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        self.headers: list[tuple[bytes, bytes]] = [
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
            (b"accept-encoding", b"identity"),  # nobody here decompresses: a proxy wants bytes as they come
            (b"user-agent", USER_AGENT.encode()),
            (HOP_HEADER.encode(), hop.encode()),
        ]
        if authorization:
            self.headers.append((b"authorization", authorization.encode()))
        for header, value in (extra_headers or {}).items():
            self.headers.append((header.lower().encode(), value.encode()))

    def __repr__(self) -> str:
        return f"<Target {self.name}>"
