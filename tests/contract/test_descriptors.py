"""A process without a file descriptor left can't connect: that is one request's fault, clearly said, and passes."""

from __future__ import annotations

import asyncio

import pytest

from ccproxy_sanic import errors
from tests.contract.conftest import Client
from tests.support.descriptors import exhausted
from tests.support.raw_server import RawServer, answer, saying


async def test_it_is_said_and_afterwards_all_is_well(client: Client) -> None:
    async with RawServer(saying(answer(b"well"))) as server:
        with exhausted():
            for _ in range(3):
                with pytest.raises(errors.Unreachable) as caught:
                    await client.fetch(server)
                assert str(caught.value) == "Could not connect to somebody: this proxy has no file descriptor left"
                await asyncio.sleep(0)
        assert await client.fetch(server) == (200, b"well")
