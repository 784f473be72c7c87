"""Arguments from schemas: they fit, and nonsense never raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.demo.schema import arguments, sample

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYWORD = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "anyOf", "$ref", "minItems", "minLength", "minimum", "format"]
)
NONSENSE = st.recursive(JSON, lambda inner: st.dictionaries(KEYWORD, inner, max_size=4), max_leaves=10)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "demo"),
        ({"type": "string", "minLength": 6, "maxLength": 6}, "demo.."),
        ({"type": "string", "format": "uri"}, "https://example.com/"),
        ({"type": ["null", "integer"], "minimum": 5}, 5),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, 1),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 3}, 3),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"const": "y"}}}, "y"),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "object", "properties": {"b": {}}, "required": ["b"]}, "c": {}},
                "required": ["a"],
            },
            {"a": {"b": "b"}},
        ),
    ],
    ids=str,
)
def test_a_sample_fits_its_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def test_wishes_are_typed_by_the_schema_and_unknown_ones_are_left_out() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "any": {}}}
    wishes = {"n": "7", "s": "7", "any": "plain", "other": "x"}
    assert arguments(schema, wishes) == {"n": 7, "s": "7", "any": "plain"}


def test_a_schema_that_refers_to_itself_ends() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert arguments(node, {}).keys() == {"next"}


@given(st.dictionaries(KEYWORD, NONSENSE, max_size=5))
def test_nonsense_gives_an_object(schema: dict[str, Any]) -> None:
    assert isinstance(arguments(schema, {"x": "1"}), dict)
