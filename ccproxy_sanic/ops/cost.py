"""What requests cost, by the list of genai-prices.

Rule: a price is looked up once, in a thread, and is then a handful of floats; nothing is loaded for upstreams that
nobody sends a bill for, which are those of this machine and of its network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from actors.metrics import PENDING, Exchange, Rate
from ccproxy_sanic import auth

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

log = logging.getLogger("ccproxy")

MOST: Final = 1024  # prices that are remembered: model names may come from clients
LONGEST: Final = 128  # characters of a model's name: longer ones are not told apart
# Every price that depends on the hour or the day changes at such a time (seconds since the epoch), so far as the list
# goes (a test looks).
QUARTER: Final = 900.0
FOREVER: Final = float("inf")
INSIDE: Final = (".local", ".internal", ".lan", ".home", ".home.arpa", ".localdomain")
# Ways of OpenRouter to choose who serves a model; with "free" nobody pays.
ROUTED: Final = frozenset({"nitro", "floor", "online", "exacto", "extended", "thinking"})
FREE: Final = "free"


class Tier(msgspec.Struct, frozen=True, gc=False):
    """US dollars per request and per token, for requests with more than ``above`` tokens of input."""

    above: int
    request: float
    input: float
    cache_read: float
    cache_write: float
    output: float
    thinking: float  # part of the output


Tiers = tuple[Tier, ...]  # the highest first
NOTHING: Final[Tiers] = (Tier(-1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),)


class Price:
    """The price of one model at one place; called with an exchange, what that cost."""

    __slots__ = ("_clock", "_look_up", "base_url", "model", "tiers", "until")

    def __init__(self, base_url: str, model: str, look_up: Callable[[Price], None], clock: Callable[[], float]) -> None:
        self.base_url, self.model, self._look_up, self._clock = base_url, model, look_up, clock
        self.tiers: Tiers | None = None  # nobody knows
        self.until = 0.0  # on the clock: what is known now is true till then

    def __call__(self, e: Exchange) -> float | None:
        if self.until != FOREVER and self._clock() >= self.until:
            self._look_up(self)
            return PENDING
        if self.tiers is None:
            return None
        whole = e.input_tokens + e.cache_read_tokens + e.cache_write_tokens
        for tier in self.tiers:
            if whole > tier.above:
                break
        thinking = min(e.thinking_tokens, e.output_tokens)
        return (
            tier.request
            + tier.input * e.input_tokens
            + tier.cache_read * e.cache_read_tokens
            + tier.cache_write * e.cache_write_tokens
            + tier.output * (e.output_tokens - thinking)
            + tier.thinking * thinking
        )


class Prices:
    """``base_url_of`` an endpoint, None where it is gone; ``told`` is called when prices have become known; ``clock``
    is the wall clock, in seconds since the epoch."""

    def __init__(
        self,
        base_url_of: Callable[[str], str | None],
        told: Callable[[], object],
        *,
        clock: Callable[[], float] = time.time,
        executor: Executor | None = None,
    ) -> None:
        self._base_url_of, self._told, self._clock, self._executor = base_url_of, told, clock, executor
        self._known: dict[tuple[str, str], Price] = {}
        self._wanted: dict[Price, None] = {}
        self._looking: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Prices known {len(self._known)}, wanted {len(self._wanted)}>"

    def tariff(self, endpoint: str, model: str) -> Rate | None:
        """The price of ``model`` at ``endpoint``; None where there is none for certain."""
        base_url = self._base_url_of(endpoint)
        if base_url is None or len(model) > LONGEST or is_inside(base_url):
            return None
        price = self._known.get((base_url, model))
        if price is None:
            if len(self._known) >= MOST:
                self._known.clear()
            price = self._known[base_url, model] = Price(base_url, model, self._want, self._clock)
        return price

    def _want(self, price: Price) -> None:
        self._wanted[price] = None
        if self._looking is None:
            self._begin()

    def _begin(self) -> None:
        wanted, self._wanted = list(self._wanted), {}
        loop = asyncio.get_running_loop()
        self._looking = loop.run_in_executor(self._executor, _look_up, wanted, self._clock())
        self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[None]) -> None:
        self._looking = None
        if looking.cancelled():
            return
        if self._wanted:
            self._begin()
        self._told()


def _look_up(prices: list[Price], now: float) -> None:
    """In a thread."""
    for price in prices:
        try:
            tiers, until = find(price.base_url, price.model, now)
        except Exception:
            log.exception("the price list does not answer")
            tiers, until = None, now + QUARTER
        price.tiers = tiers
        price.until = until  # the loop reads this one first


def is_inside(base_url: str) -> bool:
    """Whether an upstream is this machine or one of its network: no list has its price."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    if auth.is_loopback(host) or host.endswith(INSIDE):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host


def find(base_url: str, model: str, now: float) -> tuple[Tiers | None, float]:
    """What the list has for a model at a base URL, and until when; None where it has nothing.

    A host that the list does not know gets the price of who makes the model.
    """
    at = datetime.fromtimestamp(now, UTC)
    for reference, where in _references(base_url, model):
        if (found := _listed(reference, where, at)) is not None:
            by_the_clock = isinstance(found.model.prices, list)
            return _tiers(found.model_price), (now // QUARTER + 1) * QUARTER if by_the_clock else FOREVER
        if reference.endswith(f":{FREE}"):
            return NOTHING, FOREVER
    return None, FOREVER


def _references(base_url: str, model: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The names under which to look, and where, in order."""
    here = {"provider_api_url": base_url}
    yield model, here
    plain, _, way = model.rpartition(":")
    if way in ROUTED:
        yield plain, here
        model = plain
    vendor, _, name = model.rpartition("/")
    if _known_host(base_url):
        yield name, here  # models/gemini-2.5-pro
        return
    if vendor:
        yield name, {"provider_id": vendor.rpartition("/")[2]}
    yield name, {}


def _known_host(base_url: str) -> bool:
    from genai_prices.data_snapshot import get_snapshot

    try:
        get_snapshot().find_provider(None, None, base_url)
    except LookupError:
        return False
    return True


def _listed(reference: str, where: dict[str, str], at: datetime) -> PriceCalculation | None:
    from genai_prices import Usage, calc_price

    found: Callable[..., PriceCalculation] = calc_price
    try:
        return found(Usage(), reference, genai_request_timestamp=at, **where)
    except LookupError:
        return None


def _tiers(price: ModelPrice) -> Tiers:
    """Read off the list's own calculation, so that it can't be another one: within a tier that is linear."""
    from genai_prices.types import TieredPrices

    starts = {tier.start for value in vars(price).values() if isinstance(value, TieredPrices) for tier in value.tiers}
    return (*(_tier(price, start) for start in sorted(starts, reverse=True)), _tier(price, -1))


def _tier(price: ModelPrice, above: int) -> Tier:
    from genai_prices import Usage

    many = above + 1 or 1

    def of(**tokens: Any) -> Any:
        return price.calc_price(Usage(input_tokens=many, **tokens))["total_price"]

    request = price.calc_price(Usage())["total_price"]
    alone = of()
    return Tier(
        above=above,
        request=float(request),
        input=float((alone - request) / many),
        cache_read=float((of(cache_read_tokens=many) - request) / many),
        cache_write=float((of(cache_write_tokens=many) - request) / many),
        output=float((of(output_tokens=1)) - alone),
        thinking=float(of(output_tokens=1, output_reasoning_tokens=1) - alone),
    )
