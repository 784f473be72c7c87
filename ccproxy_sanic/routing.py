"""From the model name a client says to the model an upstream serves.

Rule: pure, first match wins, and no name is ever refused: the last rule takes everything (protocol.md 1.2, `model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

UnknownModel = Literal["pass", "big", "small"]

# (part of the lower-case name, tier); opus and sonnet beat haiku
TIERS: Final = (("opus", "big"), ("sonnet", "big"), ("haiku", "small"))
_LONG_CONTEXT: Final = "[1m]"  # Claude Code's marker for a 1M window: means nothing to an upstream


class ModelMap(msgspec.Struct, frozen=True):
    """What the settings say about names: exact routes first, then tiers."""

    big: str
    small: str
    exact: Mapping[str, str] = {}
    unknown: UnknownModel = "pass"


class Route(msgspec.Struct, frozen=True):
    """Where a request goes: the endpoint's name and the model's name there."""

    endpoint: str
    model: str


def upstream_model(name: str, models: ModelMap) -> str:
    """The upstream's name for the client's ``name``."""
    if name in models.exact:
        return models.exact[name]
    lowered = name.lower()
    if lowered.endswith(_LONG_CONTEXT):
        name, lowered = name[: -len(_LONG_CONTEXT)], lowered[: -len(_LONG_CONTEXT)]
        if name in models.exact:
            return models.exact[name]
    tier: str = models.unknown
    if lowered.startswith("claude"):
        tier = "big"
    for part, its_tier in TIERS:
        if part in lowered:
            tier = its_tier
            break
    if tier == "pass" and name:
        return name
    return models.small if tier == "small" else models.big
