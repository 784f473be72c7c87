"""httpx's engine through a proxy: what the upstream hears, what is said when it fails, and that nothing is left."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import build
from tests.contract.conftest import AUTHORITY, QUICK, Client
from tests.contract.test_connecting import reserved
from tests.support.forward_proxy import ForwardProxy
from tests.support.raw_server import CHUNKED_HEAD, RawServer, Wire, answer, chunked, saying, silent

SCHEMES = ["http", "https"]


@asynccontextmanager
async def through(url: str, ca_file: str | None = AUTHORITY) -> AsyncIterator[Client]:
    client = Client("httpx", build("httpx", proxy=url, ca_file=ca_file))
    yield client
    await client.settled()
    assert client.busy == 0, repr(client.transport)
    await client.transport.aclose()


def served(scheme: str, certified: ssl.SSLContext, *scripts: object) -> RawServer:
    return RawServer(*scripts, tls=certified if scheme == "https" else None)  # type: ignore[arg-type]


def at(scheme: str, server: RawServer) -> str:
    return f"{scheme}://localhost:{server.port}"


async def test_plain_http_goes_in_absolute_form_and_the_upstream_hears_nothing_of_the_proxy() -> None:
    async with RawServer(saying(answer(b"ok"))) as server, ForwardProxy() as proxy:
        async with through(proxy.url.replace("//", "//ann:p%40ss@")) as client:
            for _ in range(2):
                assert await client.fetch(f"http://upstream.test:{server.port}", path="/v1/x?q=1") == (200, b"ok")
        assert proxy.lines == [b"POST http://upstream.test:%d/v1/x?q=1 HTTP/1.1" % server.port] * 2
        credentials = b"Basic " + base64.b64encode(b"ann:p@ss")
        assert [request.header(b"proxy-authorization") for request in proxy.asked] == [credentials] * 2
        assert server.requests[0].line == b"POST /v1/x?q=1 HTTP/1.1"
        assert server.requests[0].header(b"host") == b"upstream.test:%d" % server.port
        assert len(server.wires) == 1


async def test_tls_goes_through_a_tunnel_which_is_kept_and_sees_no_request(certified: ssl.SSLContext) -> None:
    async with RawServer(saying(CHUNKED_HEAD, chunked(b"hello")), tls=certified) as server, ForwardProxy() as proxy:
        async with through(proxy.url.replace("//", "//ann:secret@")) as client:
            for _ in range(3):
                assert await client.fetch(at("https", server)) == (200, b"hello")
        assert proxy.lines == [b"CONNECT localhost:%d HTTP/1.1" % server.port]
        assert proxy.asked[0].header(b"proxy-authorization") is not None
        assert all(request.header(b"proxy-authorization") is None for request in server.requests)
        assert len(server.requests) == 3


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_may_be_spoken_to_over_tls(scheme: str, certified: ssl.SSLContext) -> None:
    async with served(scheme, certified, saying(answer(b"ok"))) as server, ForwardProxy(tls=certified) as proxy:
        async with through(proxy.url) as client:
            assert await client.fetch(at(scheme, server)) == (200, b"ok")
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_aborting_ends_the_upstream_and_the_tunnel(scheme: str, certified: ssl.SSLContext) -> None:
    async def endless(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD + chunked(b"x", end=b""))
        await wire.gone()

    async with served(scheme, certified, endless) as server, ForwardProxy() as proxy:
        async with through(proxy.url) as client:
            exchange = await client.open(at(scheme, server))
            assert await anext(aiter(exchange)) == b"x"
            exchange.abort()
            await client.settled()
            assert client.busy == 0
            await asyncio.wait_for(server.wires[0].ended.wait(), 5)
            await proxy.until_closed()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_cancelled_at_every_turn_of_the_loop_leaves_nothing(scheme: str, certified: ssl.SSLContext) -> None:
    async with served(scheme, certified, saying(CHUNKED_HEAD, chunked(b"hello"))) as server, ForwardProxy() as proxy:
        async with through(proxy.url) as client:

            async def call() -> None:
                exchange = await client.open(at(scheme, server))
                try:
                    assert await exchange.read(100) == b"hello"
                finally:
                    exchange.abort()

            for turns in range(60):
                task = asyncio.create_task(call())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await client.settled()
                assert client.busy == 0, f"after {turns} turns"
            assert await client.fetch(at(scheme, server)) == (200, b"hello")


async def test_cancelled_in_the_handshake_of_a_tunnel_closes_it() -> None:
    async def mute(wire: Wire) -> None:
        await wire.gone()

    async with RawServer(mute) as server, ForwardProxy() as proxy, through(proxy.url) as client:
        task = asyncio.create_task(client.open(at("https", server)))
        while not server.wires:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.settled()
        assert client.busy == 0
        await proxy.until_closed()


# Faults


async def test_a_certificate_that_is_refused_leaves_no_tunnel(certified: ssl.SSLContext) -> None:
    async with RawServer(saying(answer(b"secret")), tls=certified) as server, ForwardProxy() as proxy:
        async with through(proxy.url, ca_file=None) as client:
            with pytest.raises(errors.Unreachable, match=r"^Could not connect to somebody through its proxy: its TLS"):
                await client.open(at("https", server))
            await client.settled()
            assert client.busy == 0
            await proxy.until_closed()
        assert server.requests == []


async def test_a_proxy_that_refuses_says_its_status_and_nothing_else() -> None:
    async with ForwardProxy(refuse=b"407 who is ann:secret") as proxy:
        async with through(proxy.url.replace("//", "//ann:secret@")) as client:
            with pytest.raises(errors.Unreachable) as caught:
                await client.open("https://upstream.test")
            assert caught.value.message == "Could not connect to somebody through its proxy: it answered 407"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_is_not_there_is_named_as_the_reason(scheme: str) -> None:
    async with through(f"http://ann:secret@127.0.0.1:{reserved()}") as client:
        with pytest.raises(errors.Unreachable) as caught:
            await client.open(f"{scheme}://upstream.test")
        assert caught.value.message == "Could not connect to somebody through its proxy: connection refused"


async def test_a_proxy_that_never_answers_is_late_as_a_connection() -> None:
    async with ForwardProxy(mute=True) as proxy, through(proxy.url) as client:
        with pytest.raises(errors.TimedOut, match=r"accepted no connection within 0.1 s \(deadline: connect\)$"):
            deadlines = msgspec.structs.replace(QUICK, connect=0.1, first_byte=None)
            await client.open("https://upstream.test", deadlines=deadlines)
        await client.settled()
        await proxy.until_closed()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_an_answer_has_its_own_deadline_and_not_the_connections(scheme: str, certified: ssl.SSLContext) -> None:
    async def slow(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(0.6)
        await wire.send(answer(b"ok"))
        await silent(wire)

    async with served(scheme, certified, slow) as server, ForwardProxy() as proxy:
        async with through(proxy.url) as client:
            quick = msgspec.structs.replace(QUICK, connect=0.5)
            assert await client.fetch(at(scheme, server), deadlines=quick) == (200, b"ok")
            late = msgspec.structs.replace(QUICK, first_byte=0.1)
            with pytest.raises(errors.TimedOut, match=r"sent no answer within 0.1 s \(deadline: first_byte\)$"):
                await client.open(at(scheme, server), deadlines=late)


@pytest.mark.parametrize("engine", ["h1", "aiohttp"])
def test_the_other_engines_refuse_a_proxy_rather_than_going_around_it(engine: str) -> None:
    for options in ({"proxy": "http://127.0.0.1:3128"}, {"http2": True}):
        with pytest.raises(ValueError, match="choose the httpx engine"):
            build(engine, **options)  # type: ignore[arg-type]
