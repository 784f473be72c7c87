"""Sanic's request, as handlers get it.

Rule: it is made of a head that is beyond doubt, read just now or before; a handler can't tell which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sanic import Request
from sanic.exceptions import BadURL

from ccproxy_sanic.context import Asker
from ccproxy_sanic.front.checks import check_head
from ccproxy_sanic.front.heads import KnownHead, cut

OF_HEAD: Final = frozenset({"method", "raw_url", "route", "version"})
OF_CONNECTION: Final = frozenset({"conn_info", "transport"})


class StrictRequest(Request):
    """``asker`` is what its head says of who asks."""

    __slots__ = ("asker",)

    asker: Asker

    def __init__(
        self,
        url_bytes: bytes,
        headers: Any,
        version: str,
        method: str,
        transport: Any,
        app: Any,
        head: bytes = b"",
        stream_id: int = 0,
    ) -> None:
        try:
            if head:  # Sanic makes an empty request of its own to report a bad one
                check_head(head, method, version, headers)
            super().__init__(url_bytes, headers, version, method, transport, app, head, stream_id)
            if self._parsed_url.path is None:  # "http://host"
                raise BadURL(f"Bad URL: {url_bytes.decode()}")
        except BadURL:
            if head:
                raise
            # that empty one: raised again, it would leave the client without an answer
            super().__init__(b"*", headers, version, method, transport, app, head, stream_id)
        self.asker = Asker(headers, self.path, self.query_string)

    async def receive_body(self) -> None:
        """Read :attr:`body`, if there is one."""
        await super().receive_body()  # type: ignore[no-untyped-call]
        stream: Any = self.stream
        stream.protocol.listen()


class NamedHostRequest(StrictRequest):
    """For a proxy that answers under some names only: a class of its own, so that all others pay nothing for it."""

    __slots__ = ()

    def __init__(
        self,
        url_bytes: bytes,
        headers: Any,
        version: str,
        method: str,
        transport: Any,
        app: Any,
        head: bytes = b"",
        stream_id: int = 0,
    ) -> None:
        if head:
            app.ctx.guards.check_host(headers.getone("host", ""))
        super().__init__(url_bytes, headers, version, method, transport, app, head, stream_id)


class KnownRequest(StrictRequest):
    """One with a head that was let in before (a fifth of the time that a new one takes).

    Rule: whatever it does not set is looked up when somebody asks for it: in its head, its connection, or a fresh
    request of Sanic's, made then.  Its headers are those of all requests with this head, so nobody may change
    them, and they lack ``content-length``.
    """

    __slots__ = ("known",)

    known: KnownHead

    def __init__(self, known: KnownHead, head: bytes, http: Any, body: bytes) -> None:
        self.known, self.head, self.stream, self.body = known, head, http, body
        self.asker, self.headers, self._parsed_url = known.asker, known.headers, known.parsed_url
        self.app = http.protocol.app

    def __getattr__(self, name: str) -> Any:
        if name in OF_HEAD:
            value = getattr(self.known, name)
        elif name in OF_CONNECTION:
            value = getattr(self.stream.protocol, name)  # type: ignore[union-attr]
        else:
            fresh = Request(self.raw_url, self.headers, self.version, self.method, self.transport, self.app, self.head)
            value = getattr(fresh, name)
        setattr(self, name, value)
        return value


def sent_headers(request: Request) -> Iterable[tuple[str, str]]:
    """All headers as they came, in lower case."""
    headers = request.headers.items()
    parts = cut(request.head) if type(request) is KnownRequest else None
    return headers if parts is None else [*headers, ("content-length", parts[1].decode())]
