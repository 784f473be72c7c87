"""Families as a page for Prometheus; what the process knows of itself as families.

Rule: the format is prometheus_client's: Prometheus' text, or OpenMetrics for who accepts that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final, Literal

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from actors.series import BUCKETS, About, Family, Series

BOUNDS: Final[tuple[str, ...]] = tuple(map(floatToGoString, (*BUCKETS, float("inf"))))
# How several processes' figures of one name are taken together; any other adds up.
_MERGE: Final[dict[str, Literal["sum", "max", "min"]]] = {"process_start_time_seconds": "min", "process_max_fds": "max"}


class _Page(Collector):
    """The families as prometheus_client's own."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if family.series:
                yield _metric(family)


def page(families: Iterable[Family], accept: str = "") -> tuple[bytes, str]:
    """The page for an ``Accept`` header, and its content type.  Families without a series are left out."""
    encode, content_type = choose_encoder(accept)
    return encode(_Page(families)), content_type


def _metric(family: Family) -> Metric:
    about = family.about
    if about.kind == "histogram":
        histogram = HistogramMetricFamily(about.name, about.help, labels=about.labels)
        for series in family.series:
            buckets = list(zip(BOUNDS, accumulate(series.counts), strict=True))
            histogram.add_metric(_values(series), buckets, series.value)
        return histogram
    kind = CounterMetricFamily if about.kind == "counter" else GaugeMetricFamily
    metric = kind(about.name, about.help, labels=about.labels)
    for series in family.series:
        metric.add_metric(_values(series), series.value)
    return metric


def _values(series: Series) -> list[str]:
    """Label values that can be encoded: a client may have named half of a character."""
    return [value if value.isascii() else value.encode("utf-8", "replace").decode() for value in series.labels]


def process_families() -> Iterator[Family]:
    """What the operating system knows of this process, where it says so (``process_*``)."""
    for metric in ProcessCollector(registry=None).collect():
        merge = _MERGE.get(metric.name, "sum")
        if metric.type == "counter":
            about = About(f"{metric.name}_total", "counter", metric.documentation)
        else:
            about = About(metric.name, "gauge", metric.documentation, (), merge)
        yield Family(about, tuple(Series((), sample.value) for sample in metric.samples))
