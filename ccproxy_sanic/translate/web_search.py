"""Anthropic's ``web_search`` as the provider's own (issue: a profile may map it where one exists).

Rule: the profile says which fields of the body ask for the search and where the client's limits go in them; a limit
that the provider has no field for is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.adjustments import Notes, Path, dotted
from ccproxy_sanic.wire.anthropic import Tool, given

PREFIX: Final = "web_search_"
# what a limit must be, and what Anthropic says of one that is not
_LIMITS: Final[dict[str, tuple[Any, str]]] = {
    "max_uses": (int, "Input should be a valid integer"),
    "allowed_domains": (list[str], "Input should be a valid list"),
    "blocked_domains": (list[str], "Input should be a valid list"),
    "user_location": (dict[str, Any], "Input should be a valid dictionary"),
}
_NESTED: Final = "nested_location"  # the place in OpenAI's form, under its own type


def is_search(tool: Tool) -> bool:
    return tool.type is not None and tool.type.startswith(PREFIX)


def fields(tool: Tool, path: Path, profile: Profile, notes: Notes) -> dict[str, Any]:
    """The fields of the body that have the provider search.  Raises InvalidRequest for a limit of a wrong type.

    In ``profile.web_search``, ``$max_uses``, ``$allowed_domains``, ``$blocked_domains``, ``$user_location`` and
    ``$nested_location`` stand for what the client set; a field whose limit it did not set is left out.
    """
    limits = _limits(tool, path)
    values = dict(limits)
    if (place := limits.get("user_location")) is not None:
        inner = {key: value for key, value in place.items() if key != "type"}
        values[_NESTED] = {"type": "approximate", "approximate": inner}
    used: set[str] = set()
    filled: dict[str, Any] = _filled(profile.web_search, values, used)
    notes.add("search_mapped", path)
    if _NESTED in used:
        used.add("user_location")
    for name in limits:
        if name not in used:
            notes.add("field_ignored", (*path, name), f"the provider's web search has no {name}")
    return filled


def _limits(tool: Tool, path: Path) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for name, (kind, complaint) in _LIMITS.items():
        raw = getattr(tool, name)
        if not given(raw):
            continue
        try:
            value = msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError:
            raise InvalidRequest(f"{dotted((*path, name))}: {complaint}") from None
        if value:
            limits[name] = value
    return limits


def _filled(form: Any, values: Mapping[str, Any], used: set[str]) -> Any:
    """``form`` with the values in their places; UNSET where a place has none."""
    if isinstance(form, Mapping):
        pairs = ((key, _filled(value, values, used)) for key, value in form.items())
        return {key: value for key, value in pairs if value is not msgspec.UNSET}
    if isinstance(form, list):
        return [filled for value in form if (filled := _filled(value, values, used)) is not msgspec.UNSET]
    if isinstance(form, str) and form.startswith("$"):
        used.add(form[1:])
        return values.get(form[1:], msgspec.UNSET)
    return form
