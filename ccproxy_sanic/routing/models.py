"""From the model name a client says to the model that the environment's upstream serves.

Rule: pure, first match wins, and no name is ever refused: the last rule takes everything (protocol.md 1.2, `model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Tier = Literal["big", "small", ""]
UnknownModel = Literal["pass", "big", "small"]

# (part of the lower-case name, tier); opus and sonnet beat haiku
TIERS: Final[tuple[tuple[str, Tier], ...]] = (("opus", "big"), ("sonnet", "big"), ("haiku", "small"))
_LONG_CONTEXT: Final = "[1m]"  # Claude Code's marker for a 1M window: means nothing to an upstream


class ModelMap(msgspec.Struct, frozen=True):
    """What the settings say about names: exact routes first, then tiers."""

    big: str
    small: str
    exact: Mapping[str, str] = {}
    unknown: UnknownModel = "pass"


def bare(name: str) -> str:
    """``name`` without Claude Code's ``[1m]``."""
    return name[: -len(_LONG_CONTEXT)] if name[-len(_LONG_CONTEXT) :].lower() == _LONG_CONTEXT else name


def tier_of(name: str) -> Tier:
    """Which of Claude's tiers a model name means; "" for a name that is none of Claude's."""
    lowered = name.lower()
    for part, tier in TIERS:
        if part in lowered:
            return tier
    return "big" if lowered.startswith("claude") else ""


def upstream_model(name: str, models: ModelMap) -> str:
    """The upstream's name for the client's ``name``."""
    if name in models.exact:
        return models.exact[name]
    name = bare(name)
    if name in models.exact:
        return models.exact[name]
    tier = tier_of(name) or models.unknown
    if tier == "pass" and name:
        return name
    return models.small if tier == "small" else models.big
