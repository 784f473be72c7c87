"""No secret in a log.

Rule: what is known to be secret goes by its value, what only looks like a key goes by its shape (``masking``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ccproxy_sanic.masking import MASK, Secret, mask

_SHORTEST: Final = 4  # a shorter "secret" would tear holes into every line and protect nothing


class Redactor:
    """Takes ``secrets`` and whatever looks like a key out of texts."""

    __slots__ = ("_known", "_values")

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._values: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.add(secrets)

    def __repr__(self) -> str:
        return "<Redactor>"

    def add(self, secrets: Iterable[Secret]) -> None:
        """Take these out too.  Another thread may be using the redactor."""
        self._values |= {value for secret in secrets if len(value := secret.reveal()) >= _SHORTEST}
        # The longest first: one secret may begin with another.
        parts = sorted(map(re.escape, self._values), key=len, reverse=True)
        self._known = re.compile("|".join(parts)) if parts else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return mask(text)
