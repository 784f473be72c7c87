"""Calls of functions and custom tools in a Responses stream: arguments, order, names, ids (protocol.md 4.5, 4.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Garbled
from ccproxy_sanic.translate import arguments, tool_slots
from ccproxy_sanic.translate.responses_stream import ResponsesTranslator
from tests.support import grammar
from tests.support import responses as upstream
from tests.support.replies import spec
from tests.support.responses import (
    added,
    answer,
    blocks,
    call,
    custom,
    delta,
    done,
    ended,
    message,
    read,
    run,
    seen,
    sse,
    told,
    unstreamed,
    whole,
)

LS = call("Bash", '{"command":"ls"}')
LISTED = ("Bash", "call_1", {"command": "ls"})
CUT: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


def piece(text: str, index: int = 0, item_id: str = "fc_1") -> dict[str, Any]:
    return delta("function_call_arguments", index, item_id, text)


def test_a_call_starts_when_it_is_announced_and_stops_when_its_arguments_are_whole() -> None:
    machine = ResponsesTranslator(spec())
    kinds = [
        [event["type"] for event in grammar.parse(machine.feed(sse([event])))]
        for event in (added(0, LS), piece('{"command":'), piece('"ls"}'), piece(" "), done(0, LS))
    ]
    start, delta_, stop = "content_block_start", "content_block_delta", "content_block_stop"
    assert kinds == [["message_start", start], [delta_], [delta_, stop], [], []]


def test_arguments_are_taken_from_where_they_are_whole_and_only_once() -> None:
    first = added(0, LS)
    last = whole("function_call_arguments", 0, "fc_1", "arguments", LS["arguments"])
    for found in ([first, last], [first, last, done(0, LS)], [first, done(0, LS)], [done(0, LS)], [first], []):
        assert blocks([*found, ended([LS])]) == [LISTED]


def test_the_end_of_arguments_that_got_lost_comes_with_the_whole() -> None:
    found = [added(0, LS), piece('{"comm')]
    assert blocks([*found, done(0, LS), ended([LS])]) == [LISTED]
    assert blocks([*found, ended([LS])]) == [LISTED]


def test_arguments_that_come_as_an_object() -> None:
    item = {**LS, "arguments": {"command": "ls"}}
    assert blocks([added(0, LS), done(0, item), ended([item])]) == [LISTED]


@pytest.mark.parametrize("text", ["", " ", None])
def test_no_arguments_are_an_empty_object_as_soon_as_the_item_ends(text: str | None) -> None:
    item = {**LS, "arguments": text}
    machine = ResponsesTranslator(spec())
    out = machine.feed(sse([added(0, LS), done(0, item)]))
    assert [event["type"] for event in grammar.parse(out)][-2:] == ["content_block_delta", "content_block_stop"]
    assert blocks([added(0, LS), done(0, item), ended([item])]) == [("Bash", "call_1", {})]


def test_a_call_that_was_cut_is_not_finished() -> None:
    half = call("Bash", '{"command":"rm -rf', status="incomplete")
    found = read([*told(0, half), ended([half], **CUT)])
    assert found["content"][0]["input"] == '{"command":"rm -rf'
    assert found["stop_reason"] == "max_tokens"
    empty = call("Bash", "", status="incomplete")
    machine = ResponsesTranslator(spec())
    assert b"content_block_stop" not in machine.feed(sse(told(0, empty)))


def test_broken_arguments_wait_for_the_end_of_the_answer_which_says_whether_they_were_cut() -> None:
    broken = call("Bash", "ls -la")
    machine = ResponsesTranslator(spec())
    assert b"content_block_stop" not in machine.feed(sse(told(0, broken)))
    assert blocks(answer(broken)) == [("Bash", "call_1", {"_raw_arguments": "ls -la"})]


def test_a_failure_closes_nothing() -> None:
    failed = ended(status="failed", error={"code": "server_error", "message": "x"})
    found = seen([*told(0, LS, 4)[:3], failed])
    assert [event["type"] for event in found[1:]] == ["content_block_start", *["content_block_delta"] * 2, "error"]


def test_whitespace_without_an_end_is_cut_off() -> None:
    found = [added(0, LS), piece("{"), *[piece("\n" * 100)] * 6]
    machine, out = run(sse(found))
    assert isinstance(machine.fault, Garbled)
    assert grammar.parse(out)[-1]["type"] == "error"


def test_what_is_said_during_a_call_comes_behind_it_in_the_order_it_began() -> None:
    other = call("get_time", "{}", "call_2", "fc_2")
    found = [
        *(added(0, LS), piece("{")),
        *told(1, message("first")),
        *told(2, other),
        *told(3, message("last", item_id="msg_2")),
        piece("}"),
        ended(),
    ]
    assert blocks(found) == [
        ("Bash", "call_1", {}),
        ("text", "first"),
        ("get_time", "call_2", {}),
        ("text", "last"),
    ]


def test_only_an_unfinished_call_makes_the_others_wait() -> None:
    thought, text = upstream.thinking("One", "Two"), message("Hi")
    begin, later = told(0, thought)[:2], told(0, thought)[4:5]
    machine = ResponsesTranslator(spec())
    out = machine.feed(sse([*begin, *told(1, text)]))
    assert [event["type"] for event in grammar.parse(out)][-1] == "content_block_stop"
    assert b"Hi" in out
    assert b"Two" in machine.feed(sse(later))


def test_calls_one_after_the_other_at_the_same_index() -> None:
    second = call("get_time", "{}", "call_2", "fc_2")
    assert blocks([*told(0, LS), *told(0, second), ended([LS, second])]) == [LISTED, ("get_time", "call_2", {})]


def test_deltas_find_their_call_by_its_id_where_there_is_no_index() -> None:
    second = call("get_time", '{"a":1}', "call_2", "fc_2")
    ours = [*told(0, LS)[:-2], *told(1, second)[:-2], *told(0, LS)[-2:], *told(1, second)[-2:], ended([LS, second])]
    found = [{key: value for key, value in event.items() if key != "output_index"} for event in ours]
    assert blocks(found) == [LISTED, ("get_time", "call_2", {"a": 1})]


def test_ids_are_never_empty_and_never_used_twice() -> None:
    items = [call("Bash", "{}", call_id, f"fc_{n}") for n, call_id in enumerate(("call_1", "call_1", "used"))]
    found = blocks(answer(*items), used_tool_ids=frozenset({"used"}))
    assert [block[1] for block in found] == ["call_1", "toolu_X1", "toolu_X2"]
    nameless = {**call("Bash", "{}"), "call_id": "", "id": None}
    assert [block[1] for block in blocks([done(0, nameless), ended([nameless])])] == ["toolu_X1"]
    named = {key: value for key, value in call("Bash", "{}").items() if key != "call_id"}
    assert [block[1] for block in blocks([done(0, named), ended([named])])] == ["fc_1"]


def test_a_shortened_name_is_the_client_s_again() -> None:
    assert blocks(answer(call("s", "{}")), names={"s": "mcp__long"})[0][0] == "mcp__long"


def test_a_name_that_comes_at_the_end() -> None:
    nameless = {**added(0, LS), "item": {**added(0, LS)["item"], "name": None}}
    found = [nameless, *told(0, LS)[1:], ended([LS])]
    assert blocks(found) == [LISTED]


def test_a_call_that_never_got_a_name_is_the_only_tool_s_or_nobody_s() -> None:
    item = {**LS, "name": None}
    assert blocks([*told(0, item), ended([item])], tools=frozenset({"Bash"})) == [LISTED]
    found = read([*told(0, item), ended([item])])
    assert (found["content"], found["stop_reason"]) == ([], "end_turn")


def test_free_text_of_a_custom_tool_becomes_its_input() -> None:
    text = 'line\n"quoted" \\ 👋'
    item = custom("apply", text)
    for found in (told(0, item), [added(0, item), done(0, item)], [done(0, item)], []):
        assert blocks([*found, ended([item])]) == [("apply", "call_1", {"input": text})]
    empty = custom("apply", "")
    assert blocks(answer(empty)) == [("apply", "call_1", {"input": ""})]
    assert unstreamed(upstream.response([empty]))["content"][0]["input"] == {"input": ""}


def test_a_custom_tool_s_input_stops_when_its_item_ends() -> None:
    machine = ResponsesTranslator(spec())
    out = machine.feed(sse(told(0, custom("apply", "x"))))
    assert [event["type"] for event in grammar.parse(out)][-1] == "content_block_stop"


def test_a_long_argument_in_small_pieces_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []

    class Counting(arguments.Automaton):
        def feed(self, piece: str) -> bool:
            fed.append(len(piece))
            return super().feed(piece)

    monkeypatch.setattr(tool_slots, "Automaton", Counting)
    item = call("Bash", json.dumps({"content": "x = 1\n" * 17_000}))
    machine, out = run(sse(answer(item, size=40)))
    assert machine.done
    assert sum(fed) == len(item["arguments"])
    assert grammar.message_of(grammar.parse(out))["content"][0]["input"] == json.loads(item["arguments"])
