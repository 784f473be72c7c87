"""Money: asked for once a model, never lost, and bounded in what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from actors import PENDING, Exchange, MetricsRegistry, Priced, Rate
from actors.metrics_costs import MOST_SESSIONS, SHOWN_SESSIONS
from actors.metrics_registry import MOST_WAITING
from actors.testing import drain
from tests.actors.metrics_support import actor_of, exchange, totals_of


class Prices:
    """One dollar a token, once it is known."""

    def __init__(self, *, known: bool = True) -> None:
        self.known = known
        self.asked: list[tuple[str, str]] = []

    def tariff(self, endpoint: str, model: str) -> Rate | None:
        self.asked.append((endpoint, model))
        if endpoint == "free":
            return None
        return lambda e: e.output_tokens * 1.0 if self.known else PENDING


def used(tokens: int = 1, **changes: Any) -> Exchange:
    return exchange(endpoint="e", upstream_model="u", output_tokens=tokens, **changes)


def test_the_tariff_is_asked_once_for_equal_names() -> None:
    prices = Prices()
    actor = actor_of(MetricsRegistry(tariff=prices.tariff))
    drain(actor, [used(2), used(3), exchange(endpoint="free", output_tokens=1)])
    assert prices.asked == [("e", "u"), ("free", "")]
    costs = totals_of(actor).costs
    assert (costs.total_usd, costs.by_model, costs.by_caller) == (5.0, {"u": 5.0}, {"c": 5.0})
    assert (costs.priced_requests, costs.unpriced_requests, costs.unpriced) == (2, 1, {"": 1})


def test_what_the_upstream_says_goes_before_the_list() -> None:
    actor = actor_of(MetricsRegistry(tariff=Prices().tariff))
    drain(actor, [used(10, cost_usd=0.5)])
    assert totals_of(actor).costs.total_usd == 0.5


def test_an_answer_that_used_no_tokens_has_no_price() -> None:
    actor = actor_of(MetricsRegistry(tariff=Prices().tariff))
    drain(actor, [used(0), used(0, status=529, outcome="upstream_fault")])
    costs = totals_of(actor).costs
    assert (costs.priced_requests, costs.unpriced_requests) == (0, 0)


def test_an_exchange_waits_for_its_price_and_is_logged_with_it() -> None:
    prices, logged = Prices(known=False), list[Exchange]()
    actor = actor_of(MetricsRegistry(tariff=prices.tariff), logged.append)
    drain(actor, [used(2), used(3), exchange()])
    assert [e.cost_usd for e in logged] == [None]
    assert (totals_of(actor).requests, totals_of(actor).output_tokens) == (3, 5)  # all but its cost
    drain(actor, [Priced()])  # told too early: still unknown
    assert len(logged) == 1
    prices.known = True
    drain(actor, [Priced()])
    assert [e.cost_usd for e in logged] == [None, 2.0, 3.0]
    assert totals_of(actor).costs.total_usd == 5.0


def test_who_still_waits_at_the_end_is_logged_without_a_price() -> None:
    logged: list[Exchange] = []
    actor = actor_of(MetricsRegistry(tariff=Prices(known=False).tariff), logged.append)
    drain(actor, [used(2)])
    actor.stopped()
    assert [e.cost_usd for e in logged] == [None]
    assert totals_of(actor).costs.unpriced_requests == 1


def test_those_who_wait_are_bounded() -> None:
    logged: list[Exchange] = []
    actor = actor_of(MetricsRegistry(tariff=Prices(known=False).tariff), logged.append)
    drain(actor, [used()] * (MOST_WAITING + 5))
    assert len(logged) == totals_of(actor).costs.unpriced_requests == 5


def test_prices_that_change_apply_to_what_comes_then() -> None:
    prices = Prices()
    actor = actor_of(MetricsRegistry(tariff=prices.tariff))
    drain(actor, [used(), Priced(), used()])
    assert prices.asked == [("e", "u"), ("e", "u")]
    assert totals_of(actor).costs.total_usd == 2.0


def test_sessions_are_told_dearest_first_and_forgotten_cheapest_first() -> None:
    actor = actor_of(MetricsRegistry(tariff=Prices().tariff))
    count = MOST_SESSIONS + 1
    drain(actor, [used(number + 1, session=f"s{number}", input_tokens=1) for number in range(count)])
    drain(actor, [used(5, session=f"s{count - 2}"), used(7)])  # the last one is of no session
    costs = totals_of(actor).costs
    assert len(costs.sessions) == SHOWN_SESSIONS
    first = costs.sessions[0]
    assert (first.session, first.usd, first.requests) == (f"s{count - 2}", float(count - 1 + 5), 2)
    assert (first.input_tokens, first.output_tokens) == (1, count - 1 + 5)
    assert costs.forgotten_sessions_usd == sum(range(1, MOST_SESSIONS // 2 + 1))
    assert costs.total_usd == pytest.approx(sum(range(1, count + 1)) + 12)


def test_a_tariff_that_fails_costs_prices_only() -> None:
    def failing(*about: Any) -> Rate:
        raise RuntimeError("no list")

    def half_way(endpoint: str, model: str) -> Rate:
        return failing

    for tariff in (failing, half_way):
        logged: list[Exchange] = []
        actor = actor_of(MetricsRegistry(tariff=tariff), logged.append)
        drain(actor, [used(), used()])
        assert len(logged) == totals_of(actor).costs.unpriced_requests == 2
