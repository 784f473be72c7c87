"""The pages of numbers: exactly what happened, in the original's shape and in Prometheus' formats."""

from __future__ import annotations

import asyncio
import platform
from typing import Any

import pytest

from ccproxy_sanic.gauges_table import PARTS
from ccproxy_sanic.ops import cost
from tests.support.metrics import OPEN_METRICS, numbers_of, page_of
from tests.support.proxy import HELLO, Proxy, message, serving
from tests.support.upstream import DONE, ScriptedUpstream, delta, reply_json, sse

SESSION = {"x-claude-code-session-id": "session-1"}
ERROR = {"error": {"message": "no such luck", "type": "server_error"}}


def usage(fresh: int, output: int, cached: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": fresh + cached,
        "completion_tokens": output,
        "total_tokens": fresh + cached + output,
        "prompt_tokens_details": {"cached_tokens": cached},
        **more,
    }


def completion(**counts: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": usage(**counts)}


async def test_a_mix_of_requests_is_counted_exactly() -> None:
    script = [
        reply_json(completion(fresh=9, output=2, cost=0.25)),
        reply_json(completion(fresh=5, output=3, cached=4)),
        sse(delta(content="one "), delta(content="two"), delta("stop", usage=usage(7, 4, cost=0.5)), DONE),
        reply_json(ERROR, 500),
    ]
    async with (
        ScriptedUpstream(script) as upstream,
        serving(upstream.base_url, PROVIDER_MAX_RETRIES="0", CCPROXY_CACHE="off") as proxy,
    ):
        assert (await proxy.post(headers=SESSION)).status_code == 200
        assert (await proxy.post(message(top_k=3))).status_code == 200
        assert (await proxy.post(message(stream=True), headers=SESSION)).status_code == 200
        assert (await proxy.post()).status_code == 500
        assert (await proxy.post(b"{")).status_code == 400
        page, numbers = await page_of(proxy.client), await numbers_of(proxy.client)

    path, model = "/v1/messages", HELLO["model"]
    assert page("ccproxy_requests_total", path=path, stream="false", status="200", outcome="ok") == 2
    assert page("ccproxy_requests_total", path=path, stream="true", status="200", outcome="ok") == 1
    assert page("ccproxy_requests_total", path=path, stream="false", status="500", outcome="upstream_fault") == 1
    assert page("ccproxy_requests_total", path=path, stream="false", status="400", outcome="client_fault") == 1
    assert page.total("ccproxy_requests_total") == 5
    assert page.total("ccproxy_errors_total") == 2
    for kind, count in {"input": 21, "output": 9, "cache_read": 4}.items():
        assert page("ccproxy_tokens_total", model=model, kind=kind) == count
    assert page("ccproxy_adjustments_total", code="sampling_dropped") == 1
    assert page.total("ccproxy_cost_usd_total") == page("ccproxy_caller_cost_usd_total", caller="local") == 0.75
    assert page("ccproxy_priced_requests_total") == 2
    assert page.total("ccproxy_unpriced_requests_total") == 1
    assert page("ccproxy_request_duration_seconds_count", stream="false") == 4
    assert page("ccproxy_first_content_seconds_count") == 1
    assert page("ccproxy_upstream_seconds_count", upstream="local") == 4
    assert page("ccproxy_overhead_seconds_count", stream="false") == 2  # of those that were answered
    assert page("ccproxy_overhead_seconds_count", stream="true") == 1
    assert page("ccproxy_upstream_outcomes_total", upstream="local", outcome="ok") == 3
    assert page("ccproxy_upstream_outcomes_total", upstream="local", outcome="upstream_fault") == 1
    assert page("ccproxy_upstream_breaker_state", upstream="local") == 0
    assert page("ccproxy_limiter_admitted_total") == 4  # what can't be read asks for no permit
    assert page("ccproxy_open_streams") == page("ccproxy_leases") == page("ccproxy_busy_connections") == 0

    done, costs = numbers["performance"], numbers["cost"]
    assert (done["request_count"], done["active_requests"], done["error_count"], done["error_rate"]) == (5, 0, 2, 0.4)
    assert (done["streams"], done["input_tokens"], done["output_tokens"], done["cache_read_tokens"]) == (1, 21, 9, 4)
    assert 0 < done["avg_duration_ms"] <= done["p95_duration_ms"] <= done["p99_duration_ms"]
    assert 0 < done["overhead_sum_s"] < done["duration_sum_s"]
    assert (costs["total_usd"], costs["priced_requests"], costs["unpriced_requests"]) == (0.75, 2, 1)
    assert costs["by_caller"] == {"local": 0.75}
    [session] = costs["sessions"]
    assert session == {"session": "session-1", "usd": 0.75, "requests": 2, "input_tokens": 16, "output_tokens": 6}
    assert numbers["providers"]["endpoints"][0]["health"]["score"] < 100


async def test_the_page_has_the_original_sections_with_numbers() -> None:
    async with serving() as proxy:
        texts = [{"role": "user", "content": "to be counted " * 40}]
        tool = {"name": "f", "input_schema": {"type": "object"}}
        for _ in range(2):
            await proxy.post({**HELLO, "messages": texts}, "/v1/messages/count_tokens")
        await proxy.post(message(tools=[tool]))
        numbers = await numbers_of(proxy.client)
    assert {
        "request_count",
        "active_requests",
        "error_count",
        "error_rate",
        "avg_duration_ms",
        "p95_duration_ms",
        "p99_duration_ms",
    } <= numbers["performance"].keys()
    assert {"cache_hits", "cache_misses", "hit_rate", "memory_usage_mb", "circuit_breaker", "cache_size"} <= numbers[
        "response_cache"
    ].keys()
    assert {"cache_size", "max_cache_size", "cache_hits", "cache_misses", "hit_rate", "total_requests"} == numbers[
        "request_validator_cache"
    ].keys()
    counts = numbers["token_count_cache"]
    assert (counts["hits"], counts["misses"], counts["total_entries"], counts["hit_rate"]) == (1, 1, 1, 50.0)
    converters = numbers["converter_caches"]
    assert converters.keys() == {"tools", "tool_choice", "tool_result"}
    assert all(cache.keys() == {"currsize", "maxsize"} for cache in converters.values())
    assert converters["tools"]["currsize"] > 0
    assert {"providers", "limits", "learned", "streams", "cost", "actors", "quiet"} <= numbers.keys()


async def test_reset_begins_at_zero() -> None:
    async with serving() as proxy:
        await proxy.post(headers=SESSION)
        assert (await numbers_of(proxy.client))["performance"]["request_count"] == 1
        response = await proxy.client.post("/v1/metrics/reset")
        assert (response.status_code, response.json()) == (200, {"status": "metrics_reset"})
        done = (await numbers_of(proxy.client))["performance"]
        assert (done["request_count"], done["error_count"], done["p99_duration_ms"], done["by_status"]) == (0, 0, 0, {})
        page = await page_of(proxy.client)
        assert page.total("ccproxy_requests_total") == 0
        assert page.total("ccproxy_limiter_admitted_total") == 1  # the parts' own numbers go on


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/metrics"), ("POST", "/v1/metrics"), ("GET", "/v1/metrics/reset")]
)
async def test_the_wrong_method_is_a_405(method: str, path: str) -> None:
    async with serving() as proxy:
        response = await proxy.client.request(method, path)
        assert response.status_code == 405
        assert response.json()["type"] == "error"


async def test_every_part_is_on_the_page_in_both_formats() -> None:
    async with serving() as proxy:
        await proxy.post()
        assert proxy.runtime.parts().keys() == PARTS.keys()
        plain = await page_of(proxy.client)
        openly = await page_of(proxy.client, accept=OPEN_METRICS)
    assert plain("ccproxy_build_info", version="0.1.0", python=platform.python_version()) == 1
    for name in (
        "ccproxy_actor_mailbox_depth",
        "ccproxy_actor_mailbox_wait_seconds_total",
        "ccproxy_cache_entries",
        "ccproxy_connections",
        "ccproxy_lessons",
        "ccproxy_log_lines_total",
        "ccproxy_loop_lag_seconds",
        "ccproxy_shared_streams_led_total",
        "ccproxy_single_flight_led_total",
        "ccproxy_upstream_first_byte_seconds",
        "ccproxy_upstream_health_score",
        "process_cpu_seconds_total",
    ):
        assert name in plain.names, name
    assert plain.names == openly.names


async def test_names_from_outside_can_not_break_the_page() -> None:
    hostile = 'a"b\\c\nd}{ 1\n# TYPE x'
    async with serving() as proxy:
        await proxy.post(message(model=hostile))
        page = await page_of(proxy.client)
    assert page.total("ccproxy_model_requests_total", model=hostile) == 1


async def test_a_listed_price_is_looked_up_off_the_loop_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "is_inside", lambda base_url: False)  # so that this machine seems to be a gateway
    script = [reply_json(completion(fresh=1_000_000, output=100_000, cached=1_000_000))] * 2
    async with (
        ScriptedUpstream(script) as upstream,
        serving(upstream.base_url, BIG_MODEL_NAME="gpt-4o", CCPROXY_CACHE="off") as proxy,
    ):
        for count in (1, 2):
            await proxy.post(message(model="claude-opus-4-5"), headers=SESSION)
            costs = await priced(proxy, count)
        page = await page_of(proxy.client)
    # 1 M tokens at 2.50, 1 M cached ones at 1.25, 100 k of output at 10
    assert costs["by_model"] == {"gpt-4o": pytest.approx(2 * 4.75)}
    assert costs["sessions"][0]["usd"] == pytest.approx(2 * 4.75)
    assert page("ccproxy_cost_usd_total", upstream="local", model="gpt-4o") == pytest.approx(2 * 4.75)


async def priced(proxy: Proxy, count: int) -> dict[str, Any]:
    """The costs, once so many requests have their price."""
    async with asyncio.timeout(20):
        while True:
            costs: dict[str, Any] = (await numbers_of(proxy.client))["cost"]
            if costs["priced_requests"] + costs["unpriced_requests"] == count:
                return costs
            await asyncio.sleep(0.02)
