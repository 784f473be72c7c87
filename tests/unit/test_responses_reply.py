"""Whole Responses answers as Messages (protocol.md 8), whatever form the body has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, Garbled, ProxyError
from ccproxy_sanic.translate.responses_reply import to_message
from ccproxy_sanic.wire.anthropic_reply import TextBlock
from tests.support.replies import spec
from tests.support.responses import answer, call, message, reasoning, response, sse, unstreamed

HI = message("Hi")


def test_what_a_reply_holds_beside_its_message() -> None:
    reply = to_message(json.dumps(response([HI], service_tier="priority")).encode(), spec())
    assert reply.blocks == [TextBlock("Hi")]
    assert (reply.stop_reason, reply.finish_reason) == ("end_turn", "completed")
    assert (reply.upstream_id, reply.upstream_model) == ("resp_1", "gpt-5.5")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.thinking_tokens) == (16, 12, 5)
    assert json.loads(reply.message)["usage"]["service_tier"] == "priority"


def test_the_message_has_our_id_and_the_client_s_model() -> None:
    found = unstreamed(response([HI]))
    assert (found["id"], found["model"], found["role"]) == ("msg_X", "claude-test", "assistant")


def test_items_keep_their_order() -> None:
    items = [reasoning("One"), HI, call("Bash", "{}"), message("Bye", item_id="msg_2")]
    assert [block["type"] for block in unstreamed(response(items))["content"]] == [
        "thinking",
        "text",
        "tool_use",
        "text",
    ]


@pytest.mark.parametrize("form", ["json", "sse", "data", "bom"])
def test_what_the_body_is_decides_how_it_is_read(form: str) -> None:
    stream = sse(answer(HI))
    body = {
        "json": json.dumps(response([HI])).encode(),
        "sse": stream,
        "data": b"\n".join(line for line in stream.split(b"\n") if not line.startswith(b"event")),
        "bom": b"\xef\xbb\xbf\r\n" + json.dumps(response([HI])).encode(),
    }[form]
    assert json.loads(to_message(body, spec()).message)["content"] == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize("body", [b"", b"hello", b"<html>", b"datum: x"])
def test_what_is_neither_json_nor_a_stream(body: bytes) -> None:
    with pytest.raises(Garbled, match="not JSON"):
        to_message(body, spec())


@pytest.mark.parametrize("body", ["{", "[1,", '{"output":', "{'a': 1}"])
def test_json_that_is_none(body: str) -> None:
    with pytest.raises(Garbled):
        to_message(body.encode(), spec())


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"object": "response"}, {"output": None}, {"output": 5.5}])
def test_a_body_without_output_is_no_answer(body: dict[str, Any]) -> None:
    if "output" in body and body["output"] is not None:
        assert unstreamed(body)["content"] == []  # what it holds is no item
        return
    with pytest.raises(Garbled, match="no output"):
        unstreamed(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"[1]"])
def test_a_body_without_an_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(ProxyError):
        to_message(body, spec())


@pytest.mark.parametrize("status", ["in_progress", "queued"])
def test_an_answer_that_is_not_finished(status: str) -> None:
    with pytest.raises(Broken):
        unstreamed(response([HI], status))
    assert unstreamed(response([HI], status), lenient_eof=True)["content"][0]["text"] == "Hi"


def test_an_answer_that_was_cancelled() -> None:
    with pytest.raises(Broken, match="cancelled"):
        unstreamed(response([HI], "cancelled"))


def test_an_answer_without_a_status_is_complete() -> None:
    assert unstreamed({"output": [HI]})["stop_reason"] == "end_turn"


def test_a_stream_that_broke_off_is_no_message() -> None:
    with pytest.raises(Broken):
        to_message(sse(answer(HI)[:-1]), spec())


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "content": "Hi"},
        {"type": "message", "content": ["Hi"]},
        {"type": "message", "content": {"text": "Hi"}},
        {"type": "message", "content": [{"type": "text", "text": "Hi", "annotations": None}]},
        {"type": "message", "content": [None, [], {"type": "output_text", "text": "Hi"}], "id": 7, "phase": 5},
    ],
)
def test_sloppy_messages(item: dict[str, Any]) -> None:
    assert unstreamed({"output": [item]})["content"] == [{"type": "text", "text": "Hi"}]


def test_whitespace_makes_no_block() -> None:
    assert unstreamed(response([message(" \n"), message("")]))["content"] == []


def test_a_stop_string_ends_the_message() -> None:
    found = unstreamed(
        response([message("one STOP"), HI, call("Bash", "{}")]), enforce_stops=("STOP",), stop_sequences=("STOP",)
    )
    assert [block["text"] for block in found["content"]] == ["one "]
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "STOP")


def test_a_cut_call_never_becomes_one_that_is_whole() -> None:
    cut = response([call("Bash", '{"command":"rm -rf')], "incomplete", incomplete_details={"reason": "content_filter"})
    assert unstreamed(cut)["content"][0]["input"] == {"command": "rm -rf", "_cut": True}


def test_lone_surrogates_are_replaced() -> None:
    body = b'{"output":[{"type":"message","content":[{"type":"output_text","text":"a\\ud83d"}]}]}'
    assert json.loads(to_message(body, spec()).message)["content"][0]["text"] == "a\ufffd"
