"""What a refused effort leaves of a profile's table.  Pure.

Rule: only what the server named goes; a level that is left without its own word gets the nearest one that the server
named instead, and "none" becomes at most "minimal": who wants no reasoning is not given more of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from ccproxy_sanic.profiles.model import EffortTable

LADDER: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
OFF: Final = "none"
DEFAULT: Final = "default"  # Groq's Qwen: on, as much as it likes
WORDS: Final = (OFF, *LADDER, DEFAULT)
_WORD: Final = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)


def named_in(text: str) -> frozenset[str]:
    """The effort words in ``text``."""
    return frozenset(word.lower() for word in _WORD.findall(text))


def narrowed(table: EffortTable, allowed: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """``table`` with the words of ``allowed`` only; a row that has none left is taken out."""
    rows: dict[str, Mapping[str, Any]] = {}
    for level, fields in table.items():
        said = _said(fields)
        if said is None or said in allowed:
            rows[level] = fields
        elif (word := _nearest(said, allowed)) is not None:
            rows[level] = _saying(fields, word)
    return rows


def without_word(table: EffortTable, word: str) -> dict[str, Mapping[str, Any]]:
    return {level: fields for level, fields in table.items() if _said(fields) != word}


def without_field(table: EffortTable, *names: str) -> dict[str, Mapping[str, Any]]:
    """``table`` without these fields of the body; a row that says nothing any more is taken out."""
    rows = {level: {key: value for key, value in row.items() if key not in names} for level, row in table.items()}
    return {level: row for level, row in rows.items() if row}


def without_off(table: EffortTable) -> dict[str, Mapping[str, Any]]:
    return {level: fields for level, fields in table.items() if level != OFF}


def _said(fields: Mapping[str, Any]) -> str | None:
    reasoning = fields.get("reasoning")
    word = fields.get("reasoning_effort") or (reasoning.get("effort") if isinstance(reasoning, Mapping) else None)
    return word if isinstance(word, str) else None


def _saying(fields: Mapping[str, Any], word: str) -> dict[str, Any]:
    if "reasoning_effort" in fields:
        return {**fields, "reasoning_effort": word}
    return {**fields, "reasoning": {**fields["reasoning"], "effort": word}}


def _nearest(word: str, allowed: Collection[str]) -> str | None:
    if word == OFF:
        return LADDER[0] if LADDER[0] in allowed else None
    if DEFAULT in allowed:
        return DEFAULT
    if word not in LADDER:
        return None
    place = LADDER.index(word)
    lower = [name for name in reversed(LADDER[:place]) if name in allowed]
    higher = [name for name in LADDER[place:] if name in allowed]
    return next(iter(lower + higher), None)
