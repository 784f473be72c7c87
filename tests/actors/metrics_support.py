"""Exchanges, and a look at what a metrics actor shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from actors import Exchange, Family, MetricsActor, MetricsRegistry, Render, Snapshot, Totals
from actors.testing import ManualClock, drain

Shown = dict[tuple[str, tuple[str, ...]], float]


def exchange(**changes: Any) -> Exchange:
    base: dict[str, Any] = {"request_id": "r", "path": "/p", "caller": "c", "status": 200, "outcome": "ok"}
    return Exchange(**{**base, **changes})


def actor_of(
    registry: MetricsRegistry, sink: Callable[[Exchange], None] = lambda exchange: None, **more: Any
) -> MetricsActor:
    return MetricsActor(registry, sink, ManualClock(), **more)


def flat(families: Iterable[Family]) -> Shown:
    """Series by name and label values; of a histogram its sum."""
    return {(family.about.name, one.labels): one.value for family in families for one in family.series}


def rendered(actor: MetricsActor) -> Shown:
    [reply] = drain(actor, [Render()])
    return flat(reply.value)


def totals_of(actor: MetricsActor) -> Totals:
    [reply] = drain(actor, [Snapshot()])
    assert isinstance(reply.value, Totals)
    return reply.value
