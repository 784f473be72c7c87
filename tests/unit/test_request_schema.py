"""Schema cleaning (protocol.md 9.2, 9.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.translate.schema import clean_tool, fits_strict
from tests.support.translation import body, codes, sent, translate


def tool(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


def inner(schema: Any, flavour: str = "default") -> Any:
    """A property's schema, cleaned."""
    return clean_tool(tool({"p": schema}), flavour)["properties"]["p"]


DEFAULT: list[tuple[Any, Any]] = [
    ({"type": "string", "$id": "x", "$schema": "y", "$comment": "z"}, {"type": "string"}),
    ({"type": "array"}, {"type": "array", "items": {}}),
    ({"type": ["array", "null"]}, {"type": ["array", "null"], "items": {}}),
    ({"type": "array", "items": True}, {"type": "array", "items": {}}),
    (
        {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
        {"type": "array", "items": {"type": "string"}},
    ),
    (True, {}),
    (False, {"not": {}}),
    ("bar", {}),
    ({"type": "string", "default": None, "format": None}, {"type": "string"}),
    ({"const": None}, {"const": None}),
    ({"enum": ["a", None]}, {"enum": ["a", None]}),
    ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
    ({"type": "object", "additionalProperties": {"type": "array"}}, None),
    ({"anyOf": [{"type": "string"}, True]}, {"anyOf": [{"type": "string"}, {}]}),
    (
        {"type": "object", "properties": {"$id": {"type": "string"}}},
        {"type": "object", "properties": {"$id": {"type": "string"}}},
    ),
    ({"type": "object", "properties": 5}, {"type": "object", "properties": {}}),
    (
        {"type": "string", "minLength": 1, "pattern": "x", "format": "uri"},
        {"type": "string", "minLength": 1, "pattern": "x", "format": "uri"},
    ),
]


@pytest.mark.parametrize(("given", "expected"), DEFAULT, ids=str)
def test_default_cleaning(given: Any, expected: Any) -> None:
    if expected is None:
        expected = {"type": "object", "additionalProperties": {"type": "array", "items": {}}}
    assert inner(given) == expected


ROOTS: list[tuple[Any, Any]] = [
    ({}, {"type": "object", "properties": {}}),
    ({"type": ["object", "null"]}, {"type": "object", "properties": {}}),
    ({"type": "string"}, {"type": "object", "properties": {}}),
    ({"type": "object", "properties": {}, "enum": [1], "not": {}}, {"type": "object", "properties": {}}),
    (
        {"allOf": [tool({"a": {}}, required=["a"]), tool({"b": {}}, required=["b"])]},
        {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
    ),
    (
        {
            "type": "object",
            "anyOf": [tool({"a": {}, "c": {}}, required=["a", "c"]), tool({"b": {}}, required=["c", "b"])],
        },
        {
            "type": "object",
            "properties": {"a": {}, "c": {}, "b": {}},
            "required": ["c"],
            "description": "Give one of these sets of properties: a, c | c, b",
        },
    ),
    (
        {"oneOf": [{"$ref": "#/$defs/a"}, 5], "$defs": {"a": tool({"a": {}})}, "description": "d", "required": ["z"]},
        {
            "type": "object",
            "$defs": {"a": tool({"a": {}})},
            "description": "d",
            "properties": {"a": {}},
            "required": ["z"],
        },
    ),
]


@pytest.mark.parametrize(("given", "expected"), ROOTS, ids=str)
def test_the_root_is_an_object_without_unions(given: Any, expected: Any) -> None:
    assert clean_tool(given, "default") == expected


def test_the_order_of_keys_is_kept() -> None:
    schema = {"description": "d", "type": "object", "required": ["b"], "properties": {"z": {}, "b": {}, "a": {}}}
    assert json.dumps(clean_tool(schema, "default")) == json.dumps(schema)


def test_the_given_schema_is_not_touched() -> None:
    schema = tool({"p": {"type": "array", "const": 1, "$ref": "#"}}, oneOf=[tool({"q": {}})])
    before = json.dumps(schema)
    for flavour in ("default", "gemini", "ollama", "grammar"):
        clean_tool(schema, flavour)
    assert json.dumps(schema) == before


GEMINI: list[tuple[Any, Any]] = [
    ({"const": "a"}, {"enum": ["a"]}),
    ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    ({"type": ["null"]}, {"nullable": True}),
    ({"type": ["string", "array"]}, {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}),
    ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "description": "{enum: [1,2]}"}),
    ({"type": "string", "format": "uri"}, {"type": "string", "description": '{format: "uri"}'}),
    ({"type": "string", "format": {}}, {"type": "string", "description": "{format: {}}"}),
    ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
    (
        {"type": "number", "exclusiveMinimum": 0, "description": "d"},
        {"type": "number", "description": "d\n{exclusiveMinimum: 0}"},
    ),
    (
        {"type": "object", "additionalProperties": False, "properties": {}},
        {"type": "object", "description": "Has no properties."},
    ),
    ({"$ref": "#/$defs/d", "description": "beside"}, {"type": "string", "description": "beside"}),
    ({"$ref": "#/$defs/loop"}, {"type": "array", "items": {"type": "object"}}),
    ({"$ref": "#/nowhere"}, {"type": "object"}),
    ({"$ref": 5}, {"type": "object"}),
    ({"$ref": "#/$defs/a~1b"}, {"type": "boolean"}),
]


@pytest.mark.parametrize(("given", "expected"), GEMINI, ids=str)
def test_gemini(given: Any, expected: Any) -> None:
    defs = {
        "d": {"type": "string"},
        "loop": {"type": "array", "items": {"$ref": "#/$defs/loop"}},
        "a/b": {"type": "boolean"},
    }
    schema = clean_tool(tool({"p": given}, **{"$defs": defs}), "gemini")
    assert schema["properties"]["p"] == expected
    assert "$defs" not in schema


def test_gemini_gets_no_empty_properties() -> None:
    assert clean_tool({}, "gemini") == {"type": "object"}


GRAMMAR: list[tuple[Any, Any]] = [
    ({"type": "string", "pattern": "^a$"}, {"type": "string", "pattern": "^a$"}),
    ({"type": "string", "pattern": "a"}, {"type": "string", "description": '{pattern: "a"}'}),
    ({"type": "string", "pattern": "^(?=a)$"}, {"type": "string", "description": '{pattern: "^(?=a)$"}'}),
    ({"type": "string", "maxLength": 100000}, {"type": "string", "description": "{maxLength: 100000}"}),
    ({"type": "string", "maxLength": 10}, {"type": "string", "maxLength": 10}),
    ({"type": "array", "uniqueItems": True}, {"type": "array", "items": {}, "description": "{uniqueItems: true}"}),
    ({"$ref": "#/$defs/d"}, {"$ref": "#/$defs/d"}),
    ({"const": 1}, {"const": 1}),
]


@pytest.mark.parametrize(("given", "expected"), GRAMMAR, ids=str)
def test_grammars(given: Any, expected: Any) -> None:
    assert inner(given, "grammar") == expected


def test_ollama() -> None:
    schema = tool(
        {"p": {"$ref": "#/$defs/d"}, "q": {"const": 1}, "r": {"type": ["string", "null"]}},
        **{"$defs": {"d": {"type": "string"}}},
    )
    assert clean_tool(schema, "ollama") == tool(
        {"p": {"type": "string"}, "q": {"enum": [1]}, "r": {"type": "string", "nullable": True}}
    )


def test_references_cannot_grow_without_end() -> None:
    defs = {f"d{n}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    schema = clean_tool(tool({"p": {"$ref": "#/$defs/d0"}}, **{"$defs": defs | {"d40": {}}}), "gemini")
    assert len(json.dumps(schema)) < 200_000


def test_only_what_a_provider_cannot_take_is_noted() -> None:
    plain = {"name": "f", "input_schema": tool({"a": {"type": "string"}}, **{"$schema": "x"})}
    picky = {"name": "f", "input_schema": tool({"a": {"const": "x"}})}
    assert not codes(translate(body(tools=[plain]), "openai"))
    assert not codes(translate(body(tools=[plain]), "gemini"))
    assert codes(translate(body(tools=[picky]), "gemini")) == {"schema_cleaned": "tools.0.input_schema"}


def test_a_big_schema_is_cleaned_like_a_small_one() -> None:
    big = tool({f"p{n}": {"type": "string", "description": "d" * 100} for n in range(500)}, **{"$schema": "x"})
    cleaned = sent(body(tools=[{"name": "f", "input_schema": big}]))["tools"][0]["function"]["parameters"]
    assert cleaned == {key: value for key, value in big.items() if key != "$schema"}


@pytest.mark.parametrize(
    "schema", [5, None, "x", [], {"type": "object", "properties": [], "additionalProperties": False}], ids=str
)
def test_what_is_no_schema_is_not_strict(schema: Any) -> None:
    assert not fits_strict(schema)


def test_strict_inside_definitions_items_and_unions() -> None:
    leaf = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
    whole = leaf | {
        "properties": {
            "a": {"type": "array", "items": leaf},
            "b": {"anyOf": [leaf, {"type": "null"}]},
            "c": {"$ref": "#/$defs/l"},
        },
        "required": ["a", "b", "c"],
        "$defs": {"l": leaf},
    }
    assert fits_strict(whole)
