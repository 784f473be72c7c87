"""Retries are a share of what succeeds, however many ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import BreakerRules, Endpoint, Outcome, Unavailable
from actors.provider_retries import FLOOR, PERIOD, SHARE, RetryBudget
from tests.actors.provider_support import Desk


def granted(desk: Desk, n: int) -> int:
    return sum(desk.retry("a").error is None for _ in range(n))


def test_a_few_are_allowed_before_anything_has_succeeded_and_no_more() -> None:
    desk = Desk(Endpoint("a"))
    assert granted(desk, 50) == FLOOR
    assert desk.retry("a").error == Unavailable(1.0)
    seen = desk.of("a")
    assert (seen.retries_granted, seen.retries_refused) == (FLOOR, 41)


def test_they_are_a_fifth_of_the_successes() -> None:
    desk = Desk(Endpoint("a"))
    for _ in range(200):
        desk.serve("a")
    assert granted(desk, 100) == 40


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_nothing_but_a_success_counts_as_one(outcome: Outcome) -> None:
    desk = Desk(Endpoint("a", breaker=BreakerRules(faults=1_000)))
    for _ in range(200):
        desk.fail("a", outcome=outcome)
    assert granted(desk, 100) == FLOOR


def test_successes_and_retries_are_forgotten_after_the_period() -> None:
    desk = Desk(Endpoint("a"))
    for _ in range(200):
        desk.serve("a")
    for _ in range(61):
        desk.tick(1.0)
    assert granted(desk, 100) == FLOOR
    for _ in range(30):
        desk.tick(1.0)
    assert granted(desk, 100) == 0
    for _ in range(31):
        desk.tick(1.0)
    assert granted(desk, 100) == FLOOR


def test_each_endpoint_has_a_budget_of_its_own() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"))
    granted(desk, 50)
    assert desk.retry("b").error is None


def test_there_is_none_where_the_breaker_is_open_nor_at_an_endpoint_that_went() -> None:
    desk = Desk(Endpoint("a", breaker=BreakerRules(faults=1, rest=30.0)))
    desk.fail("a", outcome=Outcome.BROKEN)
    assert desk.retry("a").error == Unavailable(30.0)
    assert desk.retry("b").error == Unavailable(1.0)
    assert desk.of("a").retries_granted == 0


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 40), st.integers(0, 12)), max_size=60))
def test_in_no_period_are_there_more_than_a_fifth_of_the_successes_or_the_floor(
    steps: list[tuple[float, int, int]],
) -> None:
    budget, now, successes = RetryBudget(), 0.0, 0
    done: list[tuple[float, int, int]] = []  # time, successes, retries
    for seconds, succeeded, asked in steps:
        now, successes = now + seconds, successes + succeeded
        budget.tick(successes - succeeded, now)
        done.append((now, succeeded, sum(budget.take(successes, now) for _ in range(asked))))
        if not done[-1][2]:
            continue  # the rule is about what is granted; successes may be forgotten after it
        recent = [step for step in done if step[0] > now - PERIOD]
        older = [step for step in done if step[0] > now - PERIOD - 20.0]  # a tick may be as far off as that
        assert sum(step[2] for step in recent) <= max(FLOOR, SHARE * sum(step[1] for step in older))
