"""Clients of a proxy that read streams side by side.  Rule: each is a request of its own on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import ScriptedUpstream, Step, sse

SESSION = {"x-claude-code-session-id": "0a1b2c3d"}
SHARE = {"x-ccproxy-share": "on"}


class Reading:
    """One client: what it has got of its stream so far."""

    def __init__(self, proxy: Proxy, headers: dict[str, str] | None = None, **body: Any) -> None:
        self.body = b""
        self.response: httpx.Response | None = None
        self._more = asyncio.Event()
        self.task = asyncio.ensure_future(self._read(proxy, SESSION if headers is None else headers, body))

    async def _read(self, proxy: Proxy, headers: dict[str, str], body: dict[str, Any]) -> None:
        async with proxy.streaming(message(**body), headers=headers) as response:
            self.response = response
            async for data in response.aiter_bytes():
                self.body += data
                self._more.set()
        self._more.set()

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(5):
            while text not in self.body:
                assert not self.task.done(), self.body
                self._more.clear()
                await self._more.wait()

    async def leave(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def whole(self) -> bytes:
        async with asyncio.timeout(10):
            await self.task
        return self.body

    @property
    def shared(self) -> bool:
        assert self.response is not None
        return self.response.headers.get("x-ccproxy-shared") == "true"


async def readers(proxy: Proxy, count: int) -> None:
    """Wait until the running stream is read by so many."""
    async with asyncio.timeout(5):
        while [len(stream.readers) for stream in proxy.runtime.house.streams.running] != [count]:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def between(*script: Step | dict[str, Any], **settings: str) -> AsyncIterator[tuple[ScriptedUpstream, Proxy]]:
    """A proxy in front of an upstream that answers everybody by these events."""
    async with ScriptedUpstream([sse(*script)]) as upstream:
        async with serving(upstream.base_url, PROVIDER_MAX_RETRIES="0", **settings) as proxy:
            yield upstream, proxy


async def readers_gone(proxy: Proxy) -> None:
    """Wait until no stream runs any more."""
    async with asyncio.timeout(5):
        while proxy.runtime.house.streams.running:
            await asyncio.sleep(0.005)
