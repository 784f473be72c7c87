"""Where a connection may end, what that means, and the race between a server that closes and a client that sends."""

from __future__ import annotations

import asyncio

import pytest

from ccproxy_sanic import errors
from tests.contract.conftest import Client, weak
from tests.support.raw_server import (
    CHUNKED_HEAD,
    CLOSED_HEAD,
    RawServer,
    Script,
    Wire,
    answer,
    chunked,
    saying,
    saying_once,
)

INCOMPLETE = "^The upstream stream ended before it was complete$"


def ending(how: str, *pieces: bytes) -> Script:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces)
        if how == "reset":
            await asyncio.sleep(0.02)  # an RST overtakes what was not read yet
            wire.reset()

    return script


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"])
async def test_an_end_before_the_head_is_complete_is_broken(client: Client, sent: bytes, how: str) -> None:
    async with RawServer(ending(how, *([sent] if sent else []))) as server:
        with pytest.raises(errors.Broken, match=r"^somebody closed the connection before it answered$"):
            await client.open(server)
        assert len(server.requests) == 1  # a first use is never repeated


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    "pieces",
    [
        (answer(b"hello", length=9),),
        (answer(b"he", length=9), b"llo"),
        (CHUNKED_HEAD, chunked(b"hello", end=b"")),  # a server that forgets the end mark after its last event
        (CHUNKED_HEAD + b"9\r\nhel", b"lo"),
        (CHUNKED_HEAD, chunked(b"hello", end=b"0\r\n")),
    ],
    ids=["length, one piece", "length, two pieces", "chunks, no end mark", "inside a chunk", "inside the end mark"],
)
async def test_an_end_inside_a_framed_body_is_broken_after_all_its_bytes(
    client: Client, pieces: tuple[bytes, ...], how: str
) -> None:
    async with RawServer(ending(how, *pieces)) as server:
        got, fault = await client.collect(await client.open(server))
        assert got == b"hello"
        assert isinstance(fault, errors.Broken)
        assert fault.message == "The upstream stream ended before it was complete"


async def test_bytes_and_end_in_one_turn_lose_nothing(client: Client) -> None:
    async with RawServer(saying_once(CHUNKED_HEAD + chunked(b"a", b"b", end=b""))) as server:
        for _ in range(20):
            got, fault = await client.collect(await client.open(server))
            assert got == b"ab"
            assert isinstance(fault, errors.Broken)


async def test_a_fault_stays_a_fault_when_read_again(client: Client) -> None:
    async with RawServer(saying_once(CHUNKED_HEAD + chunked(b"a", end=b""))) as server:
        exchange = await client.open(server)
        with pytest.raises(errors.Broken, match=INCOMPLETE):
            await exchange.read(100)
        for _ in range(2):
            with pytest.raises(errors.Broken, match=INCOMPLETE):
                await exchange.read(100)
        assert not exchange.finished


async def test_a_reset_inside_a_body_without_framing_is_broken(ours: Client) -> None:
    async with RawServer(ending("reset", CLOSED_HEAD + b"hello")) as server:
        got, fault = await ours.collect(await ours.open(server))
        assert got == b"hello"
        assert isinstance(fault, errors.Broken)


async def test_an_answer_before_the_whole_request_was_taken_counts(
    client: Client, request: pytest.FixtureRequest
) -> None:
    weak(client, request, httpx="httpcore 1.0.9 reads only when it has written, and the reset comes first")

    async def script(wire: Wire) -> None:
        await wire.send(answer(b"too large", status=b"413 Content Too Large"))
        await asyncio.sleep(0.05)

    async with RawServer(script) as server:
        exchange = await client.open(server, body=b"x" * 8_000_000)
        assert (exchange.status, await exchange.read(100)) == (413, b"too large")


# Keep-alive races


def dying(first: bytes, then: bytes, how: str) -> Script:
    """Answers one request, takes a second one, says ``then`` and dies."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(first)
        await wire.request()
        if then:
            await wire.send(then)
        if how == "reset":
            wire.reset()

    return script


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_reused_connection_that_dies_unanswered_is_replaced_in_silence(ours: Client, how: str) -> None:
    async with RawServer(dying(answer(b"1"), b"", how), saying(answer(b"2"))) as server:
        assert await ours.fetch(server) == (200, b"1")
        assert await ours.fetch(server, body=b"second") == (200, b"2")
        assert [request.body for request in server.requests] == [b'{"a":1}', b"second", b"second"]
        assert ours.transport.statistics().retried_stale == 1


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_it_is_replaced_only_once_and_by_a_new_connection(ours: Client, how: str) -> None:
    scripts = [dying(answer(b"1"), b"", how)] * 3
    async with RawServer(*scripts, ending(how)) as server:
        together = await asyncio.gather(*[ours.fetch(server) for _ in range(3)])
        assert together == [(200, b"1")] * 3
        assert ours.transport.statistics().idle == 3
        with pytest.raises(errors.Broken, match="before it answered"):
            await ours.fetch(server)
        assert len(server.requests) == 3 + 2
        assert len(server.wires) == 3 + 1


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("then", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_request_is_never_repeated_once_a_byte_came_back(client: Client, then: bytes, how: str) -> None:
    async with RawServer(dying(answer(b"1"), then, how), saying(answer(b"2"))) as server:
        assert await client.fetch(server) == (200, b"1")
        with pytest.raises(errors.Broken):
            await client.open(server)
        assert len(server.requests) == 2


async def test_an_idle_connection_that_the_server_closes_leaves_the_stack_at_once(ours: Client) -> None:
    async with RawServer(saying_once(answer(b"1"))) as server:
        assert await ours.fetch(server) == (200, b"1")
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)
        await asyncio.sleep(0.05)
        assert ours.transport.statistics().idle == 0
        assert await ours.fetch(server) == (200, b"1")
        assert ours.transport.statistics().retried_stale == 0


async def test_closing_just_as_the_next_request_is_sent_never_shows(
    client: Client, request: pytest.FixtureRequest
) -> None:
    weak(
        client,
        request,
        httpx="httpcore 1.0.9 does not repeat a request whose reused connection had just closed",
        aiohttp="aiohttp 3.14 repeats no POST",
    )
    async with RawServer(saying_once(answer(b"1"))) as server:
        for turn in range(40):
            assert await client.fetch(server) == (200, b"1")
            for _ in range(turn % 8):  # at each distance between the FIN and the next request
                await asyncio.sleep(0)
        assert len(server.requests) == 40
