"""Each deadline ends the wait that it is named after, and no other."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from ccproxy_sanic import errors
from tests.contract.conftest import QUICK, Client, weak
from tests.support.raw_server import CHUNKED_HEAD, RawServer, Wire, answer, chunked, saying, silent

SLOWLY = 16_000_000  # bytes, which the peer takes in over a second: several times its write deadline


async def test_first_byte_ends_the_wait_for_an_answer(client: Client) -> None:
    async with RawServer(silent) as server:
        with pytest.raises(errors.TimedOut, match=r"^somebody sent no answer within 0.05 s \(deadline: first_byte\)$"):
            await client.open(server, deadlines=msgspec.structs.replace(QUICK, first_byte=0.05))
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)  # the upstream hears of it


async def test_first_byte_is_a_deadline_for_the_whole_head(ours: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await wire.send(b"x: y\r\n")
            await asyncio.sleep(0.01)

    async with RawServer(script) as server:
        with pytest.raises(errors.TimedOut, match="first_byte"):
            await ours.open(server, deadlines=msgspec.structs.replace(QUICK, first_byte=0.1))


async def test_idle_ends_a_body_that_stops_after_what_came(client: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD + chunked(b"hello", end=b""))
        await wire.gone()

    async with RawServer(script) as server:
        exchange = await client.open(server, deadlines=msgspec.structs.replace(QUICK, idle=0.05))
        got, fault = await client.collect(exchange)
        assert got == b"hello"
        assert isinstance(fault, errors.TimedOut)
        assert fault.message == "somebody sent nothing more for 0.05 s (deadline: idle)"
        await asyncio.wait_for(server.wires[0].ended.wait(), 5)


async def test_idle_is_from_read_to_read_and_not_for_the_whole_body(client: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        for _ in range(10):
            await asyncio.sleep(0.06)
            await wire.send(chunked(b"x", end=b""))
        await wire.send(b"0\r\n\r\n")

    async with RawServer(script) as server:
        exchange = await client.open(server, deadlines=msgspec.structs.replace(QUICK, idle=0.5))
        assert await exchange.read(100) == b"x" * 10


async def test_a_short_idle_does_not_shorten_the_wait_for_the_head_nor_the_other_way_round(client: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(0.15)
        await wire.send(CHUNKED_HEAD + chunked(b"x", end=b""))
        await wire.request()

    async with RawServer(script, saying(CHUNKED_HEAD)) as server:
        exchange = await client.open(server, deadlines=msgspec.structs.replace(QUICK, idle=0.05))
        with pytest.raises(errors.TimedOut, match="idle"):
            await exchange.read(100)

    async def slow_body(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        await asyncio.sleep(0.5)
        await wire.send(chunked(b"x"))

    async with RawServer(slow_body) as server:
        exchange = await client.open(server, deadlines=msgspec.structs.replace(QUICK, first_byte=0.25))
        assert await exchange.read(100) == b"x"


async def test_deadlines_of_one_exchange_do_not_reach_into_the_next(client: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(b"1"))
        await wire.request()
        await asyncio.sleep(0.4)
        await wire.send(answer(b"2"))

    async with RawServer(script) as server:
        short = msgspec.structs.replace(QUICK, first_byte=0.2, idle=0.2)
        assert await client.fetch(server, deadlines=short) == (200, b"1")
        assert await client.fetch(server) == (200, b"2")
        assert len(server.wires) == 1


async def test_a_reader_that_is_slow_is_not_an_upstream_that_is_idle(ours: Client) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED_HEAD)
        await wire.send(*[chunked(b"x" * 100_000, end=b"")] * 60, b"0\r\n\r\n")

    async with RawServer(script) as server:
        exchange = await ours.open(server, deadlines=msgspec.structs.replace(QUICK, idle=0.15))
        await asyncio.sleep(0.5)
        assert len(await exchange.read(1 << 24)) == 6_000_000


async def test_write_ends_a_request_that_is_not_taken(client: Client, request: pytest.FixtureRequest) -> None:
    weak(client, request, aiohttp="aiohttp 3.14 has no deadline for writing")

    async def script(wire: Wire) -> None:
        await asyncio.sleep(3)

    async with RawServer(script) as server:
        deadlines = msgspec.structs.replace(QUICK, write=0.1)
        with pytest.raises(errors.TimedOut, match=r"took nothing more of the request for 0.1 s \(deadline: write\)$"):
            await client.open(server, body=b"x" * 30_000_000, deadlines=deadlines)


async def test_write_does_not_end_a_request_that_is_taken_slowly(
    client: Client, request: pytest.FixtureRequest
) -> None:
    weak(client, request, httpx="httpcore 1.0.9 writes a body as one piece and its deadline is for that")

    async def script(wire: Wire) -> None:
        reader = wire._reader
        taken = 0
        await reader.readuntil(b"\r\n\r\n")
        while taken < SLOWLY:
            taken += len(await reader.read(1 << 20))
            await asyncio.sleep(0.02)
        await wire.send(answer(b"thanks"))

    async with RawServer(script) as server:
        deadlines = msgspec.structs.replace(QUICK, write=0.25)
        assert await client.fetch(server, body=b"x" * SLOWLY, deadlines=deadlines) == (200, b"thanks")


async def test_connect_ends_the_wait_for_a_connection(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        # Nobody accepts; once the queue is full the kernel drops what knocks.
        knocking = []
        for _ in range(8):
            knock = socket.socket()
            knock.setblocking(False)
            knock.connect_ex(("127.0.0.1", port))
            knocking.append(knock)
        await asyncio.sleep(0.05)
        deadlines = msgspec.structs.replace(QUICK, connect=0.1, first_byte=2)
        with pytest.raises(errors.TimedOut, match=r"^somebody accepted no connection within 0.1 s \(deadline: connect"):
            await client.open(f"http://127.0.0.1:{port}", deadlines=deadlines)
        for knock in knocking:
            knock.close()


async def test_connect_includes_the_tls_handshake(client: Client) -> None:
    async def mute(wire: Wire) -> None:
        await wire.gone()

    async with RawServer(mute) as server:
        deadlines = msgspec.structs.replace(QUICK, connect=0.2)
        with pytest.raises(errors.TimedOut, match="deadline: connect"):
            await client.open(f"https://localhost:{server.port}", deadlines=deadlines)


async def test_a_timer_is_not_made_per_chunk(ours: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    made = 0
    call_at = loop.call_at

    def counting(*args: object, **options: object) -> asyncio.TimerHandle:
        nonlocal made
        made += 1
        return call_at(*args, **options)  # type: ignore[arg-type]

    async with RawServer(saying(CHUNKED_HEAD, *[chunked(b"x", end=b"")] * 300, b"0\r\n\r\n")) as server:
        monkeypatch.setattr(loop, "call_at", counting)
        for _ in range(5):
            assert await ours.fetch(server) == (200, b"x" * 300)
        monkeypatch.undo()
    assert made <= 4
