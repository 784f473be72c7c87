"""The numbers of several workers as one.  Pure.

Rule: what can be added up is added up; what can't has a row here that says what it is together.  Ratios and percentiles
are computed anew from what they are made of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from actors import Family, dump, merged
from actors.metrics_costs import SHOWN_SESSIONS
from actors.metrics_registry import percentile

log = logging.getLogger("ccproxy")

Page = dict[str, Any]


class Numbers(msgspec.Struct, frozen=True):
    """All that one worker tells: its families (as :func:`actors.dump` has them), its page of ``/v1/metrics``, and the
    seconds that its newest requests took."""

    families: bytes
    page: Page
    newest: tuple[float, ...]

    def packed(self) -> bytes:
        return _encode(self)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Numbers).decode

DIGITS: Final = 3
LASTING: Final = ("performance", "cost")  # sections that only count, and so outlive a worker
FAULTLESS: Final = ("ok", "client_closed")  # outcomes
NAMES: Final = ("name", "session", "base_url", "model", "kind")  # by what of a thing it is known
# From the best to the worst.
WORDS: Final = ("healthy", "degraded", "unhealthy", "closed", "half_open", "open")

_LARGEST: Final = (
    *("high_water", "wait_max", "keys", "cooling", "open_for", "opened_at", "pause", "ratio", "p50", "p95", "p99"),
    *("uptime_seconds", "failure_threshold", "consecutive_failures", "disabled_until", "time_until_reset"),
    *("ttl_seconds", "maxsize", "most_loaded_shard"),
)
_SMALLEST: Final = ("since", "score", "least_loaded_shard")
_FIRST: Final = ("switches", "learned_at", "age", "expires_in")  # each worker learns the same for itself
_SPECIAL: Final[dict[str, Callable[[list[Any]], Any]]] = {
    **dict.fromkeys(_LARGEST, max),
    **dict.fromkeys(_SMALLEST, min),
    **dict.fromkeys(_FIRST, lambda values: values[0]),
    **dict.fromkeys(("up", "initialized", "cleanup_enabled"), all),
}


def numbers(families: Iterable[Family], page: Page, newest: tuple[float, ...]) -> Numbers:
    return Numbers(dump(families), msgspec.to_builtins(page), newest)


def read(given: Iterable[bytes]) -> list[Numbers]:
    """What workers told; one of another version may be left out, and that is logged."""
    found: list[Numbers] = []
    for one in given:
        try:
            found.append(_decode(one))
        except msgspec.DecodeError:
            log.warning("the numbers of a worker of another version are left out")
    return found


def lasting(told: Numbers) -> Numbers:
    """What stays true when the worker that told it is gone."""
    counted = [family for family in merged([told.families]) if family.about.kind != "gauge"]
    page = {name: section for name, section in told.page.items() if name in LASTING}
    page["performance"] = page["performance"] | {"active_requests": 0}
    return Numbers(dump(counted), page, told.newest)


def together(told: Sequence[Numbers]) -> Numbers:
    """Of all workers, this one's first."""
    newest = sorted(seconds for one in told for seconds in one.newest)
    page = pages([one.page for one in told])
    done = page["performance"]
    errors = done["requests"] - sum(done["by_outcome"].get(outcome, 0) for outcome in FAULTLESS)
    p95, p99 = percentile(newest, 0.95), percentile(newest, 0.99)
    done |= {
        "error_count": errors,
        "error_rate": round(errors / max(1, done["requests"]), DIGITS),
        "avg_duration_ms": round(done["duration_sum_s"] / max(1, done["requests"]) * 1000, DIGITS),
        "p95_duration_ms": round(p95 * 1000, DIGITS),
        "p99_duration_ms": round(p99 * 1000, DIGITS),
        "duration_p95_s": p95,
        "duration_p99_s": p99,
    }
    counts, costs = page["token_count_cache"], page["cost"]
    counts["avg_entries_per_shard"] = counts["total_entries"] / counts["num_shards"]
    costs["sessions"] = sorted(costs["sessions"], key=lambda session: -session["usd"])[:SHOWN_SESSIONS]
    return Numbers(dump(merged([one.families for one in told])), page, tuple(newest))


def pages(told: Sequence[Page]) -> Page:
    """Pages of sections as one; whoever told first decides on their order."""
    page: Page = _one(list(told))
    for section in (section for section in page.values() if "hit_rate" in section):
        hits, misses = (section.get(f"cache_{kind}", section.get(kind)) for kind in ("hits", "misses"))
        whole, digits = (1, DIGITS) if "cache_hits" in section else (100, 2)
        section["hit_rate"] = round(whole * hits / (hits + misses), digits) if hits else 0.0
    return page


def _one(values: list[Any], name: str = "") -> Any:
    """What values of the same name are together."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    first = there[0]
    if name in _SPECIAL:
        return _SPECIAL[name](there)
    if isinstance(first, dict):
        names = dict.fromkeys(key for value in there for key in value)
        return {key: _one([value[key] for value in there if key in value], key) for key in names}
    if isinstance(first, (list, tuple)):
        return _list([item for value in there for item in value])
    if isinstance(first, bool):
        return any(there)
    if isinstance(first, str):
        return max(there, key=lambda word: WORDS.index(word) if word in WORDS else 0)
    return sum(there)


def _list(items: list[Any]) -> list[Any]:
    """Things with a name once each; others as they come."""
    named: dict[Any, list[Any]] = {}
    for place, item in enumerate(items):
        name = tuple(item[key] for key in NAMES if key in item) if isinstance(item, dict) else ()
        named.setdefault(name or place, []).append(item)
    return [_one(same) for same in named.values()]
