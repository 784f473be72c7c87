"""Client gone, upstream aborted: at every moment of a request (ARCHITECTURE.md 1.9)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import httpx
import pytest

from tests.support.proxy import events, message, serving, text_of
from tests.support.upstream import DONE, ScriptedUpstream, delta, head, sse, text_stream


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_first_byte_frees_the_upstream(stream: bool) -> None:
    forever = asyncio.Event()
    async with ScriptedUpstream([[forever]]) as upstream, serving(upstream.base_url) as proxy:
        asking = asyncio.ensure_future(proxy.post(message(stream=stream)))
        await upstream.until(open=1)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await upstream.until(open=0, aborted=1)


async def test_leaving_in_the_middle_of_a_stream_frees_the_upstream_and_is_no_error(tmp_path: Path) -> None:
    forever, errors = asyncio.Event(), tmp_path / "error.jsonl"
    async with ScriptedUpstream([sse(delta(content="a"), forever)]) as upstream:
        async with serving(upstream.base_url, ERROR_LOG_FILE_PATH=str(errors)) as proxy:
            async with proxy.streaming() as response:
                async for _ in response.aiter_bytes():
                    break
            await upstream.until(open=0, aborted=1)
    assert errors.read_text() == ""


async def test_leaving_in_the_middle_of_a_whole_answer_frees_the_upstream() -> None:
    forever = asyncio.Event()
    async with ScriptedUpstream([[head(200, 1000) + b'{"choices"', forever]]) as upstream:
        async with serving(upstream.base_url) as proxy:
            asking = asyncio.ensure_future(proxy.post())
            await upstream.until(open=1)
            await asyncio.sleep(0.05)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            await upstream.until(open=0, aborted=1)


async def test_leaving_while_waiting_for_a_slot_gives_up_the_place() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *text_stream("x")]]) as upstream:
        async with serving(upstream.base_url, CCPROXY_UPSTREAM_SLOTS="1") as proxy:
            first = asyncio.ensure_future(proxy.post(message(stream=True)))
            await upstream.until(open=1)
            second = asyncio.ensure_future(proxy.post(message(stream=True)))
            third = asyncio.ensure_future(proxy.post(message(stream=True)))
            while len(proxy.runtime.active) < 3:
                await asyncio.sleep(0.005)
            second.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await second
            gate.set()
            assert (await first).status_code == (await third).status_code == 200
            assert len(upstream.requests) == 2


async def test_the_log_event_of_a_client_that_left_says_so() -> None:
    forever = asyncio.Event()
    async with ScriptedUpstream([[forever]]) as upstream, serving(upstream.base_url) as proxy:
        asking = asyncio.ensure_future(proxy.post())
        await upstream.until(open=1)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await upstream.until(open=0)
        totals = (await proxy.client.get("/v1/metrics")).json()["performance"]
        assert totals["by_outcome"] == {"client_closed": 1}


async def test_two_hundred_streams_a_third_of_the_clients_leaving_at_random() -> None:
    dice = random.Random(7)
    pieces = [part for n in range(40) for part in (delta(content=f"{n} "), 0.005)]
    async with ScriptedUpstream([sse(*pieces, delta("stop"), DONE)]) as upstream:  # type: ignore[arg-type]
        async with serving(upstream.base_url) as proxy:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(base_url=proxy.url, limits=limits, timeout=60, trust_env=False) as client:

                async def one(leave: bool) -> str:
                    body = b""
                    async with client.stream("POST", "/v1/messages", json=message(stream=True)) as response:
                        async for data in response.aiter_bytes():
                            body += data
                            if leave and dice.random() < 0.1:
                                return ""
                    return text_of(events(body))

                texts = await asyncio.gather(*(one(leave=n % 3 == 0) for n in range(200)))
            whole = "".join(f"{n} " for n in range(40))
            assert [text for text in texts if text and text != whole] == []
            assert texts.count(whole) >= 133
            await upstream.until(open=0)
