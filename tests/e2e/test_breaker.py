"""An upstream that fails is left alone, and one that is slower than usual is not waited for (docs/resilience.md).

The original's own promises of both are in tests/e2e/original.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from actors import BreakerState, EndpointStatistics, Manner, Tick, provider_pace
from tests.support.descriptors import exhausted
from tests.support.proxy import Proxy, events, message, serving, text_of
from tests.support.routes import routed
from tests.support.upstream import CUT, Received, Reply, ScriptedUpstream, delta, reply_json, sse, text_stream

SETTINGS = {
    "CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "0.2",
    "CIRCUIT_BREAKER_HALF_OPEN_REQUESTS": "2",
    "PROVIDER_MAX_RETRIES": "0",
}
LONG = SETTINGS | {"CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "60"}
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop"}]}
DOWN: Reply = reply_json({"error": {"message": "down"}}, 503)

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine(received: Received) -> Reply:
    return text_stream("we", "ll") if received.json().get("stream") else reply_json(WHOLE)


def first(*replies: Reply | Callable[[Received], Reply]) -> Callable[[Received], Reply]:
    """These, then good answers."""
    left = list(replies)

    def script(received: Received) -> Reply:
        reply = left.pop(0) if left else fine
        return reply(received) if callable(reply) else reply

    return script


def endpoint(proxy: Proxy, number: int = 0) -> EndpointStatistics:
    return proxy.runtime._endpoints.statistics().endpoints[number]


async def statuses(proxy: Proxy, n: int, *, stream: bool = False) -> list[int]:
    return [(await proxy.post(message(stream=stream))).status_code for _ in range(n)]


async def settled(proxy: Proxy) -> None:
    """Wait until everything told to the provider is handled, a tick among it."""
    handled = proxy.handled()["provider"]
    proxy.runtime.house.provider.tell(Tick(), urgent=True)
    while proxy.handled()["provider"] <= handled:
        await asyncio.sleep(0.005)


@both
async def test_five_faults_in_a_row_and_the_upstream_is_left_alone(stream: bool) -> None:
    async with ScriptedUpstream([DOWN]) as upstream, serving(upstream.base_url, **LONG) as proxy:
        assert await statuses(proxy, 5, stream=stream) == [529] * 5
        refused = await proxy.post(message(stream=stream))
        assert (refused.status_code, refused.json()["error"]["type"]) == (529, "overloaded_error")
        assert "it failed too often and is left alone for now" in refused.json()["error"]["message"]
        assert 55 <= int(refused.headers["retry-after"]) <= 60
        assert "x-ccproxy-route" not in refused.headers
        assert len(upstream.requests) == 5


@both
async def test_it_is_used_again_when_it_has_come_back(stream: bool) -> None:
    script = first(*[DOWN] * 5)
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **SETTINGS) as proxy:
        await statuses(proxy, 5, stream=stream)
        assert await statuses(proxy, 1, stream=stream) == [529]
        await asyncio.sleep(0.25)
        assert await statuses(proxy, 2, stream=stream) == [200, 200]
        await settled(proxy)
        assert endpoint(proxy).breaker is BreakerState.CLOSED
        assert len(upstream.requests) == 7


async def test_half_open_it_gets_a_few_at_a_time_and_a_client_that_leaves_makes_room() -> None:
    gate = asyncio.Event()
    script = first(*[DOWN] * 5, [gate, *reply_json(WHOLE)], [gate, *reply_json(WHOLE)])
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **SETTINGS) as proxy:
        await statuses(proxy, 5)
        await asyncio.sleep(0.25)
        probes = [asyncio.ensure_future(proxy.post()) for _ in range(2)]
        await upstream.until(open=2)
        assert await statuses(proxy, 3) == [529] * 3
        probes[0].cancel()
        await upstream.until(open=1)
        while endpoint(proxy).in_flight == 2:
            await asyncio.sleep(0.005)
        assert await statuses(proxy, 1) == [200]
        gate.set()
        assert (await probes[1]).status_code == 200
        await settled(proxy)
        assert endpoint(proxy).breaker is BreakerState.CLOSED


async def test_faults_after_the_first_content_count_too() -> None:
    half = sse(delta(content="half"), CUT)
    async with ScriptedUpstream([half]) as upstream, serving(upstream.base_url, **LONG) as proxy:
        assert await statuses(proxy, 6, stream=True) == [200] * 5 + [529]
        assert len(upstream.requests) == 5


@pytest.mark.parametrize("code", [400, 401, 404, 413, 429, 501])
async def test_what_the_client_or_a_key_is_to_blame_for_does_not_count(code: int) -> None:
    reply = reply_json({"error": {"message": "no"}}, code)
    settings = LONG | {"CLIENT_RATE_LIMIT_ENABLED": "0"}
    async with ScriptedUpstream([reply]) as upstream, serving(upstream.base_url, **settings) as proxy:
        await statuses(proxy, 8)
        assert len(upstream.requests) == 8


async def test_clients_that_leave_do_not_count() -> None:
    gate = asyncio.Event()
    script = first(*[[gate]] * 6)
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **LONG) as proxy:
        for _ in range(6):
            asked = asyncio.ensure_future(proxy.post())
            await upstream.until(open=1)
            asked.cancel()
            await upstream.until(open=0)
        assert await statuses(proxy, 1) == [200]


async def test_a_target_whose_breaker_is_open_is_passed_over_and_the_way_says_so(tmp_path: Path) -> None:
    async with ScriptedUpstream([DOWN]) as one, ScriptedUpstream(fine) as two:
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams, **LONG) as proxy:
            ways = [(await proxy.post()).headers["x-ccproxy-route"] for _ in range(6)]
            assert ways == ["one/m-one;failed=503, two/m-two"] * 5 + ["two/m-two;passed=one"]
            assert (len(one.requests), len(two.requests)) == (5, 6)


async def test_where_a_fallback_is_left_alone_the_first_ones_fault_is_the_clients(tmp_path: Path) -> None:
    slow_down = reply_json({"error": {"message": "slow down"}}, 429, retry_after="30")
    async with ScriptedUpstream([slow_down]) as one, ScriptedUpstream([DOWN]) as two:
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        settings = LONG | {"CLIENT_RATE_LIMIT_ENABLED": "0"}
        async with routed(tmp_path, upstreams, **settings) as proxy:
            await statuses(proxy, 5)
            response = await proxy.post()
            assert (response.status_code, response.headers["retry-after"]) == (429, "30")
            assert response.headers["x-ccproxy-route"] == "one/m-one;passed=two;failed=429"
            assert (len(one.requests), len(two.requests)) == (6, 5)


async def test_a_retry_ends_where_the_breaker_opens() -> None:
    settings = LONG | {
        "PROVIDER_MAX_RETRIES": "10",
        "PROVIDER_RETRY_BASE_DELAY": "0",
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "3",
    }
    async with ScriptedUpstream([DOWN]) as upstream, serving(upstream.base_url, **settings) as proxy:
        response = await proxy.post()
        assert response.status_code == 529
        assert response.json()["error"]["message"] == "down"  # the upstream's word, not the breaker's
        assert len(upstream.requests) == 3


async def test_tokens_are_counted_by_ourselves_where_the_upstream_is_left_alone() -> None:
    async with (
        ScriptedUpstream([DOWN]) as upstream,
        serving(upstream.base_url, CCPROXY_API="messages", **LONG) as proxy,
    ):
        answers = [await proxy.post(message(), path="/v1/messages/count_tokens") for _ in range(7)]
        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.json()["input_tokens"] > 0 for answer in answers)
        assert len(upstream.requests) == 5


async def test_a_rest_that_began_before_the_first_tick_is_not_shown_longer_than_it_is() -> None:
    async with ScriptedUpstream([DOWN]) as upstream, serving(upstream.base_url, **LONG) as proxy:
        await statuses(proxy, 5)
        while endpoint(proxy).breaker is not BreakerState.OPEN:
            await asyncio.sleep(0.005)
        assert 50 < endpoint(proxy).open_for <= 60


async def test_our_own_lack_of_descriptors_opens_no_breaker() -> None:
    async with ScriptedUpstream(fine) as upstream, serving(upstream.base_url, **LONG) as proxy:
        assert (await proxy.client.get("/health")).status_code == 200  # the client's connection is there
        with exhausted():
            assert await statuses(proxy, 7) == [500] * 7
        assert await statuses(proxy, 1) == [200]


@pytest.fixture
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_pace, "LEAST", 0.3)


async def learned(proxy: Proxy, **fields: object) -> None:
    """Enough quick answers, and the tick that makes a limit of them."""
    for _ in range(provider_pace.ENOUGH):
        assert (await proxy.post(message(**fields))).status_code == 200
    await settled(proxy)
    assert endpoint(proxy).limits == 1


def slow_after(n: int, seconds: float) -> Callable[[Received], Reply]:
    asked: list[Received] = []

    def script(received: Received) -> Reply:
        asked.append(received)
        late: Sequence[float] = [seconds] if len(asked) > n else []
        return [*late, *fine(received)]

    return script


@pytest.mark.usefixtures("quick_limits")
async def test_a_stream_that_begins_much_later_than_usual_is_asked_for_again_with_more_patience() -> None:
    script = slow_after(provider_pace.ENOUGH, 0.8)
    settings = {"PROVIDER_MAX_RETRIES": "1", "PROVIDER_RETRY_BASE_DELAY": "0"}
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        await learned(proxy, stream=True)
        response = await proxy.post(message(stream=True))
        assert text_of(events(response.content)) == "well"
        assert ";failed=timeout, " in response.headers["x-ccproxy-route"]
        assert len(upstream.requests) == provider_pace.ENOUGH + 2
        assert endpoint(proxy).limits == 0


@pytest.mark.usefixtures("quick_limits")
async def test_what_was_learned_of_one_model_or_size_says_nothing_about_another() -> None:
    script = slow_after(provider_pace.ENOUGH, 0.8)
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **SETTINGS) as proxy:
        await learned(proxy, stream=True)
        long = message(stream=True, messages=[{"role": "user", "content": "x" * 9_000}])
        others = [message(stream=True, model="claude-haiku-4-5"), long, message(stream=False)]
        assert [(await proxy.post(other)).status_code for other in others] == [200] * 3


@pytest.mark.usefixtures("quick_limits")
async def test_a_whole_answer_is_not_cut_before_its_tokens_could_be_made() -> None:
    script = slow_after(provider_pace.ENOUGH, 0.8)
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **SETTINGS) as proxy:
        await learned(proxy, max_tokens=1)
        assert (await proxy.post(message(max_tokens=20))).status_code == 200
        assert (await proxy.post(message(max_tokens=1))).status_code == 504


async def test_times_to_the_first_byte_are_kept_apart_and_counting_tokens_is_none() -> None:
    async with ScriptedUpstream(fine) as upstream, serving(upstream.base_url) as proxy:
        await statuses(proxy, 2)
        await statuses(proxy, 3, stream=True)
        await settled(proxy)
        shown = endpoint(proxy).first_byte
        assert {manner: shown[manner].count for manner in Manner} == {Manner.STREAM: 3, Manner.WHOLE: 2}
        assert all(0 < shown[manner].p50 <= shown[manner].p95 <= shown[manner].p99 for manner in Manner)
    counted = reply_json({"input_tokens": 7})
    async with ScriptedUpstream([counted]) as upstream, serving(upstream.base_url, CCPROXY_API="messages") as proxy:
        response = await proxy.post(message(), path="/v1/messages/count_tokens")
        assert response.json() == {"input_tokens": 7}
        await settled(proxy)
        assert endpoint(proxy).ok == 1
        assert endpoint(proxy).first_byte[Manner.WHOLE].count == 0
