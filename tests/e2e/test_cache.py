"""Whole answers that are kept: who gets one again, what it says, and what it costs (original.md, behaviours 30-32)."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors import Snapshot
from tests.support.poison import Poison
from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import Received, Reply, ScriptedUpstream, reply_json

GREEDY = message(temperature=0)


def completion(text: str, finish: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return reply_json({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


class Numbered:
    """Every answer has its number in it; ``bad`` of the first ones are none."""

    def __init__(self, finish: str = "stop", bad: int = 0) -> None:
        self.asked, self.finish, self.bad = 0, finish, bad

    def __call__(self, _: Received) -> Reply:
        self.asked += 1
        return reply_json({"choices": []}) if self.asked <= self.bad else completion(str(self.asked), self.finish)


def said(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, text, and what became of it in the cache."""
    blocks = answer.json().get("content") or [{"text": ""}]
    return answer.status_code, blocks[0]["text"], answer.headers.get("x-ccproxy-cache", "").partition(";")[0]


async def ask(proxy: Proxy, *bodies: Any, **headers: str) -> list[tuple[int, str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [said(await proxy.post(body, headers=named)) for body in bodies]


async def stats(proxy: Proxy) -> Any:
    answer = await proxy.client.get("/v1/cache/stats")
    assert answer.status_code == 200
    return answer.json()


async def test_the_second_time_a_greedy_request_is_answered_without_the_upstream() -> None:
    script = Numbered()
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url) as proxy:
        assert await ask(proxy, *[GREEDY] * 4) == [(200, "1", "miss"), *[(200, "1", "hit")] * 3]
        assert script.asked == 1
        numbers = (await stats(proxy))["response_cache"]
        assert (numbers["cache_hits"], numbers["cache_misses"], numbers["total_cache_attempts"]) == (3, 1, 4)
        assert (numbers["hit_rate"], numbers["cache_size"]) == (0.75, 1)


async def test_a_hit_is_the_answer_of_the_upstream_with_ids_and_times_of_its_own() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        answers = [await proxy.post(GREEDY) for _ in range(4)]
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json()["usage"]["output_tokens"] == 3
        assert len({answer.headers["request-id"] for answer in answers}) == 4
        first, *hits = answers
        for hit in hits:  # the second is known by what it means, those after it by their bytes
            assert hit.headers["x-ccproxy-cache"] == "hit; age=0"
            assert first.headers.keys() - hit.headers.keys() == {"x-ccproxy-route"}
            assert hit.headers.keys() <= first.headers.keys()
            assert hit.headers["x-upstream-model"] == first.headers["x-upstream-model"]


async def test_a_hit_costs_no_tokens_no_budget_and_no_upstream() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        await ask(proxy, *[GREEDY] * 5)
        totals = await proxy.runtime.house.metrics.ask(Snapshot())
        assert (totals.requests, totals.input_tokens, totals.output_tokens) == (5, 7, 3)
        assert (len(upstream.requests), proxy.handled()["provider"]) == (1, 3)  # Configure, Open, Done


@pytest.mark.parametrize("fields", [{}, {"temperature": 1}, {"temperature": 0.2}, {"top_k": 5}])
async def test_what_may_be_answered_in_many_ways_is_asked_each_time(fields: dict[str, Any]) -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        assert await ask(proxy, *[message(**fields)] * 2) == [(200, "1", ""), (200, "2", "")]


async def test_a_model_that_takes_no_temperature_is_not_greedy() -> None:
    settings = {"CCPROXY_PROFILE": "openai", "BIG_MODEL_NAME": "gpt-5"}
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings) as proxy:
        answers = await ask(proxy, *[GREEDY] * 2)
        assert "temperature" not in upstream.requests[0].json()
        assert [text for _, text, _ in answers] == ["1", "2"]


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_an_answer_that_was_cut_is_not_kept(finish: str) -> None:
    async with ScriptedUpstream(Numbered(finish)) as upstream, serving(upstream.base_url) as proxy:
        assert [kind for _, _, kind in await ask(proxy, GREEDY, GREEDY)] == ["miss", "miss"]
        assert len(upstream.requests) == 2


async def test_with_all_every_answer_is_kept() -> None:
    async with (
        ScriptedUpstream(Numbered("length")) as upstream,
        serving(upstream.base_url, CCPROXY_CACHE="all") as proxy,
    ):
        assert [kind for _, _, kind in await ask(proxy, message(), message())] == ["miss", "hit"]


async def test_with_off_nothing_is_kept_unless_the_client_asks() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, CCPROXY_CACHE="off") as proxy:
        assert await ask(proxy, GREEDY, GREEDY) == [(200, "1", ""), (200, "2", "")]
        assert await ask(proxy, GREEDY, GREEDY, x_ccproxy_cache="on") == [(200, "3", "miss"), (200, "3", "hit")]


async def test_an_error_is_not_kept() -> None:
    replies = [reply_json({"error": {"message": "no"}}, 400), completion("fine")]
    async with ScriptedUpstream(replies) as upstream, serving(upstream.base_url) as proxy:
        assert [status for status, _, _ in await ask(proxy, GREEDY, GREEDY)] == [400, 200]


async def test_the_client_decides_by_header() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        assert await ask(proxy, message(), message(), x_ccproxy_cache="on") == [(200, "1", "miss"), (200, "1", "hit")]
        assert await ask(proxy, message(), x_ccproxy_cache="off") == [(200, "2", "")]
        assert await ask(proxy, message(), x_ccproxy_cache="refresh") == [(200, "3", "refresh")]
        assert await ask(proxy, message(), x_ccproxy_cache="on") == [(200, "3", "hit")]
        assert await ask(proxy, message()) == [(200, "4", "")]


async def test_a_request_known_by_its_bytes_is_refreshed_all_the_same() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        await ask(proxy, *[GREEDY] * 3)
        assert await ask(proxy, GREEDY, x_ccproxy_cache="refresh") == [(200, "2", "refresh")]
        assert await ask(proxy, GREEDY, GREEDY) == [(200, "2", "hit")] * 2
        assert await ask(proxy, GREEDY, x_ccproxy_cache="off") == [(200, "3", "")]


async def test_after_its_time_an_answer_is_asked_for_again() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, CCPROXY_CACHE_TTL="1") as proxy:
        await ask(proxy, *[GREEDY] * 3)
        await asyncio.sleep(1.05)
        assert (await ask(proxy, GREEDY))[0][2] == "miss"


async def test_above_the_number_of_entries_the_least_recently_used_goes() -> None:
    other = message(temperature=0, max_tokens=65)
    async with (
        ScriptedUpstream(Numbered()) as upstream,
        serving(upstream.base_url, CCPROXY_CACHE_MAX_ENTRIES="1") as proxy,
    ):
        kinds = [kind for _, _, kind in await ask(proxy, GREEDY, GREEDY, GREEDY, other, other, GREEDY)]
        assert kinds == ["miss", "hit", "hit", "miss", "hit", "miss"]
        assert (await stats(proxy))["response_cache"]["eviction_count"] == 2


async def test_an_answer_above_a_tenth_of_the_memory_is_not_kept() -> None:
    script = [completion("x" * 120_000)]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, CCPROXY_CACHE_MAX_MB="1") as proxy:
        assert [kind for _, _, kind in await ask(proxy, GREEDY, GREEDY)] == ["miss", "miss"]
        numbers = (await stats(proxy))["response_cache"]
        assert (numbers["refused_too_large"], numbers["memory_usage_mb"]) == (2, 0)


async def test_what_no_upstream_sees_makes_no_difference() -> None:
    one = json.dumps(GREEDY | {"metadata": {"user_id": "ann"}}).encode()
    other = json.dumps(dict(reversed(GREEDY.items())), indent=1).encode()
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        assert await ask(proxy, one, other) == [(200, "1", "miss"), (200, "1", "hit")]


async def test_the_model_is_the_one_that_was_asked_for() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        for model in ("claude-opus-4-1", "claude-sonnet-4-5") * 2:  # both are the big model
            assert (await proxy.post(message(model=model, temperature=0))).json()["model"] == model
        assert len(upstream.requests) == 2


async def test_an_answer_never_crosses_from_one_caller_to_another() -> None:
    tokens = {"CCPROXY_AUTH_TOKENS": "ann:token-of-ann-1234,bob:token-of-bob-1234"}
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **tokens) as proxy:
        for name, number in (("ann", "1"), ("bob", "2"), ("ann", "1"), ("bob", "2"), ("ann", "1")):
            assert (await ask(proxy, GREEDY, x_api_key=f"token-of-{name}-1234"))[0][:2] == (200, number)
        assert (await ask(proxy, GREEDY, x_api_key="token-of-eve-1234"))[0][0] == 401


async def test_hits_cost_no_budget_but_a_caller_above_its_limit_gets_none() -> None:
    limits = {"RATE_LIMIT_PER_MINUTE": "2", "RATE_LIMIT_BURST": "0", "CCPROXY_QUEUE_WAIT": "0"}
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **limits) as proxy:
        assert [answer[0] for answer in await ask(proxy, *[GREEDY] * 6)] == [200] * 6
        answers = await ask(proxy, GREEDY | {"max_tokens": 9}, GREEDY)
        assert [answer[0] for answer in answers] == [200, 429]


async def test_another_route_is_another_answer() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        await ask(proxy, GREEDY)
        assert (await ask(proxy, message(temperature=0, model="claude-haiku-4-5")))[0] == (200, "2", "miss")


async def test_compressed_and_plain_bodies_are_the_same_request() -> None:
    body = json.dumps(GREEDY).encode()
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        await ask(proxy, body)
        for _ in range(3):
            assert await ask(proxy, gzip.compress(body), content_encoding="gzip") == [(200, "1", "hit")]


async def test_streams_are_not_kept() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        await ask(proxy, GREEDY)
        async with proxy.streaming(GREEDY) as response:
            await response.aread()
        assert len(upstream.requests) == 2
        assert "x-ccproxy-cache" not in response.headers


async def test_at_the_same_time_there_is_one_call_and_later_none() -> None:
    script = Numbered()
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url) as proxy:
        answers = await asyncio.gather(*(proxy.post(GREEDY) for _ in range(8)))
        kinds = sorted(said(answer)[2] for answer in answers)
        assert script.asked == 1
        assert kinds.count("miss") == 1
        assert set(kinds) <= {"miss", "shared", "hit"}
        assert all(
            (answer.headers.get("x-ccproxy-shared") == "true") is (said(answer)[2] == "shared") for answer in answers
        )


async def test_clearing_empties_everything() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        await ask(proxy, *[GREEDY] * 4)
        answer = await proxy.client.post("/v1/cache/clear")
        assert (answer.status_code, answer.json()) == (200, {"status": "caches_cleared"})
        numbers = await stats(proxy)
        shown = numbers["response_cache"]
        counters = ("cache_hits", "cache_misses", "hit_rate", "memory_usage_mb", "evictions", "cache_size")
        assert [shown[name] for name in counters] == [0] * 6
        assert numbers["request_validator"]["cache_size"] == numbers["request_validator"]["total_requests"] == 0
        assert (await ask(proxy, GREEDY))[0] == (200, "2", "miss")


async def test_the_pages_have_the_original_shapes() -> None:
    async with serving() as proxy:
        numbers = await stats(proxy)
        assert numbers["response_cache"].keys() >= {
            *("cache_hits", "cache_misses", "hit_rate", "memory_usage_mb", "evictions", "timeouts_prevented"),
            *("validation_failures", "total_cache_attempts", "uptime_seconds", "cache_size", "max_memory_mb"),
            *("max_size", "eviction_count", "circuit_breaker"),
        }
        assert numbers["response_cache"]["circuit_breaker"].keys() == {
            *("is_open", "consecutive_failures", "failure_threshold", "disabled_until", "time_until_reset"),
        }
        assert numbers["request_validator"].keys() == {
            *("cache_size", "max_cache_size", "cache_hits", "cache_misses", "hit_rate", "total_requests"),
        }
        assert (await proxy.client.post("/v1/cache/stats")).status_code == 405
        assert (await proxy.client.get("/v1/cache/clear")).status_code == 405


async def test_strangers_may_neither_look_nor_clear() -> None:
    async with serving(CCPROXY_AUTH_TOKENS="ann:token-of-ann-1234") as proxy:
        far = {"x-forwarded-for": "192.0.2.1"}
        assert (await proxy.client.get("/v1/cache/stats", headers=far)).status_code == 401
        assert (await proxy.client.post("/v1/cache/clear", headers=far)).status_code == 401
        assert (await proxy.client.get("/v1/cache/stats")).status_code == 200


async def test_bad_answers_shut_the_cache_and_it_opens_again() -> None:
    script = Numbered(bad=25)
    settings = {"PROVIDER_MAX_RETRIES": "0", "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000"}
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        for number in range(25):
            assert (await ask(proxy, message(temperature=0, max_tokens=100 + number)))[0][0] >= 500
        breaker = (await stats(proxy))["response_cache"]["circuit_breaker"]
        assert breaker["is_open"]
        assert 290 < breaker["time_until_reset"] <= 300
        assert [kind for _, _, kind in await ask(proxy, GREEDY, GREEDY)] == ["miss", "miss"]
        proxy.runtime.caching.books.shelf.shut_until = 0.0  # 300 seconds later
        assert [kind for _, _, kind in await ask(proxy, GREEDY, GREEDY)] == ["miss", "hit"]


async def test_a_crash_of_the_cache_actor_costs_what_is_kept_and_no_request() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        cache = proxy.runtime.house.cache
        await ask(proxy, *[GREEDY] * 3)
        cache.tell(Poison(), urgent=True)
        while not cache.stats.crashes:
            await asyncio.sleep(0.005)
        assert await ask(proxy, *[GREEDY] * 3) == [(200, "2", "miss"), (200, "2", "hit"), (200, "2", "hit")]
        assert (await stats(proxy))["response_cache"]["cache_hits"] == 4


async def test_a_hit_is_logged_and_counted_as_one(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, LOG_FILE_PATH=str(log)) as proxy:
        await ask(proxy, *[GREEDY] * 3)
        text = (await proxy.client.get("/metrics")).text
    assert 'result="hit"} 2.0' in text
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    asked = [line for line in lines if line.get("path") == "/v1/messages"]
    assert [line["cache"] for line in asked] == ["miss", "hit", "hit"]
    assert [line["output_tokens"] for line in asked] == [3, 0, 0]
    assert {line["client_model"] for line in asked} == {"claude-sonnet-4-5"}


async def test_an_ordinary_request_asks_the_cache_nothing() -> None:
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url) as proxy:
        before = proxy.handled()["cache"]
        await ask(proxy, *[message()] * 5)
        assert proxy.handled()["cache"] - before <= 1  # a tick may come in between
