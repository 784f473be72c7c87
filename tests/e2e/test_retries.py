"""A fault that may pass is met by another attempt, in one layer, within a budget (docs/resilience.md)."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.provider_retries import FLOOR
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.front.requests import StrictRequest
from ccproxy_sanic.pipeline.way import Way
from tests.support.proxy import Proxy, events, message, serving, text_of
from tests.support.routes import routed
from tests.support.upstream import CUT, Received, Reply, ScriptedUpstream, delta, reply_json, sse, text_stream

QUICK = {"PROVIDER_RETRY_BASE_DELAY": "0.01", "CCPROXY_FIRST_BYTE_TIMEOUT": "0.3", "CLIENT_RATE_LIMIT_ENABLED": "0"}
PATIENT = {"PROVIDER_RETRY_BASE_DELAY": "60", "PROVIDER_RETRY_JITTER": "0"}
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop"}]}
OVERFLOW = {"error": {"message": "This model's maximum context length is 8 tokens. However, you requested 9 tokens."}}
QUOTA = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine(received: Received) -> Reply:
    return text_stream("we", "ll") if received.json().get("stream") else reply_json(WHOLE)


def status(code: int, body: Any = None, **headers: str) -> Reply:
    return reply_json(body or {"error": {"message": f"no: {code}"}}, code, **headers)


def broken(received: Received, *, begins: bool = True) -> Reply:
    """A stream that ends before its first content (and may have said its role), a whole answer that ends anywhere."""
    if received.json().get("stream"):
        return sse(*([delta(role="assistant", content="")] if begins else []), CUT)
    return [reply_json(WHOLE)[0][:-20], CUT]  # type: ignore[index]


def failing(times: int, reply: Reply | Callable[[Received], Reply]) -> Callable[[Received], Reply]:
    """``reply`` so many times, then a good answer."""
    left = [reply] * times

    def script(received: Received) -> Reply:
        if not left:
            return fine(received)
        bad = left.pop()
        return bad(received) if callable(bad) else bad

    return script


async def ask(proxy: Proxy, *, stream: bool) -> str:
    """Ask; the answer is whole and said once.  Returns the way."""
    response = await proxy.post(message(stream=stream))
    assert response.status_code == 200, response.text
    if stream:
        said = events(response.content)
        assert [name for name, _ in said].count("message_start") == 1
        assert (text_of(said), said[-1][0]) == ("well", "message_stop")
    else:
        assert response.json()["content"][0]["text"] == "well"
    return str(response.headers["x-ccproxy-route"])


def in_flight(proxy: Proxy) -> int:
    return sum(endpoint.in_flight for endpoint in proxy.runtime._endpoints.statistics().endpoints)


# a fault that may pass -> how it is called in x-ccproxy-route
PASSING: dict[str, tuple[Reply | Callable[[Received], Reply], str]] = {
    "429": (status(429), "429"),
    "500": (status(500), "500"),
    "503": (status(503), "503"),
    "504": (status(504), "timeout"),
    "silence": ([5.0], "timeout"),
    "garbage": ([b"SSH-2.0-OpenSSH\r\n", CUT], "garbled"),
    "closed": ([CUT], "broken"),
    "cut short": (lambda received: broken(received, begins=False), "broken"),
}
# faults that won't pass by themselves, or not soon
LASTING: dict[str, tuple[Reply, int]] = {
    "400": (status(400), 400),
    "401": (status(401), 403),
    "404": (status(404), 404),
    "too long": (status(400, OVERFLOW), 400),
    "no money": (status(429, QUOTA), 402),
    "told not to": (status(503, x_should_retry="false"), 529),
    "not so soon": (status(429, retry_after="21"), 429),
}


@both
@pytest.mark.parametrize("fault", PASSING)
async def test_one_more_attempt_answers_after(fault: str, stream: bool) -> None:
    reply, word = PASSING[fault]
    async with ScriptedUpstream(failing(1, reply)) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        way = await ask(proxy, stream=stream)
        name = way.rpartition(", ")[2]
        assert way == f"{name};failed={word}, {name}"
        assert len(upstream.requests) == 2
        assert upstream.requests[0].body == upstream.requests[1].body


async def test_a_stream_that_has_begun_but_not_spoken_is_made_by_the_other_attempt() -> None:
    async with ScriptedUpstream(failing(1, broken)) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        await ask(proxy, stream=True)
        assert len(upstream.requests) == 2


@both
@pytest.mark.parametrize("fault", LASTING)
async def test_there_is_no_other_attempt_after(fault: str, stream: bool) -> None:
    reply, code = LASTING[fault]
    async with ScriptedUpstream([reply]) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        response = await proxy.post(message(stream=stream))
        assert response.status_code == code
        assert len(upstream.requests) == 1


async def test_a_server_that_starts_up_is_found() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        async with serving(address, PROVIDER_MAX_RETRIES="1", PROVIDER_RETRY_BASE_DELAY="0.01") as proxy:
            response = await proxy.post()
            assert response.status_code == 500
            assert response.headers["x-ccproxy-route"].count("failed=unreachable") == 2


@both
async def test_after_the_last_attempt_the_fault_is_the_clients(stream: bool) -> None:
    async with ScriptedUpstream([status(503)]) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        response = await proxy.post(message(stream=stream))
        assert response.status_code == 529
        assert response.json()["error"]["message"] == "no: 503"
        assert response.headers["x-ccproxy-route"].count("failed=503") == len(upstream.requests) == 3


async def test_nothing_is_tried_again_after_the_first_content() -> None:
    reply = sse(delta(content="half"), CUT)
    async with ScriptedUpstream([reply]) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        said = events((await proxy.post(message(stream=True))).content)
        assert (text_of(said), said[-1][0]) == ("half", "error")
        assert len(upstream.requests) == 1


async def test_a_silence_in_the_middle_of_a_whole_answer_is_not_waited_for_again() -> None:
    reply = [reply_json(WHOLE)[0][:-20], 5.0]  # type: ignore[index]
    settings = {**QUICK, "CCPROXY_IDLE_TIMEOUT": "0.3"}
    async with ScriptedUpstream([reply]) as upstream, serving(upstream.base_url, **settings) as proxy:
        assert (await proxy.post()).status_code == 504
        assert len(upstream.requests) == 1


@both
async def test_every_other_target_goes_before_another_attempt(stream: bool, tmp_path: Path) -> None:
    async with ScriptedUpstream([status(503)]) as one, ScriptedUpstream(failing(1, status(500))) as two:
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams, **QUICK) as proxy:
            way = await ask(proxy, stream=stream)
            assert way == "one/m-one;failed=503, two/m-two;failed=500, two/m-two"
            assert (len(one.requests), len(two.requests)) == (1, 2)


async def test_all_keys_go_before_another_attempt_and_then_each_may_serve_again(tmp_path: Path) -> None:
    async with ScriptedUpstream(failing(2, status(429))) as one:
        keys = {"K1": "key-one-123456", "K2": "key-two-123456"}
        upstreams = {"one": {"base_url": one.base_url, "key_env": ["K1", "K2"]}}
        async with routed(tmp_path, upstreams, **QUICK, **keys) as proxy:
            assert await ask(proxy, stream=False) == "one/m-one;failed=429, one/m-one;failed=429, one/m-one"
            used = [received.headers["authorization"] for received in one.requests]
            assert len(set(used[:2])) == 2


async def test_a_short_retry_after_is_kept_to_and_counts_as_queue() -> None:
    replies = failing(1, status(429, retry_after_ms="300"))
    async with ScriptedUpstream(replies) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        began = time.monotonic()
        response = await proxy.post()
        assert time.monotonic() - began >= 0.29
        assert response.status_code == 200
        queue = response.headers["server-timing"].partition("queue;dur=")[2].partition(",")[0]
        assert float(queue) >= 290.0  # the loop's clock moves in ms
        assert len(upstream.requests) == 2


async def test_a_long_retry_after_is_the_clients_at_once() -> None:
    async with ScriptedUpstream([status(429, retry_after="120")]) as upstream:
        async with serving(upstream.base_url, **QUICK) as proxy:
            response = await proxy.post()
            assert (response.status_code, response.headers["retry-after"]) == (429, "120")
            assert len(upstream.requests) == 1


async def test_no_pause_goes_past_the_deadline() -> None:
    async with ScriptedUpstream([status(503)]) as upstream:
        async with serving(upstream.base_url, **PATIENT, CCPROXY_TOTAL_TIMEOUT="30") as proxy:
            assert (await proxy.post()).status_code == 529
            assert len(upstream.requests) == 1


async def test_nothing_else_is_tried_when_a_target_fails_after_the_deadline(tmp_path: Path) -> None:
    late: Reply = [0.3, *status(503)]
    async with ScriptedUpstream([late]) as one, ScriptedUpstream(fine) as two:
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams, CCPROXY_TOTAL_TIMEOUT="0.1") as proxy:
            assert (await proxy.post()).status_code in (529, 504)  # the upstream's fault, or the ticker was first
            assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_a_storm_of_faults_is_met_by_a_few_attempts_more() -> None:
    settings = {**QUICK, "PROVIDER_RETRY_BASE_DELAY": "0"}
    async with ScriptedUpstream([status(429)]) as upstream, serving(upstream.base_url, **settings) as proxy:
        answers = await asyncio.gather(*(proxy.post(message(stream=n % 2 == 0)) for n in range(60)))
        assert {answer.status_code for answer in answers} == {429}
        assert len(upstream.requests) == 60 + FLOOR


async def test_while_it_pauses_a_request_holds_no_slot_and_one_that_is_left_holds_nothing() -> None:
    settings = {**PATIENT, "CCPROXY_UPSTREAM_SLOTS": "1"}
    async with ScriptedUpstream(failing(1, status(503))) as upstream, serving(upstream.base_url, **settings) as proxy:
        pausing = asyncio.ensure_future(proxy.post(message(stream=True)))
        await upstream.until(open=0)
        while in_flight(proxy) or not upstream.requests:
            await asyncio.sleep(0.005)
        assert await ask(proxy, stream=False)  # the only slot is free
        assert len(proxy.runtime.active) == 1
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)
    assert len(upstream.requests) == 2


async def test_a_pause_is_ended_by_a_shutdown_with_a_word() -> None:
    async with ScriptedUpstream([status(503)]) as upstream, serving(upstream.base_url, **PATIENT) as proxy:
        pausing = asyncio.ensure_future(proxy.post())
        while in_flight(proxy) or not upstream.requests:
            await asyncio.sleep(0.005)
        await proxy.runtime.drain()
        response = await pausing
        assert response.status_code == 529
        assert response.json()["error"]["message"] == "the proxy is restarting"


@both
@pytest.mark.parametrize("code", [400, 500])
async def test_a_request_that_fails_is_freed_without_the_collector(code: int, stream: bool) -> None:
    async with ScriptedUpstream([status(code)]) as upstream, serving(upstream.base_url, **QUICK) as proxy:
        assert (await proxy.post(message(stream=stream))).status_code == code
        gc.collect()
        gc.disable()
        try:
            assert (await proxy.post(message(stream=stream))).status_code == code
            await asyncio.sleep(0.05)
            assert not [thing for thing in gc.get_objects() if isinstance(thing, (Way, RequestContext, StrictRequest))]
        finally:
            gc.enable()


@pytest.mark.parametrize(
    "end",
    [{"error": {"message": "no", "code": 500}}, b"data: {\n\n", asyncio.Event()],
    ids=["said", "garbage", "silence"],
)
async def test_a_stream_that_ends_in_a_fault_is_freed_without_the_collector(end: Any) -> None:
    upstream = ScriptedUpstream([sse(delta(content="we"), end)])
    async with upstream, serving(upstream.base_url, **QUICK) as proxy:

        async def fail() -> None:
            read = b""
            async with proxy.client.stream("POST", "/v1/messages", json=message(stream=True)) as response:
                async for block in response.aiter_bytes():
                    read += block
                    if isinstance(end, asyncio.Event):  # nothing more comes
                        proxy.tick(100_000)
            assert b"event: error" in read

        await fail()
        gc.collect()
        gc.disable()
        try:
            await fail()
            await asyncio.sleep(0.05)
            assert not [thing for thing in gc.get_objects() if isinstance(thing, (Way, RequestContext, StrictRequest))]
        finally:
            gc.enable()
