"""TLS, addresses, and what is said when there is no connection: the provider's label, never where it lives."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import build
from ccproxy_sanic.upstream.engine import Statistics
from ccproxy_sanic.upstream.h1_dial import Race, interleave
from tests.contract.conftest import AUTHORITY, ENGINES, Client, make_client
from tests.support.raw_server import CHUNKED_HEAD, RawServer, Wire, answer, chunked, saying


@pytest.fixture(params=ENGINES)
async def trusting(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for made in make_client(request.param, ca_file=AUTHORITY):
        yield made


def _is_address(host: Any) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name has these addresses."""

    async def getaddrinfo(host: Any, port: int, **options: Any) -> list[Any]:
        own = [str(host)] if _is_address(host) else addresses  # a loop may ask for an address too, to connect to it
        known = [(socket.AF_INET6, (a, port, 0, 0)) if ":" in a else (socket.AF_INET, (a, port)) for a in own]
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for family, address in known]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def reserved() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# TLS


async def test_a_custom_authority_is_trusted_and_connections_are_kept(
    trusting: Client, certified: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    certified.sni_callback = lambda _sock, name, _context: names.append(name)
    body = b"z" * 300_000
    async with RawServer(saying(CHUNKED_HEAD, chunked(body[:1000], body[1000:])), tls=certified) as server:
        for _ in range(3):
            assert await trusting.fetch(f"https://localhost:{server.port}", body=b"q" * 200_000) == (200, body)
        assert len(server.wires) == 1
        assert [len(request.body) for request in server.requests] == [200_000] * 3
        assert names == ["localhost"]


async def test_a_tls_stream_is_aborted_and_cut_like_any_other(trusting: Client, certified: ssl.SSLContext) -> None:
    async with RawServer(saying(CHUNKED_HEAD + chunked(b"a", end=b"")), tls=certified) as server:
        exchange = await trusting.open(f"https://localhost:{server.port}")
        assert await anext(aiter(exchange)) == b"a"
        exchange.abort()
        await trusting.settled()
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)


async def test_an_unknown_authority_is_refused(client: Client, certified: ssl.SSLContext) -> None:
    async with RawServer(saying(answer(b"secret")), tls=certified) as server:
        with pytest.raises(errors.Unreachable, match=r"^Could not connect to somebody: its TLS certificate"):
            await client.open(f"https://localhost:{server.port}")
        assert server.requests == []


async def test_a_certificate_for_another_name_is_refused(trusting: Client, certified: ssl.SSLContext) -> None:
    async with RawServer(saying(answer(b"secret")), tls=certified) as server:
        with pytest.raises(errors.Unreachable, match=r"refused \(ip address mismatch\)$"):
            await trusting.open(f"https://127.0.0.1:{server.port}")
        assert server.requests == []


async def test_a_server_without_tls_is_unreachable_by_https(client: Client) -> None:
    async def plain(wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await wire.gone()

    async with RawServer(plain) as server:
        with pytest.raises(errors.Unreachable, match=r"^Could not connect to somebody: the TLS handshake failed$"):
            await client.open(f"https://localhost:{server.port}")


def test_no_tls_context_is_made_for_plain_http() -> None:
    program = (
        "import ssl\n"
        "ssl.SSLContext.load_verify_locations = ssl.create_default_context = None\n"
        "from ccproxy_sanic.upstream import build\n"
        "print(build('h1'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("<H1Transport busy 0")


# Addresses


async def test_ipv6_addresses_are_reached(client: Client) -> None:
    async with RawServer(saying(answer(b"six")), host="::1") as server:
        assert await client.fetch(f"http://[::1]:{server.port}") == (200, b"six")
        assert server.requests[0].header(b"host") == b"[::1]:%d" % server.port


@pytest.mark.parametrize("order", [("::1", "127.0.0.1"), ("127.0.0.1", "::1"), ("2001:db8::1", "127.0.0.1", "::1")])
@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
async def test_the_family_that_answers_is_found(
    client: Client, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...], host: str
) -> None:
    async with RawServer(saying(answer(b"found")), host=host) as server:
        resolve_to(monkeypatch, *order)
        assert await client.fetch(f"http://upstream.test:{server.port}") == (200, b"found")


async def test_an_address_that_swallows_everything_costs_a_quarter_of_a_second(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(saying(answer(b"found")), host="127.0.0.1") as server:
        with socket.create_server(("127.0.0.2", server.port), backlog=0):
            knocking = [socket.socket() for _ in range(8)]  # fill the queue of one that never accepts
            for knock in knocking:
                knock.setblocking(False)
                knock.connect_ex(("127.0.0.2", server.port))
            await asyncio.sleep(0.05)
            resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
            assert await client.fetch(f"http://upstream.test:{server.port}") == (200, b"found")
            for knock in knocking:
                knock.close()


async def test_a_race_that_is_cancelled_closes_its_sockets(recwarn: pytest.WarningsRecorder) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", address)
        for turns in range(6):
            task = asyncio.create_task(Race(loop, [info, info, info]).run())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            for result in await asyncio.gather(task, return_exceptions=True):
                if isinstance(result, socket.socket):
                    result.close()
    assert [str(w.message) for w in recwarn if issubclass(w.category, ResourceWarning)] == []


def test_families_take_turns_in_the_resolvers_order() -> None:
    found: list[Any] = [(family, 1, 6, "", n) for n, family in enumerate([10, 10, 10, 2, 2])]
    assert [info[4] for info in interleave(found)] == [0, 3, 1, 4, 2]


# Faults


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_a_refused_connection_names_the_provider_and_not_the_address(client: Client, host: str) -> None:
    port = reserved()
    with pytest.raises(errors.Unreachable) as caught:
        await client.open(f"http://{host}:{port}", headers=[(b"authorization", b"Bearer sk-secret")])
    assert caught.value.message == "Could not connect to somebody: connection refused"
    assert (caught.value.status, caught.value.type) == (500, "api_error")
    if client.engine == "h1":
        assert client.transport.statistics() == Statistics(
            connecting=0, busy=0, idle=0, opened=0, reused=0, retried_stale=0, failed_connects=1, closed=0
        )


async def test_a_name_that_does_not_resolve_is_unreachable(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: Any, port: int, **options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(errors.Unreachable, match=r"^Could not connect to somebody: its name could not be resolved$"):
        await client.open("http://upstream.test")


@pytest.mark.parametrize("url", ["ftp://upstream.test", "http://"])
async def test_a_url_that_is_not_one_of_http_is_unreachable(ours: Client, url: str) -> None:
    with pytest.raises(errors.Unreachable, match=r"its URL is not one of HTTP$"):
        await ours.open(url)


async def test_an_engine_that_closes_asynchronously_needs_a_closer() -> None:
    client = Client("httpx", build("httpx"))
    client.later = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError, match="needs a closer"):
        await client.open("http://upstream.test")
