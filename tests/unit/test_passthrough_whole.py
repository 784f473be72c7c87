"""Whole answers of an upstream that speaks Messages: as JSON, as the stream of a server that always streams, and the
other way round."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, Garbled, ProxyError
from ccproxy_sanic.translate.passthrough import to_message
from ccproxy_sanic.translate.usage import Usage
from tests.support import grammar, sdk_reader
from tests.support.messages_stream import ANSWER, ASKED, END, GIVEN, START, STOP, TEXT, error, golden, run, stream

MESSAGE = {
    **START["message"],
    "content": [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "text", "text": "Hello", "citations": [{"type": "char_location", "cited_text": "x"}]},
        {"type": "text", "text": "", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, {"b": "ü"}]}},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result"}]},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def test_only_the_model_of_a_message_changes() -> None:
    text = (
        b' {"content" : [ {"model":"up-model"} ],\n"model":"up-model" , "id":"m1","n":1.0,"usage":{"output_tokens":3}} '
    )
    reply = to_message(b"\xef\xbb\xbf" + text, ASKED)
    assert reply.message == text[1:].replace(b'"model":"up-model" ', b'"model":"claude-asked" ')
    assert reply.usage == Usage(output_tokens=3, known=True)
    assert (reply.upstream_id, reply.upstream_model, reply.stop_reason) == ("m1", GIVEN, None)


def test_what_the_books_want_is_read() -> None:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 5, "output_tokens": 6}
    more = {"service_tier": "standard", "output_tokens_details": {"thinking_tokens": 2}, "server_tool_use": {}}
    reply = to_message(json.dumps({**MESSAGE, "usage": usage | more}).encode(), ASKED)
    assert reply.usage == Usage(3, 4, 5, 6, 2, "standard", known=True)
    assert (reply.stop_reason, reply.upstream_id, reply.upstream_model) == ("tool_use", "msg_1", GIVEN)


def test_a_message_with_members_of_a_wrong_type_passes() -> None:
    text = b'{"content":[],"model":5,"id":[],"stop_reason":{},"usage":"x"}'
    reply = to_message(text, ASKED)
    assert reply.message == text.replace(b"5", b'"claude-asked"')
    assert (reply.usage, reply.upstream_id, reply.upstream_model, reply.stop_reason) == (Usage(), None, None, None)


def test_lone_surrogates_in_an_answer_do_not_break_it() -> None:
    reply = to_message(b'{"content":[{"type":"text","text":"\\ud83d"}],"model":"m"}', ASKED)
    assert json.loads(reply.message)["content"][0]["text"] == "\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"nope",
        b"<html>",
        b"[]",
        b"{",
        b"{}",
        b'{"content":"x"}',
        b'{"content":null}',
        b'{"model":"x"}',
        b"\xff",
    ],
)
def test_what_is_no_message_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        to_message(body, ASKED)


@pytest.mark.parametrize(
    ("value", "status", "message"),
    [
        (error("overloaded_error", "Busy"), 529, "Busy"),
        (
            error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            400,
            "prompt is too long: 9 tokens",
        ),
        ({"error": {"message": "slow down", "code": 429}}, 429, "slow down"),
        ({"type": "error", "error": "text"}, 500, "text"),
    ],
)
def test_an_error_in_spite_of_the_status_is_the_fault(value: dict[str, Any], status: int, message: str) -> None:
    for body in (json.dumps(value).encode(), stream([START, {"type": "error", **value}])):
        with pytest.raises(ProxyError, match=message) as caught:
            to_message(body, ASKED)
        assert caught.value.status == status


# a stream that answers a plain request


@pytest.mark.parametrize(("name", "events"), golden(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_golden_stream_becomes_its_message(name: str, events: list[dict[str, Any]]) -> None:
    if events[-1]["type"] == "error":
        with pytest.raises(ProxyError):
            to_message(stream(events), ASKED)
        return
    wanted = grammar.message_of(events)
    for block in wanted["content"]:
        if isinstance(block.get("input"), str):  # a call cut at the limit
            block["input"] = {"_raw_arguments": block["input"]}
    assert json.loads(to_message(stream(events), ASKED).message) == wanted | {"model": ASKED}


def test_blocks_and_deltas_of_every_kind_are_put_together() -> None:
    def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    json_delta = {"type": "input_json_delta"}
    reply = to_message(
        stream(
            [
                START,
                *block(0, {"type": "thinking", "thinking": "a"}, {"type": "thinking_delta", "thinking": "b"},
                       {"type": "signature_delta", "signature": "s1"}, {"type": "signature_delta", "signature": "s2"}),
                *block(1, {"type": "text", "text": "", "citations": None}, {"type": "text_delta", "text": "c"},
                       {"type": "citations_delta", "citation": {"n": 1}},
                       {"type": "citations_delta", "citation": {"n": 2}}),
                *block(2, {"type": "server_tool_use", "id": "s", "name": "n", "input": {}},
                       {**json_delta, "partial_json": '{"q":'}, {**json_delta, "partial_json": " 1}"}),
                *block(3, {"type": "tool_use", "id": "t", "name": "n", "input": {"kept": 1}}, json_delta),
                *block(4, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "sum"}),
                *block(5, {"type": "new", "n": 1}, {"type": "new_delta", "n": 2, "list": [3]}),
                {**END, "context_management": {"applied_edits": []}},
                STOP,
            ]
        ),
        ASKED,
    )  # fmt: skip
    message = json.loads(reply.message)
    assert message["content"] == [
        {"type": "thinking", "thinking": "ab", "signature": "s2"},
        {"type": "text", "text": "c", "citations": [{"n": 1}, {"n": 2}]},
        {"type": "server_tool_use", "id": "s", "name": "n", "input": {"q": 1}},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"kept": 1}},
        {"type": "compaction", "content": "sum"},
        {"type": "new", "n": 2, "list": [3]},
    ]
    assert message["usage"] == {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 7}
    assert (message["stop_reason"], message["context_management"]) == ("end_turn", {"applied_edits": []})
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.upstream_model) == (10, 7, GIVEN)


@pytest.mark.parametrize("named", [True, False])
def test_a_stream_is_read_with_names_and_without(named: bool) -> None:
    message = json.loads(to_message(b": hello\n\n" + stream(named=named), ASKED).message)
    assert (message["model"], message["content"]) == (ASKED, [{"type": "text", "text": "Hello"}])


def test_a_stream_that_ends_early_is_broken() -> None:
    with pytest.raises(Broken):
        to_message(stream(ANSWER[:-1]), ASKED)


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "index": [], "content_block": {}},
        {"type": "content_block_start", "index": 0, "content_block": 5},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": "x"},
        {"type": "message_delta", "delta": 5},
    ],
)
def test_events_of_an_odd_shape_are_garbled(odd: dict[str, Any]) -> None:
    with pytest.raises(Garbled):
        to_message(stream([START, *TEXT, odd, STOP]), ASKED)


def test_content_that_cannot_be_read_is_garbled() -> None:
    with pytest.raises(Garbled):
        to_message(stream([START]) + b"event: content_block_delta\ndata: {\n\n" + stream([STOP]), ASKED)


# a Message that answers a request for a stream


@pytest.mark.parametrize("cuts", [(), (3, 50, 51)])
def test_a_message_in_json_becomes_events(cuts: tuple[int, ...]) -> None:
    machine, out = run(b"\n " + json.dumps(MESSAGE).encode(), cuts)
    found = grammar.parse(out)
    assert [one["index"] for one in found if one["type"] == "content_block_start"] == list(range(6))
    assert found[0]["message"] == {**MESSAGE, "model": ASKED, "content": [], "stop_reason": None, "stop_details": None}
    assert (machine.done, machine.spoken, machine.stop_reason, machine.fault) == (True, True, "tool_use", None)
    assert (machine.usage.input_tokens, machine.upstream_id, machine.upstream_model) == (3, "msg_1", GIVEN)
    assert json.loads(to_message(out, ASKED).message) == {**MESSAGE, "model": ASKED, "stop_details": None}


def test_the_sdk_reads_the_events_of_a_message_in_json() -> None:
    _, out = run(json.dumps({**MESSAGE, "content": MESSAGE["content"][:1] + MESSAGE["content"][2:5]}).encode())
    message = sdk_reader.accumulate(grammar.parse(out))
    assert message.model == ASKED
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "redacted_thinking"]
    assert message.content[2].input == {"a": [1, {"b": "ü"}]}
    assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 2)


def test_a_message_without_usage_becomes_events_with_zeros() -> None:
    _, out = run(b'{"type":"message","content":[],"context_management":{"applied_edits":[]}}')
    start, delta, _ = grammar.parse(out)
    assert start["message"]["usage"] == delta["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert start["message"]["context_management"] is None
    assert delta["context_management"] == {"applied_edits": []}


@pytest.mark.parametrize("body", [b'{"content":[5]}', b'{"content":{}}', b"{}", b"[]", b'{"content":[]', b"[[]]"])
def test_json_that_is_no_message_is_garbled(body: bytes) -> None:
    machine, out = run(body)
    assert out == b""
    assert isinstance(machine.fault, Garbled)
    assert not machine.started


def test_an_error_in_json_is_the_fault() -> None:
    machine, _ = run(json.dumps(error("overloaded_error", "Busy")).encode())
    assert machine.fault is not None
    assert (machine.fault.status, machine.fault.type, machine.fault.message) == (529, "overloaded_error", "Busy")
