"""Two proxies that differ in one thing: the second one remembers no head, so it reads each request Sanic's way.

Rule: what one answers, byte for byte, the other answers too; only ids and times are their own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Final, cast
from unittest.mock import patch

from ccproxy_sanic import server
from ccproxy_sanic.front.heads import Heads, KnownHead
from ccproxy_sanic.front.requests import KnownRequest
from tests.support.proxy import HELLO, Proxy, serving

BODY: Final = json.dumps(HELLO).encode()
LAST: Final = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_OWN: Final = re.compile(
    rb"(?<=req_)[0-9a-f]+|(?<=msg_)\w+|(?<=dur=)[0-9.]+|(?<=x-response-time-ms: )[0-9.]+"
    rb'|(?<="timestamp":")[^"]+'
)


def post(
    body: bytes = BODY,
    *lines: bytes,
    path: bytes = b"/v1/messages",
    method: bytes = b"POST",
    version: bytes = b"1.1",
    length: bytes | None = None,
) -> bytes:
    """A request; ``length`` is the whole header line that says the body's."""
    told = b"Content-Length: %d" % len(body) if length is None else length
    first = b"%b %b HTTP/%b" % (method, path, version)
    return b"\r\n".join([first, b"Host: localhost", *lines, told]) + b"\r\n\r\n" + body


class Talk(asyncio.Protocol):
    """A client's connection: ``answer`` is all that came, also where the proxy closes without having read all."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.answer = bytearray()
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)

    async def say(self, *pieces: bytes) -> None:
        """Each piece is read before the next one is sent; what follows when the proxy has closed is nobody's."""
        for piece in pieces:
            if self.transport.is_closing():
                return
            self.transport.write(piece)
            for _ in range(4):  # into the socket, and into the server's turn
                await asyncio.sleep(0)

    async def until(self, *, answers: int) -> None:
        """Wait for so many answers."""
        async with asyncio.timeout(10):
            while len(statuses(bytes(self.answer))) < answers:
                await asyncio.sleep(0.002)

    async def end(self) -> bytes:
        """The whole answer, when the proxy has closed."""
        async with asyncio.timeout(10):
            await self.closed
        return bytes(self.answer)

    async def leave(self) -> None:
        self.transport.abort()
        await self.closed


async def connect(proxy: Proxy) -> Talk:
    _, talk = await asyncio.get_running_loop().create_connection(Talk, "127.0.0.1", proxy.port)
    return talk


async def say(proxy: Proxy, *pieces: bytes, after: Sequence[bytes] = ()) -> bytes:
    """All that the proxy answers until it closes; each of the requests ``after`` which the rest is said is answered
    before the next one is sent."""
    talk = await connect(proxy)
    try:
        for number, request in enumerate(after, 1):
            await talk.say(request)
            await talk.until(answers=number)
        await talk.say(*pieces)
        return await talk.end()
    finally:
        await talk.leave()


def settled(answer: bytes) -> bytes:
    """An answer without what is each answer's own."""
    return _OWN.sub(b"?", answer)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


class Counting(Heads):
    """``hits`` counts the requests whose heads were known."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.hits = 0

    def forget(self) -> None:
        self._known.clear()
        self.hits = 0


class Forgetful(Heads):
    """Knows none."""

    def note(self, http: Any) -> None:
        pass


class Twins:
    def __init__(self, knowing: Proxy, heads: Counting, forgetful: Proxy) -> None:
        self.knowing, self.heads, self.forgetful = knowing, heads, forgetful

    async def ask(self, *pieces: bytes, after: Sequence[bytes] = ()) -> bytes:
        """What both answer."""
        answers = [settled(await say(proxy, *pieces, after=after)) for proxy in (self.knowing, self.forgetful)]
        assert answers[0] == answers[1]
        return answers[0]


def cut(data: bytes, *at: int) -> Sequence[bytes]:
    """``data`` in pieces."""
    ends = sorted({0, *at, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@asynccontextmanager
async def counting(base_url: str | None = None, **environ: str) -> AsyncIterator[tuple[Proxy, Counting]]:
    """A proxy, and what it knows."""
    made: list[Counting] = []

    def make(app: Any) -> Counting:
        made.append(Counting(app))
        return made[0]

    begin = KnownRequest.__init__

    def counted(request: KnownRequest, known: KnownHead, head: bytes, http: Any, body: bytes) -> None:
        begin(request, known, head, http, body)
        heads = request.app.ctx.heads
        if isinstance(heads, Counting):
            heads.hits += 1

    with patch.object(server, "Heads", make), patch.object(KnownRequest, "__init__", counted):
        async with serving(base_url, **environ) as proxy:
            yield proxy, made[0]


@asynccontextmanager
async def twins(base_url: str | None = None, **environ: str) -> AsyncIterator[Twins]:
    async with counting(base_url, **environ) as (knowing, heads):
        with patch.object(server, "Heads", Forgetful):
            async with serving(base_url, **environ) as forgetful:
                yield Twins(knowing, heads, forgetful)
