"""What requests are served with.

Rule: made once by the runtime; a reload replaces :attr:`House.upstreams` as a whole, and a request keeps the one that
it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

import msgspec

import actors
from ccproxy_sanic.pipeline.retry import RetryRules
from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.routing import Plan, Routing, Step
from ccproxy_sanic.sharing.running import SharedStreams
from ccproxy_sanic.upstream.target import Target

if TYPE_CHECKING:
    from ccproxy_sanic.pipeline.dialects import Lane

REMEMBERED: Final = 1024  # plans, and lanes: models' names may come from clients
LONGEST_NAME: Final = 200  # characters of a model's name, of which anything is remembered

K = TypeVar("K")
V = TypeVar("V")


class Second(Protocol):
    """A store of whole answers that several processes share.  Never fails: what can't be had is a miss.  Another
    ``epoch`` begins when it is cleared; what was asked for in an old one is not there."""

    epoch: bytes

    async def get(self, key: bytes) -> tuple[Any, float] | None: ...
    async def put(self, key: bytes, answer: Any, epoch: bytes) -> None: ...


class Upstreams(msgspec.Struct, frozen=True):
    """Where requests may go: the rules, and what they lead to, by name.

    ``plans``, by rule and model, and ``lanes`` are what requests have found out so far.
    """

    routing: Routing
    targets: Mapping[str, Target]
    plans: dict[tuple[str, str], Plan] = {}
    lanes: dict[Step, Lane] = {}


class House(msgspec.Struct):
    """Actors, upstreams and clocks."""

    limiter: actors.Ref[Any]
    cache: actors.Ref[Any]
    provider: actors.Ref[Any]
    metrics: actors.Ref[Any]
    upstreams: Upstreams
    profile_of: Callable[[Target, str], Profile]
    learn: Callable[[Target, str, str, Mapping[str, Any]], None]  # of a model: what it refused, and switches
    clock: Callable[[], float]  # the loop's: for deadlines
    timer: Callable[[], float]  # finer than the loop's, which moves in ms: for what things cost
    now: Callable[[], float]  # wall clock, seconds since the epoch: for HTTP dates in retry-after
    chance: Callable[[], float]  # from 0 to 1: which of several equal upstreams, where there is no session
    carrier_key: bytes
    closer: Callable[[Any], object]
    retry: RetryRules
    streams: SharedStreams
    patience: float = 0.0  # seconds that a request above a limit waits for its turn
    strict: bool = False
    share: Literal["off", "safe", "all"] = "safe"
    second: Second | None = None  # where whole answers are kept beside this process
    remember: bool = False  # requests beside their answers, for those that will be popular


def remember(memory: dict[K, V], key: K, value: V, model: str) -> V:
    """``value``, kept in ``memory``, which is for models of any name: it is emptied when it is full."""
    if len(model) <= LONGEST_NAME:
        if len(memory) >= REMEMBERED:
            memory.clear()
        memory[key] = value
    return value
