"""Behaviours 1 to 7: what the proxy says of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.original.support import between, completion, is_error
from tests.support.proxy import message

STORED = {"CCPROXY_CACHE": "all"}
PAGES = ("/", "/health", "/v1/metrics", "/v1/cache/stats", "/v1/preflight", "/metrics")


async def test_01_the_root_says_ok_and_the_time() -> None:
    async with between() as (proxy, _):
        response = await proxy.client.get("/")
        assert response.status_code == 200
        assert set(response.json()) == {"status", "timestamp"}
        assert response.json()["status"] == "ok"
        said = datetime.fromisoformat(response.json()["timestamp"])
        assert abs(datetime.now(UTC) - said) < timedelta(minutes=1)


async def test_02_preflight_passes() -> None:
    async with between() as (proxy, _):
        response = await proxy.client.get("/v1/preflight")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text == "[BashTool] Pre-flight check passed."


async def test_03_metrics_have_the_sections_of_old() -> None:
    async with between() as (proxy, _):
        assert (await proxy.post()).status_code == 200
        body = (await proxy.client.get("/v1/metrics")).json()
        assert {"performance", "response_cache", "request_validator_cache", "token_count_cache"} <= set(body)
        tokens = body["token_count_cache"]
        assert isinstance(tokens["hits"], int)
        assert isinstance(tokens["misses"], int)
        assert isinstance(tokens["hit_rate"], int | float)
        for name in ("tools", "tool_choice", "tool_result"):
            assert {"currsize", "maxsize"} <= set(body["converter_caches"][name])
        assert body["performance"]["request_count"] == 1


async def test_04_cache_statistics_have_their_two_sections() -> None:
    async with between() as (proxy, _):
        response = await proxy.client.get("/v1/cache/stats")
        assert response.status_code == 200
        assert {"response_cache", "request_validator"} <= set(response.json())


async def test_05_a_cleared_cache_is_empty() -> None:
    async with between(**STORED) as (proxy, upstream):
        for _ in range(2):
            await proxy.post()
        full = (await proxy.client.get("/v1/cache/stats")).json()["response_cache"]
        assert (full["cache_size"], full["cache_hits"], full["cache_misses"]) == (1, 1, 1)
        cleared = await proxy.client.post("/v1/cache/clear")
        assert (cleared.status_code, cleared.json()) == (200, {"status": "caches_cleared"})
        empty = (await proxy.client.get("/v1/cache/stats")).json()["response_cache"]
        assert (empty["cache_size"], empty["cache_hits"], empty["cache_misses"]) == (0, 0, 0)
        await proxy.post()
        assert len(upstream.requests) == 2  # it was really forgotten


async def test_06_reset_metrics_are_zero() -> None:
    async with between() as (proxy, _):
        await proxy.post()
        assert (await proxy.client.get("/v1/metrics")).json()["performance"]["request_count"] == 1
        reset = await proxy.client.post("/v1/metrics/reset")
        assert (reset.status_code, reset.json()) == (200, {"status": "metrics_reset"})
        assert (await proxy.client.get("/v1/metrics")).json()["performance"]["request_count"] == 0


@pytest.mark.parametrize("page", PAGES)
async def test_07_pages_need_no_credentials(page: str) -> None:
    async with between() as (proxy, _):
        assert (await proxy.client.get(page)).status_code == 200


async def test_07_wrong_methods_and_paths_are_said_to_be_wrong() -> None:
    async with between(completion()) as (proxy, _):
        assert is_error(await proxy.client.delete("/v1/messages"), 405, "invalid_request_error")
        assert is_error(await proxy.client.get("/v1/metrics/reset"), 405, "invalid_request_error")
        assert is_error(await proxy.post(message(), "/v1/nothing"), 404, "not_found_error")
