"""What requests have cost: per model, caller and session.

Rule: a sum never loses money.  What is kept of sessions is bounded; what is forgotten of them is counted together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.metrics_messages import Costs, Exchange, SessionCost
from actors.series import Counter, Family

MOST_SESSIONS: Final = 1000  # above this, the cheaper half is forgotten
SHOWN_SESSIONS: Final = 100


class Ledger:
    """Sums of money.  Whoever adds to it bounds the names."""

    def __init__(self, prefix: str) -> None:
        self._cost = Counter(
            0.0, f"{prefix}_cost_usd_total", "US dollars, by the upstream used and its model.", "upstream", "model"
        )
        self._by_caller = Counter(0.0, f"{prefix}_caller_cost_usd_total", "US dollars, by caller.", "caller")
        self._priced = Counter(0, f"{prefix}_priced_requests_total", "Requests whose cost is known.")
        self._unpriced = Counter(
            0, f"{prefix}_unpriced_requests_total", "Requests that used tokens of no known price.", "upstream", "model"
        )
        self._sessions: dict[str, list[float]] = {}  # usd, requests, input and output tokens
        self._forgotten = 0.0

    def add(self, endpoint: str, model: str, caller: str, usd: float, priced: int, unpriced: int) -> None:
        """Add what ``priced`` requests cost, and count those that have no price."""
        self._cost.cell(endpoint, model).value += usd
        self._by_caller.cell(caller).value += usd
        self._priced.cell().value += priced
        self._unpriced.cell(endpoint, model).value += unpriced

    def session(self, e: Exchange, usd: float) -> None:
        """Add what a request of a session cost."""
        name = e.session or ""
        row = self._sessions.get(name) or self._opened(name)
        row[0] += usd
        row[1] += 1
        row[2] += e.input_tokens + e.cache_read_tokens + e.cache_write_tokens
        row[3] += e.output_tokens

    def _opened(self, name: str) -> list[float]:
        if len(self._sessions) >= MOST_SESSIONS:
            dearest = sorted(self._sessions.items(), key=lambda item: item[1][0], reverse=True)
            self._sessions = dict(dearest[: MOST_SESSIONS // 2])
            self._forgotten += sum(row[0] for _, row in dearest[MOST_SESSIONS // 2 :])
        row = self._sessions[name] = [0.0, 0, 0, 0]
        return row

    def families(self) -> Iterator[Family]:
        for counter in (self._cost, self._by_caller, self._priced, self._unpriced):
            yield counter.family()

    def costs(self) -> Costs:
        dearest = sorted(self._sessions.items(), key=lambda item: item[1][0], reverse=True)[:SHOWN_SESSIONS]
        return Costs(
            total_usd=self._cost.total(),
            priced_requests=self._priced.total(),
            unpriced_requests=self._unpriced.total(),
            by_model=self._cost.by(1),
            by_caller=self._by_caller.by(0),
            unpriced=self._unpriced.by(1),
            sessions=tuple(
                SessionCost(name, usd, int(requests), int(read), int(written))
                for name, (usd, requests, read, written) in dearest
            ),
            forgotten_sessions_usd=self._forgotten,
        )
