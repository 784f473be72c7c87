"""A tool as OpenAI's models read it: a TypeScript declaration (protocol.md 6.3).

Rule: whatever a schema holds, it becomes text of about its length; what is not understood stands there as JSON.  Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

_NAMES: Final = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_MEMO_BYTES: Final = 16 * 1024  # of a schema whose text is remembered: 128 of them are 2 MB


def declaration(name: str, description: str, parameters: bytes) -> str:
    """The text of one tool; ``parameters`` is its JSON schema, encoded."""
    if len(description) + len(parameters) > _MEMO_BYTES:
        return _declaration(name, description, parameters)
    return _remembered(name, description, parameters)


def _declaration(name: str, description: str, parameters: bytes) -> str:
    try:
        schema = msgspec.json.decode(parameters or b"{}")
        fields = _fields(schema)
        arguments = f"_: {fields}" if fields else ""
        shared = "".join(
            f"type {key} = {_type(value)};\n"
            for group in ("$defs", "definitions")
            for key, value in _table(schema, group).items()
        )
    except (RecursionError, msgspec.MsgspecError):
        arguments, shared = parameters.decode("utf-8", "replace"), ""
    return f"{_comment(description)}type {name} = ({arguments}) => any;\n{shared}\n"


_remembered: Final = lru_cache(maxsize=128)(_declaration)


def _table(schema: Any, key: str) -> dict[str, Any]:
    found = schema.get(key) if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _fields(schema: Any) -> str:
    """An object's properties in braces, or "" where it has none."""
    properties = _table(schema, "properties")
    if not properties:
        return ""
    required = schema.get("required")
    needed = required if isinstance(required, list) else ()
    lines = []
    for key, value in properties.items():
        about = value.get("description") if isinstance(value, dict) else None
        if isinstance(about, str):
            lines.append(_comment(about))
        lines.append(f"{key}{'' if key in needed else '?'}: {_type(value)},{_default(value)}\n")
    return "{\n" + "".join(lines) + "}"


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any" if schema is True else _json(schema)
    if isinstance(reference := schema.get("$ref"), str):
        return reference.rpartition("/")[2]
    for key, joint in (("enum", " | "), ("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        if isinstance(choices := schema.get(key), list) and choices:
            return joint.join(map(_json if key == "enum" else _type, choices))
    if "const" in schema:
        return _json(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": one}) for one in kind if isinstance(one, str)) or "any"
    if kind == "array":
        return f"{_type(schema['items'])}[]" if "items" in schema else "any[]"
    if kind == "object" or "properties" in schema:
        return _fields(schema) or _mapping(schema)
    return _NAMES.get(kind, kind) if isinstance(kind, str) else "any"


def _mapping(schema: dict[str, Any]) -> str:
    values = schema.get("additionalProperties")
    return f"Record<string, {_type(values)}>" if isinstance(values, dict) and values else "object"


def _default(schema: Any) -> str:
    return f" // default: {_json(schema['default'])}" if isinstance(schema, dict) and "default" in schema else ""


def _comment(text: str) -> str:
    return "".join(f"// {line}\n" for line in text.splitlines())


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
