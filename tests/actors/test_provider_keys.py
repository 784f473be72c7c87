"""Keys: whose turn it is, which rests and for how long, and what is done when all of them rest."""

from __future__ import annotations

import pytest

from actors import COOL_DOWNS, Endpoint, Outcome, Unavailable
from tests.actors.provider_support import Desk, Pair, pair

COOLING = tuple(COOL_DOWNS)


def spent(*pairs: Pair) -> frozenset[Pair]:
    return frozenset(pairs)


def test_keys_are_used_in_turn() -> None:
    desk = Desk(Endpoint("a", keys=3))
    assert [desk.take("a")[1] for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_each_endpoint_has_turns_of_its_own() -> None:
    desk = Desk(Endpoint("a", keys=2), Endpoint("b", keys=2))
    assert [desk.take(name) for name in "aba"] == [("a", 0), ("b", 0), ("a", 1)]


def test_spent_keys_are_never_used_and_the_next_endpoint_follows_when_all_are() -> None:
    desk = Desk(Endpoint("a", keys=2), Endpoint("b"))
    assert [desk.take("a", "b", spent=spent(("a", 0), ("b", 0))) for _ in range(3)] == [("a", 1)] * 3
    assert desk.take("a", "b", spent=spent(("a", 0), ("a", 1))) == ("b", 0)
    refused = desk.open("a", "b", spent=spent(("a", 0), ("a", 1), ("b", 0)))
    assert refused.error == Unavailable(1.0)
    assert str(refused.error) == "no endpoint left to try"


@pytest.mark.parametrize(
    ("outcome", "retry_after", "seconds"),
    [
        (Outcome.THROTTLED, None, 30.0),
        (Outcome.THROTTLED, 5.0, 5.0),
        (Outcome.THROTTLED, 0.0, 1.0),
        (Outcome.THROTTLED, -3.0, 1.0),
        (Outcome.THROTTLED, 86_400.0, 600.0),
        (Outcome.THROTTLED, float("inf"), 600.0),
        (Outcome.THROTTLED, float("nan"), 600.0),
        (Outcome.KEY_REFUSED, None, 300.0),
        (Outcome.KEY_REFUSED, 2.0, 300.0),
    ],
)
def test_a_refused_key_rests_as_long_as_the_table_says(
    outcome: Outcome, retry_after: float | None, seconds: float
) -> None:
    desk = Desk(Endpoint("a", keys=2))
    assert desk.fail("a", outcome=outcome, retry_after=retry_after) == ("a", 0)
    desk.clock.advance(seconds - 0.25)
    assert [desk.take("a")[1] for _ in range(3)] == [1, 1, 1]
    assert desk.of("a").cooling == 1
    desk.tick(0.25)
    assert desk.of("a").cooling == 0
    assert {desk.take("a")[1] for _ in range(2)} == {0, 1}


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome not in COOLING])
def test_no_other_outcome_makes_a_key_rest(outcome: Outcome) -> None:
    desk = Desk(Endpoint("a", keys=2))
    desk.fail("a", outcome=outcome, retry_after=60.0)
    assert desk.of("a").cooling == 0
    assert {desk.take("a")[1] for _ in range(2)} == {0, 1}


def test_success_ends_the_cool_down_of_its_own_key_only() -> None:
    desk = Desk(Endpoint("a", keys=3))
    earlier = desk.open("a")
    assert [desk.fail("a")[1], desk.fail("a")[1], desk.fail("a")[1]] == [1, 2, 0]
    desk.done(earlier)
    assert desk.of("a").cooling == 2
    assert [desk.take("a")[1] for _ in range(2)] == [0, 0]


def test_of_several_reasons_to_rest_the_longest_counts() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b"))
    first, second = desk.open("a"), desk.open("a")
    desk.done(first, Outcome.THROTTLED, 100.0)
    desk.done(second, Outcome.THROTTLED, 2.0)
    desk.tick(99.0)
    assert desk.take("a", "b") == ("b", 0)
    desk.tick(1.0)
    assert desk.take("a", "b") == ("a", 0)


def test_an_endpoint_whose_keys_all_rest_is_passed_over_for_a_later_one() -> None:
    desk = Desk(Endpoint("a"), Endpoint("b", slots=1))
    desk.fail("a")
    assert pair(desk.open("a", "b")) == ("b", 0)
    assert pair(desk.open("a", "b")) == ("a", 0)  # b is full: better the endpoint that may refuse than to wait


def test_when_all_keys_rest_the_one_that_is_fit_again_first_is_used() -> None:
    desk = Desk(Endpoint("a", keys=2), Endpoint("b", keys=2))
    for name, retry_after in (("a", 50.0), ("a", 40.0), ("b", 60.0), ("b", 30.0)):
        desk.fail(name, retry_after=retry_after)
    assert desk.take("a", "b") == desk.take("b", "a") == ("b", 1)
    assert desk.take("a", "b", spent=spent(("b", 1))) == ("a", 1)
    assert desk.take("a") == ("a", 1)


def test_a_single_key_is_used_although_it_rests() -> None:
    desk = Desk(Endpoint("a"))
    desk.fail("a", outcome=Outcome.KEY_REFUSED)
    assert desk.serve("a") == ("a", 0)
    assert desk.of("a").cooling == 0


def test_who_waited_gets_a_fit_unspent_key_too() -> None:
    desk = Desk(Endpoint("a", slots=1, keys=3))
    holder = desk.open("a")
    waiting = desk.open("a", spent=spent(("a", 1)))
    desk.done(holder, Outcome.THROTTLED)
    assert pair(waiting) == ("a", 2)


def test_nobody_waits_where_all_keys_are_spent() -> None:
    desk = Desk(Endpoint("a", slots=1, keys=2), Endpoint("b", slots=1))
    at_a, at_b = desk.open("a"), desk.open("b")
    waiting = desk.open("a", "b", spent=spent(("a", 0), ("a", 1)))
    desk.done(at_a)
    assert not waiting.answered
    desk.done(at_b)
    assert pair(waiting) == ("b", 0)


def test_a_crash_ends_no_cool_down() -> None:
    desk = Desk(Endpoint("a", keys=2))
    desk.fail("a")
    desk.rig.crash()
    assert desk.of("a").cooling == 1
    assert [desk.take("a")[1] for _ in range(2)] == [1, 1]


def test_the_books_tell_of_keys_and_outcomes() -> None:
    desk = Desk(Endpoint("a", keys=3))
    desk.fail("a")
    desk.fail("a", outcome=Outcome.KEY_REFUSED)
    seen = desk.of("a")
    assert (seen.keys, seen.cooling) == (3, 2)
    assert (seen.failed[Outcome.THROTTLED], seen.failed[Outcome.KEY_REFUSED]) == (1, 1)
    assert repr(desk.books) == "<ProviderBooks a | slots 0/unlimited, waiting 0, cooling 2/3 keys>"
