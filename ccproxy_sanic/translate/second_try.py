"""Refusals that say which request would have been taken (protocol.md 5.6).

Rule: the wording decides, and only the first line of :data:`NAMES_API` that fits; what is not there is final.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from ccproxy_sanic.errors import ProxyError, Refused

# the upstream's words -> the API that it names
NAMES_API: Final[tuple[tuple[re.Pattern[str], Literal["responses"]], ...]] = (
    (re.compile(r"function tools .{0,80}not supported .{0,200}/v1/responses", re.IGNORECASE | re.DOTALL), "responses"),
    (re.compile(r"only supported in v1/responses", re.IGNORECASE), "responses"),
)
_STATUSES: Final = (400, 404)
_LOOKED_AT: Final = 2_000  # characters


def api_named_by(fault: ProxyError) -> Literal["responses"] | None:
    """The API that the refusal of a Chat Completions request names, or None."""
    if not isinstance(fault, Refused) or fault.status not in _STATUSES:
        return None
    text = fault.message[:_LOOKED_AT]
    return next((api for pattern, api in NAMES_API if pattern.search(text)), None)
