"""Arguments that came whole, or lack their end: what the tool gets (protocol.md 3.1, 4.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.translate.arguments import Automaton, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("  \n", {}),
        ("null", {}),
        ('""', {}),
        ('"null"', {}),
        ('" "', {}),
        ("{}", {}),
        ('{"a":1}', {"a": 1}),
        (' {"a":1}\n', {"a": 1}),
        ('"{\\"a\\":1}"', {"a": 1}),
        ('"[1]"', {"value": [1]}),
        ('"[1', {"value": [1]}),
        ('"{\\"a\\":[1', {"a": [1]}),
        ('"{oops"', {"_raw_arguments": "{oops"}),
        ("[1,2]", {"value": [1, 2]}),
        ("[1,2", {"value": [1, 2]}),
        ("5", {"value": 5}),
        ("true", {"value": True}),
        ('"hello"', {"value": "hello"}),
        ('"5"', {"value": "5"}),
        ('{"a":"x', {"a": "x"}),
        ('{"a":{"b":[1', {"a": {"b": [1]}}),
        ('{"a":', {"a": None}),
        ('{"a":tr', {"a": True}),
        ("tr", {"_raw_arguments": "tr"}),
        ("-", {"_raw_arguments": "-"}),
        ("ls -la", {"_raw_arguments": "ls -la"}),
        (" ls é\n", {"_raw_arguments": " ls é\n"}),
        ("{'a':1}", {"_raw_arguments": "{'a':1}"}),
        ('{"a":1}}', {"_raw_arguments": '{"a":1}}'}),
        ('{"a":1,}', {"_raw_arguments": '{"a":1,}'}),
        ('{"a":NaN}', {"_raw_arguments": '{"a":NaN}'}),
        ('{"a":1} // x', {"_raw_arguments": '{"a":1} // x'}),
        ('{"a":"\\ud83d"}', {"_raw_arguments": '{"a":"\\ud83d"}'}),
    ],
)
def test_what_the_tool_gets(text: str, value: Any) -> None:
    assert json.loads(whole(text, cut=False)) == value


@pytest.mark.parametrize("text", ['{"a":"x', "[1,2", '"{\\"a\\":1', '{"a":1', "tr"])
def test_a_cut_answer_is_never_closed(text: str) -> None:
    assert json.loads(whole(text, cut=True)) == {"_raw_arguments": text}


def test_a_doubly_encoded_half_is_never_closed_in_a_cut_answer() -> None:
    assert json.loads(whole('"{\\"a\\":1"', cut=True)) == {"_raw_arguments": '{"a":1'}


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("", "{}"),
        (" ", "{}"),
        ("{", "}"),
        ('{"', '":null}'),
        ('{"a', '":null}'),
        ('{"a"', ":null}"),
        ('{"a":', "null}"),
        ('{"a": ', "null}"),
        ('{"a":"', '"}'),
        ('{"a":"x\\', '\\"}'),
        ('{"a\\', '\\":null}'),
        ('{"a":"\\u', '0000"}'),
        ('{"a":"\\uA', '000"}'),
        ('{"a":"\\uAB', '00"}'),
        ('{"a":"\\uABC', '0"}'),
        ('{"a":"\\ud', '000"}'),
        ('{"a":"\\ud8', '00\\udc00"}'),
        ('{"a":"\\ud83', '0\\udc00"}'),
        ('{"a":"\\ud83d', '\\udc00"}'),
        ('{"a":"\\ud83d\\', 'udc00"}'),
        ('{"a":"\\ud83d\\u', 'dc00"}'),
        ('{"a":"\\ud83d\\ud', 'c00"}'),
        ('{"a":"\\ud83d\\ude', '00"}'),
        ('{"a":"\\ud83d\\ude0', '0"}'),
        ('{"a":"\\ud83d\\ude00', '"}'),
        ('{"a":-', "0}"),
        ('{"a":0', "}"),
        ('{"a":1', "}"),
        ('{"a":1.', "0}"),
        ('{"a":1.5', "}"),
        ('{"a":1e', "0}"),
        ('{"a":1e+', "0}"),
        ('{"a":1e5', "}"),
        ('{"a":t', "rue}"),
        ('{"a":tr', "ue}"),
        ('{"a":tru', "e}"),
        ('{"a":f', "alse}"),
        ('{"a":fa', "lse}"),
        ('{"a":fal', "se}"),
        ('{"a":fals', "e}"),
        ('{"a":n', "ull}"),
        ('{"a":nu', "ll}"),
        ('{"a":nul', "l}"),
        ('{"a":1 ', "}"),
        ('{"a":1,', '"":null}'),
        ('{"a":[', "]}"),
        ('{"a":[1,', "null]}"),
        ('{"a":[{"b":[', "]}]}"),
        ('{"a":1}', ""),
        ('{"a":1} ', ""),
    ],
)
def test_the_shortest_ending(text: str, ending: str) -> None:
    automaton = Automaton()
    assert automaton.feed(text)
    assert automaton.ending() == ending
    json.loads(text + ending)


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("{", '"_cut":true}'),
        ('{"a":1', ',"_cut":true}'),
        ('{"a":{', '},"_cut":true}'),
        ('{"a":"x', '","_cut":true}'),
    ],
)
def test_the_ending_that_names_the_cut(text: str, ending: str) -> None:
    automaton = Automaton()
    assert automaton.feed(text)
    assert automaton.ending_of_cut() == ending
