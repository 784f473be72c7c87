"""Slots: who gets one, who waits, what is known about each endpoint afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import (
    Crashed,
    Done,
    Endpoint,
    Expired,
    Open,
    Outcome,
    ProviderActor,
    ProviderBooks,
    ProviderLease,
    Tick,
    Unavailable,
)
from actors.testing import FakeReply, ManualClock, Rig

FOREVER = float("inf")


class Desk:
    """A provider behind a hand-turned mailbox."""

    def __init__(self, *endpoints: Endpoint, ttl: float = 1_000.0) -> None:
        self.clock, self.books = ManualClock(), ProviderBooks(endpoints, ttl)
        self.rig: Rig[Any] = Rig(lambda: ProviderActor(self.books, self.clock), self.clock)

    def open(self, *names: str, tried: frozenset[str] = frozenset(), deadline: float = FOREVER) -> FakeReply:
        reply = self.rig.ask(Open(names, tried), deadline)
        self.rig.drain()
        return reply

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.rig.tell(Tick())
        self.rig.drain()

    def done(self, reply: FakeReply, outcome: Outcome = Outcome.OK) -> None:
        reply.value.done(outcome)
        self.rig.drain()

    def of(self, name: str) -> Any:
        return next(endpoint for endpoint in self.books.statistics().endpoints if endpoint.name == name)


def test_an_endpoint_without_slots_set_never_makes_anybody_wait() -> None:
    desk = Desk(Endpoint("a"))
    assert all(desk.open("a").value.endpoint == "a" for _ in range(500))
    assert desk.of("a").in_flight == 500


def test_the_first_named_endpoint_with_a_free_slot_is_used() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    assert [desk.open("b", "a").value.endpoint for _ in range(2)] == ["b", "a"]


def test_tried_and_unknown_endpoints_are_not_used_again() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"))
    assert desk.open("a", "b", tried=frozenset("a")).value.endpoint == "b"
    for reply in (desk.open("a", tried=frozenset("a")), desk.open("nowhere"), desk.open()):
        assert reply.error == Unavailable(1.0)
        assert str(reply.error) == "no endpoint left to try"
    assert desk.books.statistics().refused == 3


def test_waiting_is_in_order() -> None:
    desk = Desk(Endpoint("a", slots=1))
    holder = desk.open("a")
    line = [desk.open("a") for _ in range(3)]
    for reply in line:
        assert not reply.answered
        desk.done(holder)
        assert reply.value.endpoint == "a"
        holder = reply
    assert desk.of("a").waiting == 0


def test_who_may_use_several_endpoints_takes_whichever_comes_free_and_leaves_the_other_lines() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    at_a, at_b = desk.open("a"), desk.open("b")
    either, only_b = desk.open("a", "b"), desk.open("b")
    assert (desk.of("a").waiting, desk.of("b").waiting) == (1, 2)
    desk.done(at_b)
    assert either.value.endpoint == "b"
    assert (desk.of("a").waiting, desk.of("b").waiting) == (0, 1)
    desk.done(either)
    assert only_b.value.endpoint == "b"
    desk.done(at_a)
    assert desk.of("a").in_flight == 0


def test_an_endpoint_named_twice_is_one_line() -> None:
    desk = Desk(Endpoint("a", slots=1))
    holder, waiting = desk.open("a"), desk.open("a", "a")
    desk.done(holder)
    assert waiting.value.endpoint == "a"


def test_the_line_is_bounded_but_who_left_does_not_count() -> None:
    desk = Desk(Endpoint("a", slots=1, queue=2))
    desk.open("a")
    first, second, third = (desk.open("a") for _ in range(3))
    assert third.error == Unavailable(1.0)
    assert str(third.error) == "too many are waiting"
    first.leave()
    assert not desk.open("a").answered
    assert desk.open("a").error == Unavailable(1.0)
    assert not second.answered


def test_a_full_line_is_no_hindrance_where_another_has_room() -> None:
    desk = Desk(Endpoint("a", slots=1, queue=0), Endpoint("b", slots=1, queue=1))
    desk.open("a")
    at_b = desk.open("b")
    assert desk.open("a").error == Unavailable(1.0)
    waiting = desk.open("a", "b")
    desk.done(at_b)
    assert waiting.value.endpoint == "b"


def test_nobody_waits_past_the_deadline() -> None:
    desk = Desk(Endpoint("a", slots=1))
    desk.open("a")
    hurried, patient = desk.open("a", deadline=5.0), desk.open("a", deadline=50.0)
    desk.tick(4.9)
    assert not hurried.answered
    desk.tick(0.1)
    assert hurried.error == Unavailable(1.0)
    assert not patient.answered
    assert desk.of("a").waiting == 1


def test_who_is_too_late_when_the_slot_comes_is_passed_over() -> None:
    desk = Desk(Endpoint("a", slots=1))
    holder = desk.open("a")
    late, gone, waiting = desk.open("a", deadline=5.0), desk.open("a"), desk.open("a")
    gone.leave()
    desk.clock.advance(6.0)
    desk.done(holder)
    assert late.error == Unavailable(1.0)
    assert waiting.value.endpoint == "a"


def test_outcomes_are_counted_once_each() -> None:
    desk = Desk(Endpoint("a"))
    for outcome in Outcome:
        reply = desk.open("a")
        desk.done(reply, outcome)
        desk.done(reply, Outcome.OK)
        reply.value.release()
    desk.open("a").value.release()
    desk.rig.drain()
    seen = desk.of("a")
    assert seen.ok == 1
    assert seen.failed == {outcome: 1 + (outcome is Outcome.CANCELLED) for outcome in Outcome if outcome != "ok"}
    assert seen.in_flight == 0


def test_a_lost_lease_is_aborted_counted_and_its_slot_given_on() -> None:
    class Work:
        aborts = 0

        def abort(self) -> None:
            self.aborts += 1

    desk, work = Desk(Endpoint("a", slots=1), ttl=10.0), Work()
    lost = desk.open("a")
    lost.value.attach(work)
    waiting = desk.open("a")
    desk.tick(10.0)
    assert work.aborts == 1
    assert waiting.value.endpoint == "a"
    assert desk.books.statistics().leases_lost == 1
    desk.done(lost)  # the holder comes late: the slot is another's now
    assert desk.of("a").in_flight == 1


def test_a_crash_keeps_leases_counts_and_the_order_of_the_line() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    holder = desk.open("a")
    desk.done(desk.open("b"), Outcome.BROKEN)
    line = [desk.open("a") for _ in range(3)]
    desk.rig.crash()
    assert not any(reply.answered for reply in line)
    assert (desk.of("a").in_flight, desk.of("a").waiting, desk.of("b").failed[Outcome.BROKEN]) == (1, 3, 1)
    desk.done(holder)
    assert [reply.answered for reply in line] == [True, False, False]


def test_a_crash_refuses_nobody_who_stood_in_a_full_line() -> None:
    desk = Desk(Endpoint("a", slots=1, queue=2))
    holder, *line = (desk.open("a") for _ in range(3))
    desk.rig.crash()
    for reply in line:
        assert not reply.answered
        desk.done(holder)
        holder = reply
    assert desk.books.statistics().refused == 0


def test_a_slot_whose_return_crashed_the_actor_is_free_all_the_same() -> None:
    desk = Desk(Endpoint("a", slots=1))
    holder, waiting = desk.open("a"), desk.open("a")
    holder.value.done(Outcome.OK)
    culprit = desk.rig.crash(losing=True)
    assert culprit is not None
    assert isinstance(culprit._message, Done)
    assert waiting.value.endpoint == "a"
    assert desk.of("a").in_flight == 1


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"queue": -1}])
def test_senseless_endpoints_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Endpoint("a", **wrong)


def test_the_books_say_their_state() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b"))
    desk.open("a")
    desk.open("a")
    assert repr(desk.books) == "<ProviderBooks a | slots 1/1, waiting 1, b | slots 0/unlimited, waiting 0>"


class ProviderMachine(RuleBasedStateMachine):
    """Anything may happen in any order; no slot is lost, doubled, or idle while somebody waits for it."""

    NAMES = ("a", "b", "c")

    @initialize(slots=st.tuples(*[st.integers(1, 2)] * 3), queue=st.integers(0, 3))
    def begin(self, slots: tuple[int, int, int], queue: int) -> None:
        self.desk = Desk(*(Endpoint(name, n, queue) for name, n in zip(self.NAMES, slots, strict=True)))
        self.slots = dict(zip(self.NAMES, slots, strict=True))
        self.queue = queue
        self.asked: list[FakeReply] = []
        self.held: list[ProviderLease] = []

    def collect(self) -> None:
        for reply in [reply for reply in self.asked if not reply.open]:
            self.asked.remove(reply)
            if isinstance(reply.value, ProviderLease):
                assert reply.value.endpoint in reply._message.endpoints
                assert reply.value.endpoint not in reply._message.tried
                self.held.append(reply.value)
            else:
                assert reply.left or isinstance(reply.error, Unavailable | Crashed | Expired)

    @rule(
        names=st.lists(st.sampled_from((*NAMES, "unknown")), min_size=1, max_size=3),
        tried=st.frozensets(st.sampled_from(NAMES), max_size=1),
        patience=st.sampled_from([1.0, 4.0, FOREVER]),
    )
    def open(self, names: list[str], tried: frozenset[str], patience: float) -> None:
        self.asked.append(self.desk.rig.ask(Open(tuple(names), tried), self.desk.clock() + patience))

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).leave()

    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    @precondition(lambda self: self.held)
    def done(self, data: st.DataObject, outcome: Outcome) -> None:
        lease = data.draw(st.sampled_from(self.held))
        self.held.remove(lease)
        lease.done(outcome)
        lease.release()

    @rule()
    @precondition(lambda self: self.desk.rig.mail)
    def turn(self) -> None:
        self.desk.rig.turn()
        self.collect()

    @rule(seconds=st.floats(0, 3))
    def tick(self, seconds: float) -> None:
        self.desk.tick(seconds)
        self.collect()
        now = self.desk.clock()
        assert all(now < reply.deadline for reply in self.asked)
        waiting = {name: desk.line for name, desk in self.desk.books.desks.items()}
        assert {id(reply) for line in waiting.values() for reply in line} == {id(reply) for reply in self.asked}

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.desk.rig.crash(losing=losing)
        self.collect()

    @invariant()
    def no_slot_is_lost_doubled_or_idle(self) -> None:
        books = self.desk.books
        counted = set(books.leases)
        assert counted >= set(self.held)
        assert all(lease.released for lease in counted - set(self.held))
        for name, slots in self.slots.items():
            in_flight = books.leases.count(name)
            line = books.desks[name].line
            assert in_flight == sum(lease.endpoint == name for lease in counted) <= slots
            assert len(line) <= self.queue
            assert in_flight == slots or not any(reply.wanted(self.desk.clock()) for reply in line)

    def teardown(self) -> None:
        self.desk.rig.drain()
        self.collect()
        while self.held:
            self.held.pop().release()
            self.desk.rig.drain()
            self.collect()
        self.desk.tick(0.0)
        self.collect()
        assert self.asked == []
        end = self.desk.books.statistics()
        assert [(endpoint.in_flight, endpoint.waiting) for endpoint in end.endpoints] == [(0, 0)] * 3
        assert end.leases_lost == 0


TestProviderMachine = ProviderMachine.TestCase
