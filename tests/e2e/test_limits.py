"""Limits as a client sees them: who is refused and told when to return, who waits, what an upstream's 429 changes."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.poison import Poison
from tests.support.proxy import Proxy, events, message, serving, text_of
from tests.support.routes import routed
from tests.support.upstream import Received, Reply, ScriptedUpstream, reply_json, text_stream

NO_RETRIES = {"PROVIDER_MAX_RETRIES": "0"}
AT_ONCE = {"CCPROXY_QUEUE_WAIT": "0"}
PREFIX = "anthropic-ratelimit-"


def answer(received: Received | None = None, tokens: int = 10) -> Reply:
    if received is not None and received.json().get("stream"):
        return text_stream("x")
    message = {"role": "assistant", "content": "x"}
    usage = {"prompt_tokens": tokens - 1, "completion_tokens": 1, "total_tokens": tokens}
    return reply_json({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})


def busy(**headers: str) -> Reply:
    return reply_json({"error": {"message": "too many requests"}}, 429, **headers)


def said(response: httpx.Response, kind: str = "requests") -> tuple[int, int, float]:
    """Limit, remaining, and seconds until all is there again, as the headers have it."""
    limit, remaining, reset = (response.headers[f"{PREFIX}{kind}-{what}"] for what in ("limit", "remaining", "reset"))
    seconds = datetime.strptime(reset, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() - time.time()
    return int(limit), int(remaining), seconds


def refused(response: httpx.Response) -> int:
    """The seconds that a refused request is told to wait."""
    assert response.status_code == 429, response.text
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "rate_limit_error"
    return int(response.headers["retry-after"])


async def upstream_of(proxy: Proxy) -> dict[str, Any]:
    """What the limiter knows of the only upstream."""
    [found] = (await proxy.client.get("/v1/metrics")).json()["limits"]["upstreams"]
    return dict(found)


async def settled(proxy: Proxy) -> None:
    """Until every permit is back."""
    while proxy.runtime.quiet().leases:
        await asyncio.sleep(0.005)


# -- callers


async def test_each_answer_tells_what_is_left_of_the_callers_limit() -> None:
    async with ScriptedUpstream(answer) as upstream:
        async with serving(upstream.base_url, RATE_LIMIT_PER_MINUTE="2", RATE_LIMIT_BURST="1", **AT_ONCE) as proxy:
            whole, stream, last = [await proxy.post(message(stream=n == 1)) for n in range(3)]
            assert [response.status_code for response in (whole, stream, last)] == [200] * 3
            assert [said(response)[:2] for response in (whole, stream, last)] == [(3, 2), (3, 1), (3, 0)]
            assert said(whole)[2] == pytest.approx(30, abs=3)
            assert said(last)[2] == pytest.approx(90, abs=3)
            more = await proxy.post()
            assert 29 <= refused(more) <= 30
            assert said(more)[:2] == (3, 0)
            assert f"{PREFIX}tokens-limit" not in more.headers
            assert len(upstream.requests) == 3


async def test_without_a_limit_there_are_no_such_headers() -> None:
    async with ScriptedUpstream(answer) as upstream, serving(upstream.base_url) as proxy:
        assert not any(name.startswith(PREFIX) for name in (await proxy.post()).headers)


async def test_counting_tokens_takes_no_budget() -> None:
    async with ScriptedUpstream(answer) as upstream:
        async with serving(upstream.base_url, RATE_LIMIT_PER_MINUTE="1", RATE_LIMIT_BURST="0", **AT_ONCE) as proxy:
            counts = [await proxy.post(path="/v1/messages/count_tokens") for _ in range(5)]
            assert [count.status_code for count in counts] == [200] * 5
            assert (await proxy.post()).status_code == 200
            assert refused(await proxy.post()) > 50


async def test_who_comes_too_early_waits_its_turn_and_all_are_answered_in_order() -> None:
    gate = asyncio.Event()

    def gated(received: Received) -> Reply:
        return [gate, *answer(received)]

    async with ScriptedUpstream(gated) as upstream, serving(upstream.base_url, CCPROXY_MAX_CONCURRENT="1") as proxy:
        asking = []
        for number in range(4):
            asking.append(asyncio.ensure_future(proxy.post(message(max_tokens=number + 1, stream=number % 2 == 1))))
            while proxy.handled()["limiter"] < number + 1:
                await asyncio.sleep(0.005)
        assert len(upstream.requests) == 1
        gate.set()
        answers = await asyncio.gather(*asking)
        assert [response.status_code for response in answers] == [200] * 4
        assert [received.json()["max_tokens"] for received in upstream.requests] == [1, 2, 3, 4]
        assert text_of(events(answers[3].content)) == "x"


async def test_a_turn_that_does_not_come_within_the_patience_is_a_429() -> None:
    gate = asyncio.Event()
    settings = {"CCPROXY_MAX_CONCURRENT": "1", "CCPROXY_QUEUE_WAIT": "0.2"}
    async with ScriptedUpstream([[gate, *answer()]]) as upstream, serving(upstream.base_url, **settings) as proxy:
        first = asyncio.ensure_future(proxy.post())
        await upstream.until(open=1)
        began = time.monotonic()
        assert refused(await proxy.post()) == 1
        assert time.monotonic() - began >= 0.2
        gate.set()
        assert (await first).status_code == 200


async def test_who_leaves_while_it_waits_leaves_nothing() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *answer()]]) as upstream:
        async with serving(upstream.base_url, CCPROXY_MAX_CONCURRENT="1") as proxy:
            first = asyncio.ensure_future(proxy.post())
            await upstream.until(open=1)
            gone, last = (asyncio.ensure_future(proxy.post()) for _ in range(2))
            while proxy.runtime.house.limiter.waiting < 2:
                await asyncio.sleep(0.005)
            gone.cancel()
            while proxy.runtime.house.limiter.waiting > 1:
                await asyncio.sleep(0.005)
            gate.set()
            done = await asyncio.gather(first, last)
            assert [response.status_code for response in done] == [200, 200]
            assert len(upstream.requests) == 2


# -- upstreams


@pytest.mark.parametrize("wait", ["1", "0.4"])
async def test_an_upstream_is_left_alone_as_long_as_it_asks(wait: str) -> None:
    came: list[float] = []

    def script(received: Received) -> Reply:
        came.append(time.monotonic())
        return busy(retry_after=wait) if len(came) == 1 else answer(received)

    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **NO_RETRIES) as proxy:
        assert refused(await proxy.post()) == 1
        assert (await proxy.post()).status_code == 200  # it waited
        assert came[1] - came[0] >= float(wait)


async def test_a_pause_longer_than_the_patience_is_told() -> None:
    script = [busy(retry_after="300"), answer()]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **NO_RETRIES) as proxy:
        assert refused(await proxy.post()) == 300
        again = await proxy.post()
        assert 298 <= refused(again) <= 300
        assert said(again)[:2] == (10, 0)  # what it bore is under the floor
        assert refused(await proxy.post(headers={"x-app": "cli"})) == 60  # above that Claude Code gives up
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("api", ["chat", "messages"])
async def test_a_client_that_is_told_less_does_not_shorten_the_pause(api: str) -> None:
    """Claude Code gives up above 60 s, so it is told 60; the upstream has asked for 300."""
    async with (
        ScriptedUpstream([busy(retry_after="300")]) as upstream,
        serving(upstream.base_url, CCPROXY_API=api, **NO_RETRIES) as proxy,
    ):
        assert refused(await proxy.post(headers={"x-app": "cli"})) == 60
        await settled(proxy)
        assert (await upstream_of(proxy))["pause"] == pytest.approx(300, abs=3)
        assert 297 <= refused(await proxy.post()) <= 300
        assert len(upstream.requests) == 1


async def test_one_429_in_a_quiet_minute_does_not_stop_a_session_of_large_requests() -> None:
    """Claude Code on a laptop: three requests of 30,000 tokens in a minute, one of which is refused by accident."""
    script = [answer(), busy(), answer()]
    body = message(messages=[{"role": "user", "content": "x" * 108_000}])
    async with ScriptedUpstream(script) as upstream:
        async with serving(upstream.base_url, PROVIDER_RETRY_BASE_DELAY="0", **AT_ONCE) as proxy:
            assert [(await proxy.post(body)).status_code for _ in range(6)] == [200] * 6
            assert len(upstream.requests) == 7


async def test_a_paused_upstream_is_passed_over(tmp_path: Path) -> None:
    async with ScriptedUpstream([busy(retry_after="60")]) as one, ScriptedUpstream(answer) as two:
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams, **NO_RETRIES) as proxy:
            assert (await proxy.post()).headers["x-ccproxy-route"] == "one/m-one;failed=429, two/m-two"
            for _ in range(3):
                response = await proxy.post()
                assert response.status_code == 200
                assert response.headers["x-ccproxy-route"] == "two/m-two"
            assert (len(one.requests), len(two.requests)) == (1, 4)


async def test_a_paused_upstream_is_not_asked_either_where_the_other_one_fails(tmp_path: Path) -> None:
    down = reply_json({"error": {"message": "down"}}, 500)
    async with ScriptedUpstream([busy(retry_after="60")]) as one, ScriptedUpstream() as two:
        two.script = lambda received: down if len(two.requests) == 2 else answer(received)
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams, PROVIDER_RETRY_BASE_DELAY="0.01") as proxy:
            assert (await proxy.post()).status_code == 200
            response = await proxy.post()
            assert response.status_code == 200
            assert response.headers["x-ccproxy-route"] == "two/m-two;failed=500, two/m-two"
            assert (len(one.requests), len(two.requests)) == (1, 3)


async def test_a_429_shows_a_limit_where_none_is_set() -> None:
    script = [*[answer()] * 20, busy(), answer()]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **NO_RETRIES) as proxy:
        for _ in range(20):
            assert (await proxy.post()).status_code == 200
        assert (await upstream_of(proxy))["limit_requests"] is None
        assert (await proxy.post()).status_code == 429
        assert (await upstream_of(proxy))["limit_requests"] == pytest.approx(0.8 * 21)
        assert (await proxy.post(headers={"x-app": "cli"})).status_code == 429  # 21 are more than 16 in this minute
        assert len(upstream.requests) == 21


async def test_ten_answers_raise_a_limit_streams_too() -> None:
    def script(received: Received) -> Reply:
        return answer(received) if received.json().get("stream") else busy()

    settings = {"CLIENT_RATE_LIMIT_RPM": "1000", "CLIENT_RATE_LIMIT_BURST": "1000", **NO_RETRIES}
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        assert (await proxy.post()).status_code == 429
        await settled(proxy)
        assert (await upstream_of(proxy))["limit_requests"] == pytest.approx(800)
        for _ in range(10):
            assert (await proxy.post(message(stream=True))).status_code == 200
        await settled(proxy)
        assert (await upstream_of(proxy))["limit_requests"] == pytest.approx(880)


async def test_requests_to_an_upstream_are_spread_evenly_beyond_the_burst() -> None:
    came: list[float] = []

    def script(received: Received) -> Reply:
        came.append(time.monotonic())
        return answer(received)

    settings = {"CLIENT_RATE_LIMIT_RPM": "300", "CLIENT_RATE_LIMIT_BURST": "2"}
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        answers = await asyncio.gather(*(proxy.post() for _ in range(6)))
        assert [response.status_code for response in answers] == [200] * 6
        assert came[5] - came[0] >= 0.6 - 0.1  # three at once, then one every 0.2 s; who is woken late catches up


async def test_who_asks_seldom_does_not_wait_behind_who_asks_often() -> None:
    began: list[str] = []

    def script(received: Received) -> Reply:
        began.append(received.json()["messages"][0]["content"])
        return answer(received)

    keys = {"often": "o" * 20, "seldom": "s" * 20}
    settings = {"CLIENT_RATE_LIMIT_RPM": "1200", "CLIENT_RATE_LIMIT_BURST": "0"}
    tokens = ",".join(f"{name}:{key}" for name, key in keys.items())
    async with ScriptedUpstream(script) as upstream:
        async with serving(upstream.base_url, CCPROXY_AUTH_TOKENS=tokens, **settings) as proxy:
            limiter = proxy.runtime.house.limiter
            asking = []
            for number, name in enumerate(["often"] * 20 + ["seldom"] * 2):
                body = message(messages=[{"role": "user", "content": name}])
                asking.append(asyncio.ensure_future(proxy.post(body, headers={"x-api-key": keys[name]})))
                while limiter.waiting + len(began) <= number:
                    await asyncio.sleep(0.001)
            seen = len(began)  # before the last one stood in line
            assert {response.status_code for response in await asyncio.gather(*asking)} == {200}
            assert began.index("seldom") <= seen + 2
            assert [place for place, name in enumerate(began) if name == "seldom"][1] <= seen + 4


async def test_reserved_tokens_come_back_with_the_real_usage() -> None:
    gate = asyncio.Event()
    settings = {"CLIENT_RATE_LIMIT_TPM": "1500", **AT_ONCE}
    body = message(messages=[{"role": "user", "content": "x" * 3_600}])  # an estimate of 1,000 tokens and a few
    replies = [[gate, *answer()], answer()]
    async with ScriptedUpstream(replies) as upstream, serving(upstream.base_url, **settings) as proxy:
        first = asyncio.ensure_future(proxy.post(body))
        await upstream.until(open=1)
        more = await proxy.post(body)
        assert 55 <= refused(more) <= 61
        assert said(more, "tokens")[0] == 1500
        assert 400 <= said(more, "tokens")[1] <= 500
        gate.set()
        assert (await first).status_code == 200
        await settled(proxy)
        limits = await upstream_of(proxy)
        assert limits["tokens"] == 10
        assert limits["ratio"] < 1
        assert (await proxy.post(body)).status_code == 200


async def test_what_is_turned_off_limits_nothing() -> None:
    script = [busy(retry_after="60"), answer()]
    settings = {"CLIENT_RATE_LIMIT_ENABLED": "0", **NO_RETRIES}
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        refused(await proxy.post())
        for _ in range(5):
            assert (await proxy.post()).status_code == 200
        assert (await proxy.client.get("/v1/metrics")).json()["limits"]["upstreams"] == []


async def test_a_crash_of_the_limiter_keeps_who_waits_and_what_is_limited() -> None:
    script = [busy(retry_after="1"), answer()]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **NO_RETRIES) as proxy:
        limiter = proxy.runtime.house.limiter
        refused(await proxy.post())
        asking = [asyncio.ensure_future(proxy.post()) for _ in range(3)]
        while limiter.waiting < 3:
            await asyncio.sleep(0.005)
        limiter.tell(Poison(), urgent=True)
        while not limiter.stats.crashes:
            await asyncio.sleep(0.005)
        assert [response.status_code for response in await asyncio.gather(*asking)] == [200] * 3
        assert len(upstream.requests) == 4
