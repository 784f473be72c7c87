"""The event of a request that has ended says what its context says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from actors import Exchange
from ccproxy_sanic.context import Caller, RequestContext
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.report import report

RENAMED = {"route": "rule"}
OWN = ("caller", "status", "outcome", "error_type", "duration_s", "retries", "overhead_s")  # of no field of the context


def told(ctx: RequestContext, error_type: str | None = None, outcome: str = "house_fault") -> Exchange:
    events: list[Exchange] = []
    house = SimpleNamespace(metrics=SimpleNamespace(tell=events.append), timer=lambda: 12.5)
    report(cast(House, house), ctx, 529, outcome, error_type)
    [event] = events
    return event


def test_each_field_of_the_event_is_the_contexts_field_of_that_name() -> None:
    """They are handed over by position."""
    values: dict[str, Any] = {}
    for number, field in enumerate(msgspec.structs.fields(RequestContext), 2):
        example = {str: f"text {number}", int: number, float: number / 8, bool: True}.get(field.type)
        values[field.name] = (f"name {number}", f"{number}") if example is None else example
    values |= {"caller": Caller("ann", "key"), "first_content_s": 0.1, "began": 10.0, "shared": False}
    ctx = RequestContext(**values)
    event = msgspec.structs.asdict(told(ctx, "overloaded_error"))
    given = {name: event.pop(name) for name in OWN}
    assert given == {
        "caller": "ann",
        "status": 529,
        "outcome": "house_fault",
        "error_type": "overloaded_error",
        "duration_s": 2.5,
        "retries": 1,
        "overhead_s": None,
    }
    assert event == {name: getattr(ctx, RENAMED.get(name, name)) for name in event}


@pytest.mark.parametrize(("hops", "retries"), [((), 0), (("a",), 0), (("a", "b", "a"), 2)])
def test_every_upstream_but_the_first_is_a_retry(hops: tuple[str, ...], retries: int) -> None:
    assert told(RequestContext("r", "/p", 0.0, 0.0, Caller("ann", "key"), hops=hops)).retries == retries


def test_our_own_time_is_what_was_not_waiting() -> None:
    ctx = RequestContext("r", "/p", 0.0, 10.0, Caller("ann", "key"), queue_s=0.25, upstream_s=0.5, flow_s=1.0)
    assert told(ctx, outcome="ok").overhead_s == 0.75
    assert told(ctx, outcome="client_closed").overhead_s is None  # the upstream may have gone on alone
    ctx.upstream_s = 0.0
    assert told(ctx, outcome="ok").overhead_s is None
    assert told(ctx, outcome="ok").upstream_s is None
