"""The scripted upstream says what it is told and notices who leaves: other tests lean on both."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.upstream import CUT, DONE, RESET, ScriptedUpstream, delta, reply_json, sse, text_stream


async def post(upstream: ScriptedUpstream, body: object = None) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.post(f"{upstream.base_url}/chat/completions?x=1", json=body or {})


async def test_replies_come_in_order_and_the_last_one_stays() -> None:
    async with ScriptedUpstream([reply_json({"n": 1}, 503, retry_after="7"), text_stream("a", "b")]) as upstream:
        first = await post(upstream, {"q": 1})
        assert (first.status_code, first.headers["retry-after"], first.json()) == (503, "7", {"n": 1})
        for _ in range(2):
            again = await post(upstream)
            assert again.headers["content-type"] == "text/event-stream"
            assert again.text.count("data: ") == 6
            assert again.text.endswith("data: [DONE]\n\n")
        assert upstream.requests[0].json() == {"q": 1}
        assert upstream.requests[0].target == "/v1/chat/completions?x=1"
        assert upstream.requests[0].headers["content-type"] == "application/json"
        assert [request.connection for request in upstream.requests] == [0, 1, 2]


async def test_a_function_may_answer() -> None:
    async with ScriptedUpstream(lambda received: reply_json(received.json())) as upstream:
        assert (await post(upstream, {"x": "y"})).json() == {"x": "y"}


async def test_one_connection_carries_many_requests() -> None:
    async with ScriptedUpstream([text_stream("a")]) as upstream, httpx.AsyncClient(trust_env=False) as http:
        for _ in range(3):
            await http.post(f"{upstream.base_url}/chat/completions", content=b"x" * 100_000)
        assert upstream.connections == 1
        assert upstream.connected == 1
        assert upstream.open == upstream.aborted == 0


@pytest.mark.parametrize(("end", "error"), [(CUT, httpx.RemoteProtocolError), (RESET, httpx.ReadError)])
async def test_the_wire_is_cut_on_command(end: object, error: type[Exception]) -> None:
    script = sse(delta(content="half"), 0.02, end)  # type: ignore[arg-type]
    async with ScriptedUpstream([script]) as upstream:
        with pytest.raises(error):
            await post(upstream)
        await upstream.until(open=0, connected=0, aborted=0)


async def test_silence_ends_when_the_event_is_set_or_the_client_leaves() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([sse(gate, delta("stop"), DONE)]) as upstream:
        stays, leaves = asyncio.ensure_future(post(upstream)), asyncio.ensure_future(post(upstream))
        await upstream.until(open=2)
        leaves.cancel()
        await upstream.until(open=1, aborted=1)
        gate.set()
        assert (await stays).status_code == 200
        await upstream.until(open=0, aborted=1)


async def test_leaving_the_block_ends_what_is_under_way() -> None:
    async with ScriptedUpstream([[60.0]]) as upstream:
        waiting = asyncio.ensure_future(post(upstream))
        await upstream.until(open=1)
    with pytest.raises(httpx.TransportError):
        await waiting
    assert upstream.open == 0
