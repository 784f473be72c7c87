"""The automaton against jiter, which both SDKs' readers are no stricter than (protocol.md 4.6)."""

from __future__ import annotations

import itertools
import json
from typing import Any

import jiter
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccproxy_sanic.translate import arguments
from ccproxy_sanic.translate.arguments import Automaton, whole
from tests.support.grammar import is_object

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
layouts = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])
texts = st.builds(lambda value, layout: json.dumps(value, **layout), values, layouts)
objects = st.dictionaries(st.text(max_size=5), values, max_size=5)
object_texts = st.builds(lambda value, layout: json.dumps(value, **layout), objects, layouts)
SYLLABLES = [
    *'{}[]:,"\\-+.eE019 \n\t\x00\x7f\x0bxué\u00a0',
    *(
        "true",
        "false",
        "null",
        "NaN",
        "Infinity",
        "\\u12",
        "\\ud83d",
        "\\ude00",
        "\\n",
        '"a"',
        '{"a":',
        "1.5",
        "//",
        "'",
    ),
]
noise = st.lists(st.sampled_from(SYLLABLES), max_size=12).map("".join)
FOLLOWERS = st.sampled_from(["", " ", "}", "]", ",", '"', "x"])


def oracle(text: str) -> str:
    """complete, open (a valid beginning) or bad."""
    try:
        jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError as error:
        return "open" if str(error).startswith("EOF while parsing") else "bad"
    return "complete"


def verdict(text: str, start: str = "any") -> str:
    automaton = Automaton(start)
    if not automaton.feed(text):
        return "bad"
    return "complete" if automaton.complete else "open"


@given(noise | st.builds(lambda text, more: text + more, texts, noise))
@example('"\\ud83d\\ude00"')
@example('"\\ude00"')
@example('"\\ud83dx')
@example("01")
@example("-0")
@example("1.e")
@example("[1,]")
@example('{"a":1,}')
@example('{"a" "b"}')
@example("[}")
@example("{]")
@example("1,")
@example("}")
@example('"\x1f"')
def test_it_says_what_jiter_says(text: str) -> None:
    assert verdict(text) == oracle(text)


@given(noise.filter(lambda text: text.lstrip(" \t\r\n")[:1] not in ("", "{")))
def test_only_an_object_is_an_argument(text: str) -> None:
    assert verdict(text, "start") == "bad"


@given(texts, st.data())
def test_every_beginning_of_json_is_good_and_its_ending_completes_it(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    automaton = Automaton("any")
    assert automaton.feed(text[:at])
    assert oracle(text[:at] + automaton.ending()) == "complete"
    if oracle(text[:at]) == "complete":
        assert automaton.ending() == ""


@given(object_texts, st.data())
def test_the_ending_of_a_cut_call_is_json_and_says_so(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(text) - 1))
    automaton = Automaton()
    assert automaton.feed(text[:at])
    closed = json.loads(text[:at] + automaton.ending_of_cut())
    assert closed["_cut"] is True
    without = json.loads(text[:at] + automaton.ending())
    assert {key: closed[key] for key in without if key != "_cut"} == {k: v for k, v in without.items() if k != "_cut"}


@given(noise | texts, st.lists(st.integers(0, 60), max_size=6))
def test_pieces_do_not_matter(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(at % (len(text) + 1) for at in cuts), len(text)]
    automaton = Automaton("any")
    good = all(automaton.feed(text[a:b]) for a, b in itertools.pairwise(edges))
    assert ("bad" if not good else "complete" if automaton.complete else "open") == verdict(text)


@given(texts, noise)
def test_a_refused_piece_changes_nothing(text: str, piece: str) -> None:
    automaton, untouched = Automaton("any"), Automaton("any")
    half = text[: len(text) // 2]
    assert automaton.feed(half)
    assert untouched.feed(half)
    if not automaton.feed(piece):
        assert automaton.ending() == untouched.ending()
        assert automaton.feed(text[len(half) :])
        assert automaton.complete


def test_it_goes_as_deep_as_jiter() -> None:
    for depth in range(195, 210):
        for opener, closer in (("[", "]"), ('{"a":', "}")):
            assert verdict(opener * depth) == oracle(opener * depth), depth
            if opener == "[":
                assert verdict(opener * depth + closer * depth) == oracle(opener * depth + closer * depth), depth


@pytest.mark.parametrize(
    "text",
    [
        *('{"a":' * depth + "1" + "}" * depth for depth in (200, 201, 202)),
        *('{"a":' + "[" * depth + "]" * depth + "}" for depth in (200, 201)),
        *('{"a":[' + "1" * digits + end + "]}" for digits in (4_300, 4_301, 9_000) for end in ("", ".5", "e-9000")),
        '{"a":"' + "1" * 9_000 + '"}',
        '{"a":"' + "{[" * 300 + '"}',
        '{"a":1e999}',
        '{"a":"\\ud83d"}',
        '{"a":"\x1f"}',
        '{"a":NaN}',
        '{"a":1,}',
        '{"a":1}}',
        '{"a":1}{}',
    ],
    ids=lambda text: f"{text[:20]} {len(text)}",
)
def test_an_object_that_comes_whole_is_judged_like_one_in_pieces(text: str) -> None:
    pieces = Automaton()
    good = all(pieces.feed(char) for char in text)
    assert verdict(text, "start") == ("bad" if not good else "complete" if pieces.complete else "open")
    assert (whole(text, cut=True) == text) is (good and pieces.complete)


def test_an_integer_is_as_long_as_jiter_takes_it() -> None:
    for digits in (4_299, 4_300, 4_301):
        for text in ("1" * digits, "-" + "1" * digits, "[" + "1" * digits + "]", "0." + "1" * digits):
            assert verdict(text) == oracle(text), (digits, text[:3])


@given(noise | texts | object_texts | texts.map(json.dumps), st.booleans())
def test_whole_arguments_always_become_an_object(text: str, cut: bool) -> None:
    assert is_object(whole(text, cut=cut))


@given(object_texts, st.booleans())
def test_whole_objects_stay_what_they_are(text: str, cut: bool) -> None:
    assert whole(text, cut=cut) == text
    assert json.loads(whole(json.dumps(text), cut=cut)) == json.loads(text)  # doubly encoded


class _Counted:
    """Counts look-ups in the table and characters that the regular expressions went over."""

    def __init__(self) -> None:
        self.steps = 0
        self.skipped = 0

    def table(self, table: dict[str, dict[str, str]]) -> dict[str, Any]:
        return {state: _Row(row, self) for state, row in table.items()}

    def match(self, pattern: Any) -> Any:
        counted = self

        class Pattern:
            def match(self, text: str, at: int) -> Any:
                found = pattern.match(text, at)
                counted.skipped += found.end() - at
                return found

        return Pattern()


class _Row(dict[str, str]):
    def __init__(self, row: dict[str, str], counted: _Counted) -> None:
        super().__init__(row)
        self.counted = counted

    def get(self, key: str, default: Any = None) -> Any:
        self.counted.steps += 1
        return super().get(key, default)


def test_every_character_of_a_long_argument_in_small_pieces_is_looked_at_once(monkeypatch: Any) -> None:
    counted = _Counted()
    monkeypatch.setattr(arguments, "TABLE", counted.table(arguments.TABLE))
    for name in ("_RUN", "_SPACE"):
        monkeypatch.setattr(arguments, name, counted.match(getattr(arguments, name)))
    text = json.dumps({"file_path": "/a", "content": 'x = "1"\n' * 9_000, "lines": list(range(4_000))})
    assert len(text) > 100_000
    automaton = Automaton()
    assert all(automaton.feed(text[at : at + 4]) for at in range(0, len(text), 4))
    assert automaton.complete
    assert counted.steps + counted.skipped == len(text)
