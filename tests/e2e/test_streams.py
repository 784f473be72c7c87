"""A stream from its commit to its end: what is still an HTTP status, what is an event, what ends whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.proxy import HELLO, events, message, serving, text_of
from tests.support.upstream import (
    CUT,
    DONE,
    RESET,
    ScriptedUpstream,
    chunked,
    delta,
    event,
    head,
    reply_json,
    sse,
    text_stream,
)

ERROR = {"error": {"message": "no such luck", "type": "server_error", "code": None}}


async def test_events_arrive_as_they_are_made() -> None:
    gate = asyncio.Event()
    script = sse(delta(content="one "), gate, delta(content="two"), delta("stop"), DONE)
    async with ScriptedUpstream([script]) as upstream, serving(upstream.base_url) as proxy:
        async with proxy.streaming() as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            assert response.headers["request-id"].startswith("req_")
            seen = b""
            async for data in response.aiter_bytes():
                seen += data
                if b"one " in seen and not gate.is_set():
                    assert b"two" not in seen
                    gate.set()
        pairs = events(seen)
        assert text_of(pairs) == "one two"
        assert [name for name, _ in pairs][-1] == "message_stop"
        assert pairs[0][1]["message"]["model"] == HELLO["model"]


@pytest.mark.parametrize(
    ("status", "answered", "kind"),
    [(400, 400, "invalid_request_error"), (401, 403, "permission_error"), (404, 404, "not_found_error"),
     (429, 429, "rate_limit_error"), (500, 500, "api_error"), (503, 529, "overloaded_error")],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_before_content_is_an_http_status(status: int, answered: int, kind: str, stream: bool) -> None:
    script = reply_json(ERROR, status, retry_after="7")
    async with ScriptedUpstream([script]) as upstream, serving(upstream.base_url, PROVIDER_MAX_RETRIES="0") as proxy:
        response = await proxy.post(message(stream=stream))
        assert (response.status_code, response.json()["error"]["type"]) == (answered, kind)
        assert len(upstream.requests) == 1


async def test_an_error_inside_a_fresh_stream_is_still_an_http_status() -> None:
    async with ScriptedUpstream([sse(ERROR)]) as upstream, serving(upstream.base_url) as proxy:
        response = await proxy.post(message(stream=True))
        assert response.status_code == 500
        assert response.json()["error"]["message"] == "no such luck"


@pytest.mark.parametrize("ending", [[ERROR], [CUT], [RESET]])
async def test_after_content_a_fault_is_the_last_event(ending: list[object]) -> None:
    async with ScriptedUpstream([sse(delta(content="half"), *ending)]) as upstream:  # type: ignore[arg-type]
        async with serving(upstream.base_url) as proxy, proxy.streaming() as response:
            pairs = events(await response.aread())
            names = [name for name, _ in pairs]
            assert response.status_code == 200
            assert names[-1] == "error"
            assert "message_stop" not in names
            assert "content_block_stop" not in names
            assert pairs[-1][1]["error"]["type"] == "api_error"
            assert pairs[-1][1]["request_id"] == response.headers["request-id"]


async def test_silence_commits_with_a_ping_and_then_pings_on() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *text_stream("late")]]) as upstream, serving(upstream.base_url) as proxy:

        async def tick() -> None:
            await upstream.until(open=1)
            proxy.tick(later=9.0)  # not yet: a real status is still possible
            assert [client.committed for client in proxy.runtime.watch.clients] == [False]
            proxy.tick(later=10.5)
            proxy.tick(later=12.0)  # 12 s after the request, but the ping has just left
            proxy.tick(later=30.0)
            gate.set()

        ticking = asyncio.ensure_future(tick())
        async with proxy.streaming() as response:
            body = (await response.aread()).decode()
        await ticking
        assert body.startswith('event: ping\ndata: {"type": "ping"}\n\n')
        assert body.count("event: ping") == 2
        assert text_of(events(body)) == "late"


async def test_a_fault_after_a_ping_is_an_event() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *reply_json(ERROR, 503)]]) as upstream, serving(upstream.base_url) as proxy:

        async def tick() -> None:
            await upstream.until(open=1)
            proxy.tick(later=11.0)
            gate.set()

        ticking = asyncio.ensure_future(tick())
        async with proxy.streaming() as response:
            pairs = events(await response.aread())
        await ticking
        assert response.status_code == 200
        assert [(name, data["error"]["type"]) for name, data in pairs] == [("error", "overloaded_error")]


async def test_an_upstream_that_forgets_to_end_is_ended_five_seconds_after_its_finish_reason() -> None:
    forever = asyncio.Event()
    script = sse(delta(content="all"), delta("stop"), forever)
    async with ScriptedUpstream([script]) as upstream, serving(upstream.base_url) as proxy:
        async with proxy.streaming() as response:
            body = b""
            async for data in response.aiter_bytes():
                body += data
                if b"all" in body:
                    await asyncio.sleep(0.05)  # the finish reason makes no event: nothing to wait for
                    proxy.tick(later=5.5)
        assert [name for name, _ in events(body)][-2:] == ["message_delta", "message_stop"]
        await upstream.until(open=0, aborted=1)


async def test_a_stop_sequence_the_model_ignores_is_enforced_and_ends_the_upstream() -> None:
    forever = asyncio.Event()
    stops = ["a", "b", "c", "d", "END"]  # OpenAI takes four: the proxy watches for all itself
    script = sse(delta(content="one E"), delta(content="ND two"), forever)
    async with ScriptedUpstream([script]) as upstream, serving(upstream.base_url) as proxy:
        async with proxy.streaming(message(stop_sequences=stops)) as response:
            pairs = events(await response.aread())
        assert text_of(pairs) == "one "
        assert pairs[-2][1]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END", "stop_details": None}
        await upstream.until(open=0, aborted=1)


async def test_a_json_answer_to_a_stream_request_becomes_events() -> None:
    completion = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]
    }
    async with ScriptedUpstream([reply_json(completion)]) as upstream, serving(upstream.base_url) as proxy:
        async with proxy.streaming() as response:
            pairs = events(await response.aread())
        assert text_of(pairs) == "whole"
        assert pairs[-1][0] == "message_stop"


async def test_the_actors_hear_nothing_of_chunks() -> None:
    """Invariant 6: a stream of 10 chunks and one of 1,000 move the actors' counters by the same number."""

    async def cost(pieces: int) -> dict[str, int]:
        async with ScriptedUpstream([text_stream(*["x"] * pieces)]) as upstream, serving(upstream.base_url) as proxy:
            for ref in proxy.runtime.supervisor.refs:
                for ticker in ref._tickers:
                    ticker.cancel()
            before = proxy.handled()
            async with proxy.streaming() as response:
                assert len(text_of(events(await response.aread()))) == pieces
            while proxy.runtime.supervisor.refs[-1].depth:
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            return {name: count - before[name] for name, count in proxy.handled().items()}

    few, many = await cost(10), await cost(1000)
    assert few == many == {"limiter": 2, "cache": 0, "provider": 2, "metrics": 1}


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    piece = "x" * 65536
    sent = 0

    def script(_: object) -> Iterator[bytes]:
        nonlocal sent
        yield head(200, None, content_type="text/event-stream")
        for _ in range(2000):
            sent += 1
            yield chunked(event(delta(content=piece)))

    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url) as proxy:  # type: ignore[arg-type]
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1024)
        body = json.dumps(message(stream=True)).encode()
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await reader.read(10)
        last = -1
        while last != sent:  # until everything between stands still
            last = sent
            await asyncio.sleep(0.3)
        assert sent < 1000
        writer.transport.abort()
        await upstream.until(open=0, aborted=1)


async def test_a_late_request_times_out_as_an_anthropic_error() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate]]) as upstream, serving(upstream.base_url, CCPROXY_TOTAL_TIMEOUT="0.2") as proxy:
        response = await proxy.post()
        assert response.status_code == 504
        assert response.json()["error"]["type"] == "timeout_error"
        await upstream.until(open=0, aborted=1)


async def test_first_content_lifts_the_limit_of_the_wait() -> None:
    script = sse(delta(content="a"), 0.6, delta(content="b"), delta("stop"), DONE)
    async with ScriptedUpstream([script]) as upstream, serving(upstream.base_url, CCPROXY_TOTAL_TIMEOUT="0.3") as proxy:
        async with proxy.streaming() as response:
            assert text_of(events(await response.aread())) == "ab"


async def test_an_unreachable_upstream_is_named_without_its_address() -> None:
    async with ScriptedUpstream() as upstream:
        gone = upstream.base_url
    async with serving(gone) as proxy:
        response = await proxy.post()
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "api_error"
        assert gone.split("/")[2] not in response.text


async def test_keep_alive_serves_the_next_request_after_a_stream() -> None:
    async with ScriptedUpstream([text_stream("a")]) as upstream, serving(upstream.base_url) as proxy:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=proxy.url, limits=limits, trust_env=False) as client:
            for _ in range(3):
                response = await client.post("/v1/messages", json=message(stream=True))
                assert text_of(events(response.content)) == "a"
        assert upstream.connections == 1  # and the upstream's connection is used again, too
