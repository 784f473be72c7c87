"""Families of several processes add up to what one would have counted."""

from __future__ import annotations

from itertools import accumulate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import About, Family, MetricsRegistry, Series, dump, merged
from actors.series import BUCKETS, Histogram
from tests.actors.metrics_support import flat
from tests.actors.test_metrics_samples import EXCHANGES, counted


@given(st.lists(st.floats(0, 10_000)))
def test_a_histogram_counts_each_value_in_the_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram("h", "text")
    for value in values:
        histogram.observe(value)
    [*found] = histogram.family().series
    assert len(found) == bool(values)
    for series in found:
        upto = accumulate(series.counts)
        for bound, count in zip((*BUCKETS, float("inf")), upto, strict=True):
            assert count == sum(value <= bound for value in values)
    assert histogram.sum() == pytest.approx(sum(values))
    assert list(BUCKETS) == sorted(set(BUCKETS))


@given(st.lists(st.tuples(st.integers(0, 2), EXCHANGES), max_size=20))
def test_what_several_processes_count_adds_up(events: list[tuple[int, object]]) -> None:
    # so many names that none is `other`: which ones are depends on the order
    whole, parts = MetricsRegistry(prefix="x"), [MetricsRegistry(prefix="x") for _ in range(3)]
    for number, event in events:
        whole.record(event)  # type: ignore[arg-type]
        parts[number].record(event)  # type: ignore[arg-type]
    together = MetricsRegistry(prefix="x")
    together.families = lambda: merged(dump(part.families()) for part in parts)  # type: ignore[method-assign]
    assert counted(together) == pytest.approx(counted(whole))


def gauge(name: str, merge: str, value: float, *labels: str) -> Family:
    about = About(name, "gauge", "text", ("l",) * len(labels), merge)  # type: ignore[arg-type]
    return Family(about, (Series(labels, value),))


def test_gauges_say_how_they_are_taken_together() -> None:
    one = [gauge("s", "sum", 1), gauge("x", "max", 1), gauge("n", "min", 1), gauge("l", "sum", 1, "a")]
    two = [gauge("s", "sum", 2), gauge("x", "max", 2), gauge("n", "min", 2), gauge("l", "sum", 2, "b")]
    assert flat(merged([dump(one), dump(two)])) == {
        ("s", ()): 3,
        ("x", ()): 2,
        ("n", ()): 1,
        ("l", ("a",)): 1,
        ("l", ("b",)): 2,
    }


def test_a_family_that_another_version_describes_otherwise_does_not_spoil_it() -> None:
    assert flat(merged([dump([gauge("s", "sum", 1)]), dump([gauge("s", "max", 5)])])) == {("s", ()): 1}


def test_no_dump_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        merged([b"no dump"])
    assert merged([]) == []
