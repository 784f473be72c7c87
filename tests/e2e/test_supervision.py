"""An actor that crashes costs nobody anything but its own message; one that can't be kept alive ends the process."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.poison import Poison
from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import ScriptedUpstream, text_stream


async def crash(proxy: Proxy, name: str, times: int = 1) -> None:
    [ref] = [ref for ref in proxy.runtime.supervisor.refs if ref.name == name]
    before = ref.stats.crashes
    for _ in range(times):
        ref.tell(Poison(), urgent=True)
    while ref.stats.crashes < before + times:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", ["limiter", "cache", "provider", "metrics"])
async def test_any_actor_may_crash_under_an_open_stream(name: str) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *text_stream("x")]]) as upstream:
        async with serving(
            upstream.base_url, CCPROXY_UPSTREAM_SLOTS="1", CCPROXY_MAX_CONCURRENT="2", CCPROXY_QUEUE_WAIT="0"
        ) as proxy:
            first, second = (asyncio.ensure_future(proxy.post(message(stream=True))) for _ in range(2))
            await upstream.until(open=1)
            while len(proxy.runtime.active) < 2:
                await asyncio.sleep(0.005)
            await crash(proxy, name)
            refused = await proxy.post()
            assert refused.status_code == 429  # two are under way still: the books survived
            gate.set()
            assert (await first).status_code == (await second).status_code == 200
            assert len(upstream.requests) == 2


async def test_an_actor_that_keeps_crashing_ends_the_process() -> None:
    fatal = asyncio.Event()
    async with serving() as proxy:
        proxy.runtime.on_fatal = fatal.set
        await crash(proxy, "limiter", times=6)
        await asyncio.wait_for(fatal.wait(), 5)
        assert proxy.runtime.fatal
        assert (await proxy.client.get("/ready")).status_code == 503
        response = await proxy.post()
        assert (response.status_code, response.json()["error"]["type"]) == (529, "overloaded_error")
