"""Slots: who gets one, who waits, what is known about each endpoint afterwards."""

from __future__ import annotations

import pytest

from actors import Done, Endpoint, Outcome, ProviderBooks, Unavailable
from tests.actors.provider_support import Desk


def test_an_endpoint_without_slots_set_never_makes_anybody_wait() -> None:
    desk = Desk(Endpoint("a"))
    assert all(desk.open("a").value.endpoint == "a" for _ in range(500))
    assert desk.of("a").in_flight == 500


def test_the_first_named_endpoint_with_a_free_slot_is_used() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    assert [desk.open("b", "a").value.endpoint for _ in range(2)] == ["b", "a"]


def test_spent_and_unknown_endpoints_are_not_used() -> None:
    desk, spent = Desk(Endpoint("a"), Endpoint("b")), frozenset({("a", 0)})
    assert desk.open("a", "b", spent=spent).value.endpoint == "b"
    for reply in (desk.open("a", spent=spent), desk.open("nowhere"), desk.open()):
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


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"queue": -1}, {"keys": 0}])
def test_senseless_endpoints_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Endpoint("a", **wrong)


def test_two_endpoints_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        ProviderBooks([Endpoint("a"), Endpoint("a", slots=1)])


def test_the_books_say_their_state() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b"))
    desk.open("a")
    desk.open("a")
    assert repr(desk.books) == "<ProviderBooks a | slots 1/1, waiting 1, b | slots 0/unlimited, waiting 0>"
