"""Budgets per caller: tables of what is admitted when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Admit, Limits, Permit, RateBooks, RateLimited, RateLimiterActor, Tick
from actors import rate_callers as module
from actors.testing import FakeReply, ManualClock, drain, grants


def limiter(limits: Limits, clock: ManualClock, books: RateBooks | None = None) -> RateLimiterActor:
    return RateLimiterActor(limits, books or RateBooks(), clock)


def test_nothing_is_limited_until_somebody_sets_a_limit() -> None:
    books = RateBooks()
    actor = limiter(Limits(), ManualClock(), books)
    assert all(reply.error is None for reply in drain(actor, [Admit("k")] * 2_000))
    assert books.statistics().in_flight == 2_000
    assert books.statistics().keys == 0


def test_a_spent_key_is_told_when_to_return() -> None:
    clock = ManualClock()
    actor = limiter(Limits(requests_per_minute=60), clock)
    assert all(reply.error is None for reply in drain(actor, [Admit("k", cost=1)] * 60))
    [reply] = drain(actor, [Admit("k", cost=1)])
    assert reply.error == RateLimited(retry_after=1.0)
    clock.advance(1.0)
    assert grants(actor, Admit("k", cost=1))
    assert not grants(actor, Admit("k", cost=1))


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [
        (Limits(requests_per_minute=60), 60),
        (Limits(requests_per_minute=60, burst=30), 90),
        (Limits(requests_per_minute=7), 7),
        (Limits(requests_per_minute=1), 1),
        (Limits(requests_per_minute=0.5), 1),
        (Limits(requests_per_minute=60, concurrent=4), 4),
    ],
)
def test_what_a_rested_key_may_send_at_once(limits: Limits, at_once: int) -> None:
    replies = drain(limiter(limits, ManualClock()), [Admit("k")] * (at_once + 3))
    assert [reply.error is None for reply in replies] == [True] * at_once + [False] * 3


def test_keys_do_not_touch_each_other() -> None:
    actor = limiter(Limits(requests_per_minute=1, concurrent=1), ManualClock())
    assert [grants(actor, Admit(key)) for key in "abab"] == [True, True, False, False]


def test_a_returned_permit_makes_room_for_another_at_once() -> None:
    books = RateBooks()
    actor = limiter(Limits(concurrent=1), ManualClock(), books)
    [reply] = drain(actor, [Admit("k", cost=10)])
    [refused] = drain(actor, [Admit("k")])
    assert refused.error == RateLimited(retry_after=1.0)
    permit: Permit = reply.value
    assert (permit.key, permit.cost, books.statistics().cost_reserved) == ("k", 10, 10)
    permit.settle(7)
    permit.settle(100)
    permit.release()
    assert grants(actor, Admit("k"))
    assert books.statistics().cost_settled == 7
    assert books.statistics().refused_concurrent == 1


def test_a_refusal_for_concurrency_spends_no_budget() -> None:
    clock = ManualClock()
    actor = limiter(Limits(requests_per_minute=2, concurrent=1), clock)
    [reply] = drain(actor, [Admit("k")])
    drain(actor, [Admit("k")] * 10)
    reply.value.release()
    assert grants(actor, Admit("k"))


def test_a_permit_that_nobody_took_is_taken_back_and_spends_nothing() -> None:
    books = RateBooks()
    actor = limiter(Limits(requests_per_minute=1), ManualClock(), books)
    gone = FakeReply.to(Admit("k"))
    gone.leave()
    drain(actor, [])
    actor.handle(Admit("k"), gone)
    assert books.statistics().in_flight == 0
    assert grants(actor, Admit("k"))


def test_budgets_and_permits_survive_a_new_instance() -> None:
    clock, books = ManualClock(), RateBooks()
    limits = Limits(requests_per_minute=3, concurrent=2)
    first = drain(limiter(limits, clock, books), [Admit("k")] * 2)
    second = limiter(limits, clock, books)
    second.started()
    [busy] = drain(second, [Admit("k")])
    assert busy.error == RateLimited(1.0)
    for reply in first:
        reply.value.release()  # tells the old ref, as the notes of a crashed mailbox would be lost
    second.started()
    assert grants(second, Admit("k"))
    [spent] = drain(second, [Admit("k")])
    assert spent.error == RateLimited(20.0)


def test_idle_keys_are_forgotten_by_the_tick() -> None:
    clock, books = ManualClock(), RateBooks()
    actor = limiter(Limits(requests_per_minute=60), clock, books)
    drain(actor, [Admit(f"key {number}") for number in range(100)])
    drain(actor, [Admit("busy")] * 10)
    assert books.statistics().keys == 101
    clock.advance(1.0)
    drain(actor, [Tick()])
    assert list(books.callers.arrivals) == ["busy"]
    clock.advance(9.0)
    drain(actor, [Tick()])
    assert books.statistics().keys == 0


def test_a_busy_key_does_not_keep_idle_ones_from_being_forgotten() -> None:
    clock, books = ManualClock(), RateBooks()
    actor = limiter(Limits(requests_per_minute=60), clock, books)
    drain(actor, [Admit("busy"), Admit("idle"), *[Admit("busy")] * 10])
    clock.advance(2.0)
    drain(actor, [Tick()])
    assert list(books.callers.arrivals) == ["busy"]


@pytest.mark.parametrize("start", [0.0, 1_234.567, 86_400.1, 1e6 + 0.1])
@pytest.mark.parametrize("rate", [0.7, 3, 7, 11, 49, 600, 7_001])
def test_who_waits_exactly_as_long_as_told_is_admitted_whatever_the_floats(rate: float, start: float) -> None:
    clock = ManualClock(start)
    actor = limiter(Limits(requests_per_minute=rate), clock)
    drain(actor, [Admit("k")] * max(1, int(rate)))
    for _ in range(50):
        [reply] = drain(actor, [Admit("k")])
        if reply.error is not None:
            assert isinstance(reply.error, RateLimited)
            clock.advance(reply.error.retry_after)
            assert grants(actor, Admit("k"))


def test_the_number_of_keys_is_bounded_also_between_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 10)
    books = RateBooks()
    drain(limiter(Limits(requests_per_minute=60), ManualClock(), books), [Admit(str(number)) for number in range(50)])
    assert list(books.callers.arrivals) == [str(number) for number in range(40, 50)]


def test_lost_permits_are_found_and_counted() -> None:
    clock, books = ManualClock(), RateBooks(ttl=10.0)
    actor = limiter(Limits(concurrent=1), clock, books)
    drain(actor, [Admit("k")])
    clock.advance(10.0)
    drain(actor, [Tick()])
    assert books.statistics().permits_lost == 1
    assert grants(actor, Admit("k"))


@pytest.mark.parametrize(
    "wrong", [{"requests_per_minute": 0}, {"requests_per_minute": -1.0}, {"burst": -1}, {"concurrent": 0}]
)
def test_senseless_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


@given(
    rate=st.floats(0.1, 10_000),
    burst=st.integers(0, 20),
    pauses=st.lists(st.floats(0, 30), max_size=60),
)
def test_a_minute_never_admits_more_than_its_budget_and_who_waits_as_told_is_admitted(
    rate: float, burst: int, pauses: list[float]
) -> None:
    clock = ManualClock()
    actor = limiter(Limits(requests_per_minute=rate, burst=burst), clock)
    admitted: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        [reply] = drain(actor, [Admit("k")])
        if isinstance(reply.error, RateLimited):
            assert reply.error.retry_after > 0
            clock.advance(reply.error.retry_after)
            assert grants(actor, Admit("k"))
        admitted.append(clock())
    for index, start in enumerate(admitted):
        inside = [time for time in admitted[index:] if time < start + 60.0]
        assert len(inside) <= max(1.0, rate + burst) + rate + 1
