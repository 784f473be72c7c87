"""The numbers of all requests.

Rule: counting never fails and never grows: names that come from outside are bounded.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from actors.metrics_costs import Ledger
from actors.metrics_messages import Exchange, Totals
from actors.series import EDGES, LONGEST_NAME, OTHER, Buckets, Cell, Counter, Family, Histogram, Names

T = TypeVar("T")
log = logging.getLogger("actors")

TOKENS: Final = ("input", "output", "cache_read", "cache_write", "thinking")
MOST_ROWS: Final = 1024
NEWEST: Final = 1000  # requests of which percentiles are told
MOST_WAITING: Final = 1000  # exchanges that wait for their price; any above have none
PENDING: Final = -1.0  # the price of what is being looked up: :class:`Priced` is told when it is known

Rate = Callable[[Exchange], float | None]  # US dollars, PENDING, or None where nobody knows
Tariff = Callable[[str, str], Rate | None]  # of an endpoint and a model; None where there is none for certain


def no_tariff(endpoint: str, model: str) -> None:
    """Nothing has a price."""


@dataclass(slots=True, eq=False)
class _Row:  # no Struct: setting a field of one costs twice as much
    """What requests with the same names add up to, since it was last brought to the counters, and their histograms."""

    labels: tuple[str, str, str, str]  # of the requests' counter
    model: str
    endpoint: str
    error: str | None
    upstream_model: str
    caller: str
    rate: Rate | None
    duration: Buckets
    overhead: Buckets
    upstream: Buckets
    requests: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    thinking: int = 0
    retries: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    priced: int = 0
    unpriced: int = 0
    usd: float = 0.0
    translate_s: float = 0.0


def _key(e: Exchange) -> tuple[object, ...]:
    return (
        e.client_model,
        e.path,
        e.stream,
        e.status,
        e.outcome,
        e.endpoint,
        e.error_type,
        e.upstream_model,
        e.caller,
    )


class MetricsRegistry:
    """The numbers themselves.  Outlives the actor: its factory hands it to each instance.

    ``prefix`` begins every metric's name; ``names`` bounds the values of each label that comes from outside; ``since``
    is now, on the actor's clock; ``tariff`` knows what an endpoint takes for a model.
    """

    def __init__(
        self, *, prefix: str = "ccproxy", names: int = 100, since: float = 0.0, tariff: Tariff = no_tariff
    ) -> None:
        self._prefix, self._limit, self._tariff = prefix, names, tariff
        self._waiting: list[Exchange] = []  # for their prices; counted otherwise
        self.reset(since)

    def reset(self, now: float) -> None:
        p, n = self._prefix, self._limit
        self._since = now
        self._paths, self._models, self._endpoints = Names(n), Names(n), Names(n)
        self._errors, self._codes, self._outcomes = Names(n), Names(n), Names(n)
        self._upstream_models, self._callers, self._results = Names(n), Names(n), Names(n)
        self._requests = Counter(
            0,
            f"{p}_requests_total",
            "Requests by path, kind, status and outcome.",
            *("path", "stream", "status", "outcome"),
        )
        self._by_model = Counter(
            0,
            f"{p}_model_requests_total",
            "Requests by the model asked for and the upstream used.",
            "model",
            "upstream",
        )
        self._tokens = Counter(0, f"{p}_tokens_total", "Tokens by the model asked for and kind.", "model", "kind")
        self._failed = Counter(0, f"{p}_errors_total", "Requests that ended in an error, by its type.", "type")
        self._adjusted = Counter(0, f"{p}_adjustments_total", "Fields dropped, clamped or rewritten, by code.", "code")
        self._retried = Counter(
            0, f"{p}_retries_total", "Further attempts at an upstream, by the last upstream.", "upstream"
        )
        self._bytes = Counter(0, f"{p}_bytes_total", "Bytes of requests (in) and answers (out).", "direction")
        self._translated = Counter(0.0, f"{p}_translate_seconds_total", "Translating requests.")
        self._shared = Counter(0, f"{p}_shared_total", "Requests answered with another request's answer.")
        self._cached = Counter(
            0, f"{p}_cache_requests_total", "Requests that the cache had to do with, by what became of them.", "result"
        )
        self._sink = Counter(0, f"{p}_sink_errors_total", "Exchanges that were counted but could not be logged.")
        self._duration = Histogram(
            f"{p}_request_duration_seconds", "From the request to the end of its answer.", "stream"
        )
        self._first = Histogram(f"{p}_first_content_seconds", "From the request to the first content of a stream.")
        self._overhead = Histogram(
            f"{p}_overhead_seconds", "Of that duration, what was not waiting for a turn or for the upstream.", "stream"
        )
        self._queue = Histogram(f"{p}_queue_seconds", "Waiting for admission and for a slot.")
        self._upstream = Histogram(
            f"{p}_upstream_seconds", "From the request sent upstream to its first byte.", "upstream"
        )
        self._ledger = Ledger(p)
        # A request finds its row by one look; rows are brought to the counters when somebody looks at those.
        self._rows: dict[tuple[object, ...], _Row] = {}
        self._known_codes: dict[str, Cell[int]] = {}
        self._known_results: dict[str, Cell[int]] = {}
        self._newest: deque[float] = deque(maxlen=NEWEST)
        self._queues, self._firsts = self._queue.cell(), self._first.cell()

    def record(self, e: Exchange) -> bool:
        """Count one exchange.  Tokens, retries and bytes are counted whatever the outcome.

        False: it waits until its price is known (:meth:`settled`), and is counted but for that.
        """
        row = self._rows.get(_key(e)) or self._row(e)
        row.requests += 1
        row.input += e.input_tokens
        row.output += e.output_tokens
        if e.cache_read_tokens:
            row.cache_read += e.cache_read_tokens
        if e.cache_write_tokens:
            row.cache_write += e.cache_write_tokens
        if e.thinking_tokens:
            row.thinking += e.thinking_tokens
        row.bytes_in += e.bytes_in
        row.bytes_out += e.bytes_out
        row.translate_s += e.translate_s
        # The histograms without a call for each: two thirds of the time.
        seconds = e.duration_s
        self._newest.append(seconds)
        buckets = row.duration
        buckets[bisect_left(EDGES, seconds)] += 1
        buckets[0] += seconds
        if queued := e.queue_s:
            buckets = self._queues
            buckets[bisect_left(EDGES, queued)] += 1
            buckets[0] += queued
        if waited := e.upstream_s:
            buckets = row.upstream
            buckets[bisect_left(EDGES, waited)] += 1
            buckets[0] += waited
        if (first := e.first_content_s) is not None:  # 0: within one step of the loop's clock, a millisecond
            buckets = self._firsts
            buckets[bisect_left(EDGES, first)] += 1
            buckets[0] += first
        if own := e.overhead_s:
            buckets = row.overhead
            buckets[bisect_left(EDGES, own)] += 1
            buckets[0] += own
        for code in e.adjustments:
            (self._known_codes.get(code) or self._code(code)).value += 1
        if e.retries:
            row.retries += e.retries
        if e.shared:
            self._shared.cell().value += 1
        if e.cache:
            (self._known_results.get(e.cache) or self._result(e.cache)).value += 1
        if e.output_tokens or e.input_tokens:
            if row.rate is None and e.cost_usd is None:
                row.unpriced += 1
            elif not self._priced(row, e):
                self._waiting.append(e)
                return False
        return True

    def settled(self, *, for_good: bool = False) -> list[Exchange]:
        """Those that waited and whose price is known now; with ``for_good`` all, and who has no price yet gets none."""
        waiting, self._waiting = self._waiting, []
        done: list[Exchange] = []
        for e in waiting:
            known = self._priced(self._rows.get(_key(e)) or self._row(e), e, for_good=for_good)
            (done if known else self._waiting).append(e)
        return done

    def _priced(self, row: _Row, e: Exchange, *, for_good: bool = False) -> bool:
        """Whether it is known what ``e`` cost, or that nobody knows; it is counted then."""
        usd = e.cost_usd
        if usd is None and row.rate is not None:
            usd = _asked(row.rate, e)
            if usd == PENDING:
                if not for_good and len(self._waiting) < MOST_WAITING:
                    return False
                usd = None
            e.cost_usd = usd
        if usd is None:
            row.unpriced += 1
        else:
            row.priced += 1
            row.usd += usd
            if e.session:
                self._ledger.session(e, usd)
        return True

    def _row(self, e: Exchange) -> _Row:
        # Names come from outside: neither many nor long ones may fill the memory.
        key = tuple(OTHER if isinstance(part, str) and len(part) > LONGEST_NAME else part for part in _key(e))
        if (known := self._rows.get(key)) is not None:
            return known
        if len(self._rows) >= MOST_ROWS:
            self.forget()
        model = self._models(e.client_model) if e.client_model else "none"
        endpoint = self._endpoints(e.endpoint) if e.endpoint else "none"
        stream = "true" if e.stream else "false"
        row = self._rows[key] = _Row(
            labels=(self._paths(e.path), stream, str(e.status), self._outcomes(e.outcome)),
            model=model,
            endpoint=endpoint,
            error=None if e.error_type is None else self._errors(e.error_type),
            upstream_model=self._upstream_models(e.upstream_model),
            caller=self._callers(e.caller),
            rate=_asked(self._tariff, e.endpoint, e.upstream_model),
            duration=self._duration.cell(stream),
            overhead=self._overhead.cell(stream),
            upstream=self._upstream.cell(endpoint),
        )
        return row

    def forget(self) -> None:
        """Ask anew for the rates of all endpoints and models."""
        self._bring()
        self._rows.clear()

    def _code(self, code: str) -> Cell[int]:
        name = self._codes(code)
        cell = self._adjusted.cell(name)
        if name == code:
            self._known_codes[code] = cell
        return cell

    def _result(self, word: str) -> Cell[int]:
        name = self._results(word)
        cell = self._cached.cell(name)
        if name == word:
            self._known_results[word] = cell
        return cell

    def _bring(self) -> None:
        """Bring what the rows have to the counters."""
        for row in self._rows.values():
            count, row.requests = row.requests, 0
            self._requests.cell(*row.labels).value += count
            self._by_model.cell(row.model, row.endpoint).value += count
            if row.error is not None:
                self._failed.cell(row.error).value += count
            for kind in TOKENS:
                self._tokens.cell(row.model, kind).value += getattr(row, kind)
                setattr(row, kind, 0)
            self._ledger.add(row.endpoint, row.upstream_model, row.caller, row.usd, row.priced, row.unpriced)
            row.usd, row.priced, row.unpriced = 0.0, 0, 0
            self._retried.cell(row.endpoint).value += row.retries
            self._bytes.cell("in").value += row.bytes_in
            self._bytes.cell("out").value += row.bytes_out
            self._translated.cell().value += row.translate_s
            row.retries = row.bytes_in = row.bytes_out = 0
            row.translate_s = 0.0

    def sink_failed(self) -> None:
        self._sink.cell().value += 1

    def families(self) -> list[Family]:
        """Every family there is, as data; those without a series too."""
        self._bring()
        kept = (
            *(self._requests, self._by_model, self._tokens, self._failed, self._adjusted, self._retried, self._bytes),
            *(self._translated, self._shared, self._cached, self._sink),
            *(self._duration, self._first, self._overhead, self._queue, self._upstream),
        )
        return [*(family.family() for family in kept), *self._ledger.families()]

    def totals(self) -> Totals:
        self._bring()
        tokens = self._tokens.by(1)
        sizes = self._bytes.by(0)
        newest = sorted(self._newest)
        return Totals(
            since=self._since,
            requests=self._requests.total(),
            by_outcome=self._requests.by(3),
            by_status={int(status): count for status, count in self._requests.by(2).items()},
            by_path=self._requests.by(0),
            by_model=self._by_model.by(0),
            by_endpoint=self._by_model.by(1),
            by_error=self._failed.by(0),
            by_adjustment=self._adjusted.by(0),
            streams=self._requests.by(1).get("true", 0),
            shared=self._shared.total(),
            retries=self._retried.total(),
            **{f"{kind}_tokens": tokens.get(kind, 0) for kind in TOKENS},
            bytes_in=sizes.get("in", 0),
            bytes_out=sizes.get("out", 0),
            duration_sum_s=self._duration.sum(),
            duration_p95_s=percentile(newest, 0.95),
            duration_p99_s=percentile(newest, 0.99),
            queue_sum_s=self._queue.sum(),
            upstream_sum_s=self._upstream.sum(),
            translate_sum_s=self._translated.total(),
            overhead_sum_s=self._overhead.sum(),
            sink_errors=self._sink.total(),
            costs=self._ledger.costs(),
            newest=tuple(newest),
        )


def _asked(known: Callable[..., T], *about: object) -> T | None:
    """What is told of a price; one that can't be told is none: counting goes on."""
    try:
        return known(*about)
    except Exception:
        log.exception("a price could not be told")
        return None


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed; 0 of none."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0
