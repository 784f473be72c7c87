"""JSON Schemas, cleaned for those who read them.

Rule: the order of keys is kept and equal schemas give equal bytes (prompt caches); what is taken out of a schema goes
into its description.  SCH-1 and SCH-2 of protocol.md 9.3 are for everyone, SCH-3 is a table by flavour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Schema = dict[str, Any]

_ALWAYS: Final = frozenset({"$schema", "$id", "$comment"})
_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE: Final = frozenset({"items", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems"})
_FREE: Final = frozenset({"additionalProperties", "unevaluatedProperties"})  # may stay boolean
_ROOT_UNIONS: Final = ("oneOf", "anyOf", "allOf")
_MAX_INLINED: Final = 500
_ROOT_REFUSED: Final = ("enum", "not")  # at the top of tool parameters (protocol.md 9.2, OpenAI)


class Flavour(msgspec.Struct, frozen=True):
    """What some schema readers cannot take.  ``moved`` keywords end up in the description, ``dropped`` nowhere."""

    moved: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    inline: bool = False  # $ref
    const_to_enum: bool = False
    single_type: bool = False  # no lists of types
    string_enums: bool = False
    formats: frozenset[str] | None = None  # None: all
    anchored_patterns: bool = False  # ^...$, no lookaround
    empty_objects: bool = True  # False: an object without properties must not have the keyword
    max_length: int | None = None  # bounds above it are dropped: grammars grow with them


FLAVOURS: Final[dict[str, Flavour]] = {
    "default": Flavour(),
    "gemini": Flavour(
        moved=frozenset({"exclusiveMinimum", "exclusiveMaximum", "propertyNames", "patternProperties", "multipleOf"}),
        dropped=frozenset(
            {"additionalProperties", "unevaluatedProperties", "examples", "enumDescriptions", "$defs", "definitions"}
            | {"default", "contentMediaType", "contentEncoding", "readOnly", "writeOnly", "deprecated"}
        ),
        inline=True,
        const_to_enum=True,
        single_type=True,
        string_enums=True,
        formats=frozenset({"enum", "date-time"}),
        empty_objects=False,
    ),
    "ollama": Flavour(
        dropped=frozenset({"examples", "$defs", "definitions"}), inline=True, const_to_enum=True, single_type=True
    ),
    "grammar": Flavour(
        moved=frozenset({"uniqueItems", "contains", "minContains", "maxContains", "minProperties", "maxProperties"}),
        dropped=frozenset({"examples"}),
        anchored_patterns=True,
        max_length=2000,
    ),
}


def clean_tool(schema: Schema, flavour: str) -> Schema:
    """The ``parameters`` of a function: an object schema whatever was given."""
    root = _Cleaner(schema, FLAVOURS[flavour]).clean(_merged_root(schema))
    for keyword in _ROOT_REFUSED:
        root.pop(keyword, None)
    if root.get("type") != "object":
        root = {"type": "object", **{key: value for key, value in root.items() if key != "type"}}
    if not isinstance(root.get("properties"), dict):
        root.pop("properties", None)
        if FLAVOURS[flavour].empty_objects:
            root["properties"] = {}
    return root


def clean_format(schema: Schema, flavour: str) -> Schema:
    """The schema of a structured answer: keywords cleaned, shape kept."""
    return _Cleaner(schema, FLAVOURS[flavour], gaps=flavour != "default").clean(schema)


def fits_strict(schema: Any, depth: int = 0) -> bool:
    """Whether a schema is of OpenAI's strict subset as it stands (protocol.md 9.2).

    It is never bent to fit, because optional fields would come back as nulls.
    """
    if depth == 0 and (not isinstance(schema, dict) or schema.get("type") != "object" or "anyOf" in schema):
        return False
    if not isinstance(schema, dict) or depth > _STRICT_DEPTH or not _STRICT_REFUSED.isdisjoint(schema):
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or "properties" in schema:
        closed = schema.get("additionalProperties") is False
        required = schema.get("required", [])
        if (
            not closed
            or not isinstance(properties, dict)
            or not isinstance(required, list)
            or any(name not in required for name in properties)
        ):
            return False
    inner: list[Any] = [*properties.values(), *_values(schema.get("$defs")), *_values(schema.get("definitions"))]
    inner += schema["anyOf"] if isinstance(schema.get("anyOf"), list) else []
    inner += [schema["items"]] if "items" in schema else []
    return all(fits_strict(child, depth + 1) for child in inner)


_STRICT_DEPTH: Final = 10
_STRICT_REFUSED: Final = frozenset(
    {
        "default",
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
    }
)


def _values(table: Any) -> list[Any]:
    return list(table.values()) if isinstance(table, dict) else []


def _told(schema: Schema, words: str) -> None:
    told = schema.get("description")
    schema["description"] = f"{told}\n{words}" if isinstance(told, str) and told else words


def _local(root: Mapping[str, Any], reference: Any) -> Any:
    """What a ``#/...`` reference points to, or None."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target: Any = root
    for step in reference[1:].strip("/").split("/") if len(reference) > 1 else ():
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, dict) or key not in target:
            return None
        target = target[key]
    return target


def _merged_root(schema: Schema) -> Schema:
    """Unions at the top become one object: their properties together, required what all branches require."""
    union = next((keyword for keyword in _ROOT_UNIONS if isinstance(schema.get(keyword), list)), None)
    if union is None:
        return schema
    root = {key: value for key, value in schema.items() if key != union}
    properties = dict(root["properties"]) if isinstance(root.get("properties"), dict) else {}
    demands: list[list[str]] = []
    for member in schema[union]:
        branch = _local(schema, member["$ref"]) if isinstance(member, dict) and "$ref" in member else member
        if not isinstance(branch, dict):
            continue
        own = branch.get("properties")
        for name, value in own.items() if isinstance(own, dict) else ():
            properties.setdefault(name, value)
        needed = branch.get("required")
        demands.append([name for name in needed if isinstance(name, str)] if isinstance(needed, list) else [])
    required = [name for name in root.get("required") or [] if isinstance(name, str)]
    if union == "allOf":
        required += [name for demand in demands for name in demand]
    elif demands:
        required += [name for name in demands[0] if all(name in demand for demand in demands)]
    root["properties"] = properties
    root.pop("required", None)
    if required:
        root["required"] = list(dict.fromkeys(required))
    if union != "allOf" and any(demands):
        sets = " | ".join(", ".join(demand) for demand in demands if demand)
        _told(root, f"Give one of these sets of properties: {sets}")
    return _merged_root(root)


class _Cleaner:
    """One schema's walk; ``root`` is what references point into."""

    def __init__(self, root: Schema, flavour: Flavour, *, gaps: bool = True) -> None:
        self.root, self.flavour, self.gaps = root, flavour, gaps
        self.inlined = 0

    def clean(self, schema: Any, trail: tuple[str, ...] = ()) -> Schema:
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, dict):
            return {}  # true, and what is no schema at all
        flavour = self.flavour
        if flavour.inline and "$ref" in schema:
            return self._inlined(schema, trail)
        out: Schema = {}
        aside: Schema = {}
        for key, value in schema.items():
            if key in _ALWAYS or key in flavour.dropped or (value is None and key != "const"):
                continue
            if key in flavour.moved or self._refused(key, value):
                aside[key] = value
            elif key == "const" and flavour.const_to_enum:
                out["enum"] = [value]
            elif key in _MAPS:
                out[key] = self._map(value, trail)
            elif key in _LISTS and isinstance(value, list):
                out[key] = [self.clean(member, trail) for member in value]
            elif key in _SINGLE:
                out[key] = self._items(value, trail)
            elif key in _FREE:
                out[key] = value if isinstance(value, bool) else self.clean(value, trail)
            else:
                out[key] = value
        self._finish(out, aside)
        return out

    def _map(self, value: Any, trail: tuple[str, ...]) -> Schema:
        return {name: self.clean(inner, trail) for name, inner in value.items()} if isinstance(value, dict) else {}

    def _items(self, value: Any, trail: tuple[str, ...]) -> Any:
        # the old form of tuples: a list of schemas
        return self.clean(value[0] if isinstance(value, list) and value else value, trail)

    def _inlined(self, schema: Schema, trail: tuple[str, ...]) -> Schema:
        reference = schema["$ref"]
        target = _local(self.root, reference)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        self.inlined += 1  # references to references grow without end: 2 per level are 2**n
        if not isinstance(target, dict) or reference in trail or self.inlined > _MAX_INLINED:
            return self.clean({"type": "object", **beside}, trail)
        return self.clean({**target, **beside}, (*trail, reference))

    def _refused(self, key: str, value: Any) -> bool:
        flavour = self.flavour
        if key == "format":
            return flavour.formats is not None and not (isinstance(value, str) and value in flavour.formats)
        if key == "pattern" and flavour.anchored_patterns:
            return not (isinstance(value, str) and value[:1] == "^" and value[-1:] == "$" and "(?" not in value)
        if key in ("minLength", "maxLength", "minItems", "maxItems") and flavour.max_length is not None:
            return not isinstance(value, int) or value > flavour.max_length
        return False

    def _finish(self, out: Schema, aside: Schema) -> None:
        flavour = self.flavour
        if flavour.string_enums and any(not isinstance(one, str) for one in out.get("enum") or ()):
            aside["enum"] = out.pop("enum")
        if flavour.single_type and isinstance(out.get("type"), list):
            self._split_types(out)
        kind = out.get("type")
        if self.gaps and (kind == "array" or (isinstance(kind, list) and "array" in kind)):
            out.setdefault("items", {})
        if not flavour.empty_objects and out.get("properties") == {}:
            del out["properties"]
            _told(out, "Has no properties.")
        if aside:
            _told(out, ", ".join(f"{{{key}: {msgspec.json.encode(value).decode()}}}" for key, value in aside.items()))

    def _split_types(self, out: Schema) -> None:
        given = out.pop("type")
        kinds = [kind for kind in given if kind != "null"]
        if len(kinds) == 1:
            out["type"] = kinds[0]
        elif kinds:
            out["anyOf"] = [{"type": kind, **({"items": {}} if kind == "array" else {})} for kind in kinds]
        if "null" in given:
            out["nullable"] = True
