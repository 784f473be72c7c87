"""A value that satisfies a JSON schema, the same one every time.

Rule: only what is required is filled in, unless a wish names more; a schema that makes no sense gives an empty object.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

DEPTH_LIMIT: Final = 12
ITEM_LIMIT: Final = 8
STRINGS: Final = {  # JSON schema formats that clients check
    "uri": "https://example.com/",
    "email": "demo@example.com",
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: Any, name: str = "demo", root: Any = None, depth: int = 0) -> Any:
    """Build the value; ``name`` (the property's) becomes the text of free strings."""
    if not isinstance(schema, dict) or depth > DEPTH_LIMIT:
        return {} if depth == 0 else None
    root = schema if root is None else root
    if "$ref" in schema:
        return sample(_resolve(root, schema["$ref"]), name, root, depth + 1)
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key) and "properties" not in schema:
            return sample(schema[key][0], name, root, depth + 1)
    return _by_type(schema, name, root, depth)


def _by_type(schema: dict[str, Any], name: str, root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            wanted, properties = schema.get("required", ()), schema.get("properties", {})
            return {key: sample(properties.get(key, {}), key, root, depth + 1) for key in wanted}
        case "array":
            count = min(schema.get("minItems", 1), ITEM_LIMIT)
            return [sample(schema.get("items", {}), name, root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else 1)
            return min(low, schema.get("maximum", low))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = STRINGS.get(schema.get("format", ""), name)
            return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _resolve(root: Any, ref: str) -> Any:
    """Follow ``#/$defs/x``; anything else is an empty schema."""
    node = root
    for step in ref.removeprefix("#/").split("/"):
        node = node.get(step, {}) if isinstance(node, dict) else {}
    return node


def arguments(schema: dict[str, Any] | None, wishes: dict[str, str]) -> dict[str, Any]:
    """Arguments for a call: the sample, with ``wishes`` (text from a marker) for the properties the schema has."""
    found = (schema or {}).get("properties")
    properties = found if isinstance(found, dict) else {}
    try:
        built = sample(schema or {})
    except (AttributeError, TypeError, LookupError):  # keywords with values of the wrong type
        built = None
    values = built if isinstance(built, dict) else {}
    return values | {key: _typed(text, properties[key]) for key, text in wishes.items() if key in properties}


def _typed(text: str, schema: Any) -> Any:
    """A string where the schema wants one, else the JSON that the text spells."""
    if isinstance(schema, dict) and schema.get("type") == "string":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
