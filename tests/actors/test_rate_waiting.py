"""Who waits for its turn: how long, in which order, and who never has to."""

from __future__ import annotations

import math

import pytest

from actors import Limits, Permit, RateLimited, Tick, UpstreamLimits
from actors import rate_queue as queue
from actors.rate_turns import LATE, NAP
from actors.rate_window import GRAIN
from actors.testing import FakeReply
from tests.actors.rate_support import Desk, upstream

SLACK = NAP + LATE + 0.001  # how late somebody may be woken


def order(replies: dict[str, FakeReply]) -> list[str]:
    """Who has been admitted, first to last."""
    admitted = [(reply.value.number, name) for name, reply in replies.items() if isinstance(reply.value, Permit)]
    return [name for _, name in sorted(admitted)]


def test_a_wait_within_the_patience_is_waited_and_a_longer_one_is_refused_at_once() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit()
    assert desk.refusal(patience=0.9).retry_after == pytest.approx(1.0)
    reply = desk.ask(patience=1.0)
    assert reply.open
    desk.advance(0.9)
    assert reply.open
    desk.advance(0.1 + SLACK)
    assert reply.value is not None
    assert desk.books.statistics().waited == 1


def test_the_place_in_line_counts() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit()
    waiting = [desk.ask(patience=3.0) for _ in range(3)]
    assert desk.refusal(patience=3.0).retry_after == pytest.approx(4.0)
    for number, reply in enumerate(waiting):
        assert [other.open for other in waiting] == [False] * number + [True] * (3 - number)
        desk.advance(1.0 + SLACK)
        assert reply.value is not None


def test_nobody_waits_past_its_deadline() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit()
    early = desk.ask(patience=10.0, deadline=desk.clock() + 0.5)
    assert isinstance(early.error, RateLimited)
    kept = desk.ask(patience=10.0, deadline=desk.clock() + 1.5)
    desk.advance(1.0 + SLACK)
    assert kept.value is not None


def test_callers_take_turns_however_much_one_of_them_asks() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit("first")
    asked = {f"a{number}": desk.ask("a", patience=60.0) for number in range(4)}
    asked |= {f"b{number}": desk.ask("b", patience=60.0) for number in range(2)}
    asked["c0"] = desk.ask("c", patience=3.5)  # would be refused if it stood behind all of a's
    desk.advance(8.0)
    assert order(asked) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_who_has_left_is_passed_over() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit()
    gone, kept = (desk.ask(patience=10.0) for _ in range(2))
    gone.leave()
    desk.advance(1.0 + SLACK)
    assert kept.value is not None
    assert desk.books.until == {}
    assert desk.books.room.size == 0


def test_a_caller_that_waits_for_its_own_limit_holds_nobody_up() -> None:
    desk = Desk(Limits(concurrent=1, upstream=UpstreamLimits(requests=60, burst=0)))
    held = desk.permit("a")
    first, second = desk.ask("a", patience=30.0), desk.ask("b", patience=30.0)
    desk.advance(1.0 + SLACK)
    assert first.open
    assert second.value is not None
    held.release()
    desk.advance(1.0 + SLACK)
    assert first.value is not None


def test_a_caller_that_comes_to_its_own_limit_in_line_lets_others_pass() -> None:
    desk = Desk(Limits(concurrent=1, upstream=UpstreamLimits(requests=60, burst=0)))
    desk.permit("other")
    asked = {name: desk.ask(name[0], patience=30.0) for name in ("a0", "a1", "b0")}
    desk.advance(2.0 + SLACK)
    assert order(asked) == ["a0", "b0"]
    assert asked["a1"].open
    asked["a0"].value.settle(0)
    desk.advance(1.0 + SLACK)
    assert order(asked) == ["a0", "b0", "a1"]
    assert desk.books.room.size == 0


def test_what_is_given_back_wakes_who_waits_for_it() -> None:
    desk = Desk(upstream(tokens=1_000))
    held = desk.permit("k", 900)
    waiting = desk.ask("k", 500, patience=61.0)
    held.settle(100)
    desk.drain()
    assert waiting.value is not None


def test_a_freed_slot_of_a_caller_wakes_its_next() -> None:
    desk = Desk(Limits(concurrent=2))
    held = [desk.permit(), desk.permit()]
    waiting = [desk.ask(patience=5.0) for _ in range(3)]
    held[0].settle(0)
    desk.drain()
    assert [reply.open for reply in waiting] == [False, True, True]
    held[1].release()
    desk.drain()
    assert [reply.open for reply in waiting] == [False, False, True]
    assert desk.ask("other").value is not None


def test_who_waits_for_a_slot_in_vain_is_refused_when_its_patience_ends() -> None:
    desk = Desk(Limits(concurrent=1))
    desk.permit()
    waiting = desk.ask(patience=5.0)
    desk.advance(4.9)
    assert waiting.open
    desk.advance(0.1 + SLACK)
    assert waiting.error == RateLimited(1.0)
    assert desk.books.statistics().refused_concurrent == 1
    desk.advance(0.0, tick=True)
    assert desk.books.room.size == 0


def test_without_alarms_ticks_do_the_waking() -> None:
    desk = Desk(Limits(requests_per_minute=60, concurrent=5))
    desk.admits(60)
    for permit in list(desk.books.permits):
        permit.settle(0)
    desk.drain()
    desk.alarms.due.clear()
    held = [desk.ask(patience=10.0) for _ in range(2)]
    desk.alarms.due.clear()
    for _ in range(60):
        desk.clock.advance(1.0)
        desk.rig.tell(Tick())
        desk.drain()
    assert all(reply.value is not None for reply in held)


def test_a_caller_above_its_rate_waits_for_it_in_order() -> None:
    desk = Desk(Limits(requests_per_minute=60))
    desk.admits(60)
    first, second = desk.ask(patience=3.0), desk.ask(patience=3.0)
    assert desk.refusal(patience=2.9).retry_after == pytest.approx(3.0)
    desk.advance(1.0 + SLACK)
    assert first.value is not None
    assert second.open
    desk.advance(1.0)
    assert second.value is not None


def test_a_newcomer_does_not_pass_those_whose_turn_has_come() -> None:
    desk = Desk(Limits(requests_per_minute=60))
    desk.admits(60)
    first = desk.ask(patience=3.0)
    desk.clock.advance(1.0)  # nobody has rung yet
    assert desk.refusal().retry_after == pytest.approx(1.0)
    assert first.value is not None


def test_it_waits_where_there_is_room_soonest() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit("k", 0, "a")
    desk.advance(0.5)
    desk.permit("k", 0, "b")
    waiting = desk.ask("k", 0, "b", "a", patience=5.0)
    desk.advance(0.5 + SLACK)
    assert waiting.value.upstream == "a"
    assert waiting.value.barred == {"b"}


def test_a_pause_sends_those_who_wait_elsewhere_or_away() -> None:
    desk = Desk(upstream(requests=60, burst=0, adaptive=False))
    held = desk.permit("k", 0, "a")
    desk.permit("k", 0, "b")
    both, patient, hasty = (
        desk.ask("x", 0, "a", "b", patience=5.0),
        desk.ask("y", 0, "a", patience=40.0),
        desk.ask("z", 0, "a", patience=5.0),
    )
    held.throttled("a", 30.0)
    desk.drain()
    assert isinstance(hasty.error, RateLimited)
    assert hasty.error.retry_after == pytest.approx(31.0)  # behind the patient one
    desk.advance(1.0 + SLACK)
    assert both.value.upstream == "b"
    desk.advance(28.0)
    assert patient.open
    desk.advance(1.0 + SLACK)
    assert patient.value.upstream == "a"


def test_a_pause_does_not_lead_past_the_limits_of_the_caller() -> None:
    desk = Desk(Limits(concurrent=2, upstream=UpstreamLimits(requests=60, burst=0, adaptive=False)))
    held = desk.permit("k", 0, "a")
    desk.permit("x", 0, "b")
    asked = [desk.ask("k", 0, "a", "b", patience=30.0) for _ in range(3)]
    desk.clock.advance(5.0)  # nobody has rung yet
    held.throttled("a", 20.0)
    desk.drain()
    assert sum(reply.open for reply in asked) == 2
    assert desk.books.permits.count("k") == 2


def test_a_raised_limit_lets_those_in_who_wait() -> None:
    desk = Desk(upstream(requests=10))
    permits = [desk.permit() for _ in range(10)]
    permits[0].throttled("up", None)
    desk.drain()
    desk.up.requests.limit = 9.1  # as if it had been lowered further
    waiting = desk.ask(patience=61.0)
    for permit in permits:
        permit.settle(0)
    desk.drain()
    assert desk.up.requests.limit == 10
    desk.advance(60.0 + GRAIN + SLACK)
    assert waiting.value is not None


def test_the_room_is_bounded_and_one_caller_cannot_fill_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING", 10)
    monkeypatch.setattr(queue, "MAX_OF_CALLER", 6)
    desk = Desk(Limits(concurrent=1, upstream=UpstreamLimits(requests=1, burst=0)))
    desk.permit("a")
    assert sum(desk.ask("a", patience=100.0).open for _ in range(20)) == 6
    assert sum(desk.ask(f"b{number}", patience=1e9).open for number in range(20)) == 4
    desk.advance(101.0)
    assert desk.books.room.size < 10


def test_who_joins_and_leaves_all_the_time_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING", 50)
    desk = Desk(Limits(concurrent=1))
    held = desk.permit()
    for _ in range(500):
        desk.ask(patience=10.0).leave()
    assert desk.books.room.size <= 50
    desk.advance(1.0, tick=True)
    assert (desk.books.room.size, desk.books.until, desk.books.room.gates) == (0, {}, {})
    held.release()
    desk.drain()


def test_patience_is_not_renewed_by_a_restart_and_the_order_stays() -> None:
    desk = Desk(upstream(requests=60, burst=0))
    desk.permit()
    asked = {str(number): desk.ask(patience=4.0) for number in range(4)}
    desk.advance(1.0 + SLACK)
    desk.rig.crash()
    desk.advance(1.0)
    desk.rig.crash()
    assert order(asked) == ["0", "1"]
    desk.advance(2.0 + SLACK)
    assert order(asked) == ["0", "1", "2", "3"]


def test_a_restart_forgets_nobody_whose_patience_is_over() -> None:
    desk = Desk(Limits(concurrent=1))
    desk.permit()
    waiting = desk.ask(patience=2.0)
    desk.advance(1.0)
    desk.rig.crash()
    desk.advance(1.0 + SLACK)
    assert isinstance(waiting.error, RateLimited)
    assert desk.books.until == {}


def test_alarms_do_not_multiply() -> None:
    desk = Desk(upstream(requests=600, burst=0))
    desk.permit()
    for number in range(50):
        desk.ask(f"k{number}", patience=60.0)
    rung = 0
    end = desk.clock() + 10.0
    while (ring := desk.alarms.until(end)) is not None:
        ring()
        desk.drain()
        rung += 1
    assert desk.books.statistics().waited == 50
    assert rung <= 2 * 50 + 5
    assert math.isinf(desk.rig.actor._turns.bell.due) or desk.rig.actor._turns.bell.due > desk.clock()  # type: ignore[attr-defined]


def test_a_line_of_many_expired_ones_is_cleared_at_once() -> None:
    desk = Desk(upstream(requests=600, burst=0))
    desk.permit()
    waiting = [desk.ask(f"k{number % 7}", patience=60.0) for number in range(450)]
    desk.clock.advance(100.0)
    desk.rig.tell(Tick())
    desk.drain()
    assert all(isinstance(reply.error, RateLimited) for reply in waiting[2:])
    assert desk.books.room.size == 0
