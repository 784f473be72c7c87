"""The rows of protocol.md 8, one by one: start, end, framing, text, refusals, and which item is meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, Garbled
from ccproxy_sanic.translate.responses_stream import ResponsesTranslator
from tests.support import grammar
from tests.support import responses as upstream
from tests.support.replies import spec
from tests.support.responses import (
    added,
    answer,
    blocks,
    call,
    created,
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

HI = message("Hi")
CUT: dict[str, Any] = {"incomplete_details": {"reason": "max_output_tokens"}}


# start and end


def test_nothing_leaves_before_the_first_item_so_that_a_failure_can_still_be_an_http_error() -> None:
    machine = ResponsesTranslator(spec())
    assert machine.feed(sse(created())) == b""
    assert not machine.started
    out = machine.feed(sse([added(0, HI)]))
    assert [event["type"] for event in grammar.parse(out)] == ["message_start"]
    assert (machine.started, machine.spoken, machine.done, machine.finishing) == (True, False, False, False)


def test_the_first_delta_is_the_first_word() -> None:
    machine = ResponsesTranslator(spec())
    machine.feed(sse([*created(), added(0, HI), delta("output_text", 0, "msg_1", "\n", content_index=0)]))
    assert not machine.spoken
    machine.feed(sse([delta("output_text", 0, "msg_1", "x", content_index=0)]))
    assert machine.spoken


def test_message_start_that_has_left_already_is_not_written_again() -> None:
    _, out = run(sse(answer(HI)), spec(opened=True))
    assert grammar.parse(out)[0]["type"] == "content_block_start"
    _, out = run(json.dumps(upstream.response([HI])).encode(), spec(opened=True))
    assert grammar.parse(out)[0]["type"] == "content_block_start"


def test_nothing_comes_after_the_end() -> None:
    machine = ResponsesTranslator(spec())
    machine.feed(sse([*answer(HI), *told(1, message("late")), "[DONE]"]))
    assert machine.done
    assert machine.feed(sse(answer(HI))) == b""
    assert machine.close() == b""
    assert machine.fault is None


def test_id_model_and_status_of_the_upstream_are_kept() -> None:
    machine, _ = run(sse(answer(HI)))
    assert (machine.upstream_id, machine.upstream_model, machine.finish_reason) == ("resp_1", "gpt-5.5", "completed")
    machine, _ = run(sse(answer(HI, status="incomplete", **CUT)))
    assert (machine.finish_reason, machine.stop_reason) == ("max_output_tokens", "max_tokens")


def test_repr_says_where_it_is() -> None:
    machine, _ = run(sse(answer(HI, call("Bash", "{}"))))
    assert repr(machine) == "<ResponsesTranslator done, blocks 2, tools 1>"
    assert "new" in repr(ResponsesTranslator(spec()))


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "max_tokens"),
        ({"reason": "content_filter"}, "refusal"),
        ({"reason": "max_messages"}, "end_turn"),
        ({"reason": "steered"}, "end_turn"),
        ({"reason": "something new"}, "max_tokens"),
        ({"reason": None}, "max_tokens"),
        (None, "max_tokens"),
    ],
)
def test_why_an_answer_is_incomplete(details: Any, reason: str) -> None:
    found = answer(HI, status="incomplete", incomplete_details=details)
    assert read(found)["stop_reason"] == reason
    assert unstreamed(upstream.response([HI], "incomplete", incomplete_details=details))["stop_reason"] == reason


def test_the_status_of_the_response_counts_more_than_the_name_of_its_event() -> None:
    cut = [*told(0, HI), ended([HI]) | {"response": upstream.response([HI], "incomplete", **CUT)}]
    assert read(cut)["stop_reason"] == "max_tokens"
    sloppy = [*told(0, HI), ended([HI]) | {"response": upstream.response([HI], "in_progress")}]
    assert read(sloppy)["stop_reason"] == "end_turn"


def test_a_last_event_without_a_response_ends_the_answer() -> None:
    assert blocks([*told(0, HI), {"type": "response.completed"}]) == [("text", "Hi")]


def test_usage_leaves_out_what_was_cached_and_written() -> None:
    usage = read(answer(HI))["usage"]
    assert usage == {
        "input_tokens": 16,
        "cache_creation_input_tokens": 4,
        "cache_read_input_tokens": 10,
        "output_tokens": 12,
        "output_tokens_details": {"thinking_tokens": 5},
    }


def test_usage_under_the_names_of_chat_completions_counts_too() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
    found = read(answer(HI, usage=usage))["usage"]
    assert (found["input_tokens"], found["cache_read_input_tokens"], found["output_tokens"]) == (4, 3, 2)


# the end of the connection


def test_a_stream_without_an_answer_is_broken() -> None:
    for data in (b"", b": ping\n\n", sse(created())):
        machine, out = run(data)
        assert isinstance(machine.fault, Broken)
        assert out == b""


def test_a_stream_without_its_last_event_is_broken_unless_the_profile_knows_of_it() -> None:
    found = [*created(), *told(0, HI)]
    machine, _ = run(sse(found))
    assert isinstance(machine.fault, Broken)
    assert blocks(found, lenient_eof=True) == [("text", "Hi")]


def test_an_open_call_is_not_finished_for_a_server_that_never_says_it_has_finished() -> None:
    machine, out = run(sse(told(0, call("Bash", '{"command":"ls"}'))[:3]), spec(lenient_eof=True))
    assert isinstance(machine.fault, Broken)
    assert "content_block_stop" not in [event["type"] for event in grammar.parse(out)]


def test_done_ends_an_answer_whose_items_have_all_ended() -> None:
    assert blocks([*told(0, HI), "[DONE]"]) == [("text", "Hi")]
    machine, _ = run(sse([*told(0, HI)[:-1], "[DONE]"]))
    assert isinstance(machine.fault, Broken)
    machine, _ = run(sse([*created(), "[DONE]"]))
    assert isinstance(machine.fault, Broken)


# wire format


@pytest.mark.parametrize("ending", ["\n\n", "\r\n\r\n", "\r\r"])
def test_odd_framings_of_the_same_answer(ending: str) -> None:
    lines = [json.dumps(event) for event in answer(HI)]
    body = "".join(f"data:{line}{ending}" for line in ["null", "1", *lines, "[DONE]"]).encode()
    for cuts in ((), range(1, len(body))):
        _, out = run(b"\xef\xbb\xbf" + body, cuts=cuts)
        assert grammar.message_of(grammar.parse(out))["content"][0]["text"] == "Hi"


def test_several_events_in_one_payload() -> None:
    body = b"data: " + json.dumps(answer(HI)).encode() + b"\n\n"
    _, out = run(body)
    assert grammar.message_of(grammar.parse(out))["content"][0]["text"] == "Hi"


def test_events_as_a_json_body() -> None:
    body = "\n".join(json.dumps(event) for event in answer(HI)).encode()
    _, out = run(body)
    assert grammar.message_of(grammar.parse(out))["content"][0]["text"] == "Hi"
    machine, _ = run(body.rpartition(b"\n")[0])
    assert isinstance(machine.fault, Broken)


def test_a_payload_that_is_no_json_is_garbled() -> None:
    machine, out = run(sse([*told(0, HI), "hello"]))
    assert isinstance(machine.fault, Garbled)
    assert grammar.parse(out)[-1]["error"]["type"] == "api_error"


def test_an_event_without_end_is_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ResponsesTranslator(spec())
    monkeypatch.setattr(machine, "_splitter", type(machine._splitter)(100))
    machine.feed(b"data: " + b"x" * 200)
    machine.feed(b"x")
    assert isinstance(machine.fault, Garbled)


def test_unknown_events_say_nothing_whatever_they_hold() -> None:
    odd = [
        {"type": "response.shell_call_output_content.delta", "output_index": 0, "delta": {"stdout": "x"}},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": "x" * 1000},
        {"type": "response.mcp_call_arguments.delta", "output_index": 0, "item_id": "msg_1", "delta": "{"},
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.output_item.added", "output_index": 9, "item": None},
        {"delta": "nobody said this"},
    ]
    found = answer(HI)
    assert blocks([*found[:4], *odd, *found[4:]]) == [("text", "Hi")]


# text and refusals


def test_text_parts_of_one_message_are_one_block_and_messages_are_blocks_of_their_own() -> None:
    assert blocks(answer(message("One, ", "two."), message("Three", item_id="msg_2"))) == [
        ("text", "One, two."),
        ("text", "Three"),
    ]


def test_a_text_is_taken_from_where_it_is_whole_and_only_once() -> None:
    item = message("Whole")
    first = added(0, item)
    part = whole("output_text", 0, "msg_1", "text", "Whole", content_index=0)
    for found in ([first, part, done(0, item)], [first, done(0, item)], [part], [done(0, item)], []):
        assert blocks([*created(), *found, ended([item])]) == [("text", "Whole")]


def test_one_part_in_pieces_and_the_next_one_whole() -> None:
    found = [
        delta("output_text", 0, "msg_1", "a", content_index=0),
        whole("output_text", 0, "msg_1", "text", "a", content_index=0),
        whole("output_text", 0, "msg_1", "text", "b", content_index=1),
    ]
    assert blocks([*found, ended()]) == [("text", "ab")]


def test_a_message_closes_its_block_when_it_ends() -> None:
    found = seen([*created(), *told(0, HI), ended([HI])])
    machine = ResponsesTranslator(spec())
    out = machine.feed(sse([*created(), *told(0, HI)]))
    assert grammar.parse(out)[-1]["type"] == "content_block_stop"
    assert [event["type"] for event in found][-2:] == ["message_delta", "message_stop"]


def test_text_of_a_message_that_had_ended_is_not_lost() -> None:
    late = delta("output_text", 0, "msg_1", "late", content_index=0)
    assert blocks([*told(0, HI), late, ended([HI])]) == [("text", "Hi"), ("text", "late")]


def test_a_refusal_is_shown_and_is_the_reason() -> None:
    found = read(answer(message("Well. ", upstream.refusal_part("I can't."))))
    assert found["content"][0]["text"] == "Well. I can't."
    assert (found["stop_reason"], found["stop_details"]["explanation"]) == ("refusal", "I can't.")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_stop_string_ends_the_message_wherever_it_is_cut(size: int) -> None:
    found = read(
        answer(message("one STOP two"), call("Bash", "{}"), size=size),
        enforce_stops=("STOP",),
        stop_sequences=("STOP",),
    )
    assert [block["text"] for block in found["content"]] == ["one "]
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "STOP")


def test_what_looked_like_a_stop_string_is_shown_before_what_follows() -> None:
    found = answer(message("one ST"), call("Bash", "{}"))
    assert blocks(found, enforce_stops=("STOP",))[0] == ("text", "one ST")


def test_think_tags_at_the_beginning_are_reasoning() -> None:
    found = answer(message("<think>Hm</think>\n\nHi"), size=4)
    assert blocks(found, think_tags=True) == [("thinking", "Hm", "sig_X"), ("text", "Hi")]
    assert blocks(found, think_tags=True, thinking="drop") == [("text", "Hi")]


# which item an event belongs to


def test_items_of_one_index_are_told_apart_by_their_kind() -> None:
    text, ran = told(0, message("Text")), told(0, call("Bash", '{"command":"ls"}'))
    mixed = [event for pair in zip(text, ran, strict=False) for event in pair]
    found = [*mixed, *text[len(ran) :], *ran[len(text) :], ended([message("Text"), call("Bash", '{"command":"ls"}')])]
    assert sorted(block[0] for block in blocks(found)) == ["Bash", "text"]


def test_an_item_that_is_announced_twice_is_one() -> None:
    found = told(0, HI)
    assert blocks([found[0], *found, ended([HI])]) == [("text", "Hi")]


def test_an_item_that_is_announced_after_its_first_words_is_one() -> None:
    found = told(0, HI)
    assert blocks([*found[2:4], found[0], *found[4:], ended([HI])]) == [("text", "Hi")]


def test_a_finished_response_with_other_ids_repeats_nothing() -> None:
    again = [message("Hi", item_id="other"), call("Bash", "{}", item_id="another")]
    assert len(blocks([*told(0, HI), *told(1, call("Bash", "{}")), ended(again)])) == 2


# whatever JSON comes (wire/lenient.py)


@pytest.mark.parametrize("index", ["0", 0.0, True, [], "x", float("1e400"), None])
def test_an_index_may_be_written_otherwise_or_be_none(index: Any) -> None:
    found = [event | {"output_index": index} if "output_index" in event else event for event in told(0, HI)]
    assert blocks([*found, ended([HI])]) == [("text", "Hi")]


def test_numbers_for_strings_are_read_as_text() -> None:
    assert blocks([delta("output_text", 0, "msg_1", "1") | {"delta": 5}, ended()]) == [("text", "5")]
    assert blocks([delta("output_text", 0, "msg_1", "1") | {"delta": True}, ended()]) == []


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900])
def test_json_without_a_bottom_is_garbled(deep: bytes) -> None:
    body = b'data: {"type":5,"delta":' + deep + b"}\n\n"
    machine, _ = run(body)
    assert isinstance(machine.fault, Garbled)


def test_the_machine_fails_where_an_event_without_end_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ResponsesTranslator(spec())
    monkeypatch.setattr(machine, "_splitter", type(machine._splitter)(400))
    machine.feed(sse([added(0, HI)]) + b"data: " + b"x" * 500)
    machine.close()
    assert isinstance(machine.fault, Garbled)
