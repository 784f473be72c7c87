"""What once was wrong with kept answers: keys that lacked something, hits that told of others or were refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ccproxy_sanic import settings as settings_module
from tests.e2e.test_cache import GREEDY, Numbered, ask, completion
from tests.support.proxy import message, serving
from tests.support.reading import Reading
from tests.support.routes import routes_text
from tests.support.upstream import DONE, Received, Reply, ScriptedUpstream, delta, reply_json, sse


async def test_a_fifth_stop_sequence_that_the_proxy_enforces_was_not_in_the_key() -> None:
    def counting(_: Any) -> Any:
        return completion("one two three four five six")

    stops = ["s1", "s2", "s3", "s4"]  # all that the upstream takes
    async with ScriptedUpstream(counting) as upstream, serving(upstream.base_url) as proxy:
        for last, text in (("three", "one two "), ("five", "one two three four ")) * 2:
            assert (await ask(proxy, message(temperature=0, stop_sequences=[*stops, last])))[0][1] == text
        assert len(upstream.requests) == 2
        assert upstream.requests[0].body == upstream.requests[1].body


@pytest.mark.parametrize(
    ("thinking", "blocks"),
    [
        ({"type": "disabled"}, ["text"]),
        ({"type": "adaptive", "display": "omitted"}, ["thinking:", "text"]),
        ({"type": "adaptive", "display": "summarized"}, ["thinking:a thought", "text"]),
    ],
)
async def test_whether_thinking_is_shown_was_not_in_the_key(thinking: dict[str, str], blocks: list[str]) -> None:
    says = {"role": "assistant", "content": "Hi", "reasoning_content": "a thought"}
    reply = reply_json({"choices": [{"index": 0, "message": says, "finish_reason": "stop"}]})
    async with ScriptedUpstream([reply]) as upstream, serving(upstream.base_url) as proxy:
        await proxy.post(message(temperature=0), headers={"x-ccproxy-cache": "on"})
        answer = await proxy.post(message(temperature=0, thinking=thinking), headers={"x-ccproxy-cache": "on"})
        said = [
            block["type"] + (":" + block["thinking"] if "thinking" in block else "")
            for block in answer.json()["content"]
        ]
        assert said == blocks


async def test_a_hit_told_of_the_adjustments_of_whoever_had_asked_first() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        assert "x-ccproxy-adjustments" not in (await proxy.post(GREEDY)).headers
        for _ in range(3):
            answer = await proxy.post(GREEDY | {"top_k": 5})
            assert answer.headers["x-ccproxy-cache"] == "hit; age=0"
            assert answer.headers["x-ccproxy-adjustments"] == "sampling_dropped=top_k"
        assert "x-ccproxy-adjustments" not in (await proxy.post(GREEDY)).headers


def routed(tmp_path: Any, upstreams: dict[str, Any]) -> settings_module.Settings:
    path = tmp_path / "routes.json"
    path.write_text(routes_text(upstreams))
    return settings_module.load({"CCPROXY_ROUTES": str(path), "LOG_FILE_PATH": "", "ERROR_TRACKING_FILE": ""})


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_after_a_reload_another_route_answers_anew(times: int, tmp_path: Any) -> None:
    async with ScriptedUpstream(Numbered()) as a, ScriptedUpstream([completion("b")]) as b:
        path = tmp_path / "first.json"
        path.write_text(routes_text({"up": {"base_url": a.base_url}}))
        async with serving(CCPROXY_ROUTES=str(path)) as proxy:
            assert {text for _, text, _ in await ask(proxy, *[GREEDY] * times)} == {"1"}
            await proxy.runtime.reroute(routed(tmp_path, {"up": {"base_url": b.base_url}}))
            assert await ask(proxy, *[GREEDY] * 2) == [(200, "b", "miss"), (200, "b", "hit")]


async def test_a_hit_that_a_reload_overtook_was_remembered_with_its_old_route(tmp_path: Any) -> None:
    async with ScriptedUpstream(Numbered()) as a, ScriptedUpstream([completion("b")]) as b:
        path = tmp_path / "first.json"
        path.write_text(routes_text({"up": {"base_url": a.base_url}}))
        async with serving(CCPROXY_ROUTES=str(path)) as proxy:
            await ask(proxy, GREEDY)
            cache, new = proxy.runtime.house.cache, routed(tmp_path, {"up": {"base_url": b.base_url}})
            ask_cache = cache.ask

            async def overtaken(query: Any, **options: Any) -> Any:
                found = await ask_cache(query, **options)
                await proxy.runtime.reroute(new)
                return found

            cache.ask = overtaken  # type: ignore[method-assign]
            assert await ask(proxy, GREEDY) == [(200, "1", "hit")]  # it began before
            cache.ask = ask_cache  # type: ignore[method-assign]
            assert await ask(proxy, GREEDY) == [(200, "b", "miss")]


async def test_streams_of_a_model_that_takes_no_temperature_were_one_answer() -> None:
    gate = asyncio.Event()
    reply = sse(delta(content="a"), gate, delta("stop"), DONE)
    settings = {"CCPROXY_PROFILE": "openai", "BIG_MODEL_NAME": "gpt-5"}
    async with ScriptedUpstream([reply]) as upstream, serving(upstream.base_url, **settings) as proxy:
        both = [Reading(proxy, {}, temperature=0) for _ in range(2)]
        await upstream.until(open=2)
        gate.set()
        for one in both:
            await one.whole()


async def test_an_upstream_at_its_limit_refused_what_was_kept() -> None:
    limits = {"CLIENT_RATE_LIMIT_RPM": "2", "CLIENT_RATE_LIMIT_BURST": "0", "CCPROXY_QUEUE_WAIT": "0"}
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **limits) as proxy:
        assert await ask(proxy, GREEDY) == [(200, "1", "miss")]
        while (await ask(proxy, message()))[0][0] != 429:
            pass
        assert await ask(proxy, *[GREEDY] * 3) == [(200, "1", "hit")] * 3
        assert (await ask(proxy, message(temperature=0, max_tokens=9)))[0][
            0
        ] == 429  # and what is not kept it still does


async def test_an_upstream_that_pauses_refused_what_was_kept() -> None:
    def script(received: Received) -> Reply:
        slow = received.json()["max_tokens"] == 7
        return reply_json({"error": {"message": "slow"}}, 429, retry_after="30") if slow else completion("1")

    settings = {"PROVIDER_MAX_RETRIES": "0", "CCPROXY_QUEUE_WAIT": "0"}
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        assert [status for status, _, _ in await ask(proxy, GREEDY, message(max_tokens=7), message())] == [
            200,
            429,
            429,
        ]
        assert await ask(proxy, *[GREEDY] * 3) == [(200, "1", "hit")] * 3
