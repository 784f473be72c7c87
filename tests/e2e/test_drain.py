"""SIGTERM: what is under way ends well, what is not ends with a word, and the process ends in time (invariant 10)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.proxy import events, message, text_of
from tests.support.quiet import assert_quiet
from tests.support.server_process import serve
from tests.support.upstream import DONE, ScriptedUpstream, delta, sse

SPARE = 2.0  # seconds that a drain may take beyond its grace


@pytest.mark.parametrize("stream", [True, False])
async def test_two_sigterms_let_an_open_request_finish(tmp_path: Path, stream: bool) -> None:
    gate = asyncio.Event()
    last = sse(delta(content="kept"), gate, delta("stop"), DONE) if stream else [gate, *whole("kept")]
    async with ScriptedUpstream([last]) as upstream:
        with serve(tmp_path, {"OPENAI_BASE_URL": upstream.base_url, "CCPROXY_GRACE": "20"}) as server:
            asking = asyncio.ensure_future(ask(server.url, stream))
            await upstream.until(open=1)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            assert server.process.poll() is None
            gate.set()
            status, body = await asking
            assert status == 200
            assert "kept" in body
            assert not stream or events(body)[-1][0] == "message_stop"
            assert await asyncio.to_thread(server.process.wait, SPARE + 5) == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_what_outlives_the_grace_is_told_and_the_exit_is_in_time(tmp_path: Path, stream: bool) -> None:
    forever, grace = asyncio.Event(), 1.0
    async with ScriptedUpstream([sse(delta(content="half"), forever) if stream else [forever]]) as upstream:
        settings = {"OPENAI_BASE_URL": upstream.base_url, "CCPROXY_GRACE": str(grace)}
        with serve(tmp_path, settings) as server:
            asking = asyncio.ensure_future(ask(server.url, stream))
            await upstream.until(open=1)
            await asyncio.sleep(0.2)
            for _ in range(2):
                server.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
            status, body = await asking
            assert '"overloaded_error"' in body
            assert status == (200 if stream else 529)
            if stream:
                assert text_of(events(body)) == "half"
                assert events(body)[-1][0] == "error"
            assert await asyncio.to_thread(server.process.wait, grace + SPARE) == 0
            await upstream.until(open=0, aborted=1)


async def test_an_idle_connection_does_not_hold_the_exit(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            assert (await client.post("/v1/messages", json=message())).status_code == 200
            await assert_quiet(server.url)
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, SPARE) == 0


def whole(text: str) -> list[bytes]:
    from tests.support.upstream import reply_json

    answer = {"role": "assistant", "content": text}
    return reply_json({"choices": [{"index": 0, "message": answer, "finish_reason": "stop"}]})  # type: ignore[return-value]


async def ask(url: str, stream: bool) -> tuple[int, str]:
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        response = await client.post("/v1/messages", json=message(stream=stream))
        return response.status_code, response.text
