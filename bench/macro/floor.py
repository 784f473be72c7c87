"""The floor that the proxy is measured against: a bare Sanic handler, the project's own engine, a minimal translation.

    python -m bench.macro.floor --port 9000 --upstream 9001 [--relay]

Rule: nothing that is not needed to answer an ordinary request correctly: no actors, no limits, no logs, no deadlines,
no error handling; and nothing that would make it slower than plain Python on Sanic has to be.  ``--relay`` passes the
bytes of a Messages upstream through.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, Final

from sanic import HTTPResponse, Request, Sanic

from bench.macro.floor_stream import Translator
from bench.macro.floor_wire import decode_request, to_chat, to_message
from ccproxy_sanic.upstream.h1_answer import Answer
from ccproxy_sanic.upstream.h1_connection import NO_DEADLINES, Connection

MODEL: Final = "bench-model"
JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
STREAM_HEADERS: Final = {"cache-control": "no-cache"}


class Pool:
    """Idle connections to one address, the last used first."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._idle: dict[Connection, None] = {}
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
            "accept: application/json, text/event-stream\r\naccept-encoding: identity\r\nauthorization: Bearer x\r\n"
        ).encode() + b"content-length: %d\r\n\r\n"

    async def send(self, body: bytes) -> Answer:
        if self._idle:
            connection, _ = self._idle.popitem()
        else:
            loop = asyncio.get_running_loop()
            connection = Connection(loop, self, (b"http", b"127.0.0.1", self._port), 3600.0)
            await loop.create_connection(lambda: connection, "127.0.0.1", self._port)
        answer = connection.begin(self._head % len(body), body, NO_DEADLINES)
        while not answer.status:
            await answer.change()
        return answer

    def released(self, connection: Connection) -> None:
        self._idle[connection] = None

    def lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)


def build(upstream: int, *, relay: bool) -> Sanic[Any, Any]:
    app: Sanic[Any, Any] = Sanic("floor", configure_logging=False)
    app.config.update(
        ACCESS_LOG=False, REQUEST_BUFFER_SIZE=1 << 20, RESPONSE_TIMEOUT=3600, MOTD=False, AUTO_EXTEND=False
    )
    pool = Pool(upstream, "/v1/messages" if relay else "/v1/chat/completions")

    async def messages(request: Request) -> HTTPResponse | None:
        req = decode_request(request.body)
        body = to_chat(req, MODEL)
        answer = await pool.send(body)
        if not req.stream:
            return HTTPResponse(to_message(b"".join([part async for part in answer]), req.model), 200, None, JSON)
        translator = Translator(req.model)
        response = await request.respond(HTTPResponse(None, 200, STREAM_HEADERS, EVENT_STREAM))
        try:
            async for block in answer:
                if data := translator.feed(block):
                    await response.send(data, end_stream=translator.done)
        finally:
            answer.abort()
        return None

    async def relayed(request: Request) -> None:
        answer = await pool.send(request.body)
        kind = dict(answer.headers)[b"content-type"].decode()
        response = await request.respond(HTTPResponse(None, answer.status, STREAM_HEADERS, kind))
        try:
            async for block in answer:
                await response.send(block)
        finally:
            answer.abort()
        await response.eof()

    async def ready(request: Request) -> HTTPResponse:
        return HTTPResponse(b"ok")

    app.add_route(relayed if relay else messages, "/v1/messages", methods=["POST"])
    app.add_route(ready, "/ready")
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="The floor of the macro benches.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    parser.add_argument("--relay", action="store_true")
    given = parser.parse_args()
    app = build(given.upstream, relay=given.relay)
    app.run("127.0.0.1", given.port, single_process=True, access_log=False, backlog=4096)


if __name__ == "__main__":
    main()
