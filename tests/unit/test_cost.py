"""What a request costs is what genai-prices says, in a fraction of a microsecond, and off the loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from datetime import UTC, date, datetime, time
from random import Random
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, StartDateConstraint, TimeOfDateConstraint

from actors import PENDING, Exchange
from ccproxy_sanic.ops import cost
from ccproxy_sanic.ops.cost import FOREVER, NOTHING, QUARTER, Price, Prices, Tiers, find, is_inside

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = NOW.timestamp()
OPENAI, OPENROUTER, ELSEWHERE = "https://api.openai.com/v1", "https://openrouter.ai/api/v1", "https://gw.example.com/v1"


def exchange(fresh: int = 0, output: int = 0, read: int = 0, written: int = 0, thinking: int = 0) -> Exchange:
    return Exchange(
        *("r", "/p", "c", 200, "ok"),
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        thinking_tokens=thinking,
    )


def price_of(tiers: Tiers | None) -> Price:
    price = Price("https://x.example", "m", lambda price: None, lambda: TODAY)
    price.tiers, price.until = tiers, FOREVER
    return price


def listed() -> Iterator[ModelInfo]:
    for provider in get_snapshot().providers:
        yield from provider.models


def test_every_model_costs_what_the_list_calculates() -> None:
    random = Random(6)
    counts = (0, 1, 999, 127_999, 128_001, 199_999, 200_000, 200_001, 272_001, 1_000_000)
    models = list(listed())
    assert len(models) > 1_000
    for model in models:
        prices = model.get_prices(NOW)
        mine = price_of(cost._tiers(prices))
        for _ in range(3):
            fresh, output, read, written = random.choices(counts, k=4)
            thinking = random.randint(0, output)
            theirs = prices.calc_price(
                Usage(
                    input_tokens=fresh + read + written,
                    cache_read_tokens=read,
                    cache_write_tokens=written,
                    output_tokens=output,
                    output_reasoning_tokens=thinking,
                )
            )["total_price"]
            usd = mine(exchange(fresh, output, read, written, thinking))
            assert usd == pytest.approx(float(theirs), rel=1e-9, abs=1e-12), model.id


def constraints() -> Iterator[Any]:
    for model in listed():
        if isinstance(model.prices, list):
            yield from (price.constraint for price in model.prices if price.constraint is not None)


def test_prices_change_only_where_a_price_is_looked_up_again() -> None:
    found = list(constraints())
    assert found
    for constraint in found:
        if isinstance(constraint, StartDateConstraint):
            assert isinstance(constraint.start_date, date)  # a day of UTC begins with a quarter of an hour
            continue
        assert isinstance(constraint, TimeOfDateConstraint)
        for at in (constraint.start_time, constraint.end_time):
            assert isinstance(at, time)
            assert datetime.combine(NOW, at, at.tzinfo or UTC).timestamp() % QUARTER == 0


@pytest.mark.parametrize(
    ("base_url", "model", "same_as"),
    [
        (OPENAI, "gpt-5-2025-08-07", (OPENAI, "gpt-5")),
        (OPENAI, "GPT-5", (OPENAI, "gpt-5")),
        (OPENROUTER, "openai/gpt-5:nitro", (OPENROUTER, "openai/gpt-5")),
        (OPENROUTER, "anthropic/claude-4.5-sonnet-20250929", (OPENROUTER, "anthropic/claude-sonnet-4.5")),
        (ELSEWHERE, "openai/gpt-5-mini", (OPENAI, "gpt-5-mini")),
        (ELSEWHERE, "gpt-4o-2024-08-06", (OPENAI, "gpt-4o")),
        (ELSEWHERE, "claude-sonnet-4-5-20250929", ("https://api.anthropic.com", "claude-sonnet-4-5")),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "models/gemini-2.5-pro",
            ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro"),
        ),
    ],
)
def test_names_of_models_resolve(base_url: str, model: str, same_as: tuple[str, str]) -> None:
    tiers, _ = find(base_url, model, TODAY)
    assert tiers is not None
    assert tiers == find(*same_as, TODAY)[0]


def test_what_nobody_lists_has_no_price_and_free_is_free() -> None:
    assert find(OPENAI, "no-such-model", TODAY) == (None, FOREVER)
    assert find(ELSEWHERE, "no-such-model", TODAY) == (None, FOREVER)
    assert find(OPENROUTER, "vendor/never-heard-of-it:free", TODAY) == (NOTHING, FOREVER)
    assert price_of(None)(exchange(1, 1)) is None


def test_a_price_by_the_hour_is_true_until_the_next_quarter() -> None:
    cheap = datetime(2026, 11, 23, 17, 7, tzinfo=UTC).timestamp()
    by_day, until = find("https://api.deepseek.com", "deepseek-reasoner", TODAY)
    by_night, _ = find("https://api.deepseek.com", "deepseek-reasoner", cheap)
    assert by_day is not None
    assert by_night is not None
    assert by_night[0].input < by_day[0].input
    assert until == TODAY + QUARTER


@pytest.mark.parametrize(
    ("base_url", "inside"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://localhost:1234/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://192.168.1.7:11434/v1", True),
        ("http://100.64.0.1/v1", True),
        ("http://litellm:4000", True),
        ("http://box.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_upstreams_of_this_network_have_no_price(base_url: str, inside: bool) -> None:
    assert is_inside(base_url) is inside
    prices = Prices(lambda endpoint: base_url, lambda: None)
    assert (prices.tariff("e", "gpt-5") is None) is inside


def test_upstreams_that_are_gone_and_names_without_end_have_no_price() -> None:
    assert Prices(lambda endpoint: None, lambda: None).tariff("e", "gpt-5") is None
    assert Prices(lambda endpoint: OPENAI, lambda: None).tariff("e", "x" * 1_000) is None


class Later(Executor):
    """A thread that has not come to it yet."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.work.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future

    def now(self) -> None:
        self.work.pop(0)()
        assert not self.work


async def test_a_price_is_pending_until_a_thread_has_found_it() -> None:
    told, now, thread = asyncio.Event(), [TODAY], Later()
    prices = Prices(lambda endpoint: "https://api.deepseek.com", told.set, clock=lambda: now[0], executor=thread)
    price, other = prices.tariff("e", "deepseek-chat"), prices.tariff("e", "no-such-model")
    assert price is not None
    assert other is not None
    assert price(exchange(1)) == other(exchange(1)) == price(exchange(1)) == PENDING
    thread.now()
    assert not told.is_set()  # that is for the loop to do
    await asyncio.wait_for(told.wait(), 10)
    assert (price(exchange(1_000_000)) or 0) > 0
    assert prices.tariff("e", "deepseek-chat") is price
    assert other(exchange(1)) == PENDING  # who asked meanwhile has the next turn
    thread.now()
    told.clear()
    await asyncio.wait_for(told.wait(), 10)
    assert other(exchange(1)) is None
    now[0] += QUARTER  # its price depends on the hour
    assert price(exchange(1)) == PENDING


async def test_a_list_that_fails_costs_prices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any) -> None:
        raise RuntimeError("a new format")

    monkeypatch.setattr(cost, "find", failing)
    told = asyncio.Event()
    price = Prices(lambda endpoint: OPENAI, told.set, clock=lambda: TODAY).tariff("e", "gpt-5")
    assert price is not None
    assert price(exchange(1)) == PENDING
    await asyncio.wait_for(told.wait(), 10)
    assert price(exchange(1)) is None


def test_prices_that_are_remembered_are_bounded() -> None:
    prices = Prices(lambda endpoint: OPENAI, lambda: None)
    for number in range(3 * cost.MOST):
        prices.tariff("e", f"model {number}")
    assert len(prices._known) <= cost.MOST


def test_the_list_is_not_loaded_before_it_is_needed() -> None:
    """It takes 14 MB and 0.2 s: the idle proxy may take 75 MB in all."""
    code = (
        "import sys; import ccproxy_sanic.server; from ccproxy_sanic.ops.cost import Prices;"
        "Prices(lambda e: 'http://127.0.0.1/v1', print).tariff('e', 'gpt-5');"
        "sys.exit('genai_prices' in sys.modules or 'pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
