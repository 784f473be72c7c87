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

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        values = {secret.reveal() for secret in secrets}
        # The longest first: one secret may begin with another.
        parts = sorted((re.escape(value) for value in values if len(value) >= _SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(parts)) if parts else None

    def __repr__(self) -> str:
        return "<Redactor>"

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return mask(text)
