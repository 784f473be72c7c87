"""How soon an endpoint answers, how long it is worth waiting, and how well it does."""

from __future__ import annotations

import random

import pytest

from actors import BreakerRules, BreakerState, Endpoint, Manner, Outcome
from actors.provider_health import Health, health
from actors.provider_pace import ENOUGH, LEAST, MAX_SHAPES, MOST, WINDOW, Paces, Percentiles, percentiles
from actors.testing import FakeReply
from tests.actors.provider_support import FOREVER, Desk


def learned(after: float, shape: int = 0, times: int = ENOUGH) -> Desk:
    desk = Desk(Endpoint("a"))
    for _ in range(times):
        assert desk.answer("a", after=after, shape=shape) == FOREVER
    desk.tick(1.0)
    return desk


def limit(desk: Desk, shape: int = 0, least: float = 0.0, most: float = FOREVER) -> float:
    """What the next one of this shape is given; it is cancelled."""
    reply = desk.open("a")
    given: float = reply.value.patience(Manner.STREAM, shape, least, most)
    desk.done(reply, Outcome.CANCELLED)
    return given


def silent(desk: Desk, *, most: float = FOREVER, heard: float = 0.0) -> FakeReply:
    """Work that waits for its first byte, or, if something was ``heard``, for the rest."""
    reply = desk.open("a")
    reply.value.patience(Manner.STREAM, 0, 0.0, most)
    if heard:
        reply.value.answered(heard)
    return reply


def test_percentiles_are_nearest_ranks() -> None:
    times = [float(n) for n in range(1, 101)]
    random.Random(1).shuffle(times)
    assert percentiles(times) == Percentiles(100, 50.0, 95.0, 99.0)
    assert percentiles([3.0]) == Percentiles(1, 3.0, 3.0, 3.0)
    assert percentiles([]) == Percentiles(0, 0.0, 0.0, 0.0)


def test_streams_and_whole_answers_are_shown_apart() -> None:
    desk = Desk(Endpoint("a"))
    for seconds in (0.1, 0.2, 0.3):
        desk.answer("a", after=seconds)
        desk.answer("a", after=seconds * 100, manner=Manner.WHOLE)
    assert desk.of("a").first_byte == {
        Manner.STREAM: Percentiles(3, 0.2, 0.3, 0.3),
        Manner.WHOLE: Percentiles(3, 20.0, 30.0, 30.0),
    }


def test_the_limit_is_twice_the_95th_percentile_of_enough_of_the_same_shape() -> None:
    assert limit(learned(8.0)) == 16.0
    assert limit(learned(8.0, times=ENOUGH - 1)) == FOREVER
    assert limit(learned(8.0, shape=1), shape=2) == FOREVER


def test_a_fifth_of_slow_ones_count_and_a_hundredth_does_not() -> None:
    for slow, expected in ((4, 80.0), (1, 10.0)):
        desk = Desk(Endpoint("a"))
        for n in range(20):
            desk.answer("a", after=40.0 if n < slow else 1.0)
        desk.tick(1.0)
        assert limit(desk) == expected


@pytest.mark.parametrize(("after", "expected"), [(0.001, LEAST), (4_000.0, MOST)])
def test_the_limit_is_within_bounds(after: float, expected: float) -> None:
    assert limit(learned(after)) == expected


def test_a_limit_is_made_of_the_newest_times() -> None:
    desk = learned(100.0)
    for _ in range(WINDOW):
        desk.answer("a", after=8.0)
    desk.tick(1.0)
    assert limit(desk) == 16.0


@pytest.mark.parametrize(
    ("least", "most", "expected"), [(0.0, 600.0, 16.0), (30.0, 600.0, 30.0), (0.0, 15.0, 15.0), (900.0, 600.0, 600.0)]
)
def test_the_asker_says_the_least_and_the_most(least: float, most: float, expected: float) -> None:
    assert limit(learned(8.0), least=least, most=most) == expected


def test_a_silence_as_long_as_the_limit_makes_it_unknown_again() -> None:
    desk = learned(8.0)
    desk.done(silent(desk), Outcome.TIMEOUT)
    assert limit(desk) == FOREVER
    for _ in range(ENOUGH):
        desk.answer("a", after=30.0)
    desk.tick(1.0)
    assert limit(desk) == 60.0


def test_all_that_one_wrong_limit_cuts_are_one_fault() -> None:
    desk = learned(8.0)
    for reply in [silent(desk) for _ in range(20)]:
        desk.done(reply, Outcome.TIMEOUT)
    assert desk.of("a").breaker is BreakerState.CLOSED
    assert desk.of("a").failed[Outcome.TIMEOUT] == 20
    assert desk.of("a").health.score == 60  # 20 of 21, less 15 for a recent fault, 20 for slowness
    for reply in [silent(desk) for _ in range(4)]:  # these had all the time
        desk.done(reply, Outcome.TIMEOUT)
    assert desk.of("a").breaker is BreakerState.OPEN


@pytest.mark.parametrize("quiet", [{"most": 15.0}, {"heard": 3.0}], ids=["the asker's own limit", "in mid-answer"])
def test_other_silences_say_nothing_about_the_limit(quiet: dict[str, float]) -> None:
    desk = learned(8.0)
    for reply in [silent(desk, **quiet) for _ in range(5)]:
        desk.done(reply, Outcome.TIMEOUT)
    assert desk.of("a").breaker is BreakerState.OPEN
    desk.rig.crash()
    assert limit(desk) == 16.0


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_only_good_answers_are_learned_from(outcome: Outcome) -> None:
    desk = Desk(Endpoint("a", breaker=BreakerRules(faults=1_000)))
    for _ in range(ENOUGH):
        desk.done(silent(desk, heard=8.0), outcome)
    desk.tick(1.0)
    assert limit(desk) == FOREVER
    assert desk.of("a").first_byte[Manner.STREAM].count == 0


def test_work_that_says_no_shape_is_not_learned_from() -> None:
    desk = Desk(Endpoint("a"))
    for _ in range(ENOUGH):
        reply = desk.open("a")
        reply.value.answered(8.0)
        desk.done(reply)
    desk.tick(1.0)
    assert desk.of("a").limits == 0


def test_a_lease_keeps_the_limits_that_it_was_granted_with() -> None:
    desk = learned(8.0)
    early = desk.open("a").value
    desk.done(silent(desk), Outcome.TIMEOUT)
    assert early.patience(Manner.STREAM, 0, 0.0, FOREVER) == 16.0


def test_shapes_are_bounded_and_the_longest_unused_goes_first() -> None:
    paces = Paces()
    for shape in range(MAX_SHAPES):
        for _ in range(ENOUGH):
            paces.note(Manner.STREAM, shape, 8.0)
    paces.refresh()
    paces.note(Manner.STREAM, 0, 8.0)
    paces.refresh()
    paces.note(Manner.STREAM, -1, 8.0)
    paces.refresh()
    assert len(paces.limits) == MAX_SHAPES - 1
    assert 0 in paces.limits
    assert 1 not in paces.limits


def test_what_was_learned_survives_a_crash() -> None:
    desk = learned(8.0)
    desk.rig.crash()
    assert limit(desk) == 16.0


@pytest.mark.parametrize(
    ("successes", "faults", "state", "p99", "since", "expected"),
    [
        (0, 0, BreakerState.CLOSED, 0.0, float("inf"), Health(100, "healthy")),
        (9, 1, BreakerState.CLOSED, 5.0, 300.0, Health(90, "healthy")),
        (8, 2, BreakerState.CLOSED, 1.0, 300.0, Health(80, "healthy")),
        (9, 1, BreakerState.CLOSED, 1.0, 299.0, Health(80, "healthy")),
        (9, 1, BreakerState.CLOSED, 1.0, 59.0, Health(75, "degraded")),
        (9, 1, BreakerState.CLOSED, 5.1, 300.0, Health(70, "degraded")),
        (1, 0, BreakerState.HALF_OPEN, 1.0, 300.0, Health(75, "degraded")),
        (1, 0, BreakerState.OPEN, 1.0, 300.0, Health(50, "degraded")),
        (1, 0, BreakerState.OPEN, 1.0, 299.0, Health(40, "unhealthy")),
        (0, 5, BreakerState.OPEN, 9.0, 0.0, Health(0, "unhealthy")),
    ],
)
def test_health_is_the_share_of_successes_less_penalties(
    successes: int, faults: int, state: BreakerState, p99: float, since: float, expected: Health
) -> None:
    assert health(successes, faults, state, p99, since) == expected


def test_an_endpoints_health_falls_with_its_faults_and_comes_back() -> None:
    desk = Desk(Endpoint("a", breaker=BreakerRules(faults=2, rest=30.0, probes=1)))
    for _ in range(8):
        desk.serve("a")
    for outcome in (Outcome.CLIENT_FAULT, Outcome.THROTTLED, Outcome.CANCELLED):
        desk.fail("a", outcome=outcome)
    assert desk.of("a").health == Health(100, "healthy")
    for _ in range(2):
        desk.fail("a", outcome=Outcome.UPSTREAM_FAULT)
    assert desk.of("a").health == Health(15, "unhealthy")  # 80 - 50 - 15
    desk.tick(30.0)
    assert desk.of("a").health == Health(40, "unhealthy")  # 80 - 25 - 15
    desk.serve("a")
    desk.tick(300.0)
    assert desk.of("a").health == Health(82, "healthy")


def test_slow_whole_answers_are_no_illness_where_streams_begin_soon() -> None:
    desk = Desk(Endpoint("a"))
    desk.answer("a", after=30.0, manner=Manner.WHOLE)
    desk.tick(1.0)
    assert desk.of("a").health.score == 80
    desk.answer("a", after=0.5)
    assert desk.of("a").health.score == 100
