"""The upstreams' book: what may begin there, and what tokens are reserved and settled."""

from __future__ import annotations

from contextvars import Context

import pytest

from actors import Admit, RateLimited, UpstreamLimits
from actors import rate_books as module
from actors.kernel import Reply
from actors.rate_window import GRAIN
from tests.actors.rate_support import Desk, upstream


def test_nothing_is_limited_until_a_limit_is_set_or_shows() -> None:
    desk = Desk(upstream())
    assert desk.admits(5_000, cost=10**9) == 5_000
    assert desk.books.bounded == set()


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [
        ({"requests": 60}, 60),
        ({"requests": 60, "burst": 0}, 1),
        ({"requests": 60, "burst": 9}, 10),
        ({"requests": 3, "burst": 30}, 3),
        ({"requests": 0.5}, 1),
        ({"tokens": 1_000}, 10),
        ({"tokens": 1_000, "requests": 4}, 4),
        ({"tokens": 99}, 1),
        ({"requests": 3, "enabled": False}, 80),
    ],
)
def test_what_may_begin_at_once(limits: dict[str, float], at_once: int) -> None:
    desk = Desk(upstream(**limits))
    assert desk.admits(80, cost=100) == at_once


def test_a_burst_is_what_may_run_ahead_of_the_even_pace() -> None:
    desk = Desk(upstream(requests=60, burst=3))
    assert desk.admits(10) == 4
    assert desk.refusal().retry_after == pytest.approx(1.0)
    for _ in range(20):
        desk.advance(1.0)
        assert desk.admits(3) == 1
    desk.advance(2.0)
    assert desk.admits(3) == 2


def test_no_minute_holds_more_than_the_limit_however_large_the_burst() -> None:
    desk = Desk(upstream(requests=6, burst=100))
    assert desk.admits(6) == 6
    assert desk.refusal().retry_after == pytest.approx(60.0 + GRAIN)
    desk.advance(59.9)
    assert desk.admits(1) == 0
    desk.advance(0.1 + GRAIN)
    assert desk.admits(10) == 6


def test_a_refusal_tells_what_is_left_of_the_upstream() -> None:
    desk = Desk(upstream(requests=10, tokens=1_000))
    desk.permit("k", 700)
    refusal = desk.refusal("k", 400)
    assert refusal.upstream == "up"
    assert [(str(b.kind), b.limit, b.remaining) for b in refusal.budgets] == [
        ("requests", 10, 9),
        ("tokens", 1000, 300),
    ]
    assert refusal.retry_after == pytest.approx(60.0 + GRAIN)
    assert desk.books.statistics().refused_upstream == 1


def test_the_first_upstream_with_room_is_charged_and_the_others_are_barred() -> None:
    desk = Desk(upstream(requests=1))
    first, second = (desk.permit("k", 0, "a", "b", "c") for _ in range(2))
    assert (first.upstream, first.barred) == ("a", frozenset())
    assert (second.upstream, second.barred) == ("b", {"a"})
    assert desk.permit("k", 0, "b", "c").upstream == "c"
    assert desk.refusal("k", 0, "a", "b", "c").upstream == "a"


# -- tokens


def test_reserved_tokens_are_settled_with_the_real_ones_both_ways() -> None:
    desk = Desk(upstream(tokens=1_000))
    small, large = desk.permit("k", 400), desk.permit("k", 400)
    assert desk.admits(1, cost=400) == 0
    small.settle(100, succeeded=False)
    assert desk.admits(1, cost=400) == 1
    large.settle(900, succeeded=False)
    desk.drain()
    assert desk.up.window.tokens == 100 + 900 + 400
    assert desk.admits(1, cost=1) == 0


def test_a_settlement_is_of_its_own_permit_not_of_the_last_one() -> None:
    desk = Desk(upstream(tokens=10_000))
    first = desk.permit("k", 1_000)
    desk.advance(30.0)
    desk.permit("k", 2_000)
    first.settle(10, succeeded=False)
    desk.drain()
    assert desk.up.window.tokens == 2_010
    desk.advance(30.0 + GRAIN)
    desk.up.window.expire(desk.clock())
    assert desk.up.window.tokens == 2_000


@pytest.mark.parametrize(
    ("actual", "left"), [(None, 500), (0, 0), (70, 70)], ids=["not known", "nothing used", "usage"]
)
def test_what_a_settlement_leaves_of_the_reservation(actual: int | None, left: int) -> None:
    desk = Desk(upstream(tokens=1_000))
    desk.permit("k", 500).settle(actual, succeeded=False)
    desk.drain()
    assert desk.up.window.tokens == left
    assert desk.books.statistics().in_flight == 0


def test_an_unused_permit_has_cost_nothing() -> None:
    desk = Desk(upstream(requests=60, tokens=1_000, burst=2))
    for _ in range(20):
        desk.permit("k", 900).release()
        desk.drain()
    assert (desk.up.window.requests, desk.up.window.tokens) == (0, 0)
    assert desk.admits(5) == 3


def test_the_estimate_learns_from_real_usage_within_bounds() -> None:
    desk = Desk(upstream(tokens=10**9))
    for actual, ratio in ((200, 2.0), (1, 0.25), (10**6, 4.0)):
        for _ in range(80):
            desk.permit("k", 100).settle(actual)
            desk.drain()
        assert desk.up.ratio == pytest.approx(ratio, rel=0.01)
        assert 0.25 <= desk.up.ratio <= 4.0
    assert desk.permit("k", 100).tokens == pytest.approx(400, abs=4)


def test_failures_and_unknown_usage_teach_no_ratio() -> None:
    desk = Desk(upstream(tokens=10**9))
    for actual, succeeded in ((None, True), (0, True), (5, False)):
        desk.permit("k", 100).settle(actual, succeeded)
    desk.permit("k", 0).settle(7)
    desk.drain()
    assert desk.up.ratio == 1.0


def test_who_needs_more_than_the_whole_limit_begins_when_the_minute_is_empty() -> None:
    desk = Desk(upstream(tokens=1_000))
    desk.permit("k", 10)
    desk.advance(30.0)
    desk.permit("k", 10)
    assert desk.refusal("k", 5_000).retry_after == pytest.approx(60.0 + GRAIN)
    reply = desk.ask("k", 5_000, patience=61.0)
    assert desk.ask("other", 1, patience=130.0).open  # who needs little does not pass it, or it would never begin
    desk.advance(60.5)
    assert reply.value is not None
    assert desk.admits(1, cost=1) == 0


# -- several calls


def test_each_call_is_a_request_where_it_goes_and_the_tokens_go_with_the_newest() -> None:
    desk = Desk(upstream(requests=100, tokens=10_000))
    permit = desk.permit("k", 300, "a", "b")
    for name in ("a", "a", "b"):
        permit.used(name)
    permit.settle(200)
    desk.drain()
    a, b = (desk.books.upstreams[name].window for name in "ab")
    assert (a.requests, a.tokens, b.requests, b.tokens) == (2, 0, 1, 200)


def test_an_upstream_that_was_passed_over_is_not_charged() -> None:
    desk = Desk(upstream(requests=100, tokens=10_000))
    permit = desk.permit("k", 300, "a", "b")
    permit.used("b")
    desk.drain()
    a, b = (desk.books.upstreams[name].window for name in "ab")
    assert (a.requests, a.tokens, b.requests, b.tokens) == (0, 0, 1, 300)
    permit.release()
    desk.drain()
    assert (b.requests, b.tokens) == (0, 0)


def test_the_usual_request_sends_one_note() -> None:
    desk = Desk(upstream())
    permit = desk.permit()
    permit.used("up")
    assert not desk.rig.mail
    permit.settle(10)
    assert len(desk.rig.mail) == 1


def test_upstreams_do_not_touch_each_other() -> None:
    desk = Desk(upstream())
    permit = desk.permit("k", 0, "a")
    permit.throttled("a", 60.0)
    desk.drain()
    assert desk.admits(50, "k", 0, "b") == 50
    assert desk.permit("k", 0, "a", "b").barred == {"a"}


def test_the_number_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UPSTREAMS", 10)
    desk = Desk(upstream(requests=5))
    for number in range(50):
        desk.permit("k", 0, str(number))
    assert list(desk.books.upstreams) == [str(number) for number in range(40, 50)]
    assert len(desk.books.bounded) == 10


def test_a_permit_that_nobody_took_is_charged_nowhere() -> None:
    desk = Desk(upstream(requests=5))

    class Gone(Reply, eq=False):
        def ok(self, value: object = None) -> bool:
            return False

    desk.permit()
    query = Admit("k", 0, ("up",))
    desk.rig.actor.handle(query, Gone(None, 1e9, query, 0.0, Context()))
    assert desk.up.window.requests == 1
    assert desk.books.statistics().in_flight == 1


@pytest.mark.parametrize("wrong", [{"requests": 0}, {"tokens": -1.0}, {"burst": -1}])
def test_senseless_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        UpstreamLimits(**wrong)  # type: ignore[arg-type]


def test_a_refusal_is_equal_by_type_and_delay() -> None:
    assert RateLimited(1.0, "a") == RateLimited(1.0, "b", "up")
