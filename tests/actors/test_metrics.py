"""One event per request; everything that is shown is a sum of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors import Exchange, MetricsActor, MetricsRegistry, Render, Reset, Sample, Snapshot, Totals, mailbox_samples
from actors.exposition import BUCKETS, Histogram, Names, encode
from actors.testing import ManualClock, Rig, drain
from tests.actors.support import Echo, running

LINE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')


def exchange(**changes: Any) -> Exchange:
    base: dict[str, Any] = {"request_id": "r", "path": "/p", "caller": "c", "status": 200, "outcome": "ok"}
    return Exchange(**{**base, **changes})


def actor_of(
    registry: MetricsRegistry, sink: Callable[[Exchange], None] = lambda exchange: None, **more: Any
) -> MetricsActor:
    return MetricsActor(registry, sink, ManualClock(), **more)


def rendered(actor: MetricsActor) -> dict[str, float]:
    [reply] = drain(actor, [Render()])
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines_of(reply.value)}


def lines_of(text: bytes) -> list[str]:
    assert text.endswith(b"\n")
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


def totals_of(actor: MetricsActor) -> Totals:
    [reply] = drain(actor, [Snapshot()])
    assert isinstance(reply.value, Totals)
    return reply.value


def test_one_exchange_feeds_everything_that_is_shown() -> None:
    seen: list[Exchange] = []
    actor = actor_of(MetricsRegistry(prefix="x"), seen.append)
    event = exchange(
        client_model="m",
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
        retries=2,
        adjustments=("drop", "clamp", "drop"),
        bytes_in=100,
        bytes_out=7,
        shared=True,
    )
    drain(actor, [event])
    assert seen == [event]
    shown = rendered(actor)
    assert {
        'x_requests_total{path="/p",stream="true",status="529",outcome="house_fault"}': 1,
        'x_model_requests_total{model="m",endpoint="e"}': 1,
        'x_tokens_total{model="m",kind="input"}': 10,
        'x_tokens_total{model="m",kind="output"}': 3,
        'x_tokens_total{model="m",kind="cache_read"}': 4,
        'x_tokens_total{model="m",kind="thinking"}': 2,
        'x_errors_total{type="overloaded"}': 1,
        'x_adjustments_total{code="drop"}': 2,
        'x_adjustments_total{code="clamp"}': 1,
        'x_retries_total{endpoint="e"}': 2,
        'x_bytes_total{direction="in"}': 100,
        'x_bytes_total{direction="out"}': 7,
        "x_shared_total": 1,
        "x_sink_errors_total": 0,
        'x_request_duration_seconds_sum{stream="true"}': 0.2,
        'x_request_duration_seconds_bucket{stream="true",le="0.1"}': 0,
        'x_request_duration_seconds_bucket{stream="true",le="0.25"}': 1,
        'x_request_duration_seconds_bucket{stream="true",le="+Inf"}': 1,
        "x_first_content_seconds_sum": 0.15,
        'x_upstream_seconds_sum{endpoint="e"}': 0.1,
        "x_queue_seconds_count": 1,
        'x_translate_seconds_bucket{le="0.0005"}': 1,
    }.items() <= shown.items()
    totals = totals_of(actor)
    assert (totals.requests, totals.streams, totals.shared, totals.retries) == (1, 1, 1, 2)
    assert (totals.by_status, totals.by_outcome, totals.by_model) == ({529: 1}, {"house_fault": 1}, {"m": 1})
    assert (totals.by_error, totals.by_adjustment) == ({"overloaded": 1}, {"drop": 2, "clamp": 1})
    assert (totals.input_tokens, totals.cache_write_tokens, totals.bytes_in) == (10, 0, 100)
    assert (totals.duration_sum_s, totals.upstream_sum_s) == (0.2, 0.1)


def test_what_did_not_happen_is_not_observed() -> None:
    actor = actor_of(MetricsRegistry(prefix="x"))
    drain(actor, [exchange()])
    shown = rendered(actor)
    assert not any(name.startswith(("x_upstream", "x_first", "x_tokens", "x_errors")) for name in shown)
    assert 'x_model_requests_total{model="none",endpoint="none"}' in shown


def test_a_raising_sink_loses_neither_the_count_nor_the_actor() -> None:
    def raising(event: Exchange) -> None:
        raise OSError("disk full")

    actor = actor_of(MetricsRegistry(), raising)
    drain(actor, [exchange()] * 20)
    assert (totals_of(actor).requests, totals_of(actor).sink_errors) == (20, 20)


def test_raising_gauges_cost_only_the_gauges() -> None:
    def raising() -> list[Sample]:
        raise KeyError("gone")

    actor = actor_of(MetricsRegistry(prefix="x"), gauges=raising)
    drain(actor, [exchange()])
    assert rendered(actor)["x_shared_total"] == 0


def test_reset_begins_at_zero_and_says_when() -> None:
    clock = ManualClock(50.0)
    actor = MetricsActor(MetricsRegistry(since=1.0), lambda event: None, clock)
    drain(actor, [exchange()])
    assert totals_of(actor).since == 1.0
    [reply] = drain(actor, [Reset()])
    assert reply.answered
    assert (totals_of(actor).requests, totals_of(actor).since) == (0, 50.0)


def test_names_from_outside_are_bounded() -> None:
    actor = actor_of(MetricsRegistry(names=3))
    drain(actor, [exchange(client_model=f"model {number}") for number in range(10)])
    drain(actor, [exchange(client_model="model 1"), exchange(client_model="x" * 1_000)])
    assert totals_of(actor).by_model == {"model 0": 1, "model 1": 2, "model 2": 1, "other": 8}
    names = Names(100)
    assert names("x" * 1_000) == "other"


def test_the_text_has_one_help_and_type_per_family_and_stands_together() -> None:
    actor = actor_of(
        MetricsRegistry(prefix="x"),
        gauges=lambda: [
            Sample("g", "gauge", "A\\gauge\nhere.", (("l", 'a"b\\c\nd'),), 1.5),
            Sample("h", "gauge", "Other.", (), float("inf")),
            Sample("g", "gauge", "A\\gauge\nhere.", (), float("nan")),
        ],
    )
    drain(actor, [exchange(stream=kind, endpoint=name) for kind in (True, False) for name in "ab"])
    [reply] = drain(actor, [Render()])
    text = reply.value.decode()
    assert "# HELP g A\\\\gauge\\nhere.\n# TYPE g gauge\n" in text
    assert 'g{l="a\\"b\\\\c\\nd"} 1.5\ng NaN\n' in text
    assert "h +Inf\n" in text
    family, seen = "", set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in seen
            seen.add(family)
        elif not line.startswith("# TYPE "):
            match = LINE.match(line)
            assert match, line
            assert match[1].removeprefix(family) in ("", "_bucket", "_sum", "_count")


@given(st.text())
def test_any_label_value_can_be_read_back(value: str) -> None:
    text = encode([Sample("m", "counter", "h", (("l", value),), 1)]).decode()
    [line] = [line for line in text.split("\n") if line and not line.startswith("#")]
    match = LINE.match(line)
    assert match
    [(_, escaped)] = LABEL.findall(match[2])
    plain = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], escaped)
    assert plain == value.encode("utf-8", "replace").decode()


@given(st.lists(st.floats(0, 10_000)))
def test_a_histogram_counts_each_value_in_every_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram("h", "text")
    for value in values:
        histogram.cell().observe(value)
    for sample in histogram.samples():
        if sample.suffix == "_bucket":
            bound = float(dict(sample.labels)["le"])
            assert sample.value == sum(value <= bound for value in values)
    assert histogram.sum() == pytest.approx(sum(values))
    assert list(BUCKETS) == sorted(set(BUCKETS))


async def test_mailboxes_are_shown_as_their_refs_know_them() -> None:
    async with running() as (ref, _):
        await ref.ask(Echo())
        shown = {sample.name: sample for sample in mailbox_samples([ref], prefix="x")}
        assert shown["x_actor_handled_total"].value == 1
        assert shown["x_actor_mailbox_depth"].labels == (("actor", "pool"),)
        assert all(LINE.match(line) for line in lines_of(encode(shown.values())))


class MetricsMachine(RuleBasedStateMachine):
    """Whatever comes, the totals are the sums over what was counted since the reset."""

    @initialize(broken=st.booleans())
    def begin(self, broken: bool) -> None:
        def sink(event: Exchange) -> None:
            if broken:
                raise OSError

        self.broken, registry, clock = broken, MetricsRegistry(names=4), ManualClock()
        self.rig: Rig[Any] = Rig(lambda: MetricsActor(registry, sink, clock), clock)
        self.registry = registry
        self.counted: list[Exchange] = []

    @rule(
        model=st.sampled_from(["", *"abcdefgh"]),
        status=st.sampled_from([200, 400, 529]),
        stream=st.booleans(),
        tokens=st.integers(0, 1_000_000),
        retries=st.integers(0, 3),
        seconds=st.floats(0, 4_000),
    )
    def exchange(self, model: str, status: int, stream: bool, tokens: int, retries: int, seconds: float) -> None:
        event = exchange(
            client_model=model, status=status, stream=stream, output_tokens=tokens, retries=retries, duration_s=seconds
        )
        self.rig.tell(event)
        self.rig.drain()
        self.counted.append(event)

    @rule()
    def reset(self) -> None:
        self.rig.ask(Reset())
        self.rig.drain()
        self.counted.clear()

    @rule()
    def crash(self) -> None:
        self.rig.crash()

    @invariant()
    def totals_are_sums(self) -> None:
        reply = self.rig.ask(Snapshot())
        self.rig.drain()
        totals, counted = reply.value, self.counted
        assert totals.requests == sum(totals.by_status.values()) == sum(totals.by_model.values()) == len(counted)
        assert totals.by_status == {
            status: sum(event.status == status for event in counted) for status in {event.status for event in counted}
        }
        assert totals.streams == sum(event.stream for event in counted)
        assert totals.output_tokens == sum(event.output_tokens for event in counted)
        assert totals.retries == sum(event.retries for event in counted)
        assert totals.duration_sum_s == pytest.approx(sum(event.duration_s for event in counted))
        assert totals.sink_errors == (len(counted) if self.broken else 0)
        assert len(totals.by_model) <= 6  # four names, none, other
        text = self.rig.ask(Render())
        self.rig.drain()
        assert all(LINE.match(line) for line in lines_of(text.value))


TestMetricsMachine = MetricsMachine.TestCase
