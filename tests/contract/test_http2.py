"""HTTP/2, as httpx's engine speaks it: over TLS, where the upstream has it; what nobody wants any more is reset."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from types import TracebackType

import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import Deadlines, build
from ccproxy_sanic.upstream.transport import Transports
from tests.contract.conftest import AUTHORITY, Client, make_client
from tests.support.forward_proxy import ForwardProxy
from tests.support.raw_server import RawServer, Wire, answer, saying

h2 = pytest.importorskip("h2", reason="the extra http2 is not installed")
from h2.config import H2Configuration  # noqa: E402 (the package is optional)
from h2.connection import H2Connection  # noqa: E402
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset  # noqa: E402


class H2Server:
    """Answers ``/v1/whole`` at once with the request's body, ``/v1/endless`` with a piece and then silence, and any
    other path never."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        tls.set_alpn_protocols(["h2"])
        self.connections = self.requests = self.reset = self.closed = self.port = 0
        self.headers: list[dict[bytes, bytes]] = []
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> H2Server:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_told(self, number: int) -> None:
        """Wait until so many streams are reset, or gone with their connections."""
        async with asyncio.timeout(5):
            while self.reset + self.closed < number:
                await asyncio.sleep(0.005)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._serve(reader, writer)
        self.closed += 1
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        state.initiate_connection()
        paths: dict[int, bytes] = {}
        bodies: dict[int, bytes] = {}
        while True:
            writer.write(state.data_to_send())
            if not (data := await reader.read(65536)):
                return
            for event in state.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.requests += 1
                    headers = dict(event.headers)
                    self.headers.append(headers)
                    paths[event.stream_id], bodies[event.stream_id] = headers[b":path"], b""
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] += event.data
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    stream = event.stream_id
                    if paths[stream] in (b"/v1/whole", b"/v1/endless"):
                        state.send_headers(stream, [(b":status", b"200")])
                        state.send_data(stream, bodies[stream], end_stream=paths[stream] == b"/v1/whole")
                elif isinstance(event, StreamReset):
                    self.reset += 1


@pytest.fixture
async def both() -> AsyncIterator[Client]:
    async for made in make_client("httpx", http2=True, ca_file=AUTHORITY):
        yield made


async def test_many_requests_share_one_connection(both: Client, certified: ssl.SSLContext) -> None:
    async with H2Server(certified) as server:
        url = f"https://localhost:{server.port}"
        headers = [(b"authorization", b"Bearer k")]
        assert await both.fetch(url, path="/v1/whole", body=b"0", headers=headers) == (200, b"0")
        bodies = [b"%d" % n for n in range(8)]
        answers = await asyncio.gather(*[both.fetch(url, path="/v1/whole", body=body) for body in bodies])
        assert answers == [(200, body) for body in bodies]
        assert (server.connections, server.requests) == (1, 9)
        assert server.headers[0][b":authority"] == b"localhost:%d" % server.port
        assert server.headers[0][b"authorization"] == b"Bearer k"


async def test_a_stream_that_is_aborted_is_reset_and_the_others_go_on(both: Client, certified: ssl.SSLContext) -> None:
    async with H2Server(certified) as server:
        url = f"https://localhost:{server.port}"
        stays = await both.open(url, path="/v1/endless", body=b"a")
        for number in range(1, 4):
            exchange = await both.open(url, path="/v1/endless", body=b"b")
            assert await anext(aiter(exchange)) == b"b"
            exchange.abort()
            await both.settled()
            await server.until_told(number)
        assert await anext(aiter(stays)) == b"a"
        assert await both.fetch(url, path="/v1/whole", body=b"c") == (200, b"c")
        assert server.connections == 1
        stays.abort()
        await both.settled()


@pytest.mark.parametrize("wait", [0, 0.05])
async def test_a_request_that_is_cancelled_before_its_answer_is_reset(
    both: Client, certified: ssl.SSLContext, wait: float
) -> None:
    async with H2Server(certified) as server:
        url = f"https://localhost:{server.port}"
        task = asyncio.create_task(both.open(url, path="/v1/never"))
        while not server.requests:
            await asyncio.sleep(0.005)
        await asyncio.sleep(wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.until_told(1)
        assert await both.fetch(url, path="/v1/whole", body=b"c") == (200, b"c")


async def test_an_upstream_without_it_is_spoken_to_as_ever(both: Client, certified: ssl.SSLContext) -> None:
    async with RawServer(saying(answer(b"ok")), tls=certified) as server:
        assert await both.fetch(f"https://localhost:{server.port}") == (200, b"ok")
        assert server.requests[0].line.endswith(b" HTTP/1.1")


async def test_it_goes_through_a_tunnel_too(certified: ssl.SSLContext) -> None:
    async with H2Server(certified) as server, ForwardProxy() as proxy:
        client = Client("httpx", build("httpx", http2=True, ca_file=AUTHORITY, proxy=proxy.url))
        url = f"https://localhost:{server.port}"
        assert await client.fetch(url, path="/v1/whole", body=b"0") == (200, b"0")
        exchange = await client.open(url, path="/v1/endless", body=b"a")
        exchange.abort()
        await client.settled()
        await server.until_told(1)
        assert (client.busy, len(proxy.asked), server.connections) == (0, 1, 1)
        await client.transport.aclose()


async def test_h1_is_not_taken_at_the_word_of_http2(certified: ssl.SSLContext) -> None:
    """httpcore offers HTTP/2 by changing the TLS context that it was given."""
    chosen: list[str | None] = []

    async def script(wire: Wire) -> None:
        chosen.append(wire._writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await saying(answer(b"ok"))(wire)

    certified.set_alpn_protocols(["h2", "http/1.1"])
    transports = Transports(AUTHORITY)
    ways = [Client("httpx", transports.get("httpx", http2=True)), Client("h1", transports.get("h1"))]
    async with RawServer(script, tls=certified) as server:
        for client in ways:
            with contextlib.suppress(errors.ProxyError):  # that server's HTTP/2 is none
                await client.fetch(f"https://localhost:{server.port}", deadlines=Deadlines(first_byte=0.1))
            await client.settled()
        assert chosen == ["h2", "http/1.1"]
    await transports.aclose()
