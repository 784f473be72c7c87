"""Budgets per key: tables of what is admitted when, then anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import Admit, Crashed, Limits, Permit, RateBooks, RateLimited, RateLimiterActor, Tick
from actors import rate_limiter as module
from actors.testing import FakeReply, ManualClock, Rig, drain, grants


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
    assert list(books.arrivals) == ["busy"]
    clock.advance(9.0)
    drain(actor, [Tick()])
    assert books.statistics().keys == 0


def test_a_busy_key_does_not_keep_idle_ones_from_being_forgotten() -> None:
    clock, books = ManualClock(), RateBooks()
    actor = limiter(Limits(requests_per_minute=60), clock, books)
    drain(actor, [Admit("busy"), Admit("idle"), *[Admit("busy")] * 10])
    clock.advance(2.0)
    drain(actor, [Tick()])
    assert list(books.arrivals) == ["busy"]


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
    assert list(books.arrivals) == [str(number) for number in range(40, 50)]


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


class LimiterMachine(RuleBasedStateMachine):
    """Anything may happen in any order; the books stay exact."""

    CONCURRENT = 3

    @initialize(rate=st.sampled_from([None, 30.0, 600.0]), burst=st.integers(0, 3))
    def begin(self, rate: float | None, burst: int) -> None:
        self.clock, self.books = ManualClock(), RateBooks(ttl=1_000.0)
        self.limits = Limits(requests_per_minute=rate, burst=burst, concurrent=self.CONCURRENT)
        self.rig = Rig(lambda: RateLimiterActor(self.limits, self.books, self.clock), self.clock)
        self.asked: list[FakeReply] = []
        self.held: list[Permit] = []

    def collect(self) -> None:
        """Who was granted a permit holds it; nobody is answered in another way than these."""
        for reply in [reply for reply in self.asked if not reply.open]:
            self.asked.remove(reply)
            if isinstance(reply.value, Permit):
                self.held.append(reply.value)
            else:
                assert reply.left or isinstance(reply.error, RateLimited | Crashed)

    @rule(key=st.sampled_from("abc"), cost=st.integers(0, 100))
    def admit(self, key: str, cost: int) -> None:
        self.asked.append(self.rig.ask(Admit(key, cost)))

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).leave()

    @rule(data=st.data(), actual=st.integers(0, 50))
    @precondition(lambda self: self.held)
    def settle(self, data: st.DataObject, actual: int) -> None:
        permit = data.draw(st.sampled_from(self.held))
        self.held.remove(permit)
        permit.settle(actual)
        permit.release()

    @rule()
    @precondition(lambda self: self.rig.mail)
    def turn(self) -> None:
        self.rig.turn()
        self.collect()

    @rule(seconds=st.floats(0, 5))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.rig.tell(Tick())

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.rig.crash(losing=losing)
        self.collect()

    @invariant()
    def in_flight_is_what_is_held_or_on_its_way_back(self) -> None:
        counted = set(self.books.permits)
        assert counted >= set(self.held)
        assert all(permit.released for permit in counted - set(self.held))
        for key in "abc":
            here = [permit for permit in counted if permit.key == key]
            assert self.books.permits.count(key) == len(here) <= self.CONCURRENT

    def teardown(self) -> None:
        self.rig.drain()
        self.collect()
        for permit in self.held:
            permit.release()
        self.clock.advance(120.0)
        self.rig.tell(Tick())
        self.rig.drain()
        end = self.books.statistics()
        assert (end.in_flight, end.keys, end.cost_reserved, end.permits_lost) == (0, 0, 0, 0)


TestLimiterMachine = LimiterMachine.TestCase
