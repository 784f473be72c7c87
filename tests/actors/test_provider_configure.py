"""Other endpoints while leases are in flight and askers wait."""

from __future__ import annotations

import pytest

from actors import Configure, Endpoint, Outcome, Unavailable
from tests.actors.provider_support import Desk, pair


def test_a_new_endpoint_serves_at_once() -> None:
    desk = Desk(Endpoint("a"))
    desk.configure(Endpoint("a"), Endpoint("b"))
    assert desk.take("b") == ("b", 0)
    assert desk.names() == ["a", "b"]


def test_who_waits_takes_the_slot_of_a_new_endpoint_it_named() -> None:
    desk = Desk(Endpoint("a", slots=1))
    desk.open("a")
    either, only_a = desk.open("a", "b"), desk.open("a")
    desk.configure(Endpoint("a", slots=1), Endpoint("b", slots=1))
    assert pair(either) == ("b", 0)
    assert not only_a.answered
    assert desk.of("a").waiting == 1


def test_more_slots_go_to_those_who_waited_longest_over_all_lines() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    desk.open("a")
    desk.open("b")
    line = [desk.open(*names) for names in ("b", "ab", "a", "b", "a")]
    desk.configure(Endpoint("b", slots=2), Endpoint("a", slots=3))
    assert [reply.answered for reply in line] == [True, True, True, False, False]
    assert [pair(reply) for reply in line[:3]] == [("b", 0), ("a", 0), ("a", 0)]
    assert (desk.of("a").in_flight, desk.of("a").waiting, desk.of("b").waiting) == (3, 1, 1)


def test_no_slots_limit_any_more_empties_the_line() -> None:
    desk = Desk(Endpoint("a", slots=1))
    desk.open("a")
    line = [desk.open("a") for _ in range(5)]
    desk.configure(Endpoint("a"))
    assert all(reply.answered for reply in line)


def test_with_fewer_slots_nothing_is_granted_until_enough_have_come_back() -> None:
    desk = Desk(Endpoint("a", slots=3))
    held = [desk.open("a") for _ in range(3)]
    desk.configure(Endpoint("a", slots=1))
    waiting = desk.open("a")
    for reply in held[:2]:
        desk.done(reply)
        assert not waiting.answered
    desk.done(held[2])
    assert pair(waiting) == ("a", 0)


def test_who_waits_only_for_what_is_removed_is_refused_and_the_others_wait_on() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    at_a, at_b = desk.open("a"), desk.open("b")
    only_a, either = desk.open("a"), desk.open("a", "b")
    desk.configure(Endpoint("b", slots=1))
    assert only_a.error == Unavailable(1.0)
    assert str(only_a.error) == "no endpoint left to try"
    assert not either.answered
    desk.done(at_a)
    assert not either.answered
    desk.done(at_b)
    assert pair(either) == ("b", 0)


def test_a_removed_endpoint_takes_no_new_work_and_is_forgotten_with_its_last_lease() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"))
    first, last = desk.open("a"), desk.open("a")
    desk.configure(Endpoint("b"))
    assert desk.open("a").error == Unavailable(1.0)
    desk.done(first, Outcome.BROKEN)
    assert desk.of("a").removed
    assert (desk.of("a").in_flight, desk.of("a").failed[Outcome.BROKEN]) == (1, 1)
    assert repr(desk.books).endswith("a | slots 1/unlimited, waiting 0, removed>")
    desk.done(last)
    assert desk.names() == ["b"]
    assert len(desk.books.leases) == 0


def test_an_idle_endpoint_that_is_removed_is_forgotten_at_once() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"))
    desk.configure(Endpoint("b"))
    assert desk.names() == ["b"]


def test_an_endpoint_that_comes_back_while_leases_run_is_the_same() -> None:
    desk = Desk(Endpoint("a", slots=2), Endpoint("b"))
    running, ended = desk.open("a"), desk.open("a")
    desk.configure(Endpoint("b"))
    desk.done(ended, Outcome.THROTTLED)
    desk.configure(Endpoint("b"))
    desk.configure(Endpoint("a", slots=1))
    waiting = desk.open("a")
    assert desk.of("a").waiting == 1
    desk.done(running)
    assert pair(waiting) == ("a", 0)
    seen = desk.of("a")
    assert (seen.ok, seen.failed[Outcome.THROTTLED], seen.removed) == (1, 1, False)


def test_a_lost_lease_of_a_removed_endpoint_is_its_last_too() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"), ttl=10.0)
    desk.open("a")
    desk.configure(Endpoint("b"))
    desk.tick(10.0)
    assert desk.names() == ["b"]
    assert desk.books.statistics().leases_lost == 1


def test_a_lease_whose_note_outlives_its_endpoint_over_a_crash_harms_nobody() -> None:
    desk = Desk(Endpoint("a", keys=2), Endpoint("b"))
    lost, late = desk.open("a"), desk.open("a")
    desk.configure(Endpoint("b"))
    lost.value.done(Outcome.OK)
    late.value.done(Outcome.THROTTLED)
    desk.rig.crash(losing=True)  # the first note; the second is still in the mailbox
    assert desk.names() == ["b"]
    desk.rig.drain()
    assert desk.names() == ["b"]
    assert desk.take("b") == ("b", 0)


def test_more_keys_are_used_at_once() -> None:
    desk = Desk(Endpoint("a"))
    desk.configure(Endpoint("a", keys=3))
    assert [desk.take("a")[1] for _ in range(4)] == [0, 1, 2, 0]


def test_with_fewer_keys_no_number_above_is_used_again_not_even_by_who_had_it() -> None:
    desk = Desk(Endpoint("a", keys=3))
    assert [desk.serve("a", affinity=text)[1] for text in "xyz"] == [0, 1, 2]
    desk.configure(Endpoint("a", keys=2))
    assert [desk.take("a", affinity="z")[1] for _ in range(3)] == [0, 1, 0]
    assert desk.take("a", affinity="y") == ("a", 1)


def test_who_waits_is_refused_when_no_unspent_key_stays() -> None:
    desk = Desk(Endpoint("a", slots=1, keys=2))
    holder = desk.open("a")
    spent, fresh = desk.open("a", spent=frozenset({("a", 0)})), desk.open("a", spent=frozenset({("a", 1)}))
    desk.configure(Endpoint("a", slots=1, keys=1))
    assert str(spent.error) == "no endpoint left to try"
    desk.done(holder)
    assert pair(fresh) == ("a", 0)


def test_cool_downs_stay_with_an_endpoint_that_keeps_its_keys() -> None:
    desk = Desk(Endpoint("a", keys=2))
    desk.fail("a")
    desk.configure(Endpoint("a", slots=5, keys=2))
    assert [desk.take("a")[1] for _ in range(2)] == [1, 1]


def test_a_lease_on_an_old_key_says_nothing_about_the_new_key_of_its_number() -> None:
    desk = Desk(Endpoint("a", keys=2))
    refused, running = desk.open("a"), desk.open("a")
    desk.configure(Endpoint("a", keys=3))
    assert desk.of("a").cooling == 0
    desk.done(refused, Outcome.KEY_REFUSED)
    assert desk.of("a").cooling == 0
    assert [desk.fail("a")[1] for _ in range(2)] == [0, 1]
    desk.done(running)
    assert desk.of("a").cooling == 2


def test_who_is_too_late_or_gone_when_the_endpoints_change_gets_nothing() -> None:
    desk = Desk(Endpoint("a", slots=1))
    desk.open("a")
    late, gone, patient = desk.open("a", deadline=5.0), desk.open("a"), desk.open("a")
    gone.leave()
    desk.clock.advance(5.0)
    desk.configure(Endpoint("a", slots=2))
    assert str(late.error) == "no slot came free in time"
    assert pair(patient) == ("a", 0)
    assert desk.books.statistics().refused == 1
    assert desk.of("a").in_flight == 2


def test_the_order_of_waiting_outlives_changes_and_crashes() -> None:
    desk = Desk(Endpoint("a", slots=1), Endpoint("b", slots=1))
    holder = desk.open("a")
    desk.open("b")
    line = [desk.open(*names) for names in ("a", "ab", "a")]
    desk.configure(Endpoint("b", slots=1), Endpoint("a", slots=1))
    desk.rig.crash()
    desk.configure(Endpoint("a", slots=1))
    for reply in line:
        assert not reply.answered
        desk.done(holder)
        holder = reply
    assert holder.answered


def test_two_endpoints_of_one_name_are_refused_where_they_are_made() -> None:
    with pytest.raises(ValueError, match="one name"):
        Configure((Endpoint("a"), Endpoint("a", slots=1)))
