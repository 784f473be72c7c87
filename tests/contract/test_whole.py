"""An answer that is all here is had at once: without a wait, a timer or a turn of the loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.upstream import Exchange
from tests.contract.conftest import Client
from tests.support.raw_server import CHUNKED_HEAD, RawServer, answer, chunked, saying

WHOLE = [answer(b"hello"), CHUNKED_HEAD + chunked(b"he", b"llo"), answer()]


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns without having waited for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it waits")


async def opened(ours: Client, server: RawServer) -> Exchange:
    exchange = await ours.open(server)
    assert ours.busy == 0  # all of it came with the head
    return exchange


@pytest.mark.parametrize("raw", WHOLE, ids=["length", "chunks", "empty"])
async def test_it_is_read_at_once_and_only_once(ours: Client, raw: bytes) -> None:
    async with RawServer(saying(raw)) as server:
        for _ in range(2):
            exchange = await opened(ours, server)
            body = at_once(exchange.read(5))
            assert body == (b"" if raw == answer() else b"hello")
            assert exchange.finished
            assert at_once(exchange.read(5)) == b""
        assert len(server.wires) == 1


@pytest.mark.parametrize("raw", WHOLE, ids=["length", "chunks", "empty"])
async def test_it_is_finished_at_once_read_or_not(ours: Client, raw: bytes) -> None:
    async with RawServer(saying(raw)) as server:
        for _ in range(2):
            exchange = await opened(ours, server)
            at_once(exchange.finish())
            assert exchange.finished
            exchange.abort()
            assert at_once(exchange.read(5)) == b""
        assert len(server.wires) == 1


async def test_it_is_read_on_where_a_reader_of_parts_stopped(client: Client) -> None:
    async with RawServer(saying(answer(b"hello"))) as server:
        exchange = await client.open(server)
        assert await anext(aiter(exchange)) == b"hello"
        assert await exchange.read(5) == b""
        assert exchange.finished


async def test_over_the_limit_it_is_garbled_and_costs_no_connection(ours: Client) -> None:
    async with RawServer(saying(answer(b"hello"))) as server:
        for _ in range(2):
            with pytest.raises(errors.Garbled, match=r"^The answer of somebody is larger than 4 bytes\.$"):
                at_once((await opened(ours, server)).read(4))
        assert len(server.wires) == 1


async def test_aborted_before_it_was_read_it_is_broken(client: Client) -> None:
    async with RawServer(saying(answer(b"hello"))) as server:
        exchange = await client.open(server)
        exchange.abort()
        await exchange.finish()
        await client.settled()
        with pytest.raises(errors.Broken, match="aborted"):
            await exchange.read(5)
        assert not exchange.finished
