"""``thinking`` and effort: how much to reason, and what of it the client wants to see (protocol.md 1.6).

Rule: one level comes out of all the fields that speak of it, and the profile's table says which fields express it.
Priority: disabled, then an effort, then a budget, then adaptive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.adjustments import Notes, Path
from ccproxy_sanic.wire.anthropic import MessagesRequest

Show = Literal["show", "omit", "drop"]

OFF: Final = ("disabled", "between_tools")
LEVELS: Final = ("low", "medium", "high", "xhigh", "max")
BUDGETS: Final = ((4096, "low"), (16384, "medium"))  # below the number of tokens; from there on: high
_LOWER: Final = {"max": "xhigh", "xhigh": "high"}
_KNOWN_THINKING: Final = (*OFF, "enabled", "adaptive")


class Plan(msgspec.Struct):
    """``fields`` of the body; ``show`` what of the reasoning the client gets."""

    fields: dict[str, Any]
    show: Show


_NO_WISH: Final = Plan({}, "show")


def plan(
    req: MessagesRequest,
    profile: Profile,
    notes: Notes,
    effort: str | None = None,
    has_tools: bool = False,
    forced_choice: bool = False,
    max_tokens: int = 0,
) -> Plan:
    """``effort`` is that of the last system message which carries one; it wins over the request's."""
    thinking = req.thinking
    if thinking is None and req.output_config is None and effort is None and not (has_tools or forced_choice):
        return _NO_WISH
    kind = thinking.type if thinking else None
    if kind is not None and kind not in _KNOWN_THINKING:
        notes.add("field_ignored", ("thinking", "type"), "its value is not known")
    show: Show = "drop" if kind in OFF else "omit" if thinking and thinking.display == "omitted" else "show"
    level, path, budget = _level(req, effort, notes)
    table = profile.effort
    if has_tools and profile.effort_with_tools and level != profile.effort_with_tools:
        level = profile.effort_with_tools
        notes.add("effort_forced", path, f"beside tools this model takes only the effort {level}")
    elif forced_choice and profile.forced_choice_level and level != profile.forced_choice_level:
        level = profile.forced_choice_level
        notes.add("effort_forced", path, "a forced tool choice is refused while thinking is on")
    elif budget is not None and "budget" in table:
        limit = max_tokens // 2 if 0 < max_tokens <= budget else budget  # max_tokens may have been clamped below it
        return Plan(_filled(_with_omission(table["budget"], table, show), limit), show)
    if level is None:
        return Plan(_filled(_with_omission({}, table, show), 0) if show == "omit" else {}, show)
    fields = _fields(level, table, notes, path)
    return Plan(_filled(_with_omission(fields, table, show) if level != "none" else fields, 0), show)


def in_openais_words(profile: Profile) -> bool:
    """Whether the profile's models reason and are told so in OpenAI's words, of whatever level."""
    return any("reasoning_effort" in fields or "reasoning" in fields for fields in profile.effort.values())


def _level(req: MessagesRequest, effort: str | None, notes: Notes) -> tuple[str | None, Path, int | None]:
    """Level or None, the field it comes from, and the budget where that alone decides."""
    thinking, config = req.thinking, req.output_config
    if thinking is not None and thinking.type in OFF:
        return "none", ("thinking", "type"), None
    wanted = effort or (config.effort if config else None)
    if wanted is not None:
        if wanted in LEVELS:
            return wanted, ("output_config", "effort"), None
        notes.add("effort_dropped", ("output_config", "effort"), "the effort is not known")
    if thinking is not None and thinking.type == "enabled" and thinking.budget_tokens is not None:
        budget = thinking.budget_tokens
        return next((name for below, name in BUDGETS if budget < below), "high"), ("thinking", "budget_tokens"), budget
    if thinking is not None and thinking.type == "adaptive":
        return "adaptive", ("thinking", "type"), None
    return None, ("thinking",), None


def _fields(level: str, table: Mapping[str, Mapping[str, Any]], notes: Notes, path: Path) -> Mapping[str, Any]:
    if level == "adaptive":
        return table.get(level, {})  # without an entry the upstream decides, which is what adaptive means
    current = level
    while current not in table and current in _LOWER:
        current = _LOWER[current]
    fields = table.get(current)
    if fields is None:
        notes.add("effort_dropped", path)
        return {}
    said = fields.get("reasoning_effort") or _inner(fields.get("reasoning"))
    if current != level or (isinstance(said, str) and said != level):
        notes.add("effort_clamped", path)
    return fields


def _inner(reasoning: Any) -> Any:
    return reasoning.get("effort") if isinstance(reasoning, Mapping) else None


def _with_omission(fields: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]], show: Show) -> dict[str, Any]:
    merged = dict(fields)
    for key, value in table.get("omitted", {}).items() if show == "omit" else ():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _filled(fields: Mapping[str, Any], budget: int) -> dict[str, Any]:
    return {
        key: budget if value == "$budget" else _filled(value, budget) if isinstance(value, Mapping) else value
        for key, value in fields.items()
    }
