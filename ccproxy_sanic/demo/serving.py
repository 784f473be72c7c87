"""The demo model's HTTP side: one coroutine per connection, h11 for the protocol.

Rule: every wait is also a watch on the client; one that leaves ends its exchange at once and is counted as aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

import h11
import msgspec

from ccproxy_sanic.demo.endpoints import BODY_LIMIT, ENDPOINTS, PREFIX, exchange
from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.pieces import CREATED
from ccproxy_sanic.demo.playing import Cut, Head, Pause, Step, reply
from ccproxy_sanic.demo.record import Record, record
from ccproxy_sanic.demo.render import refuse
from ccproxy_sanic.demo.request import ELSEWHERE, TOOLS_ELSEWHERE
from ccproxy_sanic.demo.scenarios import Memory

READ_SIZE: Final = 65536
MODELS: Final = ("demo-big", "demo-small", TOOLS_ELSEWHERE, ELSEWHERE)
LISTED, STATS, LAST, HEALTH = f"{PREFIX}/models", f"{PREFIX}/demo/stats", f"{PREFIX}/demo/last", "/health"
SIDE_DOORS: Final = {
    LISTED: "models with a meaning of their own; any other name is served too",
    STATS: "counters",
    LAST: "the last request: headers, query, digest of its body",
    HEALTH: "ok",
}
ENTRIES: Final = [{"id": name, "object": "model", "created": CREATED, "owned_by": "demo"} for name in MODELS]


class Stats(msgspec.Struct):
    """Counters since the start; ``open`` is what is under way now.  Only the APIs' own requests are counted.

    ``reasoning_returned``: reasoning items and thinking blocks that came back as the demo had given them.
    """

    open: int = 0
    served: int = 0
    aborted: int = 0
    reasoning_returned: int = 0


class Gone(Exception):
    """The client closed the connection."""


class DemoServer:
    """A running demo model.  ``base_url`` is what ``OPENAI_BASE_URL`` wants: it ends in /v1."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.stats = Stats()
        self.memory: Memory = {}
        self.last: Record | None = None
        self.host, self.port = "", 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    def __repr__(self) -> str:
        return f"<DemoServer {self.base_url} | open {self.stats.open}, connections {len(self._connections)}>"

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{PREFIX}"

    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._connected, host, port)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening, drop all connections, and wait until their coroutines have ended."""
        if self._server is None:
            return
        self._server.close()
        tasks = [task for task in self._connections.values() if task is not None]
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            task.set_name("demo-connection")
        self._connections[writer] = task
        try:
            with contextlib.suppress(Gone, ConnectionError, h11.RemoteProtocolError):
                await Connection(self, reader, writer).serve()
        finally:
            del self._connections[writer]
            writer.close()


class Connection:
    """One client connection, one exchange after the other."""

    def __init__(self, server: DemoServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        self._h11 = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        """Until either side closes.  Raises Gone, ConnectionError, h11.RemoteProtocolError."""
        while True:
            head = await self._event()
            if not isinstance(head, h11.Request):
                return
            body = await self._body()
            await self._exchange(head, body)
            if self._h11.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return
            self._h11.start_next_cycle()

    async def _exchange(self, head: h11.Request, body: bytes | None) -> None:
        server, stats = self._server, self._server.stats
        method, path = head.method.decode(), head.target.decode("latin-1").partition("?")[0]
        if path not in ENDPOINTS:
            await self._play(_side_door(path, method, server))
            return
        stats.open += 1
        complete = False
        try:
            server.last = record(head, body)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            steps, returned = exchange(path, method, headers, body, server.memory, server.pace)
            stats.reasoning_returned += returned
            await self._play(steps)
            complete = True
        finally:
            stats.open -= 1
            stats.served += complete
            stats.aborted += not complete

    async def _event(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(await self._reader.read(READ_SIZE))
        return event

    async def _body(self) -> bytes | None:
        """The request's body; None if it is over the limit (it is read all the same, to keep the connection)."""
        parts: list[bytes] = []
        size = 0
        while isinstance(event := await self._event(), h11.Data):
            size += len(event.data)
            if size <= BODY_LIMIT:
                parts.append(bytes(event.data))
        return b"".join(parts) if size <= BODY_LIMIT else None

    async def _play(self, script: Iterable[Step]) -> None:
        for step in script:
            match step:
                case Pause(seconds):
                    await self._wait(seconds)
                case Cut():
                    # FIN without the promised rest (Content-Length or last chunk): what a crashed server looks like.
                    self._writer.close()
                    return
                case Head(status, headers, length):
                    framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
                    fields = [*headers.items(), ("server", "ccproxy-demo"), framing]
                    await self._write(h11.Response(status_code=status, headers=fields))
                case bytes():
                    await self._write(h11.Data(data=step))
                    # Equal streams take turns: without this one with no pace would write all it has in one go.
                    await asyncio.sleep(0)
        await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        if self._writer.is_closing() or self._reader.at_eof():
            raise Gone
        if data := self._h11.send(event):
            self._writer.write(data)
            await self._writer.drain()

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the client leaves first.  What it sends meanwhile is the next request: kept for later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(READ_SIZE):
                    self._h11.receive_data(data)
                raise Gone


def _side_door(path: str, method: str, server: DemoServer) -> list[Step]:
    """Everything but the APIs: models, health, counters; 404 and 405 in OpenAI's shape."""
    answers: dict[str, object] = {
        LISTED: {"object": "list", "data": ENTRIES},
        HEALTH: {"status": "ok"},
        STATS: server.stats,
        LAST: server.last,
    }
    if path not in answers:
        return refuse(Fault(404, f"Invalid URL ({method} {path})"))
    if method != "GET":
        return refuse(Fault(405, f"Not allowed to {method} on {path}.", headers={"allow": "GET"}))
    return reply(200, msgspec.json.encode(answers[path]))


async def start(host: str = "127.0.0.1", port: int = 0, *, pace: float = 0.0) -> DemoServer:
    """Serve on ``host:port`` (0: any free one) until :meth:`DemoServer.close`.

    ``pace`` is the time between two pieces of an answer in seconds.  Raises OSError if the address is taken.
    """
    server = DemoServer(pace)
    await server.listen(host, port)
    return server
