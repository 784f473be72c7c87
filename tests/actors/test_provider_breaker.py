"""An endpoint that fails in a row is left alone, tried again by a few, and used again when they succeed."""

from __future__ import annotations

from typing import Any

import pytest

from actors import BreakerRules, BreakerState, Endpoint, Open, Outcome, Unavailable
from actors.provider_breaker import NEXT, Breaker, Event
from actors.testing import FakeReply
from tests.actors.provider_support import Desk

RULES = BreakerRules(faults=3, rest=60.0, probes=2)
BLAMED = (Outcome.UPSTREAM_FAULT, Outcome.TIMEOUT, Outcome.BROKEN)
BLAMELESS = (Outcome.CLIENT_FAULT, Outcome.THROTTLED, Outcome.KEY_REFUSED, Outcome.CANCELLED)


def desk_of(*names: str, rules: BreakerRules = RULES, **figures: Any) -> Desk:
    return Desk(*(Endpoint(name, breaker=rules, **figures) for name in names or ("a",)))


def broken(*names: str, **figures: Any) -> Desk:
    """The breaker of the first endpoint has just opened."""
    desk = desk_of(*names, **figures)
    for _ in range(RULES.faults):
        desk.fail("a", outcome=Outcome.UPSTREAM_FAULT)
    assert desk.of("a").breaker is BreakerState.OPEN
    return desk


def half_open(*names: str, **figures: Any) -> Desk:
    desk = broken(*names, **figures)
    desk.tick(RULES.rest)
    assert desk.of("a").breaker is BreakerState.HALF_OPEN
    return desk


def refused(reply: FakeReply) -> float:
    """That a breaker refused it, and for how many seconds."""
    assert isinstance(reply.error, Unavailable)
    assert str(reply.error) == "it failed too often and is left alone for now"
    return reply.error.retry_after


def test_the_table_of_its_states_is_whole() -> None:
    assert set(NEXT) == set(BreakerState)
    assert {event for events in NEXT.values() for event in events} == set(Event)
    assert {state for events in NEXT.values() for state in events.values()} == set(BreakerState)


@pytest.mark.parametrize("outcome", BLAMED)
def test_faults_in_a_row_open_it_and_nothing_is_sent_for_a_while(outcome: Outcome) -> None:
    desk = desk_of()
    for _ in range(RULES.faults):
        desk.fail("a", outcome=outcome)
    assert refused(desk.open("a")) == 60.0
    desk.tick(45.5)
    assert refused(desk.open("a")) == 14.5
    seen = desk.of("a")
    assert (seen.breaker, seen.opened, seen.opened_at, seen.open_for) == (BreakerState.OPEN, 1, 0.0, 14.5)
    assert "breaker open" in repr(desk.books)


@pytest.mark.parametrize("outcome", BLAMELESS)
def test_what_is_not_the_endpoints_fault_never_opens_it(outcome: Outcome) -> None:
    desk = desk_of()
    for _ in range(20):
        desk.fail("a", outcome=outcome)
    assert desk.of("a").breaker is BreakerState.CLOSED
    assert desk.open("a").value.endpoint == "a"


@pytest.mark.parametrize("outcome", BLAMELESS)
def test_what_is_not_the_endpoints_fault_does_not_break_a_row(outcome: Outcome) -> None:
    desk = desk_of()
    for between in (outcome, outcome, None):
        desk.fail("a", outcome=Outcome.BROKEN)
        if between is not None:
            desk.fail("a", outcome=between)
    assert desk.of("a").breaker is BreakerState.OPEN


def test_a_success_begins_the_row_anew() -> None:
    desk = desk_of()
    for _ in range(3):
        for _ in range(RULES.faults - 1):
            desk.fail("a", outcome=Outcome.TIMEOUT)
        desk.serve("a")
    assert desk.of("a").breaker is BreakerState.CLOSED


def test_half_open_it_lets_a_few_through_and_their_successes_close_it() -> None:
    desk = half_open()
    probes = [desk.open("a") for _ in range(RULES.probes)]
    assert refused(desk.open("a")) == 1.0
    desk.done(probes[0])
    assert desk.of("a").breaker is BreakerState.HALF_OPEN
    desk.done(probes[1])
    assert desk.of("a").breaker is BreakerState.CLOSED
    assert all(desk.open("a").value for _ in range(10))


def test_the_first_asker_after_its_rest_finds_it_half_open_without_a_tick() -> None:
    desk = broken()
    desk.clock.advance(RULES.rest)
    assert desk.open("a").value.endpoint == "a"


@pytest.mark.parametrize("outcome", BLAMED)
def test_one_fault_of_a_probe_opens_it_again(outcome: Outcome) -> None:
    desk = half_open()
    first, second = desk.open("a"), desk.open("a")
    desk.done(first)
    desk.tick(5.0)
    desk.done(second, outcome)
    assert refused(desk.open("a")) == 60.0
    assert desk.of("a").opened == 2


@pytest.mark.parametrize("outcome", BLAMELESS)
def test_a_probe_that_says_nothing_gives_its_place_back(outcome: Outcome) -> None:
    desk = half_open(keys=3)
    for _ in range(5):
        probes = [desk.open("a") for _ in range(RULES.probes)]
        refused(desk.open("a"))
        for probe in probes:
            desk.done(probe, outcome)
    assert desk.of("a").breaker is BreakerState.HALF_OPEN


def test_an_asker_who_left_before_the_grant_takes_no_place() -> None:
    desk = half_open()
    for _ in range(5):
        reply = FakeReply.to(Open(("a",)))
        reply.leave()
        desk.rig.actor.handle(reply._message, reply)  # it left between the kernel's look and the grant
    assert all(desk.open("a").value for _ in range(RULES.probes))
    refused(desk.open("a"))


def test_a_lost_probe_gives_its_place_back() -> None:
    desk = Desk(Endpoint("a", breaker=BreakerRules(faults=1, rest=5.0, probes=1)), ttl=100.0)
    desk.fail("a", outcome=Outcome.BROKEN)
    desk.tick(5.0)
    desk.open("a")
    refused(desk.open("a"))
    desk.tick(100.0)
    assert desk.books.statistics().leases_lost == 1
    assert desk.open("a").value.endpoint == "a"


def test_work_from_before_it_opened_is_no_probe() -> None:
    desk = desk_of()
    old = [desk.open("a") for _ in range(4)]
    for _ in range(RULES.faults):
        desk.fail("a", outcome=Outcome.BROKEN)
    desk.done(old[0])
    desk.done(old[1], Outcome.BROKEN)
    assert desk.of("a").breaker is BreakerState.OPEN
    desk.tick(RULES.rest)
    for _ in range(RULES.probes):
        desk.done(old.pop())
    assert desk.of("a").breaker is BreakerState.HALF_OPEN


def test_an_endpoint_whose_breaker_is_open_is_passed_over_and_the_lease_says_so() -> None:
    desk = broken("a", "b", slots=1)
    lease = desk.open("a", "b").value
    assert (lease.endpoint, lease.passed) == ("b", ("a",))
    assert not desk.open("a", "b").answered  # there is one left: it is waited for
    assert refused(desk.open("a")) == 60.0
    assert desk.of("b").waiting == 1


def test_the_home_of_an_asker_is_passed_over_too() -> None:
    desk = desk_of("a", "b")
    assert desk.serve("a", "b", affinity="x")[0] == "a"
    for _ in range(RULES.faults):
        desk.fail("a", outcome=Outcome.BROKEN)
    lease = desk.open("b", "a", affinity="x").value
    assert (lease.endpoint, lease.passed) == ("b", ("a",))


def test_where_all_are_open_the_first_to_try_again_says_when() -> None:
    desk = broken("a", "b")
    desk.tick(20.0)
    for _ in range(RULES.faults):
        desk.fail("b", outcome=Outcome.BROKEN)
    assert refused(desk.open("b", "a")) == 40.0
    assert refused(desk.open("b")) == 60.0


def test_who_waits_there_only_is_refused_when_it_opens_and_others_wait_on() -> None:
    desk = desk_of("a", "b", slots=1)
    at_b = desk.open("b")
    for _ in range(RULES.faults - 1):
        desk.fail("a", outcome=Outcome.BROKEN)
    last = desk.open("a")
    only, either = desk.open("a"), desk.open("a", "b")
    desk.done(last, Outcome.BROKEN)
    assert refused(only) == 60.0
    assert (either.answered, desk.of("a").waiting, desk.of("b").waiting) == (False, 0, 1)
    desk.done(at_b)
    assert either.value.endpoint == "b"


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.CANCELLED, Outcome.BROKEN])
def test_who_waits_for_a_slot_while_it_is_half_open_is_the_next_probe_or_refused(outcome: Outcome) -> None:
    desk = desk_of(rules=BreakerRules(faults=1, rest=60.0, probes=2), slots=2)
    desk.open("a")  # it goes on all the time, and is no probe
    desk.fail("a", outcome=Outcome.BROKEN)
    desk.tick(60.0)
    probe, waiting = desk.open("a"), desk.open("a")
    assert (probe.answered, waiting.answered) == (True, False)
    desk.done(probe, outcome)
    if outcome is Outcome.BROKEN:
        assert refused(waiting) == 60.0
        return
    desk.done(waiting)
    closes = outcome is Outcome.OK
    assert desk.of("a").breaker is (BreakerState.CLOSED if closes else BreakerState.HALF_OPEN)


def test_a_crash_closes_it() -> None:
    desk = broken()
    desk.rig.crash()
    assert desk.of("a").breaker is BreakerState.CLOSED
    for _ in range(RULES.faults - 1):
        desk.fail("a", outcome=Outcome.BROKEN)
    assert desk.of("a").breaker is BreakerState.CLOSED
    assert desk.of("a").opened == 1


def test_other_rules_close_it_and_the_same_do_not() -> None:
    desk = broken()
    desk.configure(Endpoint("a", slots=7, breaker=RULES))
    assert desk.of("a").breaker is BreakerState.OPEN
    desk.configure(Endpoint("a", breaker=BreakerRules(faults=1)))
    assert desk.of("a").breaker is BreakerState.CLOSED
    desk.fail("a", outcome=Outcome.BROKEN)
    assert desk.of("a").breaker is BreakerState.OPEN


@pytest.mark.parametrize("wrong", [{"faults": 0}, {"rest": 0.0}, {"rest": float("nan")}, {"probes": 0}])
def test_senseless_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BreakerRules(**wrong)


def test_a_breaker_says_its_state() -> None:
    assert repr(Breaker(RULES)) == "<Breaker closed>"
