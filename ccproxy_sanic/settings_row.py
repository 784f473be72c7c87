"""What a setting is.

Rule: everything that is said of a setting anywhere is made from its row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One row.  ``default`` is the parsed value; ``shown`` says it in words where it is computed."""

    name: str
    kind: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    shown: str = ""
    secret: bool = False
    empty: bool = False  # whether an empty value means something (else it counts as not set)
    elsewhere: bool = False  # read before the settings are, by the part that the meaning names; not a field of Settings
    lower: bool = False  # in lower case too, which goes first: the names that all programs share

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name.lower(), self.name) if self.lower else (self.name,)

    @property
    def attribute(self) -> str:
        """The field of Settings: the name in lower case, without ``CCPROXY_``."""
        return self.name.removeprefix("CCPROXY_").lower()

    @property
    def default_text(self) -> str:
        if self.shown:
            return self.shown
        if self.default is None:
            return "not set"
        if isinstance(self.default, bool):
            return "1" if self.default else "0"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
