"""What a shape recognises, for both twins."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import pytest

from ccproxy_sanic.sse import _framing_py

TWINS: list[Any] = [_framing_py]
with contextlib.suppress(ImportError):
    TWINS.append(importlib.import_module("ccproxy_sanic.sse._framing"))


@pytest.fixture(params=TWINS, ids=lambda module: module.__name__.rpartition(".")[2])
def twin(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    "string",
    [
        b'"a"',
        b'" "',
        b'"\x7f"',
        rb'"\""',
        rb'"a\\"',
        rb'"\b\f\n\r\t"',
        '"é漢👩"'.encode(),
        b'"/"',
        b'"' + b"x" * 99_999 + b'"',
    ],
)
def test_strings_that_are_copied(twin: Any, string: bytes) -> None:
    assert twin.Shape([b'{"a":', b"}"], "t").texts([b'{"a":' + string + b"}"], 0) == [string]


@pytest.mark.parametrize(
    "string",
    [
        pytest.param(b'""', id="empty"),
        pytest.param(rb'"\/"', id="escaped without need"),
        pytest.param(rb'"\u000a"', id="escaped the long way"),
        pytest.param(rb'"\u0000"', id="a control character"),
        pytest.param(b'"\t"', id="a control character as it is"),
        pytest.param(rb'"\a"', id="no escape"),
        pytest.param(rb'"\0"', id="no escape either"),
        pytest.param(b'"\xff"', id="no UTF-8"),
        pytest.param(b'"\xc3"', id="half a character"),
        pytest.param(b'"\xed\xa0\x80"', id="a surrogate"),
        pytest.param(b'"a" ', id="a space behind"),
        pytest.param(b' "a"', id="a space before"),
        pytest.param(b'"a', id="no end"),
        pytest.param(b'a"', id="no beginning"),
        pytest.param(b'"a\\"', id="an escaped end"),
        pytest.param(b'"a""', id="a second end"),
        pytest.param(b"1", id="a number"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_strings_that_are_not(twin: Any, string: bytes) -> None:
    assert twin.Shape([b'{"a":', b"}"], "t").texts([b'{"a":' + string + b"}"], 0) == []


@pytest.mark.parametrize("number", [b"1", b"1754000000", b"9" * 50])
def test_numbers(twin: Any, number: bytes) -> None:
    shape = twin.Shape([b"[", b",", b"]"], "nt")
    assert shape.texts([b"[" + number + b',"a"]'], 0) == [b'"a"']


@pytest.mark.parametrize("number", [b"0", b"01", b"-1", b"+1", b"1.0", b"1e5", b"", b"x", b'"1"', b"1 ", "１".encode()])
def test_numbers_that_are_not_known(twin: Any, number: bytes) -> None:
    assert twin.Shape([b"[", b",", b"]"], "nt").texts([b"[" + number + b',"a"]'], 0) == []


def test_other_strings_may_be_empty_and_are_not_copied(twin: Any) -> None:
    shape = twin.Shape([b"<", b"|", b"|", b">"], "sts")
    assert shape.texts([b'<""|"a"|"">', b'<"x"|"b"|"y">', b'<"\xff"|"c"|"">'], 0) == [b'"a"', b'"b"']


def test_it_begins_and_ends_where_it_should(twin: Any) -> None:
    shape = twin.Shape([b"a", b"z"], "t")
    payloads = [b'a"1"z', b'a"2"z', b'a"3"zz', b'a"4"z', b'"5"z', b'a"6"', b"a", b"", b"z"]
    assert [len(shape.texts(payloads, at)) for at in range(len(payloads) + 1)] == [2, 1, 0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("parts", "values"), [([b"a"], "t"), ([b"a", b"b"], "s"), ([b"a", b"b"], "x"), ([b"a"] * 3, "tt"), ([], "")]
)
def test_a_shape_has_one_text_between_its_parts(twin: Any, parts: list[bytes], values: str) -> None:
    with pytest.raises(ValueError, match="one text"):
        twin.Shape(parts, values)
