"""Which faults are worth another attempt, and for how long an attempt may be silent: the tables of pipeline.retry."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Endpoint, Manner, Outcome
from ccproxy_sanic import errors
from ccproxy_sanic.pipeline.books import outcome_of
from ccproxy_sanic.pipeline.retry import PATIENCE, RetryRules, pause, shape_of, within
from ccproxy_sanic.upstream.exchange import Deadlines
from ccproxy_sanic.wire.anthropic import MessagesRequest, decode_request
from tests.actors.provider_support import Desk

RULES = RetryRules(most=2, base=1.0, jitter=1.0)
DOWN = errors.Refused("down", status=500)


def seconds(fault: errors.ProxyError = DOWN, rules: RetryRules = RULES, **known: Any) -> float | None:
    return pause(rules, fault, **{"tried": 0, "headed": False, "chance": 0.0, **known})


@pytest.mark.parametrize(
    ("fault", "before", "after"),
    [
        (errors.Throttled("x"), True, True),
        (errors.Unreachable("x"), True, True),
        (errors.TimedOut("x"), True, False),
        (errors.Garbled("x"), True, True),
        (errors.Broken("x"), True, True),
        (errors.Refused("x", status=529), True, True),
        (errors.Refused("x", status=400), False, False),
        (errors.Refused("x", status=403), False, False),
        (errors.PromptTooLong("x"), False, False),
        (errors.InvalidRequest("x"), False, False),
        (errors.Overloaded("x"), False, False),
        (errors.Refused("x", status=500, should_retry=False), False, False),
        (errors.Refused("x", status=500, should_retry=True), True, True),
        (errors.Throttled("x", retry_after=PATIENCE), True, True),
        (errors.Throttled("x", retry_after=PATIENCE + 0.1), False, False),
    ],
)
def test_which_faults_may_pass_before_and_after_the_head(fault: errors.ProxyError, before: bool, after: bool) -> None:
    assert (seconds(fault) is not None, seconds(fault, headed=True) is not None) == (before, after)


def test_there_are_so_many_attempts_and_no_more() -> None:
    assert [seconds(tried=n) is not None for n in range(4)] == [True, True, False, False]
    assert seconds(rules=RetryRules(most=0)) is None


def test_pauses_double() -> None:
    rules = RetryRules(most=4, base=0.5, jitter=0.0)
    assert [seconds(rules=rules, tried=n, chance=0.7) for n in range(4)] == [0.5, 1.0, 2.0, 4.0]


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 9), st.none() | st.floats(0, PATIENCE))
def test_a_pause_is_between_what_chance_leaves_and_the_longest_and_never_below_retry_after(
    jitter: float, chance: float, tried: int, wait: float | None
) -> None:
    fault = errors.Throttled("x", retry_after=wait)
    found = seconds(fault, RetryRules(most=10, base=0.25, jitter=jitter), tried=tried, chance=chance)
    longest = 0.25 * 2**tried
    assert found is not None
    assert found >= (wait or 0.0)
    assert found <= max(longest, wait or 0.0)
    assert found >= longest * (1 - jitter)


def request(**fields: Any) -> MessagesRequest:
    said = {"role": "user", "content": "Hi"}
    return decode_request(msgspec.json.encode({"model": "m", "max_tokens": 100, "messages": [said], **fields}))


@pytest.mark.parametrize(
    "other",
    [
        {"stream": True},
        {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
        {"output_config": {"effort": "high"}},
    ],
)
def test_the_shape_tells_what_decides_how_soon_an_answer_begins(other: dict[str, Any]) -> None:
    assert shape_of(request(), "m", 1_000) != shape_of(request(**other), "m", 1_000)
    assert shape_of(request(**other), "m", 1_000) == shape_of(request(**other), "m", 1_000)
    assert shape_of(request(), "m", 1_000) != shape_of(request(), "n", 1_000)
    assert shape_of(request(), "m", 1_000) != shape_of(request(), "m", 2_000)
    assert shape_of(request(), "m", 1_023) == shape_of(request(), "m", 512)


@pytest.mark.parametrize(
    ("configured", "learned", "fields", "expected"),
    [
        (600.0, None, {"stream": True}, 600.0),
        (600.0, 12.0, {"stream": True}, 12.0),
        (8.0, 12.0, {"stream": True}, 8.0),
        (None, 12.0, {"stream": True}, 12.0),
        (None, None, {"stream": True}, None),
        (600.0, 12.0, {"max_tokens": 100}, 12.0),
        (600.0, 12.0, {"max_tokens": 1_000}, 100.0),
        (600.0, 12.0, {"max_tokens": 32_000}, 600.0),
    ],
)
def test_what_was_learned_only_ever_shortens_the_first_byte(
    configured: float | None, learned: float | None, fields: dict[str, Any], expected: float | None
) -> None:
    req = request(**fields)
    lease = Desk(Endpoint("a")).open("a").value
    if learned is not None:
        lease.limits = {shape_of(req, "m", 1_000): learned}
    deadlines = Deadlines(connect=1.0, first_byte=configured, idle=2.0, write=3.0)
    assert within(deadlines, lease, req, "m", 1_000) == Deadlines(1.0, expected, 2.0, 3.0)
    assert lease.hurried is (expected != configured)
    assert lease.manner is (Manner.STREAM if req.stream else Manner.WHOLE)


@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        (DOWN, 500, Outcome.UPSTREAM_FAULT),
        (errors.Unreachable("x"), 0, Outcome.UPSTREAM_FAULT),
        (errors.Garbled("x"), 200, Outcome.UPSTREAM_FAULT),
        (errors.Broken("x"), 200, Outcome.BROKEN),
        (errors.TimedOut("x"), 0, Outcome.TIMEOUT),
        (errors.Throttled("x"), 429, Outcome.THROTTLED),
        (errors.Refused("x", status=403), 401, Outcome.KEY_REFUSED),
        (errors.Refused("x", status=400), 400, Outcome.CLIENT_FAULT),
        (errors.PromptTooLong("x"), 500, Outcome.CLIENT_FAULT),
        (errors.InvalidRequest("x"), 0, Outcome.CLIENT_FAULT),
        (errors.Bug("x"), 0, Outcome.CANCELLED),
    ],
)
def test_how_a_fault_counts_for_the_upstream(fault: errors.ProxyError, status: int, outcome: Outcome) -> None:
    assert outcome_of(fault, status) is outcome
