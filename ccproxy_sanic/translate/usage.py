"""Token counts, from every place an upstream may put them (protocol.md 3.3).

Rule: cached and written tokens are part of ``prompt_tokens`` upstream and no part of ``input_tokens`` here; nothing
is below 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ..wire.anthropic_reply import OutputDetails, UsageReply
from ..wire.openai_chat_reply import Chunk, Counts

# Chat Completions' name -> Responses's; what they count is the same (protocol.md 8)
_RESPONSES: Final = {
    "prompt_tokens": "input_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens": "output_tokens",
    "completion_tokens_details": "output_tokens_details",
}
_NUMBERS: Final = (int, float, str)
_DEAREST: Final = 1e6  # US dollars; what says more is broken
_FAST: Final = frozenset({"priority", "fast"})


class Usage(msgspec.Struct, gc=False):
    """Totals of one answer.  ``known`` is False where the upstream said nothing."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int | None = None
    service_tier: str | None = None
    known: bool = False
    cost: float | None = None  # in US dollars, where the upstream says (OpenRouter's ``usage.cost``)

    def reply(self, *, tier: bool) -> UsageReply:
        """As the client gets it; ``tier`` for a whole Message, whose usage names the service tier."""
        return UsageReply(
            self.input_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
            self.output_tokens,
            OutputDetails(self.thinking_tokens) if self.thinking_tokens else UNSET,
            self.service_tier if tier and self.service_tier else UNSET,
        )


def reported(chunk: Chunk) -> Mapping[str, Any] | None:
    """The usage object of a chunk or a completion, in order of trust, or None."""
    if chunk.usage:
        return chunk.usage
    for choice in chunk.choices or ():
        if choice.usage:  # Moonshot
            return choice.usage
    if chunk.x_groq and isinstance(found := chunk.x_groq.get("usage"), dict) and found:
        return found
    return None


def fallback(chunk: Chunk) -> Mapping[str, Any] | None:
    """Counts that are not called usage, in the shape of usage: llama.cpp's ``timings``, Ollama's ``eval_count``."""
    if chunk.timings and ("predicted_n" in chunk.timings or "prompt_n" in chunk.timings):
        cached, fresh = _count(chunk.timings.get("cache_n")), _count(chunk.timings.get("prompt_n"))
        return {
            "prompt_tokens": cached + fresh,
            "completion_tokens": _count(chunk.timings.get("predicted_n")),
            "cached_tokens": cached,
        }
    if chunk.eval_count is not None or chunk.prompt_eval_count is not None:
        return {"prompt_tokens": chunk.prompt_eval_count, "completion_tokens": chunk.eval_count}
    return None


def read(usage: Mapping[str, Any], tier: str | None, names: Iterable[str] = _RESPONSES) -> Usage:
    """A :class:`Usage` from an upstream's usage object; wrong types count as 0."""
    prompt, prompt_details, completion, completion_details = names
    details = _inner(usage, prompt_details)
    cached = _count(details.get("cached_tokens"))
    return _totals(
        _count(usage.get(prompt)),
        _count(usage.get(completion)),
        _count(usage.get("total_tokens")),
        cached or _count(usage.get("prompt_cache_hit_tokens")) or _count(usage.get("cached_tokens")),
        _count(details.get("cache_write_tokens")),
        _count(_inner(usage, completion_details).get("reasoning_tokens")),
        tier,
        usage.get("cost"),
    )


def read_counts(counts: Counts, tier: str | None) -> Usage:
    """The same from a usage object that is as documented."""
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    cached = prompt.cached_tokens if prompt is not None else 0
    return _totals(
        counts.prompt_tokens,
        counts.completion_tokens,
        counts.total_tokens,
        cached or counts.prompt_cache_hit_tokens or counts.cached_tokens or 0,
        (prompt.cache_write_tokens or 0) if prompt is not None else 0,
        (completion.reasoning_tokens or 0) if completion is not None else 0,
        tier,
        counts.cost,
    )


def _totals(
    prompt: int, completion: int, total: int, cached: int, written: int, thinking: int, tier: str | None, cost: object
) -> Usage:
    if thinking and total == prompt + completion + thinking:
        completion += thinking  # xAI's style: completion leaves reasoning out
    fresh = prompt - cached - written
    return Usage(
        fresh if fresh > 0 else 0,
        written,
        cached,
        completion,
        thinking or None,
        service_tier(tier) if tier else None,
        True,
        None if cost is None else _cost(cost),
    )


def _cost(cost: object) -> float | None:
    return float(cost) if type(cost) in (float, int) and 0 <= cost < _DEAREST else None  # type: ignore[operator, arg-type]


def read_responses(usage: Mapping[str, Any], tier: str | None) -> Usage:
    """The same from the usage of a Responses answer; servers that give it Chat Completions' names are understood."""
    return read(usage, tier, [theirs if theirs in usage else name for name, theirs in _RESPONSES.items()])


def service_tier(upstream: str | None) -> str | None:
    if not upstream:
        return None
    return "priority" if upstream in _FAST else "standard"


def _inner(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int:
    if type(value) is int:  # nearly always; the rest costs five times as much
        return value if value > 0 else 0
    if not value or isinstance(value, bool) or not isinstance(value, _NUMBERS):
        return 0
    try:
        return max(0, int(value))
    except (ValueError, OverflowError):
        return 0
