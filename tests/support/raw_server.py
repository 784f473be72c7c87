"""An HTTP server that misbehaves on purpose: each connection is played by a script that says when which byte goes out.

Rule: a script sees bytes and a socket, nothing is repaired for it.  Where :mod:`tests.support.upstream` answers
requests, this one decides about the connection itself: where a write ends, when it is reset, who closes first.

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\\r\\ncontent-le")
        wire.reset()

    async with RawServer(script) as server:
        ... talk to server.port ...

A script that raises (other than because its peer has gone) fails the test at the end of the ``async with``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType


class PeerGone(Exception):
    """The client has closed: for most scripts simply the end."""


@dataclass(frozen=True)
class RawRequest:
    """``head`` without its final empty line, as it came; ``headers`` with lower-case names."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        pairs = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)


class Wire:
    """One accepted connection.  ``index`` counts from 0 in the order of accepting."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.index = len(server.wires)
        self.requests: list[RawRequest] = []
        self.ended = asyncio.Event()  # the script is over and the socket closed
        self._server, self._reader, self._writer = server, reader, writer

    async def request(self) -> RawRequest:
        """The next request, read to its end (content-length only).  Raises PeerGone."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n"))[:-4]
            request = RawRequest(head, b"")
            body = await self._reader.readexactly(int(request.header(b"content-length") or 0))
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise PeerGone from exc
        request = RawRequest(head, body)
        self.requests.append(request)
        self._server.requests.append(request)
        return request

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a write of its own, given time to be read as one."""
        for piece in pieces:
            if self._writer.is_closing():
                raise PeerGone
            self._writer.write(piece)
            try:
                await self._writer.drain()
            except ConnectionError as exc:
                raise PeerGone from exc
            for _ in range(4):  # out of our loop's buffer, and into the reader's turn
                await asyncio.sleep(0)

    async def gone(self) -> None:
        """Returns when the client has closed its side or reset the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    def unsent(self) -> int:
        """Bytes that the client has not taken and that don't fit into the sockets' buffers."""
        transport = self._writer.transport
        return transport.get_write_buffer_size()

    def half_close(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Wire], Awaitable[None]]


class RawServer:
    """Listens on a port of its own; a connection is closed when its script returns.

    ``scripts``: the n-th connection gets the n-th, later ones the last.  ``buffer`` limits the kernel's send buffer,
    so that back-pressure is felt early.
    """

    def __init__(
        self,
        *scripts: Script,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        buffer: int | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.wires: list[Wire] = []
        self.requests: list[RawRequest] = []
        self._scripts: Sequence[Script] = scripts
        self._tls, self._buffer = tls, buffer
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._tls, backlog=512)
        if self._buffer is not None:
            for sock in self._server.sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
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
        if fault is None and self._faults:
            raise self._faults[0]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(self, reader, writer)
        self.wires.append(wire)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._scripts[min(wire.index, len(self._scripts) - 1)](wire)
        except PeerGone:
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        except Exception as exc:
            self._faults.append(exc)
        finally:
            wire.close()
            wire.ended.set()
            self._tasks.discard(task)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def answer(body: bytes = b"", *extra: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    """A whole answer framed by its length (a wrong one, if ``length`` says so); ``extra`` are header lines."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % (len(body) if length is None else length), *extra]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CLOSED_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def saying(*pieces: bytes) -> Script:
    """Answers every request with these pieces, each in its own write, and keeps the connection."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(*pieces)

    return script


def saying_once(*pieces: bytes) -> Script:
    """Answers one request and closes."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces)

    return script


async def silent(wire: Wire) -> None:
    """Takes a request and never answers."""
    await wire.request()
    await wire.gone()
