"""A message no actor survives.  Rule: it breaks the actor from outside, through its mailbox, as a bug in it would."""

from __future__ import annotations


class Poison:
    """Raises when an actor looks at its class to match it."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("poison")
