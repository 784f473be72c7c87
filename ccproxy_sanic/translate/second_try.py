"""Refusals that say which request would have been taken (protocol.md 5.6).

Rule: the wording decides, the first line of :data:`REPAIRS` that fits the API that was spoken; what is not there is
final.  A repair is a change of the profile's switches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from ccproxy_sanic.errors import ProxyError, Refused

Api = Literal["chat", "responses", "messages"]


class Repair(NamedTuple):
    """``switches`` of a profile to set; ``lasts``: it is about the model, not about one request."""

    api: Api
    wording: re.Pattern[str]
    switches: Mapping[str, Any]
    lasts: bool = True


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


REPAIRS: Final = (
    Repair("chat", _words(r"function tools .{0,80}not supported .{0,200}/v1/responses"), {"api": "responses"}),
    Repair("chat", _words(r"only supported in v1/responses"), {"api": "responses"}),
    # OpenAI shows summaries to verified organisations only
    Repair("responses", _words(r"must be verified to generate reasoning summaries"), {"reasoning_summary": False}),
    Repair("responses", _words(r"encrypted content is not supported"), {"encrypted_reasoning": False}),
    # it was made for another organisation, or another key: this history has to go on without it
    Repair("responses", _words(r"encrypted content .{0,200}could not be"), {"encrypted_reasoning": False}, False),
    # ids of another provider, from before this one was asked
    Repair("messages", _words(r"tool_use(?:_id|\.id).{0,80}should match pattern"), {"tool_ids": "anthropic"}),
)
_STATUSES: Final = (400, 404)
_LOOKED_AT: Final = 2_000  # characters


def repair_of(fault: ProxyError, api: Api) -> Repair | None:
    """What would make the request that ``fault`` refuses, sent in ``api``, a good one; None where nobody knows."""
    if not isinstance(fault, Refused) or fault.status not in _STATUSES:
        return None
    text = fault.message[:_LOOKED_AT]
    return next((repair for repair in REPAIRS if repair.api == api and repair.wording.search(text)), None)
