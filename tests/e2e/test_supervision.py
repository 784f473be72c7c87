"""An actor that crashes costs nobody anything but its own message; one that can't be kept alive ends the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.support.poison import Poison
from tests.support.proxy import Proxy, events, message, serving
from tests.support.server_process import ROOT, STOPPED_WITHIN, serve
from tests.support.upstream import ScriptedUpstream, text_stream

# What Python runs before everything else: a limiter with a bug that long requests bring out.
BUG = """
import actors.rate_limiter as module

sound = module.RateLimiterActor.handle

def handle(self, message, reply):
    if isinstance(message, module.Admit) and message.cost > 1000:
        raise RuntimeError("a bug")
    sound(self, message, reply)

module.RateLimiterActor.handle = handle
"""


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


def test_a_real_process_then_lets_streams_end_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BUG)
    settings = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "CCPROXY_DEMO_PACE": "0.05"}
    long = message(messages=[{"role": "user", "content": "x" * 8_000}])
    with serve(tmp_path, settings) as server, httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
        with http.stream("POST", "/v1/messages", json=message(stream=True)) as stream:
            lines = stream.iter_lines()
            first = next(lines)
            # Each on a connection of its own: those that idle are closed when the drain begins.
            for _ in range(6):
                assert httpx.post(f"{server.url}/v1/messages", json=long, trust_env=False).status_code == 500
            said = events("\n".join([first, *lines]))
        assert said[-1][0] == "message_stop"
        assert server.process.wait(STOPPED_WITHIN) == 1
        assert "giving up" in server.output
