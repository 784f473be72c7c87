"""The numbers of several workers as one: what is added up, what is not, and what outlives a worker."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from actors import About, Family, Series, Snapshot, merged
from ccproxy_sanic import merging
from ccproxy_sanic.handlers import metrics
from tests.support.proxy import message, serving

COUNTED = About("ccproxy_requests_total", "counter", "Requests.")
GAUGED = About("ccproxy_open_streams", "gauge", "Streams.")
WAITED = About("ccproxy_wait_max", "gauge", "Longest.", (), "max")


def families(number: float) -> list[Family]:
    return [Family(about, (Series((), number),)) for about in (COUNTED, GAUGED, WAITED)]


def told(page: dict[str, Any], number: float = 1.0, newest: tuple[float, ...] = (1.0,)) -> merging.Numbers:
    return merging.numbers(families(number), copy.deepcopy(page), newest)


def values(numbers: merging.Numbers) -> dict[str, float]:
    return {family.about.name: family.series[0].value for family in merged([numbers.families])}


@pytest.fixture
async def page() -> dict[str, Any]:
    """What a proxy tells that has answered three requests, one of them from its cache."""
    async with serving() as proxy:
        for _ in range(2):
            assert (await proxy.post(message(temperature=0))).status_code == 200
        assert (await proxy.post({"model": "x"})).status_code == 400
        totals = await proxy.runtime.house.metrics.ask(Snapshot())
        [there] = merging.read([merging.numbers([], metrics.sections(proxy.runtime, totals), ()).packed()])
        return there.page


def test_two_workers_are_one_with_twice_the_sums_and_the_same_ratios(page: dict[str, Any]) -> None:
    whole = merging.together([told(page), told(page, 5.0)])
    one, both = page["performance"], whole.page["performance"]
    assert (one["requests"], both["requests"], both["request_count"]) == (3, 6, 6)
    assert both["by_status"] == {status: 2 * count for status, count in one["by_status"].items()}
    assert (both["error_count"], both["error_rate"]) == (2, one["error_rate"])
    assert both["avg_duration_ms"] == one["avg_duration_ms"]
    assert both["since"] == one["since"]
    cache = whole.page["response_cache"]
    assert cache["max_size"] == 2 * page["response_cache"]["max_size"]
    assert cache["hit_rate"] == page["response_cache"]["hit_rate"]
    assert cache["circuit_breaker"] == page["response_cache"]["circuit_breaker"]
    [endpoint] = whole.page["providers"]["endpoints"]
    [alone] = page["providers"]["endpoints"]
    assert (endpoint["ok"], endpoint["breaker"], endpoint["health"]) == (2 * alone["ok"], "closed", alone["health"])
    assert endpoint["first_byte"]["whole"]["count"] == 2 * alone["first_byte"]["whole"]["count"]
    assert endpoint["first_byte"]["whole"]["p95"] == alone["first_byte"]["whole"]["p95"]
    assert values(whole) == {COUNTED.name: 6.0, GAUGED.name: 6.0, WAITED.name: 5.0}


def test_percentiles_are_those_of_all_requests_together(page: dict[str, Any]) -> None:
    slow, fast = told(page, newest=(10.0,) * 10), told(page, newest=(0.5,) * 990)
    whole = merging.together([fast, slow]).page["performance"]
    assert (whole["p95_duration_ms"], whole["p99_duration_ms"]) == (500.0, 500.0)
    whole = merging.together([slow, slow, fast]).page["performance"]
    assert (whole["p95_duration_ms"], whole["p99_duration_ms"]) == (500.0, 10_000.0)


def test_who_is_gone_leaves_its_counters_only(page: dict[str, Any]) -> None:
    page["performance"]["active_requests"] = 7
    left = merging.lasting(told(page))
    assert set(left.page) == {"performance", "cost"}
    assert left.page["performance"]["active_requests"] == 0
    assert values(left) == {COUNTED.name: 1.0}
    whole = merging.together([told(page), left])
    assert whole.page["performance"]["requests"] == 6
    assert whole.page["performance"]["active_requests"] == 7
    assert whole.page["providers"] == page["providers"]


def test_the_worst_state_and_the_longest_wait_are_told(page: dict[str, Any]) -> None:
    other = copy.deepcopy(page)
    [endpoint] = other["providers"]["endpoints"]
    endpoint["breaker"] = "half_open"
    endpoint["health"] = {"score": 40, "status": "unhealthy"}
    endpoint["open_for"] = 3.0
    [both] = merging.together([told(page), told(other)]).page["providers"]["endpoints"]
    assert (both["breaker"], both["health"], both["open_for"]) == (
        "half_open",
        {"score": 40, "status": "unhealthy"},
        3.0,
    )


def test_sessions_and_lessons_are_told_once(page: dict[str, Any]) -> None:
    lesson = {"base_url": "u", "model": "m", "kind": "k", "switches": {"max_tokens": 8}, "age": 5.0}
    session = {"session": "s", "usd": 1.0, "requests": 2, "input_tokens": 3, "output_tokens": 4}
    page |= {"learned": [lesson], "cost": page["cost"] | {"sessions": [session]}}
    dearer = copy.deepcopy(page)
    dearer["cost"]["sessions"].append(session | {"session": "t", "usd": 9.0})
    whole = merging.together([told(page), told(dearer)]).page
    assert whole["learned"] == [lesson]
    assert [(one["session"], one["usd"], one["requests"]) for one in whole["cost"]["sessions"]] == [
        ("t", 9.0, 2),
        ("s", 2.0, 4),
    ]


def test_numbers_of_another_version_are_left_out(caplog: pytest.LogCaptureFixture, page: dict[str, Any]) -> None:
    assert merging.read([b"what is this", told(page).packed()]) == [told(page)]
    assert "another version" in caplog.text
