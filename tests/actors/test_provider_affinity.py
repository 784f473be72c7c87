"""Affinities: whoever comes again is served where it was served before, as long as that serves."""

from __future__ import annotations

from actors import Endpoint, Outcome
from actors.provider_keys import AFFINITY_IDLE, MAX_AFFINITIES, NOWHERE, Affinities
from tests.actors.provider_support import Desk, pair


def test_who_was_served_comes_back_to_the_same_endpoint_and_key() -> None:
    desk = Desk(Endpoint("a", keys=3), Endpoint("b"))
    assert desk.serve("a", affinity="x") == ("a", 0)
    assert desk.serve("a", affinity="y") == ("a", 1)
    for _ in range(3):
        assert desk.serve("a", "b", affinity="x") == ("a", 0)
        assert desk.serve("b", "a", affinity="y") == ("a", 1)  # before the order of preference
    assert desk.books.statistics().affinities == 2


def test_those_who_come_back_do_not_take_the_turn_of_others() -> None:
    desk = Desk(Endpoint("a", keys=3))
    desk.serve("a", affinity="x")
    others = []
    for _ in range(4):
        desk.serve("a", affinity="x")
        others.append(desk.take("a")[1])
    assert others == [1, 2, 0, 1]


def test_the_key_had_at_one_endpoint_says_nothing_about_those_of_another() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b", keys=3))
    desk.serve("a", affinity="x")
    assert [desk.take("b", affinity="x")[1] for _ in range(4)] == [0, 1, 2, 0]


def test_only_success_is_remembered() -> None:
    desk = Desk(Endpoint("a", keys=2))
    for outcome in Outcome:
        if outcome is not Outcome.OK:
            desk.done(desk.open("a", affinity="x"), outcome)
    assert desk.books.statistics().affinities == 0


def test_without_an_affinity_nothing_is_remembered() -> None:
    desk = Desk(Endpoint("a", keys=2))
    assert [desk.serve("a")[1] for _ in range(3)] == [0, 1, 0]
    assert desk.books.statistics().affinities == 0


def test_an_endpoint_that_is_not_asked_for_is_not_used_again() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"))
    desk.serve("a", affinity="x")
    assert desk.take("b", affinity="x") == ("b", 0)
    assert desk.take("b", "a", affinity="x") == ("a", 0)


def test_a_spent_or_resting_key_is_left_for_another_of_the_same_endpoint() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b", keys=2))
    assert desk.serve("b", affinity="x") == ("b", 0)
    assert desk.take("a", "b", affinity="x", spent=frozenset({("b", 0)})) == ("b", 1)
    desk.done(desk.open("b", affinity="x"), Outcome.THROTTLED)
    assert desk.take("a", "b", affinity="x") == ("b", 1)


def test_an_endpoint_that_rests_or_is_full_is_left_for_the_next() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b", slots=1))
    desk.serve("b", affinity="x")
    holder = desk.open("b")
    assert desk.take("a", "b", affinity="x") == ("a", 0)
    desk.done(holder, Outcome.THROTTLED)
    assert desk.take("a", "b", affinity="x") == ("a", 0)
    desk.tick(30.0)
    assert desk.take("a", "b", affinity="x") == ("b", 0)  # nothing else has served it since


def test_what_failed_is_replaced_by_what_served_next() -> None:
    desk = Desk(Endpoint("a", keys=2))
    assert desk.serve("a", affinity="x") == ("a", 0)
    desk.done(desk.open("a", affinity="x"), Outcome.KEY_REFUSED)
    assert desk.serve("a", affinity="x") == ("a", 1)
    desk.tick(300.0)
    assert [desk.serve("a", affinity="x")[1] for _ in range(3)] == [1, 1, 1]


def test_who_waited_gets_the_key_it_had() -> None:
    desk = Desk(Endpoint("a", slots=1, keys=3))
    for text in "xyz":
        desk.serve("a", affinity=text)
    holder = desk.open("a")
    waiting = desk.open("a", affinity="z")
    desk.done(holder)
    assert pair(waiting) == ("a", 2)


def test_who_waits_while_its_own_other_request_succeeds_follows_that_one() -> None:
    desk = Desk(Endpoint("a", slots=1, keys=2))
    first = desk.open("a", affinity="x")
    second = desk.open("a", affinity="x")
    desk.done(first)
    assert pair(second) == pair(first)


def test_it_is_forgotten_an_hour_after_the_last_use() -> None:
    desk = Desk(Endpoint("a", keys=2))
    desk.serve("a", affinity="x")
    desk.tick(AFFINITY_IDLE - 1.0)
    assert desk.take("a", affinity="x") == ("a", 0)
    desk.tick(AFFINITY_IDLE - 1.0)
    assert desk.take("a", affinity="x") == ("a", 0)
    desk.tick(AFFINITY_IDLE)
    assert desk.take("a", affinity="x") == ("a", 1)
    assert desk.books.statistics().affinities == 0


def test_a_crash_forgets_nobody() -> None:
    desk = Desk(Endpoint("a", keys=2))
    desk.serve("a", affinity="x")
    desk.rig.crash()
    assert [desk.take("a", affinity="x")[1] for _ in range(3)] == [0, 0, 0]


def test_above_the_limit_the_longest_unused_is_forgotten() -> None:
    known = Affinities(limit=2)
    known.remember("x", ("a", 0), 0.0)
    known.remember("y", ("a", 1), 0.0)
    assert known.find("x", 1.0) == ("a", 0)
    known.remember("z", ("a", 2), 2.0)
    assert [known.find(text, 3.0) for text in "xyz"] == [("a", 0), NOWHERE, ("a", 2)]
    assert len(known) == 2


def test_the_memory_is_bounded_whoever_comes() -> None:
    known = Affinities()
    for number in range(MAX_AFFINITIES + 100):
        known.remember(f"{number}", ("a", 0), 0.0)
    assert len(known) == MAX_AFFINITIES == 10_000
