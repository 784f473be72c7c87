"""The engines under test.  Rule: after every test nothing is busy, and no task is left behind."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import Deadlines, Exchange, Head, build, open_exchange
from ccproxy_sanic.upstream.engine import EngineTransport
from tests.support.raw_server import RawServer

THEIRS = re.compile("asyncio-(httpx|aiohttp)")
HERE = Path(__file__).parent
TLS = HERE.parent / "support" / "tls"
AUTHORITY = str(TLS / "authority.pem")
AIOHTTP = pytest.mark.skipif(find_spec("httpx_aiohttp") is None, reason="the extra aiohttp is not installed")
ENGINES = ["h1", "httpx", pytest.param("aiohttp", marks=AIOHTTP)]
QUICK = Deadlines(connect=5, first_byte=5, idle=5, write=5)


def pytest_asyncio_loop_factories(config: object, item: object) -> Mapping[str, Callable[[], Any]]:
    """Both loops, because what a transport does at the edges (EOF, pause, abort) is the loop's own."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One loop is enough for the engines that are not ours: their edges are not ours to mend."""
    left = [item for item in items if THEIRS.search(item.name) and item.path.is_relative_to(HERE)]
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]


class Client:
    """An engine with what a runtime would give it."""

    def __init__(self, engine: str, transport: EngineTransport) -> None:
        self.engine, self.transport = engine, transport
        self.weak = False
        self.closing: set[asyncio.Task[None]] = set()

    def later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    async def open(
        self,
        server: RawServer | str,
        body: bytes = b'{"a":1}',
        *,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        headers: list[tuple[bytes, bytes]] | None = None,
        deadlines: Deadlines = QUICK,
    ) -> Exchange:
        base = server if isinstance(server, str) else f"http://{server.host}:{server.port}"
        return await open_exchange(
            self.transport,
            Head(method, httpx.URL(base + path), headers or []),
            body,
            deadlines,
            provider="somebody",
            closer=self.later,
        )

    async def fetch(self, server: RawServer | str, **options: Any) -> tuple[int, bytes]:
        exchange = await self.open(server, **options)
        return exchange.status, await exchange.read(1 << 26)

    async def collect(self, exchange: Exchange) -> tuple[bytes, errors.ProxyError | None]:
        """All that is delivered, and the fault in which it ends."""
        got = bytearray()
        try:
            async for part in exchange:
                got += part
        except errors.ProxyError as fault:
            return bytes(got), fault
        return bytes(got), None

    async def settled(self) -> None:
        if self.closing:
            await asyncio.gather(*self.closing, return_exceptions=True)

    @property
    def busy(self) -> int:
        return self.transport.statistics().busy


def weak(client: Client, request: pytest.FixtureRequest, **reasons: str) -> None:
    """Says that a test fails with engines that are not ours, and why; one that does not is news."""
    if (reason := reasons.get(client.engine)) is not None:
        client.weak = True
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


async def make_client(engine: Any, **options: Any) -> AsyncIterator[Client]:
    client = Client(engine, build(engine, **options))
    yield client
    await client.settled()
    assert client.weak or client.busy == 0, repr(client.transport)
    await client.transport.aclose()
    this = asyncio.current_task()
    assert [task for task in asyncio.all_tasks() if task is not this and "tests" not in repr(task.get_coro())] == []


@pytest.fixture(params=ENGINES)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for made in make_client(request.param):
        yield made


@pytest.fixture
def certified() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(TLS / "localhost.pem"))
    return context


@pytest.fixture
async def ours() -> AsyncIterator[Client]:
    """For what only the h1 engine promises."""
    async for made in make_client("h1"):
        yield made
