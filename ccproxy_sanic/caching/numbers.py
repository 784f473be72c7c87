"""The cache's numbers in the original's shapes (original.md 1.1), for ``/v1/cache/stats`` and ``/v1/metrics``.

Rule: every number is true; what a name of the original can mean here is said beside it.
"""

from __future__ import annotations

from typing import Any, Final

from ccproxy_sanic.caching.wiring import MIB, Caching

DIGITS: Final = 3


def response_cache(caching: Caching, now: float, wall: float) -> dict[str, Any]:
    """The original's section; ``now`` is on the actors' clock, ``wall`` the time of day.

    ``evictions`` are all that left for age or room, ``eviction_count`` those for room; ``timeouts_prevented`` the
    requests that waited for another's answer and were sent themselves when that one failed; ``validation_failures``
    upstream answers that were none.
    """
    kept = caching.books.statistics(now)
    breaker = kept.breaker
    return {
        "cache_hits": kept.hits,
        "cache_misses": kept.misses,
        "hit_rate": _rate(kept.hits, kept.misses),
        "memory_usage_mb": round(kept.bytes / MIB, DIGITS),
        "evictions": kept.evicted + kept.expired,
        "timeouts_prevented": kept.promoted,
        "validation_failures": kept.bad,
        "total_cache_attempts": kept.hits + kept.misses,
        "uptime_seconds": round(now - kept.since, DIGITS),
        "cache_size": kept.entries,
        "max_memory_mb": kept.max_bytes // MIB,
        "max_size": kept.max_entries,
        "eviction_count": kept.evicted,
        "circuit_breaker": {
            "is_open": breaker.open_for > 0,
            "consecutive_failures": breaker.failures,
            "failure_threshold": breaker.threshold,
            "disabled_until": round(wall + breaker.open_for, DIGITS) if breaker.open_for else None,
            "time_until_reset": round(breaker.open_for, DIGITS),
        },
        "shared": kept.shared,
        "refused_too_large": kept.too_large,
        "second_level": None if caching.second is None else caching.second.statistics(),
    }


def request_validator(caching: Caching) -> dict[str, Any]:
    """The original's section: requests that are known by their bytes, and so need not be read and checked again."""
    known = caching.known.statistics()
    return {
        "cache_size": known.requests,
        "max_cache_size": known.most,
        "cache_hits": known.hits,
        "cache_misses": known.asked - known.hits,
        "hit_rate": _rate(known.hits, known.asked - known.hits),
        "total_requests": known.asked,
    }


def _rate(hits: int, misses: int) -> float:
    return round(hits / (hits + misses), DIGITS) if hits else 0.0
