"""Every row and every entry of the automaton's tables: each state, with each character, against jiter."""

from __future__ import annotations

import json
from typing import Any

import jiter
import pytest

from ccproxy_sanic.translate.arguments import TABLE, Automaton, whole
from tests.support.grammar import is_object

# state -> texts that end in it
REACHED = {
    "start": ["", " "],
    "member": ["{", "{\n"],
    "in": ['{"', '{"a":"', '{"a":"\\n', '{"a":"\\u00e9', '{"a":"\\ud83d\\ude00'],
    "colon": ['{"a"', '{"a" '],
    "value": ['{"a":', '{"a": ', '{"a":[1,'],
    "first": ['{"a":[', '{"a":[[\t'],
    "next": ['{"a":1,', '{"a":1, '],
    "after": ['{"a":1 ', '{"a":"b"', '{"a":[]', '{"a":[1 ', '{"a":[{}', "{}", '{"a":1} ', '{"a":true', '{"a":[null'],
    "escape": ['{"a":"\\', '{"\\'],
    "u1": ['{"a":"\\u'],
    "u2": ['{"a":"\\u1', '{"a":"\\ue'],
    "u3": ['{"a":"\\u12', '{"a":"\\ud7'],
    "u4": ['{"a":"\\u123'],
    "d2": ['{"a":"\\ud', '{"a":"\\uD'],
    "h3": ['{"a":"\\ud8', '{"a":"\\udb'],
    "h4": ['{"a":"\\ud83'],
    "low": ['{"a":"\\ud83d'],
    "lowu": ['{"a":"\\ud83d\\'],
    "low1": ['{"a":"\\ud83d\\u'],
    "low2": ['{"a":"\\ud83d\\ud', '{"a":"\\ud83d\\uD'],
    "minus": ['{"a":-'],
    "zero": ['{"a":0', '{"a":-0', '{"a":[0'],
    "int": ['{"a":1', '{"a":-9', '{"a":[12'],
    "dot": ['{"a":0.', '{"a":1.'],
    "fraction": ['{"a":0.5', '{"a":[1.25'],
    "exponent": ['{"a":1e', '{"a":0E', '{"a":1.5e'],
    "sign": ['{"a":1e+', '{"a":1e-'],
    "power": ['{"a":1e5', '{"a":[1e-07'],
    **{f"t{size}": ['{"a":' + "true"[:size]] for size in (1, 2, 3)},
    **{f"f{size}": ['{"a":' + "false"[:size]] for size in (1, 2, 3, 4)},
    **{f"n{size}": ['{"a":' + "null"[:size]] for size in (1, 2, 3)},
}
CHARACTERS = [*map(chr, range(128)), "\u00a0", "é", "\ufeff"]
VALUES: list[Any] = [{}, [], "", 0, -1, 1.5, True, False, None]


def legal(text: str) -> bool:
    """Whether ``text`` is a JSON object or the beginning of one, by jiter."""
    inner = text.lstrip(" \t\r\n")
    if not inner.startswith("{"):
        return not inner
    try:
        jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError as error:
        if not str(error).startswith("EOF while parsing"):
            return False
        # Of a \\u that is not whole jiter says EOF whatever follows it: some ending must make it an object.
        return "\\u" not in text or any(is_object(text + rest) for rest in RESTS)
    return True


HALVES = ["", "0", "00", "000", "0000", "\\udc00", "udc00", "dc00", "c00", "0\\udc00", "00\\udc00"]
RESTS = ["}", ":0}", *(half + rest for half in HALVES for rest in ('"}', '":0}'))]


@pytest.mark.parametrize("state", REACHED)
def test_a_state_takes_what_can_follow_and_nothing_else(state: str) -> None:
    for text in REACHED[state]:
        assert Automaton().feed(text), text
        for character in CHARACTERS:
            assert Automaton().feed(text + character) == legal(text + character), (text, character)


@pytest.mark.parametrize("state", REACHED)
def test_what_is_cut_in_a_state_can_be_closed(state: str) -> None:
    for text in REACHED[state]:
        automaton = Automaton()
        assert automaton.feed(text)
        closed = text + automaton.ending()
        assert is_object(closed), closed
        if automaton.begun and not automaton.complete:
            assert json.loads(text + automaton.ending_of_cut())["_cut"] is True


def test_every_state_is_reached_here() -> None:
    assert set(TABLE) == {*REACHED, "any"}


@pytest.mark.parametrize("value", VALUES)
def test_any_value_may_be_a_whole_argument_that_is_no_object(value: Any) -> None:
    automaton = Automaton("any")
    assert automaton.feed(json.dumps(value))
    assert automaton.complete


@pytest.mark.parametrize("number", ["0", "-0", "12", "1.5", "1e5", "1E-07", "0.5e+1"])
def test_a_number_is_whole_where_it_may_end(number: str) -> None:
    assert whole(number, cut=False) == '{"value":' + number + "}"
    for at in range(1, len(number)):
        automaton = Automaton("any")
        assert automaton.feed(number[:at])
        assert automaton.complete == number[at - 1].isdigit()
