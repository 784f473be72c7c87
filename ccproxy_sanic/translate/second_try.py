"""Refusals that say which request would have been taken (protocol.md 5.6).

Rule: the wording decides: the lines of :data:`REPAIRS` that fit the API that was spoken, in their order, then the
fields that the text names (:mod:`refused_fields`).  A repair is a change of the profile's switches, and what would
change none is no repair; a text that names nothing is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ccproxy_sanic.errors import PromptTooLong, ProxyError, Refused
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate import refused_fields
from ccproxy_sanic.translate.adjustments import Adjustment, Notes
from ccproxy_sanic.translate.repairs import REPAIRS, STATUSES, Api

MOST: Final = 6  # repairs of one request at one target; servers name one field at a time
_LOOKED_AT: Final = 1_000  # characters: what comes later may quote the client


class Cure(NamedTuple):
    """What one refusal comes to for one profile."""

    kind: str
    switches: Mapping[str, Any]
    lasts: bool = True


def cures(fault: ProxyError, api: Api, profile: Profile, *, forced: bool = False) -> Iterator[Cure]:
    """What might make the request that ``fault`` refuses, sent in ``api``, a good one, the likeliest first.

    ``forced``: the user chose the API.  Nothing where nobody knows.
    """
    if not isinstance(fault, Refused | PromptTooLong):
        return
    text = fault.message[:_LOOKED_AT]
    for repair in REPAIRS:
        if api not in repair.apis or fault.status not in repair.statuses:
            continue
        found = repair.wording.search(text)
        if found is not None:
            switches = repair.switches(found, profile) if callable(repair.switches) else repair.switches
            if not (forced and "api" in switches) and _changes(profile, switches):
                yield Cure(repair.kind, switches, repair.lasts)
    if api != "messages" and fault.status in STATUSES:
        yield from _fields(text, profile)


def _fields(text: str, profile: Profile) -> Iterator[Cure]:
    """All fields that the text names, as one."""
    switches: dict[str, Any] = {}
    names: dict[str, None] = {}
    for field in refused_fields.refused_fields(text):
        found = refused_fields.without(field, profile)
        if _changes(profile, found):
            switches.update(found)
            names[field] = None
    if names:
        yield Cure("+".join(names), switches)


def _changes(profile: Profile, switches: Mapping[str, Any]) -> bool:
    return any(getattr(profile, name) != value for name, value in switches.items())


def noted(found: Iterable[Cure]) -> list[Adjustment]:
    """How the client is told."""
    notes = Notes()
    for cure in found:
        notes.add("request_repaired", (cure.kind,), f"the upstream refused this: {cure.kind}")
    return notes.found
