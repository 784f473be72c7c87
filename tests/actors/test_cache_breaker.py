"""The breaker around bad values: it opens, it closes again, and what goes well mends it (original.md behaviour 32)."""

from __future__ import annotations

import pytest

from actors.cache_breaker import LONGEST, ValidationBreaker
from actors.testing import ManualClock


def fail(breaker: ValidationBreaker, clock: ManualClock, times: int) -> None:
    for _ in range(times):
        breaker.failed(clock())


def is_open(breaker: ValidationBreaker, clock: ManualClock) -> bool:
    return breaker.statistics(clock()).open_for > 0


def test_it_opens_at_25_failures_for_300_seconds_and_closes_again() -> None:
    breaker, clock = ValidationBreaker(), ManualClock(50.0)
    fail(breaker, clock, 24)
    assert not is_open(breaker, clock)
    fail(breaker, clock, 1)
    assert breaker.statistics(clock()).open_for == 300.0
    clock.advance(299.9)
    assert is_open(breaker, clock)
    clock.advance(0.1)
    assert not is_open(breaker, clock)


def test_a_success_takes_back_a_failure() -> None:
    breaker, clock = ValidationBreaker(), ManualClock()
    for _ in range(100):
        fail(breaker, clock, 1)
        breaker.succeeded()
    assert breaker.statistics(clock()).failures == 0
    fail(breaker, clock, 24)
    breaker.succeeded()
    fail(breaker, clock, 1)
    assert not is_open(breaker, clock)


def test_who_has_not_recovered_opens_at_the_next_failure_and_for_longer_each_time_up_to_ten_times() -> None:
    breaker, clock = ValidationBreaker(), ManualClock()
    fail(breaker, clock, 24)
    lasted = []
    for _ in range(LONGEST + 2):
        fail(breaker, clock, 1)
        lasted.append(breaker.statistics(clock()).open_for)
        clock.advance(lasted[-1])
        assert not is_open(breaker, clock)
    assert lasted == [300.0 * min(number, 10) for number in range(1, LONGEST + 3)]


def test_who_has_recovered_begins_anew() -> None:
    breaker, clock = ValidationBreaker(), ManualClock()
    fail(breaker, clock, 25)
    clock.advance(300.0)
    for _ in range(24):
        breaker.succeeded()
    fail(breaker, clock, 24)
    assert not is_open(breaker, clock)
    fail(breaker, clock, 1)
    assert breaker.statistics(clock()).open_for == 300.0


def test_what_fails_while_it_is_open_does_not_make_it_longer() -> None:
    breaker, clock = ValidationBreaker(), ManualClock()
    fail(breaker, clock, 25)
    clock.advance(100.0)
    fail(breaker, clock, 100)
    assert breaker.statistics(clock()).open_for == 200.0


@pytest.mark.parametrize("failures", [1, 25, 60])
def test_a_reset_clears_everything(failures: int) -> None:
    breaker, clock = ValidationBreaker(), ManualClock()
    fail(breaker, clock, failures)
    breaker.reset()
    assert breaker.statistics(clock()) == ValidationBreaker().statistics(clock())
