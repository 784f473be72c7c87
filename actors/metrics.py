"""What happened, counted: one :class:`Exchange` per request feeds counters, histograms and the log, so they agree.

Rule: counting never fails and never waits.  A sink that raises loses its own line only; an exchange whose price is
being looked up is counted at once, and logged when it is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from actors.kernel import Actor, Clock, Ref, Reply
from actors.metrics_messages import (
    Costs,
    Exchange,
    Exchanges,
    Priced,
    Render,
    Reset,
    SessionCost,
    Snapshot,
    Totals,
)
from actors.metrics_registry import PENDING, MetricsRegistry, Rate, Tariff
from actors.series import About, Family, Series

__all__ = [
    "PENDING",
    "Costs",
    "Exchange",
    "Exchanges",
    "MetricsActor",
    "MetricsRegistry",
    "Priced",
    "Rate",
    "Render",
    "Reset",
    "SessionCost",
    "Snapshot",
    "Tariff",
    "Totals",
    "mailbox_families",
]

log = logging.getLogger("actors")


class MetricsActor(Actor[Exchange | Exchanges | Render | Snapshot | Reset | Priced]):
    """Counts each exchange, then hands it to ``on_exchange`` (the log).

    ``gauges`` is asked at each :class:`Render` for what others know: mailboxes, slots, streams.
    """

    def __init__(
        self,
        registry: MetricsRegistry,
        on_exchange: Callable[[Exchange], None],
        clock: Clock,
        gauges: Callable[[], Iterable[Family]] = tuple,
    ) -> None:
        self._registry, self._on_exchange, self._clock, self._gauges = registry, on_exchange, clock, gauges

    def handle(self, message: Exchange | Exchanges | Render | Snapshot | Reset | Priced, reply: Reply) -> None:
        if type(message) is Exchange:  # one per request, and classes are dear in a `match`
            if self._registry.record(message):
                self._log(message)
            return
        match message:
            case Exchanges(exchanges):
                for e in exchanges:
                    if self._registry.record(e):
                        self._log(e)
            case Render():
                reply.ok([*self._registry.families(), *self._ask_gauges()])
            case Snapshot():
                reply.ok(self._registry.totals())
            case Reset():
                self._registry.reset(self._clock())
                reply.ok()
            case Priced():
                self._registry.forget()
                self._log_settled()

    def _log(self, e: Exchange) -> None:
        try:
            self._on_exchange(e)
        except Exception:
            self._registry.sink_failed()
            log.exception("an exchange could not be logged")

    def stopped(self) -> None:
        """Who still waits for a price is logged without one."""
        self._log_settled(for_good=True)

    def _log_settled(self, *, for_good: bool = False) -> None:
        for e in self._registry.settled(for_good=for_good):
            self._log(e)

    def _ask_gauges(self) -> list[Family]:
        try:
            return list(self._gauges())
        except Exception:
            log.exception("the gauges could not be read")
            return []


def _of_actors(name: str, kind: Literal["counter", "gauge"], text: str, merge: Literal["sum", "max"] = "sum") -> About:
    return About(f"ccproxy_actor_{name}", kind, text, ("actor",), merge)


MAILBOX: Final[tuple[tuple[About, Callable[[Ref[Any]], float]], ...]] = (
    (_of_actors("handled_total", "counter", "Messages handled."), lambda ref: ref.stats.handled),
    (_of_actors("shed_total", "counter", "Messages refused at the door."), lambda ref: ref.stats.shed),
    (_of_actors("dead_total", "counter", "Questions skipped: cancelled or expired."), lambda ref: ref.stats.dead),
    (_of_actors("crashes_total", "counter", "Crashes, each followed by a restart."), lambda ref: ref.stats.crashes),
    (
        _of_actors("redelivered_total", "counter", "Questions handled again after a crash."),
        lambda ref: ref.stats.redelivered,
    ),
    (
        _of_actors("mailbox_wait_seconds_total", "counter", "Time that messages spent in the mailbox."),
        lambda ref: ref.stats.wait_sum,
    ),
    (
        _of_actors("mailbox_wait_seconds_max", "gauge", "Longest time in the mailbox since the start.", "max"),
        lambda ref: ref.stats.wait_max,
    ),
    (_of_actors("mailbox_depth", "gauge", "Messages in the mailbox."), lambda ref: ref.depth),
    (
        _of_actors("mailbox_high_water", "gauge", "Most messages ever in the mailbox.", "max"),
        lambda ref: ref.stats.high_water,
    ),
    (_of_actors("waiting", "gauge", "Questions kept and not yet answered."), lambda ref: ref.waiting),
)


def mailbox_families(refs: Iterable[Ref[Any]]) -> list[Family]:
    """What each ref has seen, for ``gauges``."""
    refs = list(refs)
    return [Family(about, tuple(Series((ref.name,), float(read(ref))) for ref in refs)) for about, read in MAILBOX]
