"""What translation changed, and why: nothing is dropped in silence (ARCHITECTURE.md decision 10).

Rule: each drop, clamp and rewrite has a code of this table; the reason never quotes the client's text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

Path: TypeAlias = tuple[str | int, ...]

CODES: Final[dict[str, str]] = {
    "surrogates_replaced": "Lone surrogates, which most servers refuse, became U+FFFD.",
    "field_ignored": "A field of the request means nothing to this upstream and was left out.",
    "max_tokens_clamped": "max_tokens was above the model's limit and was lowered to it.",
    "max_tokens_raised": "max_tokens was below what the Responses API accepts, 16, and was raised to it.",
    "sampling_dropped": "The model refuses this sampling parameter.",
    "sampling_clamped": "The server takes this sampling parameter only from a certain value on.",
    "stops_enforced": "The proxy itself watches for these stop sequences: the upstream takes fewer, or none.",
    "user_id_dropped": "This upstream has no field for the user's id.",
    "service_tier_dropped": "This upstream has no service tiers.",
    "effort_dropped": "The upstream cannot be told how much to reason, or not to.",
    "effort_clamped": "The upstream does not know this effort; the nearest lower one was sent.",
    "effort_forced": "The upstream accepts the request only with another effort.",
    "format_dropped": "The output format is of a type that is not known.",
    "format_as_instruction": "The upstream takes no JSON schema: the schema was put into the instructions.",
    "strict_dropped": "Strict mode was left out: the schema does not fit it, or it would make optional fields null.",
    "system_hoisted": "A system message was moved into the leading system prompt.",
    "system_wrapped": "A system message inside the conversation was sent as user text in its place.",
    "system_cleared": "A system message with clear_at was left out: a later user message exists.",
    "billing_header_dropped": "Claude Code's attribution block was left out: it changes per session and spoils caches.",
    "block_dropped": "A content block that this upstream cannot take was left out.",
    "history_dropped": "A server tool's call or result of another backend was left out of the history.",
    "thinking_dropped": "Earlier thinking does not travel to this upstream.",
    "message_dropped": "A message without any content was left out.",
    "content_filled": "An empty user turn was sent as (empty).",
    "image_omitted": "An image was replaced by a note: the upstream cannot take it.",
    "attachment_moved": "An image or document of a tool result was moved to the next user message.",
    "result_missing": "A tool call without a result was given the result (no result).",
    "result_orphaned": "A tool result without a call became user text.",
    "id_replaced": "A tool call id that the upstream refuses was replaced by a hash of it.",
    "bridge_inserted": "An assistant message was put between a tool's result and the user's text.",
    "tool_dropped": "A tool that cannot run here was left out.",
    "search_mapped": "The provider's own web search takes the place of Anthropic's: what it finds comes as text.",
    "tool_deferred": "A tool with defer_loading is left out until it is referenced.",
    "tool_undeferred": "A tool with defer_loading was declared at once: nothing here could search for it.",
    "tool_renamed": "A tool name that the upstream refuses was shortened.",
    "tool_choice_dropped": "tool_choice was left out.",
    "tool_choice_narrowed": "The upstream knows no choice by name: it got that tool alone, and must call one.",
    "tool_choice_weakened": "The upstream cannot be forced to call a tool: it was asked to, in words.",
    "schema_cleaned": "Keywords that the upstream refuses were taken out of a tool's schema.",
    "request_repaired": "The upstream refused this and said so: it got the request once more as it takes it.",
    "cache_mark_dropped": "The upstream takes four cache marks; earlier ones were left out.",
}


def markdown() -> str:
    """docs/adjustments.md."""
    lines = [
        "# Adjustments",
        "",
        "What translation changes it says: in the header `x-ccproxy-adjustments` of the answer, as `code=path` with",
        "the path in the request (at most 12, then `+` how many more), and in the metric `ccproxy_adjustments_total`.",
        "",
        "| Code | What it means |",
        "| --- | --- |",
    ]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())]
    return "\n".join(lines) + "\n"


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


class Adjustment(msgspec.Struct, frozen=True):
    """One change.  ``path`` is where in the client's request, ``reason`` a few words of our own."""

    code: str
    path: str
    reason: str


class Notes:
    """Collects adjustments; a change that occurs many times (all thinking of a long history) is noted once."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], Adjustment] = {}

    @property
    def found(self) -> list[Adjustment]:
        """All of them, in the order in which they were first noted."""
        return list(self._noted.values())

    def add(self, code: str, path: Path, reason: str = "") -> None:
        if (code, reason) not in self._noted:
            self._noted[code, reason] = Adjustment(code, dotted(path), reason or CODES[code])

    def repeat(self, others: Notes) -> None:
        """Adds what was noted there."""
        for key, noted in others._noted.items():
            self._noted.setdefault(key, noted)


def render(adjustments: Iterable[Adjustment], limit: int) -> str:
    """The value of ``x-ccproxy-adjustments``: at most ``limit`` of ``code=path``, then how many more; ASCII only."""
    all_of_them = list(adjustments)
    shown = [_safe(f"{one.code}={one.path}" if one.path else one.code) for one in all_of_them[:limit]]
    rest = len(all_of_them) - len(shown)
    return ", ".join([*shown, f"+{rest}"] if rest else shown)


def _safe(text: str) -> str:
    return "".join(char if "!" <= char <= "~" and char != "," else "?" for char in text[:120])
