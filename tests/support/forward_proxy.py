"""A little HTTP proxy on a real socket, as companies have them between their people and the world.

Rule: it carries what it is asked to and remembers how it was asked; every name is this machine's, so that a test's
upstream may be called as it likes.

    async with ForwardProxy() as through:
        ... HTTPS_PROXY=through.url ...
        assert through.lines == [b"CONNECT upstream.test:443 HTTP/1.1"]
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.raw_server import RawRequest

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ForwardProxy:
    """``refuse`` is a status line's end (``b"407 Who are you"``) that every request gets instead; ``mute``: no answer
    at all; ``tls``: it is spoken to over TLS.  ``open`` counts the connections of its clients."""

    def __init__(self, *, refuse: bytes = b"", mute: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[RawRequest] = []
        self.port = 0
        self._refuse, self._mute, self._tls = refuse, mute, tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ForwardProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[bytes]:
        """The first line of every request, in order."""
        return [request.line for request in self.asked]

    @property
    def open(self) -> int:
        return len(self._tasks)

    async def until_closed(self, within: float = 5.0) -> None:
        """Wait until no client is connected."""
        async with asyncio.timeout(within):
            while self._tasks:
                await asyncio.sleep(0.005)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, EOFError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await self._request(reader)
        if self._mute:
            await reader.read()
        elif self._refuse:
            writer.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % self._refuse)
            await writer.drain()
        elif request.line.startswith(b"CONNECT "):
            port = int(request.line.split()[1].rpartition(b":")[2])
            back, onward = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ESTABLISHED)
            await _until_one_ends(_pour(reader, onward), _pour(back, writer), closing=onward)
        else:
            port = urlsplit(request.line.split()[1]).port or 80
            back, onward = await asyncio.open_connection("127.0.0.1", port)
            await _until_one_ends(self._forward(request, reader, onward), _pour(back, writer), closing=onward)

    async def _request(self, reader: asyncio.StreamReader) -> RawRequest:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        request = RawRequest(head, b"")
        body = await reader.readexactly(int(request.header(b"content-length") or 0))
        self.asked.append(RawRequest(head, body))
        return self.asked[-1]

    async def _forward(self, request: RawRequest, reader: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        """Requests in absolute form become requests in origin form, without what was for the proxy."""
        while True:
            method, target, version = request.line.split()
            parts = urlsplit(target)
            lines = [b"%b %b %b" % (method, parts.path + (b"?" + parts.query if parts.query else b""), version)]
            lines += [b"%b: %b" % field for field in request.headers if not field[0].startswith(b"proxy-")]
            onward.write(b"\r\n".join(lines) + b"\r\n\r\n" + request.body)
            await onward.drain()
            request = await self._request(reader)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _until_one_ends(*ways: Coroutine[Any, Any, None], closing: asyncio.StreamWriter) -> None:
    """Whichever side ends, the other is cut too."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing.transport.abort()
