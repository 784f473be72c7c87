"""The short way to the counters counts what the long way would: everything by its labels, one exchange at a time."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Exchange, MetricsRegistry, metrics_registry
from actors.metrics_registry import TOKENS
from actors.series import BUCKETS, Names

Series = tuple[str, tuple[str, ...]]
LIMIT = 2
SECONDS = st.sampled_from([0.0, 0.0005, 0.3, 700.0])
COUNTS = st.integers(0, 3)
NAMES = st.sampled_from(["", "a", "b", "c", "long" * 200])
EXCHANGES = st.builds(
    Exchange,
    request_id=st.just("r"),
    path=st.sampled_from(["/p", "/q", "/r", "/s"]),
    caller=NAMES,
    status=st.sampled_from([200, 529]),
    outcome=st.sampled_from(["ok", "house_fault"]),
    error_type=st.sampled_from([None, "x", "y", "z"]),
    client_model=NAMES,
    endpoint=NAMES,
    stream=st.booleans(),
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_tokens=COUNTS,
    cache_write_tokens=COUNTS,
    thinking_tokens=COUNTS,
    duration_s=SECONDS,
    queue_s=SECONDS,
    upstream_model=NAMES,
    upstream_s=st.none() | SECONDS,
    first_content_s=st.none() | SECONDS,
    translate_s=SECONDS,
    retries=COUNTS,
    adjustments=st.lists(st.sampled_from("klmn"), max_size=3).map(tuple),
    bytes_in=COUNTS,
    bytes_out=COUNTS,
    shared=st.booleans(),
    cache=st.sampled_from(["", "hit", "miss", "x"]),
    overhead_s=st.none() | SECONDS,
    cost_usd=st.none() | st.sampled_from([0.0, 0.5, 2.0]),
)


def expected(events: list[Exchange]) -> dict[Series, float]:
    """Every series that is not zero."""
    shown: Counter[Series] = Counter()
    paths, outcomes, models, endpoints, errors, codes = (Names(LIMIT) for _ in range(6))
    upstream_models, callers, results = (Names(LIMIT) for _ in range(3))

    def observe(name: str, seconds: float | None, *labels: str) -> None:
        if seconds is None or (not seconds and name not in ("request_duration", "first_content")):
            return
        shown[f"{name}_seconds_sum", labels] += seconds  # type: ignore[assignment]
        shown[f"{name}_seconds_count", labels] += 1
        for bound in (*BUCKETS, float("inf")):
            shown[f"{name}_seconds_bucket", (*labels, repr(bound))] += seconds <= bound

    for e in events:
        model = models(e.client_model) if e.client_model else "none"
        endpoint = endpoints(e.endpoint) if e.endpoint else "none"
        stream = "true" if e.stream else "false"
        shown["requests_total", (paths(e.path), stream, str(e.status), outcomes(e.outcome))] += 1
        shown["model_requests_total", (model, endpoint)] += 1
        for kind in TOKENS:
            shown["tokens_total", (model, kind)] += getattr(e, f"{kind}_tokens")
        if e.error_type is not None:
            shown["errors_total", (errors(e.error_type),)] += 1
        for code in e.adjustments:
            shown["adjustments_total", (codes(code),)] += 1
        shown["retries_total", (endpoint,)] += e.retries
        shown["bytes_total", ("in",)] += e.bytes_in
        shown["bytes_total", ("out",)] += e.bytes_out
        shown["shared_total", ()] += e.shared
        observe("request_duration", e.duration_s, stream)
        if e.cache:
            shown["cache_requests_total", (results(e.cache),)] += 1
        observe("queue", e.queue_s)
        shown["translate_seconds_total", ()] += e.translate_s  # type: ignore[assignment]
        observe("upstream", e.upstream_s, endpoint)
        observe("first_content", e.first_content_s)
        observe("overhead", e.overhead_s, stream)
        upstream_model, caller = upstream_models(e.upstream_model), callers(e.caller)
        if not (e.output_tokens or e.input_tokens):
            continue
        if e.cost_usd is None:
            shown["unpriced_requests_total", (endpoint, upstream_model)] += 1
        else:
            shown["priced_requests_total", ()] += 1
            shown["cost_usd_total", (endpoint, upstream_model)] += e.cost_usd  # type: ignore[assignment]
            shown["caller_cost_usd_total", (caller,)] += e.cost_usd  # type: ignore[assignment]
    return {series: value for series, value in shown.items() if value}


def counted(registry: MetricsRegistry) -> dict[Series, float]:
    found: dict[Series, float] = {}
    for family in registry.families():
        name = family.about.name.removeprefix("x_")
        for series in family.series:
            assert len(series.labels) == len(family.about.labels)
            given = {(name, series.labels): series.value}
            if series.counts:
                bounds = map(repr, (*BUCKETS, float("inf")))
                given = {(f"{name}_sum", series.labels): series.value}
                given[f"{name}_count", series.labels] = sum(series.counts)
                running = accumulate(series.counts)
                given |= {(f"{name}_bucket", (*series.labels, le)): n for le, n in zip(bounds, running, strict=True)}
            assert not given.keys() & found.keys()
            found |= given
    return {at: value for at, value in found.items() if value}


@given(st.lists(EXCHANGES, max_size=30), st.lists(EXCHANGES, max_size=5), st.integers(1, 4))
def test_every_series_is_the_sum_over_the_exchanges(before: list[Exchange], events: list[Exchange], rows: int) -> None:
    registry = MetricsRegistry(prefix="x", names=LIMIT)
    with mock.patch.object(metrics_registry, "MOST_ROWS", rows):  # so few that rows are forgotten and found again
        for event in before:
            registry.record(event)
        assert counted(registry) == pytest.approx(expected(before))
        registry.reset(1.0)
        assert counted(registry) == {}
        for event in events:
            registry.record(event)
    assert counted(registry) == pytest.approx(expected(events))


def exchange(**changes: Any) -> Exchange:
    return Exchange("r", "/p", "c", 200, "ok", **changes)


def test_what_was_never_counted_is_not_shown() -> None:
    registry = MetricsRegistry(prefix="x")
    registry.record(exchange(client_model="m", endpoint="e", output_tokens=1))
    shown = {(family.about.name, series.labels) for family in registry.families() for series in family.series}
    assert ("x_tokens_total", ("m", "output")) in shown
    assert ("x_tokens_total", ("m", "input")) not in shown
    assert not {"x_retries_total", "x_upstream_seconds", "x_first_content_seconds"} & {name for name, _ in shown}
    assert {("x_shared_total", ()), ("x_sink_errors_total", ())} <= shown


def test_neither_many_nor_long_names_are_kept() -> None:
    registry = MetricsRegistry(prefix="x", names=2)
    for number in range(3 * metrics_registry.MOST_ROWS):
        registry.record(exchange(client_model=f"model {number}"))
        assert len(registry._rows) <= metrics_registry.MOST_ROWS
    registry.reset(0.0)
    for number in range(100):
        registry.record(exchange(client_model=f"{number}" * 1_000, endpoint="e"))
        registry.record(Exchange("r", "/" + f"{number}" * 1_000, "c", 200, "ok"))
    assert len(registry._rows) == 2  # of long names, only that they are others
    assert registry.totals().by_model == {"other": 100, "none": 100}
