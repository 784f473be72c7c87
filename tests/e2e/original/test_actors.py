"""Behaviours 30 to 39: what the actors promise a client."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.e2e.original.support import NO_RETRIES, between, completion, is_error
from tests.support.proxy import events, message, serving, text_of
from tests.support.upstream import DONE, Received, Reply, ScriptedUpstream, delta, reply_json, sse

ALL = {"CCPROXY_CACHE": "all"}
SESSION = {"x-claude-code-session-id": "0a1b2c3d"}
DOWN = reply_json({"error": {"message": "down"}}, 500)
BUSY = reply_json({"error": {"message": "slow down"}}, 429)


async def cache_of(proxy: Any) -> dict[str, Any]:
    stats: dict[str, Any] = (await proxy.client.get("/v1/cache/stats")).json()["response_cache"]
    return stats


async def provider_of(proxy: Any) -> dict[str, Any]:
    [provider] = (await proxy.client.get("/v1/metrics")).json()["providers"]["endpoints"]
    return dict(provider)


async def test_30_an_equal_request_is_served_from_the_cache() -> None:
    async with between(**ALL) as (proxy, upstream):
        first, second = [await proxy.post() for _ in range(2)]
        assert first.json() == second.json()
        assert second.headers["x-ccproxy-cache"].startswith("hit")
        assert len(upstream.requests) == 1
        stats = await cache_of(proxy)
        assert (stats["cache_hits"], stats["cache_misses"]) == (1, 1)


async def test_30_equal_requests_at_the_same_time_are_one_upstream_call() -> None:
    gate = asyncio.Event()
    async with between([gate, *completion()], **ALL) as (proxy, upstream):
        asking = [asyncio.ensure_future(proxy.post()) for _ in range(5)]
        await upstream.until(open=1)
        while proxy.runtime.house.cache.waiting < 4:
            await asyncio.sleep(0.005)
        gate.set()
        answers = await asyncio.gather(*asking)
        assert {answer.json()["content"][0]["text"] for answer in answers} == {"Hi"}
        assert len(upstream.requests) == 1


async def test_31_what_is_too_old_is_asked_again() -> None:
    async with between(**ALL, CCPROXY_CACHE_TTL="1") as (proxy, upstream):
        await proxy.post()
        await asyncio.sleep(1.1)
        assert (await proxy.post()).headers["x-ccproxy-cache"] == "miss"
        assert len(upstream.requests) == 2


async def test_31_the_longest_unused_makes_room() -> None:
    async with between(**ALL, CCPROXY_CACHE_MAX_ENTRIES="2") as (proxy, upstream):
        for text in ("a", "b", "a", "c", "a", "b"):
            await proxy.post(message(messages=[{"role": "user", "content": text}]))
        heard = [request.json()["messages"][0]["content"] for request in upstream.requests]
        assert heard == ["a", "b", "c", "b"]
        stats = await cache_of(proxy)
        assert (stats["cache_size"], stats["evictions"]) == (2, 2)


async def test_32_many_bad_answers_turn_the_cache_off_and_a_reset_on_again() -> None:
    """The times (300 s, up to tenfold) are the actor's own tests' matter: they have a clock to turn."""
    bad = reply_json({"id": "x", "object": "chat.completion", "choices": []})
    settings = {**ALL, **NO_RETRIES, "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000"}
    async with between(*[bad] * 25, completion(), **settings) as (proxy, upstream):
        for number in range(25):
            body = message(messages=[{"role": "user", "content": str(number)}])
            assert (await proxy.post(body)).status_code == 500
        breaker = (await cache_of(proxy))["circuit_breaker"]
        assert breaker["is_open"] is True
        assert 0 < breaker["time_until_reset"] <= 300
        for _ in range(2):
            assert (await proxy.post()).status_code == 200
        assert len(upstream.requests) == 27  # nothing was kept
        await proxy.client.post("/v1/cache/clear")
        assert (await cache_of(proxy))["circuit_breaker"]["is_open"] is False
        for _ in range(2):
            await proxy.post()
        assert len(upstream.requests) == 28


async def test_33_subscribers_of_one_stream_get_the_same_and_an_end() -> None:
    gate = asyncio.Event()
    stream = sse(delta(role="assistant"), delta(content="one"), gate, delta(content="two"), delta("stop"), DONE)
    async with between(stream) as (proxy, upstream):

        async def read() -> str:
            async with proxy.streaming(headers=SESSION) as response:
                assert response.status_code == 200
                return (await response.aread()).decode()

        leader = asyncio.ensure_future(read())
        await upstream.until(open=1)
        followers = [asyncio.ensure_future(read()) for _ in range(3)]
        while len(proxy.runtime.active) < 4:
            await asyncio.sleep(0.005)
        followers.pop().cancel()  # one that leaves does not stop the others
        await asyncio.sleep(0.05)
        gate.set()
        bodies = [events(body) for body in await asyncio.gather(leader, *followers)]
        assert bodies[0] == bodies[1] == bodies[2]
        assert bodies[0][0][0] == "message_start"
        assert bodies[0][-1][0] == "message_stop"
        assert text_of(bodies[0]) == "onetwo"
        assert len(upstream.requests) == 1


async def test_34_a_caller_above_its_rate_is_refused_and_others_are_not() -> None:
    tokens = {"ann": "token-of-ann-12345", "bob": "token-of-bob-12345"}
    settings = {
        "CCPROXY_AUTH_TOKENS": ",".join(f"{name}:{token}" for name, token in tokens.items()),
        "RATE_LIMIT_PER_MINUTE": "2",
        "RATE_LIMIT_BURST": "1",
        "CCPROXY_QUEUE_WAIT": "0",
    }
    async with between(**settings) as (proxy, upstream):

        async def as_(name: str) -> httpx.Response:
            return await proxy.post(headers={"x-api-key": tokens[name]})

        assert [(await as_("ann")).status_code for _ in range(3)] == [200] * 3
        refused = await as_("ann")
        assert is_error(refused, 429, "rate_limit_error")
        assert 0 < int(refused.headers["retry-after"]) <= 30
        assert (await as_("bob")).status_code == 200
        assert len(upstream.requests) == 4


@pytest.mark.parametrize("path", ["/", "/v1/messages", "/v1/nothing", "/v1/metrics"])
async def test_35_security_headers_are_on_every_answer(path: str) -> None:
    async with between() as (proxy, _):
        headers = (await (proxy.post() if path == "/v1/messages" else proxy.client.get(path))).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers
        assert not any(name.startswith("access-control") for name in headers)


async def test_35_hsts_is_for_https_and_only_when_asked_for() -> None:
    https = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
    async with between(ENABLE_HSTS="1", CCPROXY_PROXIES_COUNT="1") as (proxy, _):
        assert "strict-transport-security" not in (await proxy.client.get("/")).headers
        headers = (await proxy.client.get("/", headers=https)).headers
        assert headers["strict-transport-security"] == "max-age=63072000; includeSubDomains; preload"


async def test_35_pages_of_named_origins_may_call() -> None:
    origin = "https://app.example.org"
    async with between(ENABLE_CORS="1", CORS_ALLOW_ORIGINS=origin) as (proxy, _):
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-api-key",
        }
        preflight = await proxy.client.options("/v1/messages", headers=asked)
        assert preflight.status_code in (200, 204)
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
        answer = await proxy.post(headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        foreign = await proxy.post(headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers


async def test_36_every_answer_has_an_id_and_a_time() -> None:
    async with between() as (proxy, _):
        answers = [await proxy.post() for _ in range(2)]
        answers += [await proxy.post(message(stream=True)), await proxy.post(b"{"), await proxy.client.get("/nothing")]
        answers.append(await proxy.client.get("/"))
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert len(set(ids)) == len(ids)
        for answer in answers:
            assert float(answer.headers["x-response-time-ms"]) >= 0
            assert answer.headers["request-id"] == answer.headers["x-request-id"]


async def test_37_an_upstream_above_its_rate_is_not_asked() -> None:
    settings = {"CLIENT_RATE_LIMIT_RPM": "3", "CLIENT_RATE_LIMIT_BURST": "0", "CCPROXY_QUEUE_WAIT": "0"}
    async with between(**settings) as (proxy, upstream):
        codes = [(await proxy.post()).status_code for _ in range(5)]
        assert codes.count(429) >= 2
        assert len(upstream.requests) == codes.count(200) <= 3


async def test_37_a_429_lowers_the_limit_and_successes_raise_it_again() -> None:
    settings = {"CLIENT_RATE_LIMIT_RPM": "1000", "CLIENT_RATE_LIMIT_BURST": "1000", **NO_RETRIES}

    async def limit(proxy: Any) -> float:
        [upstream] = (await proxy.client.get("/v1/metrics")).json()["limits"]["upstreams"]
        return float(upstream["limit_requests"])

    async with between(BUSY, completion(), **settings) as (proxy, _):
        assert (await proxy.post()).status_code == 429
        assert await limit(proxy) == pytest.approx(800)
        for _ in range(10):
            assert (await proxy.post()).status_code == 200
        assert await limit(proxy) == pytest.approx(880)
        for _ in range(20):
            assert (await proxy.post()).status_code == 200
        assert await limit(proxy) == pytest.approx(1000)  # never above what is configured
    async with between(BUSY, **settings, CLIENT_RATE_LIMIT_ADAPTIVE="0") as (proxy, _):
        await proxy.post()
        assert await limit(proxy) == pytest.approx(1000)


async def test_38_five_faults_open_the_breaker_and_successes_close_it() -> None:
    settings = {"CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "0.3", **NO_RETRIES}
    async with between(*[DOWN] * 5, completion(), **settings) as (proxy, upstream):
        assert [(await proxy.post()).status_code for _ in range(5)] == [500] * 5
        refused = await proxy.post()
        assert is_error(refused, 529, "overloaded_error")
        assert int(refused.headers["retry-after"]) >= 1
        assert len(upstream.requests) == 5
        await asyncio.sleep(0.35)
        assert [(await proxy.post()).status_code for _ in range(3)] == [200] * 3
        assert (await provider_of(proxy))["breaker"] == "closed"


async def test_38_one_fault_of_a_probe_opens_it_again() -> None:
    settings = {"CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "0.3", **NO_RETRIES}
    async with between(*[DOWN] * 6, completion(), **settings) as (proxy, upstream):
        for _ in range(5):
            await proxy.post()
        await asyncio.sleep(0.35)
        assert (await proxy.post()).status_code == 500  # the probe
        assert (await proxy.post()).status_code == 529
        assert len(upstream.requests) == 6


async def test_38_a_success_resets_the_count_and_a_clients_mistake_does_not_count() -> None:
    refusal = reply_json({"error": {"message": "temperature is out of range", "type": "invalid_request_error"}}, 400)
    script: list[Reply] = [*[DOWN] * 4, completion(), *[DOWN] * 4, *[refusal] * 9, completion()]
    async with between(*script, **NO_RETRIES) as (proxy, upstream):
        codes = [(await proxy.post()).status_code for _ in range(len(script))]
        assert codes == [*[500] * 4, 200, *[500] * 4, *[400] * 9, 200]
        assert len(upstream.requests) == len(script)


async def test_39_health_falls_with_faults() -> None:
    """The score's and the adaptive limit's arithmetic is tested at the actor, which has a clock to turn."""
    async with between(completion(), DOWN, **NO_RETRIES) as (proxy, _):
        await proxy.post()
        before = await provider_of(proxy)
        assert before["health"] == {"score": 100, "status": "healthy"}
        for _ in range(5):
            await proxy.post()
        after = await provider_of(proxy)
        assert 0 <= after["health"]["score"] < 50
        assert after["health"]["status"] == "unhealthy"
        assert after["breaker"] == "open"


async def test_38_holds_for_every_way_to_fail() -> None:
    """An upstream that answers nothing, and one that is not there."""

    def silent(received: Received) -> Reply:
        return [5.0]

    settings = {"CCPROXY_FIRST_BYTE_TIMEOUT": "0.1", "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "2", **NO_RETRIES}
    async with ScriptedUpstream(silent) as upstream, serving(upstream.base_url, **settings) as proxy:
        assert [(await proxy.post()).status_code for _ in range(3)] == [504, 504, 529]
    async with serving(upstream.base_url, **settings) as proxy:  # nobody listens there any more
        codes = [(await proxy.post()).status_code for _ in range(3)]
        assert codes[-1] == 529
        assert 529 not in codes[:1]
