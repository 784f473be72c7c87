"""How an answer is cut into bytes on the wire changes nothing about what is read."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from ccproxy_sanic import errors
from tests.contract.conftest import Client, weak
from tests.support.raw_server import (
    CHUNKED_HEAD,
    CLOSED_HEAD,
    RawServer,
    Wire,
    answer,
    chunked,
    saying,
    saying_once,
)

TEXT = b'data: {"a":1}\n\ndata: [DONE]\n\n'
BY_CHUNKS = CHUNKED_HEAD + chunked(TEXT[:7], TEXT[7:])
FRAMINGS = {
    "length": answer(TEXT, b"content-type: text/event-stream"),
    "chunks": BY_CHUNKS,
    "chunk extensions and trailers": CHUNKED_HEAD + b"1d;a=b\r\n" + TEXT + b"\r\n0;c\r\nx-sum: 1\r\nx-b: 2\r\n\r\n",
    "after 100 and 103": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + BY_CHUNKS,
    "headers of odd case and empty": b"HTTP/1.1 200\r\nCONTENT-Length:  29  \r\nx-e:\r\n\r\n" + TEXT,
}


@pytest.mark.parametrize("raw", FRAMINGS.values(), ids=FRAMINGS.keys())
async def test_a_cut_at_any_byte_changes_nothing_and_the_connection_is_reused(client: Client, raw: bytes) -> None:
    async def script(wire: Wire) -> None:
        for cut in range(1, len(raw)):
            await wire.request()
            await wire.send(raw[:cut], raw[cut:])

    async with RawServer(script) as server:
        for _ in range(1, len(raw)):
            assert await client.fetch(server) == (200, TEXT)
        assert len(server.wires) == 1


@pytest.mark.parametrize("raw", FRAMINGS.values(), ids=FRAMINGS.keys())
async def test_an_answer_in_single_bytes_is_read_whole(client: Client, raw: bytes) -> None:
    async with RawServer(saying(*[raw[i : i + 1] for i in range(len(raw))])) as server:
        assert await client.fetch(server) == (200, TEXT)


async def test_many_random_pieces_of_a_large_body_are_read_whole(client: Client) -> None:
    dice = random.Random(7)
    body = dice.randbytes(700_000)
    cuts = [0, *sorted(dice.sample(range(len(body)), 60)), len(body)]
    raw = CHUNKED_HEAD + chunked(*[body[a:b] for a, b in itertools.pairwise(cuts)])
    cuts = [0, *sorted(dice.sample(range(len(raw)), 60)), len(raw)]
    async with RawServer(saying(*[raw[a:b] for a, b in itertools.pairwise(cuts)])) as server:
        assert await client.fetch(server) == (200, body)


async def test_a_body_without_framing_ends_with_the_connection(client: Client) -> None:
    async with RawServer(saying_once(CLOSED_HEAD + TEXT[:5], TEXT[5:])) as server:
        assert await client.fetch(server) == (200, TEXT)
        assert await client.fetch(server) == (200, TEXT)
        assert len(server.wires) == 2


async def test_an_answer_of_http_1_0_ends_with_the_connection(client: Client) -> None:
    async with RawServer(saying_once(b"HTTP/1.0 200 OK\r\n\r\n" + TEXT)) as server:
        assert await client.fetch(server) == (200, TEXT)


async def test_connection_close_is_kept_to(client: Client) -> None:
    async with RawServer(saying(answer(TEXT, b"connection: close"))) as server:
        assert await client.fetch(server) == (200, TEXT)
        assert await client.fetch(server) == (200, TEXT)
        assert len(server.wires) == 2


@pytest.mark.parametrize("raw", [b"HTTP/1.1 204 No Content\r\n\r\n", answer(status=b"304 Not Modified")])
async def test_an_answer_that_has_no_body_needs_no_framing(client: Client, raw: bytes) -> None:
    async with RawServer(saying(raw)) as server:
        for _ in range(2):
            status, body = await client.fetch(server)
            assert (status, body) == (int(raw[9:12]), b"")
        assert len(server.wires) == 1


async def test_the_answer_to_head_has_no_body_whatever_its_length_says(client: Client) -> None:
    async with RawServer(saying(answer(length=500))) as server:
        assert await client.fetch(server, body=b"", method="HEAD") == (200, b"")
        assert await client.fetch(server, body=b"", method="HEAD") == (200, b"")


@pytest.mark.parametrize("extra", [b"surprise", b"\x00", answer(b"second"), b"H"])
async def test_a_connection_that_said_more_than_its_answer_is_not_used_again(
    client: Client, request: pytest.FixtureRequest, extra: bytes
) -> None:
    reasons = {"httpx": "httpcore 1.0.9 reuses it and takes the rest for the next answer's head"}
    if not extra.startswith(b"HTTP/"):  # a second answer it sees, and closes
        reasons["aiohttp"] = "aiohttp 3.14 takes the rest for the next answer's head, or refuses this one"
    weak(client, request, **reasons)
    async with RawServer(saying(answer(TEXT) + extra)) as server:
        assert await client.fetch(server) == (200, TEXT)
        assert await client.fetch(server) == (200, TEXT)
        assert len(server.wires) == 2


async def test_what_comes_on_an_idle_connection_is_not_taken_for_the_next_answer(
    client: Client, request: pytest.FixtureRequest
) -> None:
    weak(client, request, aiohttp="aiohttp 3.14 reuses it and fails")

    more = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(TEXT))
        await more.wait()
        await wire.send(answer(b"poison"))
        await wire.gone()

    async with RawServer(script, saying(answer(TEXT))) as server:
        assert await client.fetch(server) == (200, TEXT)
        more.set()
        await asyncio.sleep(0.05)
        assert await client.fetch(server) == (200, TEXT)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",  # the empty line is for h11, which waits for one
        b"<html>not http</html>\r\n\r\n",
        b"HTTP/1.1 2oo OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nbad header\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
)
async def test_garbage_for_a_head_is_garbled(client: Client, raw: bytes) -> None:
    async with RawServer(saying(raw)) as server:
        with pytest.raises(errors.Garbled, match=r"^somebody answered something that is not HTTP/1.1$"):
            await client.open(server)


async def test_a_change_of_protocol_is_garbled(ours: Client) -> None:
    raw = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n\x00\x01"
    async with RawServer(saying(raw)) as server:
        with pytest.raises(errors.Garbled):
            await ours.open(server)


async def test_a_body_that_turns_to_garbage_is_delivered_up_to_there(
    client: Client, request: pytest.FixtureRequest
) -> None:
    weak(client, request, aiohttp="aiohttp 3.14 refuses all of an answer whose first read holds garbage")
    async with RawServer(saying(CHUNKED_HEAD + b"5\r\nhello\r\nzz\r\n")) as server:
        exchange = await client.open(server)
        got, fault = await client.collect(exchange)
        assert got == b"hello"
        assert isinstance(fault, errors.Garbled)


@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_head_without_end_is_garbled(client: Client, pieces: int) -> None:
    flood = b"".join(b"x-%d: %b\r\n" % (i, b"y" * 1000) for i in range(200))
    size = len(flood) // pieces + 1
    parts = [flood[i : i + size] for i in range(0, len(flood), size)]
    async with RawServer(saying(b"HTTP/1.1 200 OK\r\n", *parts, b"content-length: 0\r\n\r\n")) as server:
        with pytest.raises(errors.Garbled):
            await client.open(server)


async def test_trailers_without_end_are_garbled(ours: Client) -> None:
    async with RawServer(saying(CHUNKED_HEAD + b"2\r\nhi\r\n0\r\n", *[b"x: %b\r\n" % (b"y" * 5000)] * 20)) as server:
        with pytest.raises(errors.Garbled):
            await ours.fetch(server)


async def test_endless_interim_answers_are_garbled(ours: Client) -> None:
    async with RawServer(saying(*[b"HTTP/1.1 100 Continue\r\n\r\n" * 400] * 10)) as server:
        with pytest.raises(errors.Garbled):
            await ours.open(server)


async def test_one_item_is_all_that_one_socket_read_brought(ours: Client) -> None:
    read = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        for piece in (chunked(b"a", b"b", b"c", end=b""), chunked(b"d", end=b""), b"1\r\n", b"e\r\n", b"0\r\n\r\n"):
            await wire.send(piece)
            if len(piece) > 4 and piece[0] != b"0"[0]:
                await read.wait()
                read.clear()
        await wire.gone()

    async with RawServer(script) as server:
        exchange = await ours.open(server)
        items = []
        async for item in exchange:
            items.append(item)
            read.set()
        assert items == [b"abc", b"d", b"e"]
        assert exchange.finished


async def test_headers_have_lower_case_names_and_join_equal_ones(client: Client) -> None:
    raw = answer(b"", b"X-Request-ID: abc", b"via: a", b"Via: b", b"x-latin: caf\xe9")
    async with RawServer(saying(raw)) as server:
        exchange = await client.open(server)
        await exchange.read(10)
        assert exchange.headers["x-request-id"] == "abc"
        assert exchange.headers["via"] == "a, b"
        assert exchange.headers["x-latin"] == "café"


async def test_a_body_over_the_limit_is_garbled_and_stops_the_upstream(client: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        while True:
            await wire.send(chunked(b"x" * 10_000, end=b""))

    async with RawServer(script) as server:
        exchange = await client.open(server)
        with pytest.raises(errors.Garbled, match="somebody is larger than 50000 bytes"):
            await exchange.read(50_000)
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)
