"""Tool slots and argument safety: protocol.md 4.5 and 4.6 row by row, and what peers got wrong (peers.md 3 A)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Garbled
from tests.support import grammar
from tests.support.replies import DONE, blocks, chunk, events, message, run, sse, tool

END = [chunk(finish="tool_calls"), DONE]


def cut(*chunks: Any, finish: str = "length", **changes: Any) -> list[dict[str, Any]]:
    return events([*chunks, chunk(finish=finish), DONE], **changes)


def arguments(found: list[dict[str, Any]]) -> str:
    return "".join(event["delta"].get("partial_json", "") for event in found if event["type"] == "content_block_delta")


# which slot


def test_everything_at_index_0_with_other_ids_is_other_calls() -> None:
    chunks = [
        tool('{"a":1}', call_id="c1", name="Bash"),
        tool('{"a":', call_id="c2", name="Bash"),
        tool("2}"),
        tool(call_id="c3", name="get_time"),
        tool("{}", call_id="c4", name="get_time"),
    ]
    assert blocks([*chunks, *END]) == [
        ("Bash", "c1", {"a": 1}),
        ("Bash", "c2", {"a": 2}),
        ("get_time", "c3", {}),
        ("get_time", "c4", {}),
    ]


def test_another_id_in_the_middle_of_arguments_is_the_same_call() -> None:
    chunks = [tool('{"a":', call_id="c1", name="Bash"), tool("1}", call_id="c2", name="Bash")]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": 1})]


def test_another_id_without_a_name_is_the_same_call() -> None:
    assert blocks([tool(call_id="c1", name="Bash"), tool("{}", call_id="c2"), *END]) == [("Bash", "c1", {})]


def test_the_same_id_on_every_delta_is_the_same_call() -> None:
    chunks = [tool(piece, call_id="c1", name="Bash") for piece in ('{"a"', ":", "1", "}")]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": 1})]


def test_the_position_in_the_chunk_means_nothing() -> None:
    chunks = [
        chunk({"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "Bash", "arguments": '{"b":'}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Bash", "arguments": '{"a":1}'}}]}),
        chunk({"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]}),
    ]
    assert blocks([*chunks, *END]) == [("Bash", "c2", {"b": 2}), ("Bash", "c1", {"a": 1})]


def test_without_an_index_the_id_decides() -> None:
    chunks = [
        tool('{"a":', index=None, call_id="c1", name="Bash"),
        tool('{"b":', index=None, call_id="c2", name="Bash"),
        tool("1}", index=None, call_id="c1"),
        tool("2}", index=None, call_id="c2"),
    ]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": 1}), ("Bash", "c2", {"b": 2})]


def test_without_index_and_id_a_name_begins_a_new_call_when_the_last_one_is_whole() -> None:
    chunks = [
        tool("{}", index=None, name="Bash"),
        tool('{"a":', index=None, name="get_time"),
        tool("1", index=None, name="get_time"),
        tool("}", index=None),
        tool("", index=None),
    ]
    assert blocks([*chunks, *END]) == [("Bash", "toolu_X1", {}), ("get_time", "toolu_X2", {"a": 1})]


def test_arguments_before_anything_else_wait_for_their_name() -> None:
    chunks = [tool('{"a":', index=None), tool(index=None, call_id="c1"), tool("1}", index=None, name="Bash")]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": 1})]


def test_an_id_that_comes_late_belongs_to_the_open_call() -> None:
    chunks = [tool(name="Bash"), tool("{", call_id="c1", name="Bash"), tool("}", call_id="c1")]
    assert blocks([*chunks, *END]) == [("Bash", "toolu_X1", {})]
    assert blocks([tool("{}", name="Bash"), tool("{}", call_id="c1", name="Bash"), *END]) == [
        ("Bash", "toolu_X1", {}),
        ("Bash", "c1", {}),
    ]


def test_an_empty_list_of_calls_is_none() -> None:
    chunks = [tool('{"a":', call_id="c1", name="Bash"), chunk({"tool_calls": []}), tool("1}")]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": 1})]


def test_the_legacy_function_call_is_one_call() -> None:
    pieces: list[dict[str, Any]] = [{"name": "Bash", "arguments": ""}, {"arguments": '{"a":'}, {"arguments": "1}"}]
    chunks = [*(chunk({"function_call": piece}) for piece in pieces), chunk(finish="function_call"), DONE]
    assert blocks(chunks) == [("Bash", "toolu_X1", {"a": 1})]


def test_a_function_call_that_repeats_the_tool_call_is_ignored() -> None:
    call = {"name": "Bash", "arguments": '{"a":1}'}
    both = chunk({"tool_calls": [{"index": 0, "id": "c1", "function": call}], "function_call": call})
    assert blocks([both, *END]) == [("Bash", "c1", {"a": 1})]


# id


@pytest.mark.parametrize("missing", ["", " ", None])
def test_a_missing_id_is_made(missing: Any) -> None:
    assert blocks([tool("{}", call_id=missing, name="Bash"), *END]) == [("Bash", "toolu_X1", {})]


def test_an_empty_id_overwrites_nothing() -> None:
    chunks = [tool(call_id="c1", name="get"), tool(call_id="", name="_time"), tool("{}", call_id="c2")]
    assert blocks([*chunks, *END]) == [("get_time", "c1", {})]


def test_an_id_used_twice_is_made_new() -> None:
    chunks = [tool("{}", call_id="c1", name="Bash"), tool("{}", index=1, call_id="c1", name="Bash")]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {}), ("Bash", "toolu_X1", {})]


def test_an_id_of_the_history_is_made_new() -> None:
    chunks = [tool("{}", call_id="call_0", name="Bash"), *END]
    assert blocks(chunks, used_tool_ids=frozenset({"call_0"})) == [("Bash", "toolu_X1", {})]


# name


def test_a_declared_name_starts_the_block_at_once() -> None:
    _, out = run(sse([tool(call_id="c1", name="Bash")]))
    assert [event["type"] for event in grammar.parse(out)][:2] == ["message_start", "content_block_start"]


def test_an_unknown_name_waits_for_its_arguments() -> None:
    machine, out = run(sse([tool(call_id="c1", name="Unknown")]))
    assert [event["type"] for event in grammar.parse(out)] == ["message_start", "error"]
    assert blocks([tool(call_id="c1", name="Unknown"), tool("{}"), *END]) == [("Unknown", "c1", {})]
    assert machine.fault is not None


def test_pieces_of_a_name_are_joined() -> None:
    assert blocks([*(tool(name=piece) for piece in ("Un", "kno", "wn")), tool("{}"), *END]) == [
        ("Unknown", "toolu_X1", {})
    ]
    assert blocks([tool(name="get_"), tool("{}", name="weather"), *END]) == [("get_weather", "toolu_X1", {})]


def test_a_repeated_name_is_ignored() -> None:
    assert blocks([tool(name="Other"), tool(name="Other"), tool("{}", name="Other"), *END]) == [
        ("Other", "toolu_X1", {})
    ]
    assert blocks([tool(name="Bash"), tool(name="Bash"), tool("{}", name="get_time"), *END]) == [
        ("Bash", "toolu_X1", {})
    ]


def test_a_later_call_starts_the_one_that_waits_for_more_of_its_name() -> None:
    chunks = [tool(call_id="c1", name="Other"), tool("{}", index=1, call_id="c2", name="Bash")]
    _, out = run(sse(chunks))
    starts = [event["content_block"]["name"] for event in grammar.parse(out) if event["type"] == "content_block_start"]
    assert starts == ["Other"]
    assert blocks([*chunks, *END]) == [("Other", "c1", {}), ("Bash", "c2", {})]


def test_a_call_that_never_gets_a_name_is_dropped() -> None:
    out = message([tool('{"a":1}', call_id="c1"), *END])
    assert (out["content"], out["stop_reason"]) == ([], "end_turn")
    assert blocks([tool("{}", call_id="c1", name=" "), tool("{}", index=1, name="Bash"), *END]) == [
        ("Bash", "toolu_X1", {})
    ]


def test_a_nameless_call_is_of_the_only_tool_there_is() -> None:
    out = message([tool('{"a":1}', call_id="c1"), *END], tools=frozenset({"Bash"}))
    assert (out["content"][0]["name"], out["stop_reason"]) == ("Bash", "tool_use")


def test_shortened_names_are_mapped_back() -> None:
    out = blocks([tool("{}", name="short"), *END], tools=frozenset({"short"}), names={"short": "a_very_long_name"})
    assert out == [("a_very_long_name", "toolu_X1", {})]


# order


def test_text_waits_for_the_end_of_open_arguments() -> None:
    chunks = [
        tool('{"a":', call_id="c1", name="Bash"),
        chunk({"content": "x"}),
        chunk({"reasoning": "Hm"}),
        chunk({"refusal": "no"}),
        tool("1}"),
    ]
    assert blocks([*chunks, *END]) == [
        ("Bash", "c1", {"a": 1}),
        ("text", "x"),
        ("thinking", "Hm", "sig_X"),
        ("text", "no"),
    ]


def test_the_first_call_streams_and_the_next_one_waits() -> None:
    chunks = [
        tool('{"a":', call_id="c1", name="Bash"),
        tool('{"b":', index=1, call_id="c2", name="Bash"),
        tool("2", index=1),
        tool("1}"),
        tool("}", index=1),
    ]
    deltas = [e["delta"]["partial_json"] for e in events([*chunks, *END]) if e["type"] == "content_block_delta"]
    assert deltas == ['{"a":', "1}", '{"b":2', "}"]


def test_what_waits_at_the_finish_comes_in_order() -> None:
    chunks = [
        tool('{"a":', call_id="c1", name="Bash"),
        chunk({"content": " x"}),
        tool('{"b":', index=1, call_id="c2", name="Bash"),
    ]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": None}), ("Bash", "c2", {"b": None}), ("text", " x")]


def test_late_data_of_a_whole_call_is_dropped() -> None:
    chunks = [tool('{"a":1}', call_id="c1", name="Bash"), tool(" \n"), tool('{"b":2}'), tool("}")]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": 1})]


def test_a_call_is_closed_as_soon_as_it_is_whole() -> None:
    _, out = run(sse([tool('{"a":1}', call_id="c1", name="Bash")]))
    assert [event["type"] for event in grammar.parse(out)][-2:] == ["content_block_stop", "error"]


# arguments


@pytest.mark.parametrize(
    ("pieces", "value"),
    [
        ([{"a": {"b": "é"}}], {"a": {"b": "é"}}),
        (["  ", "\n", '{"a"', ":1}"], {"a": 1}),
        (['"{\\"a\\"', ':1}"'], {"a": 1}),
        (["[1,", "2"], {"value": [1, 2]}),
        (["ls", " -la"], {"_raw_arguments": "ls -la"}),
        ([" ", "ls"], {"_raw_arguments": " ls"}),
        (["{'a'", ":1}"], {"_raw_arguments": "{'a':1}"}),
        (['{"a":1}}'], {"_raw_arguments": '{"a":1}}'}),
        (['{"a":1', "}}"], {"a": 1}),
        (['{"a":', "NaN", "}"], {"a": None}),
        (['{"a":"x', "\n", '"}'], {"a": "x"}),
        (['{"a":"\\ud83d', '"}'], {"a": "\U0001f400"}),
        (["null"], {}),
        (["", None], {}),
        ([" "], {}),
        ([{}], {}),
        ([5], {"value": 5}),
        ([True], {"value": True}),
    ],
)
def test_arguments_become_an_object(pieces: list[Any], value: Any) -> None:
    chunks = [tool(call_id="c1", name="Bash"), *(tool(piece) for piece in pieces)]
    assert blocks([*chunks, *END]) == [("Bash", "c1", value)]
    if len(pieces) == 1 and isinstance(pieces[0], str):
        assert blocks([tool(pieces[0], call_id="c1", name="Bash"), *END]) == [("Bash", "c1", value)]


def test_arguments_that_waited_are_checked_piece_by_piece_too() -> None:
    chunks = [
        tool('{"x":', call_id="c1", name="Bash"),
        tool('{"a":1,', index=1, call_id="c2", name="Bash"),
        tool("tru,}", index=1),
        tool("1}"),
    ]
    assert blocks([*chunks, *END])[1] == ("Bash", "c2", {"a": 1, "": None})


@pytest.mark.parametrize("finish", ["tool_calls", "length", "content_filter"])
@pytest.mark.parametrize("nothing", [None, "", " "])
def test_no_arguments_are_one_empty_object(nothing: Any, finish: str) -> None:
    found = cut(tool(nothing, call_id="c1", name="Bash"), finish=finish)
    assert [e["delta"]["partial_json"] for e in found if e["type"] == "content_block_delta"] == ["{}"]


@pytest.mark.parametrize("pieces", [['{"a":'], ['{"a":', "tru,"], ["{"]])
def test_nothing_is_appended_at_the_limit(pieces: list[str]) -> None:
    found = cut(tool(call_id="c1", name="Bash"), *(tool(piece) for piece in pieces))
    assert arguments(found) == pieces[0]
    assert found[-2]["delta"]["stop_reason"] == "max_tokens"


def test_a_held_half_is_never_closed_at_the_limit() -> None:
    assert json.loads(arguments(cut(tool('"{\\"a\\":1', name="Bash")))) == {"_raw_arguments": '"{\\"a\\":1'}
    assert json.loads(arguments(cut(tool('"{\\"a\\":1}"', name="Bash")))) == {"a": 1}


@pytest.mark.parametrize(
    ("finish", "reason"), [("content_filter", "refusal"), ("model_length", "model_context_window_exceeded")]
)
def test_a_call_cut_by_something_else_can_be_told_from_a_whole_one(finish: str, reason: str) -> None:
    found = cut(tool('{"a":"x', call_id="c1", name="Bash"), finish=finish)
    assert json.loads(arguments(found)) == {"a": "x", "_cut": True}
    assert found[-2]["delta"]["stop_reason"] == reason
    assert json.loads(arguments(cut(tool('{"a":1}', call_id="c1", name="Bash"), finish=finish))) == {"a": 1}


def test_a_refused_call_cut_at_the_limit_can_be_told_from_a_whole_one() -> None:
    found = cut(chunk({"refusal": "No"}), tool('{"a":"x', call_id="c1", name="Bash"))
    assert json.loads(arguments(found)) == {"a": "x", "_cut": True}
    assert found[-2]["delta"]["stop_reason"] == "refusal"


def test_custom_tools_get_their_text_as_input() -> None:
    def custom(**members: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": members}]})

    chunks = [custom(name="Bash"), custom(input='say "'), custom(input='é"\n')]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"input": 'say "é"\n'})]


def test_a_model_that_only_writes_whitespace_is_stopped() -> None:
    chunks = [tool('{"a":', call_id="c1", name="Bash"), *([tool("\n" * 50)] * 20)]
    machine, out = run(sse([*chunks, *END]))
    assert isinstance(machine.fault, Garbled)
    assert grammar.parse(out)[-1]["type"] == "error"


def test_whitespace_in_a_string_is_no_endless_whitespace() -> None:
    chunks = [tool('{"a":"', call_id="c1", name="Bash"), *([tool(" " * 50)] * 20), tool('"}')]
    assert blocks([*chunks, *END]) == [("Bash", "c1", {"a": " " * 1000})]


# Gemini's thought signatures


def gemini(call_id: str, signature: Any) -> dict[str, Any]:
    call: dict[str, Any] = {"id": call_id, "function": {"name": "Bash", "arguments": "{}"}}
    return chunk({"tool_calls": [call | {"extra_content": {"google": {"thought_signature": signature}}}]})


def test_a_thought_signature_travels_before_its_call() -> None:
    def sign(kind: str, data: Any) -> str:
        return f"{kind}:{json.dumps(data)}"

    assert blocks([gemini("c1", "s1"), gemini("c2", "s2"), *END], sign=sign) == [
        ("thinking", "", 'gem:{"c1": "s1"}'),
        ("Bash", "c1", {}),
        ("thinking", "", 'gem:{"c2": "s2"}'),
        ("Bash", "c2", {}),
    ]
    assert blocks([chunk({"reasoning": "Hm"}), gemini("c1", "s1"), *END], sign=sign) == [
        ("thinking", "Hm", 'gem:{"c1": "s1"}'),
        ("Bash", "c1", {}),
    ]
    details = chunk({"reasoning_details": [{"data": "x"}]})
    assert blocks([details, gemini("c1", "s1"), *END], sign=sign)[:2] == [
        ("thinking", "", 'or:[{"data": "x"}]'),
        ("thinking", "", 'gem:{"c1": "s1"}'),
    ]


def test_a_thought_signature_follows_the_id_that_the_client_gets() -> None:
    out = blocks([gemini("", "s1"), *END], sign=lambda kind, data: f"{kind}:{json.dumps(data)}")
    assert out == [("thinking", "", 'gem:{"toolu_X1": "s1"}'), ("Bash", "toolu_X1", {})]


@pytest.mark.parametrize("nothing", [None, "", 5, {}])
def test_an_empty_thought_signature_is_none(nothing: Any) -> None:
    assert blocks([gemini("c1", nothing), *END]) == [("Bash", "c1", {})]


def test_without_thinking_there_is_no_place_for_a_thought_signature() -> None:
    assert blocks([gemini("c1", "s1"), *END], thinking="drop") == [("Bash", "c1", {})]
