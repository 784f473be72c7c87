"""Which members an object of a request may have: tables, and the first thing that is wrong with a value.

Rule: it finds, and says nothing; each API has its own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Types = type | tuple[type, ...]
NUMBER: Final = (int, float)
NAMES: Final[dict[type, str]] = {
    str: "string",
    int: "integer",
    float: "decimal number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}


class Shape(msgspec.Struct, frozen=True):
    """Name -> types.  Optional members may be null; ``loose``: unknown ones are let through."""

    required: Mapping[str, Types] = {}
    optional: Mapping[str, Types] = {}
    loose: bool = False


class Misfit(msgspec.Struct, frozen=True):
    """``name`` is the member; for a type, also what was expected and what came, in words."""

    kind: Literal["missing", "unknown", "type"]
    name: str
    expected: str = ""
    got: str = ""


def misfit(value: dict[str, Any], shape: Shape) -> Misfit | None:
    for name, types in shape.required.items():
        if name not in value:
            return Misfit("missing", name)
        if not fits(value[name], types):
            return _wrong(name, value[name], types)
    for name, types in shape.optional.items():
        if value.get(name) is not None and not fits(value[name], types):
            return _wrong(name, value[name], types)
    if not shape.loose:
        for name in value:
            if name not in shape.required and name not in shape.optional:
                return Misfit("unknown", name)
    return None


def fits(value: Any, types: Types) -> bool:
    """JSON's types: true is no number."""
    wanted = types if isinstance(types, tuple) else (types,)
    return isinstance(value, wanted) and (not isinstance(value, bool) or bool in wanted)


def _wrong(name: str, value: Any, types: Types) -> Misfit:
    wanted = types if isinstance(types, tuple) else (types,)
    return Misfit("type", name, " or ".join(NAMES[one] for one in wanted), NAMES[type(value)])
