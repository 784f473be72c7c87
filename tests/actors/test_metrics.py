"""One event per request; everything that is shown is a sum of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors import Exchange, Family, MetricsActor, MetricsRegistry, Render, Reset, Snapshot, mailbox_families
from actors.metrics_registry import NEWEST, percentile
from actors.series import Names
from actors.testing import ManualClock, Rig, drain
from tests.actors.metrics_support import actor_of, exchange, flat, rendered, totals_of
from tests.actors.support import Echo, running


def test_one_exchange_feeds_everything_that_is_shown() -> None:
    seen: list[Exchange] = []
    actor = actor_of(MetricsRegistry(prefix="x"), seen.append)
    event = exchange(
        client_model="m",
        upstream_model="u",
        endpoint="e",
        stream=True,
        status=529,
        outcome="house_fault",
        error_type="overloaded",
        input_tokens=10,
        output_tokens=3,
        cache_read_tokens=4,
        thinking_tokens=2,
        duration_s=0.2,
        queue_s=0.002,
        upstream_s=0.1,
        first_content_s=0.15,
        translate_s=0.0004,
        overhead_s=0.003,
        retries=2,
        adjustments=("drop", "clamp", "drop"),
        bytes_in=100,
        bytes_out=7,
        shared=True,
        cache="hit",
        cost_usd=0.25,
    )
    drain(actor, [event])
    assert seen == [event]
    shown = rendered(actor)
    assert {
        ("x_requests_total", ("/p", "true", "529", "house_fault")): 1,
        ("x_model_requests_total", ("m", "e")): 1,
        ("x_tokens_total", ("m", "input")): 10,
        ("x_tokens_total", ("m", "output")): 3,
        ("x_tokens_total", ("m", "cache_read")): 4,
        ("x_tokens_total", ("m", "thinking")): 2,
        ("x_errors_total", ("overloaded",)): 1,
        ("x_adjustments_total", ("drop",)): 2,
        ("x_adjustments_total", ("clamp",)): 1,
        ("x_retries_total", ("e",)): 2,
        ("x_bytes_total", ("in",)): 100,
        ("x_bytes_total", ("out",)): 7,
        ("x_shared_total", ()): 1,
        ("x_cache_requests_total", ("hit",)): 1,
        ("x_sink_errors_total", ()): 0,
        ("x_request_duration_seconds", ("true",)): 0.2,
        ("x_first_content_seconds", ()): 0.15,
        ("x_overhead_seconds", ("true",)): 0.003,
        ("x_upstream_seconds", ("e",)): 0.1,
        ("x_queue_seconds", ()): 0.002,
        ("x_translate_seconds_total", ()): 0.0004,
        ("x_cost_usd_total", ("e", "u")): 0.25,
        ("x_caller_cost_usd_total", ("c",)): 0.25,
        ("x_priced_requests_total", ()): 1,
    }.items() <= shown.items()
    totals = totals_of(actor)
    assert (totals.requests, totals.streams, totals.shared, totals.retries) == (1, 1, 1, 2)
    assert (totals.by_status, totals.by_outcome, totals.by_model) == ({529: 1}, {"house_fault": 1}, {"m": 1})
    assert (totals.by_error, totals.by_adjustment) == ({"overloaded": 1}, {"drop": 2, "clamp": 1})
    assert (totals.input_tokens, totals.cache_write_tokens, totals.bytes_in) == (10, 0, 100)
    assert (totals.duration_sum_s, totals.upstream_sum_s, totals.overhead_sum_s) == (0.2, 0.1, 0.003)
    assert (totals.costs.total_usd, totals.costs.by_model) == (0.25, {"u": 0.25})


def test_what_did_not_happen_is_not_observed() -> None:
    actor = actor_of(MetricsRegistry(prefix="x"))
    drain(actor, [exchange()])
    shown = {name for name, _ in rendered(actor)}
    assert not shown & {
        "x_upstream_seconds",
        "x_first_content_seconds",
        "x_overhead_seconds",
        "x_queue_seconds",
        "x_tokens_total",
        "x_errors_total",
        "x_cost_usd_total",
        "x_unpriced_requests_total",
        "x_cache_requests_total",
    }
    assert ("x_model_requests_total", ("none", "none")) in rendered(actor)


def test_a_raising_sink_loses_neither_the_count_nor_the_actor() -> None:
    def raising(event: Exchange) -> None:
        raise OSError("disk full")

    actor = actor_of(MetricsRegistry(), raising)
    drain(actor, [exchange()] * 20)
    assert (totals_of(actor).requests, totals_of(actor).sink_errors) == (20, 20)


def test_raising_gauges_cost_only_the_gauges() -> None:
    def raising() -> list[Family]:
        raise KeyError("gone")

    actor = actor_of(MetricsRegistry(prefix="x"), gauges=raising)
    drain(actor, [exchange()])
    assert rendered(actor)["x_shared_total", ()] == 0


def test_reset_begins_at_zero_and_says_when() -> None:
    clock = ManualClock(50.0)
    actor = MetricsActor(MetricsRegistry(since=1.0), lambda event: None, clock)
    drain(actor, [exchange(cost_usd=1.0, output_tokens=1, duration_s=2.0, session="s")])
    assert totals_of(actor).since == 1.0
    [reply] = drain(actor, [Reset()])
    assert reply.answered
    totals = totals_of(actor)
    assert (totals.requests, totals.since, totals.duration_p99_s) == (0, 50.0, 0.0)
    assert (totals.costs.total_usd, totals.costs.sessions) == (0.0, ())


def test_names_from_outside_are_bounded() -> None:
    actor = actor_of(MetricsRegistry(names=3))
    drain(actor, [exchange(client_model=f"model {number}") for number in range(10)])
    drain(actor, [exchange(client_model="model 1"), exchange(client_model="x" * 1_000)])
    assert totals_of(actor).by_model == {"model 0": 1, "model 1": 2, "model 2": 1, "other": 8}
    names = Names(100)
    assert names("x" * 1_000) == "other"


def test_percentiles_are_exact_and_of_the_newest() -> None:
    assert [percentile([], 0.95), percentile([3.0], 0.5), percentile([1.0, 2.0], 0.5)] == [0.0, 3.0, 1.0]
    actor = actor_of(MetricsRegistry())
    drain(actor, [exchange(duration_s=100.0)] * 50)
    drain(actor, [exchange(duration_s=float(number)) for number in range(1, NEWEST + 1)])
    totals = totals_of(actor)
    assert (totals.duration_p95_s, totals.duration_p99_s) == (0.95 * NEWEST, 0.99 * NEWEST)
    assert totals.duration_sum_s == 5_000 + sum(range(NEWEST + 1))


async def test_mailboxes_are_shown_as_their_refs_know_them() -> None:
    async with running() as (ref, _):
        await ref.ask(Echo())
        shown = flat(mailbox_families([ref]))
        assert shown["ccproxy_actor_handled_total", ("pool",)] == 1
        assert shown["ccproxy_actor_mailbox_depth", ("pool",)] == 0


class MetricsMachine(RuleBasedStateMachine):
    """Whatever comes, the totals are the sums over what was counted since the reset."""

    @initialize(broken=st.booleans())
    def begin(self, broken: bool) -> None:
        def sink(event: Exchange) -> None:
            if broken:
                raise OSError

        self.broken, registry, clock = broken, MetricsRegistry(names=4), ManualClock()
        self.rig: Rig[Any] = Rig(lambda: MetricsActor(registry, sink, clock), clock)
        self.counted: list[Exchange] = []
        self.shown: dict[Any, float] = {}

    @rule(
        model=st.sampled_from(["", *"abcdefgh"]),
        status=st.sampled_from([200, 400, 529]),
        stream=st.booleans(),
        tokens=st.integers(0, 1_000_000),
        retries=st.integers(0, 3),
        seconds=st.floats(0, 4_000),
        usd=st.none() | st.floats(0, 10),
    )
    def exchange(
        self, model: str, status: int, stream: bool, tokens: int, retries: int, seconds: float, usd: float | None
    ) -> None:
        event = exchange(
            client_model=model,
            upstream_model=model,
            status=status,
            stream=stream,
            output_tokens=tokens,
            retries=retries,
            duration_s=seconds,
            cost_usd=usd,
        )
        self.rig.tell(event)
        self.rig.drain()
        self.counted.append(event)

    @rule()
    def reset(self) -> None:
        self.rig.ask(Reset())
        self.rig.drain()
        self.counted.clear()
        self.shown.clear()

    @rule()
    def crash(self) -> None:
        self.rig.crash()

    @rule()
    def counters_never_fall(self) -> None:
        reply = self.rig.ask(Render())
        self.rig.drain()
        shown = {at: value for at, value in flat(reply.value).items() if at[0].endswith("_total")}
        assert all(shown[at] >= value for at, value in self.shown.items())
        self.shown = shown

    @invariant()
    def totals_are_sums(self) -> None:
        reply = self.rig.ask(Snapshot())
        self.rig.drain()
        totals, counted = reply.value, self.counted
        assert totals.requests == sum(totals.by_status.values()) == sum(totals.by_model.values()) == len(counted)
        assert totals.by_status == Counter(event.status for event in counted)
        assert totals.streams == sum(event.stream for event in counted)
        assert totals.output_tokens == sum(event.output_tokens for event in counted)
        assert totals.retries == sum(event.retries for event in counted)
        assert totals.duration_sum_s == pytest.approx(sum(event.duration_s for event in counted))
        assert totals.sink_errors == (len(counted) if self.broken else 0)
        assert len(totals.by_model) <= 6  # four names, none, other
        used = [event for event in counted if event.output_tokens]
        priced = [event.cost_usd for event in used if event.cost_usd is not None]
        assert totals.costs.total_usd == pytest.approx(sum(priced))
        assert sum(totals.costs.by_model.values()) == pytest.approx(sum(priced))
        assert (totals.costs.priced_requests, totals.costs.unpriced_requests) == (len(priced), len(used) - len(priced))


TestMetricsMachine = MetricsMachine.TestCase
