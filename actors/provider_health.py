"""How well an endpoint does, as one number (original.md 39).

Rule: only what the breaker counts counts here: a client's fault, a throttled or refused key is no illness.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.provider_breaker import BreakerState

OF_STATE: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 25, BreakerState.OPEN: 50}
SLOW: Final = 5.0  # seconds of p99
OF_SLOW: Final = 20
OF_RECENT: Final = ((60.0, 15), (300.0, 10))  # seconds since the last fault, penalty; the first that fits
STATUSES: Final = ((80, "healthy"), (50, "degraded"), (0, "unhealthy"))  # the first that is reached


class Health(msgspec.Struct, frozen=True):
    """``score`` from 0 to 100."""

    score: int
    status: str


def health(successes: int, faults: int, state: BreakerState, p99: float, since_fault: float) -> Health:
    """Of so many ``successes`` and ``faults``; ``p99`` of the time to the first byte, ``since_fault``: in seconds."""
    total = successes + faults
    score = 100.0 * successes / total if total else 100.0
    score -= OF_STATE[state]
    if p99 > SLOW:
        score -= OF_SLOW
    score -= next((penalty for seconds, penalty in OF_RECENT if since_fault < seconds), 0)
    whole = round(max(0.0, min(100.0, score)))
    return Health(whole, next(status for least, status in STATUSES if whole >= least))
