"""A scripted upstream on a real socket: says exactly the bytes it is told to, and remembers what it heard.

Rule: it knows HTTP framing only to find the end of a request; an answer is whatever the script says, right or wrong.

    async with ScriptedUpstream([sse(chunk("Hel"), 0.05, chunk("lo"), DONE)]) as upstream:
        ... talk to upstream.base_url ...
        assert upstream.requests[0].json()["stream"] is True
        await upstream.until(open=0)

A reply is a list of steps: ``bytes`` (written as they are), ``float`` (seconds of silence), ``asyncio.Event`` (silence
until it is set), ``CUT`` (FIN) or ``RESET`` (RST).  The n-th request gets the n-th reply, later ones the last; a
function instead of a list gets the request and returns the steps.

A GET is a look at who it is, and apart from all that: it gets ``about``, is found in ``looks`` and is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any

import h11
import msgspec


class End(Enum):
    CUT = "fin"
    RESET = "rst"


CUT, RESET = End.CUT, End.RESET
Step = bytes | float | asyncio.Event | End
Reply = Sequence[Step]


@dataclass(frozen=True)
class Received:
    """A request as it came; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int  # the how-manieth connection it came on, from 0

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def head(status: int = 200, length: int | None = None, /, **headers: str) -> bytes:
    """Status line and headers (``content_type="text/plain"``); chunked unless ``length`` is given."""
    lines = [f"HTTP/1.1 {status} X"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    """One SSE event: bytes as they are, everything else as JSON."""
    return b"data: " + (data if isinstance(data, bytes) else msgspec.json.encode(data)) + b"\n\n"


def delta(finish: str | None = None, usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A ``chat.completion.chunk``: ``delta(content="Hi")``, ``delta("stop", usage={...})``."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return chunk | {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}], "usage": usage}


DONE = b"[DONE]"
LAST_CHUNK = b"0\r\n\r\n"


def sse(*parts: dict[str, Any] | Step, status: int = 200, **headers: str) -> list[Step]:
    """A well-formed event stream: dicts and DONE become events; pauses, events to wait for and CUT pass through."""
    steps: list[Step] = [head(status, None, content_type="text/event-stream", **headers)]
    for part in parts:
        if isinstance(part, dict | bytes):
            steps.append(chunked(event(part)))
        else:
            steps.append(part)
    return steps if isinstance(parts[-1] if parts else None, End) else [*steps, LAST_CHUNK]


def reply_json(body: Any, status: int = 200, **headers: str) -> list[Step]:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return [head(status, len(data), content_type="application/json", **headers) + data]


def text_stream(*pieces: str, finish: str = "stop") -> list[Step]:
    """A whole answer in the usual form: role, pieces, finish, usage, [DONE]."""
    usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
    return sse(
        delta(role="assistant", content=""),
        *(delta(content=piece) for piece in pieces),
        delta(finish),
        delta(usage=usage) | {"choices": []},
        DONE,
    )


NOBODY: Reply = reply_json({"error": {"message": "not found"}}, 404)


class ScriptedUpstream:
    """``open`` counts exchanges whose reply is not finished; ``aborted`` those whose client left before the end."""

    def __init__(
        self,
        script: Sequence[Reply] | Callable[[Received], Reply] = (),
        about: Callable[[Received], Reply] = lambda received: NOBODY,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.script = script if callable(script) else list(script)
        self.about = about
        self.tls = tls
        self.requests: list[Received] = []
        self.looks: list[Received] = []
        self.connections = self.open = self.aborted = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"

    @property
    def connected(self) -> int:
        """Client connections that are open now, busy or idle."""
        return len(self._tasks)

    async def __aenter__(self) -> ScriptedUpstream:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for task in self._tasks.values() if task is not None]
        for writer in list(self._tasks):
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def until(self, within: float = 5.0, **expected: int) -> None:
        """Wait until the named counters have these values: ``await upstream.until(open=0, aborted=1)``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while any(getattr(self, name) != value for name, value in expected.items()):
                    await asyncio.sleep(0.005)
        assert {name: getattr(self, name) for name in expected} == expected

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks[writer] = asyncio.current_task()
        number, self.connections = self.connections, self.connections + 1
        left = b""
        try:
            with contextlib.suppress(ConnectionError, EOFError):
                while True:
                    received, left = await _receive(reader, writer, left, number)
                    (self.looks if received.method == "GET" else self.requests).append(received)
                    left += await self._answer(received, reader, writer)
        finally:
            del self._tasks[writer]
            writer.close()

    async def _answer(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Plays the reply; returns what the client sent meanwhile.  Raises EOFError when the connection is over."""
        counts = received.method != "GET"
        if not counts:
            reply = self.about(received)
        elif callable(self.script):
            reply = self.script(received)
        else:
            assert self.script, "the upstream was asked, but has no script"
            reply = self.script[min(len(self.requests), len(self.script)) - 1]
        self.open += counts
        left, finished = b"", False
        try:
            for step in reply:
                if isinstance(step, bytes):
                    if writer.is_closing() or reader.at_eof():
                        raise EOFError
                    writer.write(step)
                    await writer.drain()
                elif isinstance(step, End):
                    finished = True
                    _end(writer, step)
                    raise EOFError
                else:
                    left += await _silence(reader, step)
            finished = True
            return left
        finally:
            self.open -= counts
            self.aborted += counts and not finished


async def _silence(reader: asyncio.StreamReader, until: float | asyncio.Event) -> bytes:
    """Say nothing, but notice a client that leaves (EOFError)."""
    left = b""
    reading = asyncio.ensure_future(reader.read(65536))
    waiting = asyncio.ensure_future(until.wait() if isinstance(until, asyncio.Event) else asyncio.sleep(until))
    try:
        while not waiting.done():
            await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                if not (data := reading.result()):
                    raise EOFError
                left += data
                reading = asyncio.ensure_future(reader.read(65536))
    finally:
        for task in (reading, waiting):
            task.cancel()
        await asyncio.wait((reading, waiting))
    return left


def _end(writer: asyncio.StreamWriter, how: End) -> None:
    if how is RESET:
        linger = struct.pack("ii", 1, 0)  # close() sends RST and drops what is still unsent
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()


async def _receive(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: bytes, number: int
) -> tuple[Received, bytes]:
    """The next request and the bytes behind it.  Raises EOFError when the client closes."""
    protocol = h11.Connection(h11.SERVER)
    if left:
        protocol.receive_data(left)
    request: h11.Request | None = None
    parts: list[bytes] = []
    while not isinstance(said := protocol.next_event(), h11.EndOfMessage):
        if isinstance(said, h11.Request):
            request = said
        elif isinstance(said, h11.Data):
            parts.append(bytes(said.data))
        elif said is h11.NEED_DATA:
            if protocol.they_are_waiting_for_100_continue:
                writer.write(protocol.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            if not (data := await reader.read(65536)):
                raise EOFError
            protocol.receive_data(data)
        else:
            raise EOFError
    assert request is not None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    method, target = request.method.decode(), request.target.decode("latin-1")
    return Received(method, target, headers, b"".join(parts), number), protocol.trailing_data[0]
