"""The file that CCPROXY_ROUTES names: upstreams and rules, TOML or JSON (docs/routes.md).

Rule: every fault is reported at once, each with its line, and none quotes a key.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ccproxy_sanic.masking import mask
from ccproxy_sanic.routing import lines
from ccproxy_sanic.routing.plan import Rule
from ccproxy_sanic.routing.reading import Reading, UpstreamSpec, by_line
from ccproxy_sanic.settings_parsers import content

__all__ = ["Routes", "RoutesError", "UpstreamSpec", "read"]

_TOML_PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|(end of document))\)", re.DOTALL)


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says.  ``variables`` are the names in ``key_env``; ``warnings`` are for a person."""

    upstreams: tuple[UpstreamSpec, ...]
    rules: tuple[Rule, ...]
    variables: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


class RoutesError(ValueError):
    """The file can't be used; ``faults`` are all reasons, each with the file's name and the line.  ``variables`` are
    the names in its ``key_env``, as far as they could be read."""

    def __init__(self, faults: Iterable[str], variables: Iterable[str] = ()) -> None:
        self.faults, self.variables = tuple(map(mask, faults)), frozenset(variables)
        super().__init__("\n".join(self.faults))


def read(
    path: Path, names: Mapping[str, str], *, has_default: bool = True, is_own: Callable[[str], bool] = lambda url: False
) -> Routes:
    """The routes of a file.  ``names`` are the variables that ``key_env`` may name; ``is_own`` says whether a URL is
    this proxy's own.  Without the environment's upstream (``has_default``) a rule must take everything.

    Raises RoutesError.
    """
    try:
        text = content(path)
    except ValueError as error:
        raise RoutesError([f"{path.name} {error}"]) from None
    is_json = path.suffix.lower() == ".json"
    try:
        tree = json.loads(text, object_pairs_hook=_once) if is_json else tomllib.loads(text)
        index = lines.of_json(text) if is_json else lines.of_toml(text)
    except RecursionError:
        raise RoutesError([f"{path.name}: is nested too deeply"]) from None
    except ValueError as error:
        raise RoutesError([_syntax(path.name, text, error)]) from None
    reading = Reading(path.name, index, names, has_default, is_own)
    upstreams, rules = reading.all(tree)
    if reading.faults:
        raise RoutesError(by_line(reading.faults), reading.variables)
    return Routes(
        upstreams=upstreams,
        rules=rules,
        variables=frozenset(reading.variables),
        warnings=tuple(map(mask, by_line(reading.warnings))),
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key is there twice in one object")
    return table


def _syntax(name: str, text: str, error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{name}, line {error.lineno}: {error.msg}"
    if place := _TOML_PLACE.fullmatch(str(error)):
        return f"{name}, line {place[2] or len(text.splitlines()) or 1}: {place[1]}"
    return f"{name}: {error}"
