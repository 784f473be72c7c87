"""Token counts, from every place an upstream may put them (protocol.md 3.3).

Rule: cached and written tokens are part of ``prompt_tokens`` upstream and no part of ``input_tokens`` here; nothing
is below 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ..wire.anthropic_reply import OutputDetails, UsageReply
from ..wire.openai_chat_reply import Chunk

# Responses's name -> the one of Chat Completions; what they count is the same (protocol.md 8)
_RESPONSES: Final = {
    "input_tokens": "prompt_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens": "completion_tokens",
    "output_tokens_details": "completion_tokens_details",
}
_FAST: Final = frozenset({"priority", "fast"})


class Usage(msgspec.Struct):
    """Totals of one answer.  ``known`` is False where the upstream said nothing."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int | None = None
    service_tier: str | None = None
    known: bool = False

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


def read(usage: Mapping[str, Any], tier: str | None) -> Usage:
    """A :class:`Usage` from an upstream's usage object; wrong types count as 0."""
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    details = _inner(usage, "prompt_tokens_details")
    written = _count(details.get("cache_write_tokens"))
    cached = _count(details.get("cached_tokens"))
    cached = cached or _count(usage.get("prompt_cache_hit_tokens")) or _count(usage.get("cached_tokens"))
    thinking = _count(_inner(usage, "completion_tokens_details").get("reasoning_tokens"))
    if thinking and _count(usage.get("total_tokens")) == prompt + completion + thinking:
        completion += thinking  # xAI's style: completion leaves reasoning out
    return Usage(
        max(0, prompt - cached - written), written, cached, completion, thinking or None, service_tier(tier), known=True
    )


def read_responses(usage: Mapping[str, Any], tier: str | None) -> Usage:
    """The same from the usage of a Responses answer; servers that give it Chat Completions' names are understood."""
    renamed = {name: usage[theirs] for theirs, name in _RESPONSES.items() if theirs in usage}
    return read({**usage, **renamed}, tier)


def service_tier(upstream: str | None) -> str | None:
    if not upstream:
        return None
    return "priority" if upstream in _FAST else "standard"


def _inner(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        return max(0, int(value))
    except (ValueError, OverflowError):
        return 0
