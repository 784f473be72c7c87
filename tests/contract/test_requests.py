"""What goes out is one well-formed request, whatever was asked for."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator

import httpx
import pytest

from ccproxy_sanic import errors
from tests.contract.conftest import Client, weak
from tests.support.raw_server import RawServer, Wire, answer, saying


async def test_the_request_is_in_origin_form_with_host_and_length(
    client: Client, request: pytest.FixtureRequest
) -> None:
    weak(client, request, aiohttp="httpx_aiohttp 0.2 joins headers of the same name")
    async with RawServer(saying(answer())) as server:
        headers = [(b"authorization", b"Bearer k"), (b"x-two", b"1"), (b"x-two", b"2")]
        await client.fetch(server, body=b"{}", path="/v1/chat/completions?a=b%20c", headers=headers)
        got = server.requests[0]
        assert got.line == b"POST /v1/chat/completions?a=b%20c HTTP/1.1"
        assert got.headers == [(b"host", b"127.0.0.1:%d" % server.port), *headers, (b"content-length", b"2")]
        assert got.body == b"{}"


async def test_an_empty_post_says_that_it_is_empty(client: Client) -> None:
    async with RawServer(saying(answer())) as server:
        await client.fetch(server, body=b"")
        assert server.requests[0].header(b"content-length") == b"0"


@pytest.mark.parametrize("size", [131_072, 131_073, 5_000_000])
async def test_bodies_of_any_size_arrive_whole(client: Client, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with RawServer(saying(answer(b"ok"))) as server:
        for _ in range(2):
            assert await client.fetch(server, body=body[:size]) == (200, b"ok")
        assert [request.body == body[:size] for request in server.requests] == [True, True]
        assert len(server.wires) == 1


@pytest.mark.parametrize("value", [b"Bearer sk-secret\r\nx-more: 1", b"Bearer sk-secret\n", b"Bearer\0sk-secret"])
async def test_a_header_with_a_line_break_is_not_sent_and_not_quoted(client: Client, value: bytes) -> None:
    async with RawServer(saying(answer())) as server:
        with pytest.raises(errors.Bug, match=r"^The request to somebody could not be written as HTTP$") as caught:
            await client.open(server, headers=[(b"authorization", value)])
        assert "sk-secret" not in "".join(traceback.format_exception(caught.value))
        assert server.requests == []


async def test_plain_httpx_requests_are_carried_too(ours: Client) -> None:
    """The transport is a full httpx transport: also below a client, with a body made of parts."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"hel"
        yield b"lo"

    async with RawServer(saying(answer(b'{"a": 1}', b"content-type: application/json"))) as server:
        http = httpx.AsyncClient(transport=ours.transport, timeout=5)
        base = f"http://127.0.0.1:{server.port}"
        assert (await http.post(base, content=parts())).json() == {"a": 1}
        assert (await http.get(base, params={"q": "x y"})).status_code == 200
        assert server.requests[0].body == b"hello"
        assert server.requests[0].header(b"transfer-encoding") is None
        assert server.requests[1].line == b"GET /?q=x+y HTTP/1.1"
        assert server.requests[1].header(b"content-length") is None


async def test_concurrent_requests_get_their_own_answers(client: Client) -> None:
    async def echo(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await wire.send(answer(request.body))

    async with RawServer(echo) as server:

        async def worker(name: int) -> None:
            for turn in range(10):
                body = b"%d-%d" % (name, turn)
                assert await client.fetch(server, body=body) == (200, body)

        await asyncio.gather(*[worker(n) for n in range(20)])
        assert len(server.requests) == 200
