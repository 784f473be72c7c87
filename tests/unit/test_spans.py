"""Where values stand in a JSON text."""

from __future__ import annotations

import pytest

from ccproxy_sanic.wire import spans


def values(text: bytes) -> list[tuple[str, bytes]]:
    return [(key, text[start:end]) for key, start, end in spans.members(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"{}", []),
        (b" { } ", []),
        (b'{"a":1}', [("a", b"1")]),
        (b'\n{ "a" :\t[1, {"a":2}] , "b":"}\\"," }\r\n', [("a", b'[1, {"a":2}]'), ("b", b'"}\\","')]),
        (b'{"mod\\u0065l":"x"}', [("model", b'"x"')]),
        ('{"é":"ü","b":"👩"}'.encode(), [("é", '"ü"'.encode()), ("b", '"👩"'.encode())]),
        (b'{"a":1.5e3,"b":-2,"c":true,"d":null}', [("a", b"1.5e3"), ("b", b"-2"), ("c", b"true"), ("d", b"null")]),
    ],
)
def test_members_are_found_in_their_order(text: bytes, wanted: list[tuple[str, bytes]]) -> None:
    assert values(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'{"a":1,"a":2}', [("a", b"1"), ("a", b"2")]),
        (b'{"a":1,"a":1}', [("a", b"1"), ("a", b"1")]),
        (b'{"a":12,"a":1}', [("a", b"12"), ("a", b"1")]),
        (b'{"a":"x","b":1,"a":"x"}', [("a", b'"x"'), ("b", b"1"), ("a", b'"x"')]),
        (b'{ "a" : 12 , "x" : 1 , "a" : 1 }', [("a", b"12"), ("x", b"1"), ("a", b"1")]),
        (b'{"a":"x","a":"x","b":"x"}', [("a", b'"x"'), ("a", b'"x"'), ("b", b'"x"')]),
        (
            b'{"a":{"a":[1e999, 9]},"\\u0061":"\\ud83d\\ude00"}',
            [("a", b'{"a":[1e999, 9]}'), ("a", b'"\\ud83d\\ude00"')],
        ),
        (b'{"a":[1],"b":"\xc3\xa9","a":[1] }', [("a", b"[1]"), ("b", b'"\xc3\xa9"'), ("a", b"[1]")]),
        (b'{"a":%s,"a":0}' % (b"9" * 5000), [("a", b"9" * 5000), ("a", b"0")]),
    ],
)
def test_a_repeated_key_is_found_each_time(text: bytes, wanted: list[tuple[str, bytes]]) -> None:
    assert values(text) == wanted


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"1", b'"a"', b'{"a":1', b'{"a":1,}', b'{"a":1} x', b"{a:1}", b'{"\xff":1}']
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        spans.members(text)


@pytest.mark.parametrize("key", ["a", "b"])
def test_what_is_nested_without_end_is_refused(key: str) -> None:
    deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b',"%s":1}' % key.encode()
    with pytest.raises(ValueError):
        spans.members(deep)
    with pytest.raises(ValueError):
        spans.items(deep[5:])


def test_items_are_found_in_their_order() -> None:
    text = b' [1 , "a,]" ,{"b":[2]},\n[3,4]\t] '
    assert [text[start:end] for start, end in spans.items(text)] == [b"1", b'"a,]"', b'{"b":[2]}', b"[3,4]"]
    assert spans.items(b"[ ]") == []


@pytest.mark.parametrize("text", [b"{}", b"[1", b"[1,]", b"nope"])
def test_what_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        spans.items(text)


def test_edits_leave_every_other_byte() -> None:
    assert spans.edited(b"abcdef", []) == b"abcdef"
    assert (
        spans.edited(b"abcdef", [spans.Edit(0, 1, b"X"), spans.Edit(3, 3, b"--"), spans.Edit(5, 6, b"")]) == b"Xbc--de"
    )
    assert spans.replaced(b'{"a" : 1,"b":{"a":2}, "a":3 }', "a", b"0") == b'{"a" : 0,"b":{"a":2}, "a":0 }'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"model":"a"}', b'"a"'),
        (b'{ "x" : [1], "model" \t:\r\n "" }', b'""'),
        (b'{"x":{"model":"a/b \xc3\xa9"}}', b'"a/b \xc3\xa9"'),
        (b'{"x":"\\"model\\":1 \\\\","model":"a"}', b'"a"'),
        (b'{"x":"say \\"model","model":"a"}', None),  # looks the same as the name of a member
        (b'{"say \\"model":"a"}', None),
        (b'{"model":"a","model":"b"}', None),
        (b'{"model":"a","x":{"model":"a"}}', None),
        (b'{"model":"a","x":"model"}', None),
        (b'{"mod\\u0065l":"b","model":"a"}', None),
        (b'{"model":"\\n"}', None),
        (b'{"model":5}', None),
        (b'{"model":"a","\xff":1}', None),
        (b'{"x":1}', None),
        (b'["model"]', None),
        (b'"model"', None),
        (b"", None),
    ],
)
def test_a_value_is_the_sole_one_of_its_key(text: bytes, value: bytes | None) -> None:
    place = spans.sole(text, b"model")
    assert (place and text[slice(*place)]) == value
