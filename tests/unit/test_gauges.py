"""Every figure that a part knows of itself is a metric, or is left out for a reason."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import UnionType
from typing import Any

import msgspec
import pytest

import actors
from actors import About, BreakerState, CacheStatistics, ProviderStatistics, RateStatistics
from actors.metrics import MAILBOX
from actors.metrics_registry import MetricsRegistry
from actors.stream_table import StreamStatistics
from ccproxy_sanic import gauges
from ccproxy_sanic.caching.known import KnownStatistics
from ccproxy_sanic.caching.second_level import SecondStatistics
from ccproxy_sanic.crew.quotas import QuotaStatistics
from ccproxy_sanic.gauges_table import LEFT_OUT, PARTS, Row
from ccproxy_sanic.ops.error_records import RecordStatistics
from ccproxy_sanic.ops.logging import LogStatistics
from ccproxy_sanic.ops.prometheus import page
from ccproxy_sanic.runtime import Quiet
from ccproxy_sanic.sharing.running import SharingStatistics
from ccproxy_sanic.tokens.counter import MemoryStatistics
from ccproxy_sanic.upstream.engine import Statistics
from ccproxy_sanic.upstream.transport import Transports
from ccproxy_sanic.wire.beginnings import ConversationStatistics
from tests.support.metrics import Page

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "under_way": Quiet,
    "limiter": RateStatistics,
    "provider": ProviderStatistics,
    "connections": Statistics,
    "cache": CacheStatistics,
    "second_level": SecondStatistics,
    "known": KnownStatistics,
    "conversations": ConversationStatistics,
    "streams": StreamStatistics,
    "sharing": SharingStatistics,
    "token_counts": MemoryStatistics,
    "quotas": QuotaStatistics,
    "log": LogStatistics,
    "records": RecordStatistics,
}
OF_ONE_FIGURE = {"watch", "lessons"}


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct in an annotation: itself, one of many, or one that may be missing."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if typing.get_origin(kind) in (tuple, dict, Mapping, UnionType):
        return next(filter(None, map(struct_in, typing.get_args(kind))), None)
    return None


def fields(struct: type[msgspec.Struct], before: str = "") -> Iterator[str]:
    for name, kind in typing.get_type_hints(struct).items():
        inner = struct_in(kind)
        if inner is None:
            yield before + name
        else:
            yield from fields(inner, f"{before}{name}.")


def test_every_part_is_looked_at() -> None:
    assert STRUCTS.keys() | OF_ONE_FIGURE == PARTS.keys()
    assert LEFT_OUT.keys() <= STRUCTS.keys()


@pytest.mark.parametrize("part", STRUCTS)
def test_every_field_is_a_metric_or_left_out_for_a_reason(part: str) -> None:
    found, rows = list(fields(STRUCTS[part])), [row.path for row in PARTS[part]]
    left_out = list(LEFT_OUT.get(part, ()))
    assert sorted(found) == sorted([*rows, *left_out])


def abouts() -> list[About]:
    rows = {row.about: None for rows in PARTS.values() for row in rows}
    return [*rows, *(about for about, _ in MAILBOX), *(family.about for family in MetricsRegistry().families())]


def test_names_follow_prometheus() -> None:
    for about in abouts():
        assert about.name.startswith("ccproxy_")
        assert about.name.endswith("_total") == (about.kind == "counter")
        assert about.help.endswith(".")
        assert not {"session", "request_id", "key"} & set(about.labels)
    names = [about.name.removesuffix("_total") for about in abouts()]  # the names of OpenMetrics
    assert sorted(set(names)) == sorted(names)


class State(msgspec.Struct):
    score: int


class Part(msgspec.Struct):
    name: str
    state: BreakerState
    health: State
    limit: int | None
    times: dict[str, State]
    failed: dict[StrEnum, int]


class Whole(msgspec.Struct):
    parts: tuple[Part, ...]


def test_what_is_many_becomes_labels_and_what_is_none_nothing() -> None:
    def gauge(path: str, name: str, labels: tuple[str, ...], values: tuple[str, ...] = ()) -> Row:
        return Row(path, About(name, "gauge", "Text.", labels), values)

    rows = (
        gauge("parts.state", "state", ("part",)),
        gauge("parts.health.score", "score", ("part",)),
        gauge("parts.limit", "limit", ("part",)),
        gauge("parts.times.score", "time", ("part", "work", "of"), ("score",)),
        gauge("parts.failed", "failed", ("part", "outcome")),
        gauge("parts", "parts", ()),
    )
    outcome = actors.Outcome.BROKEN
    one = Part("a", BreakerState.HALF_OPEN, State(80), 3, {"whole": State(2)}, {outcome: 4})
    two = Part("b", BreakerState.OPEN, State(0), None, {}, {})
    shown = Page(page(gauges.of(Whole((one, two)), rows))[0].decode())
    assert {
        (name, *sorted(value for _, value in labels)): found for (name, labels), found in shown.samples.items()
    } == {
        ("state", "a"): 1,
        ("state", "b"): 2,
        ("score", "a"): 80,
        ("score", "b"): 0,
        ("limit", "a"): 3,
        ("time", "a", "score", "whole"): 2,
        ("failed", "a", "broken"): 4,
        ("parts",): 2,
    }


def test_every_state_of_a_breaker_has_a_number() -> None:
    assert gauges.STATES.keys() == set(BreakerState)


def test_an_upstream_without_limits_shows_none() -> None:
    books = actors.RateBooks()
    books.upstream("a")
    shown = Page(page(gauges.of(books.statistics(), PARTS["limiter"]))[0].decode())
    assert shown("ccproxy_limiter_upstream_requests", upstream="a") == 0
    assert shown("ccproxy_limiter_upstream_request_limit", upstream="a") is None


def test_a_part_that_fails_costs_its_own_figures_only() -> None:
    def failing() -> None:
        raise RuntimeError("gone")

    parts: dict[str, Any] = dict.fromkeys(PARTS, lambda: None) | {"log": lambda: LogStatistics(1, 2, 3)}
    shown = Page(page(gauges.families([], parts | {"cache": failing}))[0].decode())
    assert shown("ccproxy_log_lines_total", result="dropped") == 2
    assert "process_cpu_seconds_total" in shown.names


async def test_connections_are_told_by_engine_whatever_the_way() -> None:
    transports = Transports(None)
    transports.get("h1")
    transports.get("httpx")
    transports.get("httpx", "http://user:secret@proxy.example:3128")
    assert transports.statistics().keys() == {"h1", "httpx"}
    assert Statistics(1, 2, 3, opened=4).plus(Statistics(1, 1, 1)) == Statistics(2, 3, 4)
    assert Statistics(1, 2, 3, opened=4).plus(Statistics(0, 0, 0, opened=1)).opened == 5
    await transports.aclose()
