"""What an upstream's 429 changes, and what undoes it."""

from __future__ import annotations

import pytest

from tests.actors.rate_support import Desk, upstream


def limit(desk: Desk) -> float | None:
    found: float | None = desk.up.requests.limit
    return found


def throttle(desk: Desk, retry_after: float | None = None, cost: int = 0) -> None:
    permit = desk.permit("k", cost)
    permit.throttled("up", retry_after)
    permit.settle(0, succeeded=False)
    desk.drain()


def test_a_429_lowers_to_80_percent_and_never_under_the_floor() -> None:
    desk = Desk(upstream(requests=100, tokens=10_000))
    seen = []
    for _ in range(12):
        throttle(desk)
        seen.append((desk.up.requests.limit, desk.up.tokens.limit))
        desk.advance(61.0)
    assert seen[:3] == [pytest.approx((80.0, 8_000.0)), pytest.approx((64.0, 6_400.0)), pytest.approx((51.2, 5_120.0))]
    assert seen[-1] == (10.0, pytest.approx(1_000.0))


def test_a_configured_limit_under_the_floor_is_its_own_floor() -> None:
    desk = Desk(upstream(requests=4))
    throttle(desk)
    assert limit(desk) == 4


def test_ten_successes_in_a_row_raise_by_10_percent_up_to_what_is_configured() -> None:
    desk = Desk(upstream(requests=1_000))
    throttle(desk)
    desk.answered(9)
    assert limit(desk) == pytest.approx(800)
    desk.answered(1)
    assert limit(desk) == pytest.approx(880)
    desk.answered(30)
    assert limit(desk) == 1_000


def test_a_429_ends_the_row_and_other_faults_do_not() -> None:
    desk = Desk(upstream(requests=1_000))
    throttle(desk)
    desk.answered(9)
    desk.permit().settle(0, succeeded=False)
    desk.answered(1)
    assert limit(desk) == pytest.approx(880)
    desk.answered(9)
    throttle(desk)
    desk.answered(9)
    assert limit(desk) == pytest.approx(704)


def test_calls_that_were_under_way_together_are_one_lesson() -> None:
    desk = Desk(upstream(requests=1_000))
    permits = [desk.permit() for _ in range(20)]
    for permit in permits:
        permit.throttled("up", None)
    desk.drain()
    assert limit(desk) == pytest.approx(800)
    permits[0].used("up")  # tried again
    permits[0].throttled("up", None)
    desk.drain()
    assert limit(desk) == pytest.approx(640)


@pytest.mark.parametrize(("began", "learned"), [(100, 80.0), (3, 10.0)], ids=["80 % of what was seen", "the floor"])
def test_the_first_429_of_an_unlimited_upstream_shows_its_limit(began: int, learned: float) -> None:
    desk = Desk(upstream())
    desk.admits(began - 1, cost=1_000)
    throttle(desk, cost=1_000)
    assert limit(desk) == learned
    assert desk.up.tokens.limit == pytest.approx(learned * 1_000)


def test_one_429_of_a_silent_minute_does_not_make_large_requests_wait_for_a_minute_each() -> None:
    desk = Desk(upstream())
    desk.admits(2, cost=1_000)
    throttle(desk, cost=150_000)  # what it needs, not the mean: a session has small requests beside large ones
    assert desk.up.tokens.limit == pytest.approx(1_500_000)
    assert desk.admits(9, cost=150_000) == 7  # and the floor of requests is what holds the next ones up
    assert limit(desk) == 10
    desk.advance(61.0)
    throttle(desk, cost=150_000)
    assert desk.up.tokens.limit == pytest.approx(1_500_000)  # it is the floor
    desk.advance(61.0)
    throttle(desk, cost=300_000)
    assert desk.up.tokens.limit == pytest.approx(1_500_000)  # a 429 raises nothing


def test_a_429_that_changes_nothing_moves_nobody_who_waits() -> None:
    desk = Desk(upstream(requests=20))
    permits = [desk.permit() for _ in range(20)]
    permits[0].throttled("up", 5.0)
    desk.drain()
    waiting = [desk.ask(patience=100.0) for _ in range(3)]
    before = list(desk.books.room.lines["up"])
    permits[1].throttled("up", 2.0)
    desk.drain()
    assert list(desk.books.room.lines["up"]) == before
    permits[2].throttled("up", 70.0)
    desk.drain()
    assert list(desk.books.room.lines["up"]) != before
    desk.advance(69.0)
    assert [reply.value for reply in waiting] == [None] * 3
    desk.advance(1.1)
    assert all(reply.value for reply in waiting)


def test_only_what_the_last_minute_held_counts_as_seen() -> None:
    desk = Desk(upstream())
    desk.admits(500)
    desk.advance(70.0)
    desk.admits(49)
    throttle(desk)
    assert limit(desk) == 40


def test_a_learned_limit_is_forgotten_when_it_is_twice_what_the_upstream_bore() -> None:
    desk = Desk(upstream())
    throttle(desk)
    assert limit(desk) == 10
    for step in range(1, 8):
        desk.advance(61.0)
        desk.answered(10)
        assert limit(desk) == pytest.approx(10 * 1.1**step)
    desk.advance(61.0)
    desk.answered(10)
    assert limit(desk) is None
    desk.answered(80)  # that of tokens grows on its own: 1000 to 2000
    assert desk.books.bounded == set()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"adaptive": False, "requests": 50}, 50), ({"adaptive": False}, None), ({"enabled": False}, None)],
)
def test_limits_that_may_not_adapt_stay(limits: dict[str, float], expected: float | None) -> None:
    desk = Desk(upstream(**limits))
    permit = desk.permit()
    permit.throttled("up", 30.0)
    desk.drain()
    if limits.get("enabled", True):
        assert limit(desk) == expected
        assert desk.refusal().retry_after == pytest.approx(30.0)  # a pause is kept all the same
    else:
        assert desk.admits(10) == 10
        assert desk.books.upstreams == {}


@pytest.mark.parametrize(("asked", "kept"), [(7.5, 7.5), (86_400.0, 600.0), (0.0, 0.0), (-5.0, 0.0), (None, 0.0)])
def test_retry_after_is_a_pause_within_bounds(asked: float | None, kept: float) -> None:
    desk = Desk(upstream(adaptive=False))
    throttle(desk, asked)
    if kept:
        assert desk.refusal().retry_after == pytest.approx(kept)
        desk.advance(kept - 0.01)
        assert desk.admits(1) == 0
    desk.advance(0.01)
    assert desk.admits(1) == 1
    desk.advance(1.0, tick=True)
    assert desk.books.bounded == set()


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    desk = Desk(upstream(adaptive=False))
    first, second = desk.permit(), desk.permit()
    first.throttled("up", 30.0)
    second.throttled("up", 5.0)
    desk.drain()
    assert desk.refusal().retry_after == pytest.approx(30.0)


def test_limits_pauses_and_reservations_survive_a_new_instance() -> None:
    desk = Desk(upstream(requests=100, tokens=1_000))
    throttle(desk, 20.0)
    desk.advance(21.0)
    held = desk.permit("k", 600)
    desk.rig.crash()
    assert (limit(desk), desk.up.window.tokens) == (80, 600)
    assert desk.admits(1, cost=500) == 0
    held.settle(100)
    desk.drain()
    assert desk.admits(1, cost=500) == 1


def test_the_books_say_what_they_know() -> None:
    desk = Desk(upstream(requests=50))
    throttle(desk, 9.0)
    [up] = desk.books.statistics().upstreams  # before the first tick too
    assert (up.name, up.requests, up.limit_requests, up.throttled, up.pause) == ("up", 1, 40, 1, 9.0)
    assert "1/40.0 requests" in repr(desk.up)


def test_a_learned_limit_is_forgotten_five_minutes_after_the_last_429_and_a_configured_one_is_not() -> None:
    desk = Desk(upstream(requests=100))
    throttle(desk)
    desk.advance(200.0, tick=True)
    throttle(desk)
    desk.advance(299.0, tick=True)
    assert (limit(desk), desk.up.tokens.limit) == (64, 1_000)
    desk.advance(1.0, tick=True)
    assert (limit(desk), desk.up.tokens.limit) == (64, None)
