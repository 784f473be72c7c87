"""The reply's tables, entry by entry: counts, finish reasons as servers write them, service tiers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Garbled, ProxyError
from ccproxy_sanic.sse import Splitter
from ccproxy_sanic.translate.reasoning import joined
from ccproxy_sanic.translate.response import to_message
from ccproxy_sanic.translate.stream import StreamTranslator
from tests.support import grammar
from tests.support.replies import DONE, blocks, chunk, events, message, run, spec, sse, tool


@pytest.mark.parametrize("count", [True, False, None, "x", [], {}, float("inf"), -1])
def test_a_count_that_is_none_is_nothing(count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": count}
    found = message([chunk({"content": "a"}, "stop", usage=usage), DONE])["usage"]
    assert (found["input_tokens"], found["output_tokens"]) == (0, 0)


@pytest.mark.parametrize("count", [7, "7", 7.0])
def test_a_count_may_be_written_otherwise(count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 1}
    assert message([chunk({"content": "a"}, "stop", usage=usage), DONE])["usage"]["input_tokens"] == 7


@pytest.mark.parametrize("not_yet", ["null", "None", "", None])
def test_a_finish_reason_that_is_none_yet_does_not_end_the_answer(not_yet: str | None) -> None:
    assert blocks([chunk({"content": "a"}, not_yet), chunk({"content": "b"}, "stop"), DONE]) == [("text", "ab")]
    assert events([chunk({"content": "a"}, not_yet)])[-1]["type"] == "error"


@pytest.mark.parametrize("kind", ["text", "output_text"])
def test_parts_of_text(kind: str) -> None:
    assert blocks([chunk({"content": [{"type": kind, "text": "a"}]}, "stop"), DONE]) == [("text", "a")]


@pytest.mark.parametrize("head", ["data: ", "event: x\ndata: ", "id: 1\ndata: ", "retry: 5\ndata: ", ": hello\ndata: "])
def test_a_stream_as_body_of_a_plain_request_is_known_by_its_first_line(head: str) -> None:
    body = head.encode() + json.dumps(chunk({"content": "a"}, "stop")).encode() + b"\n\ndata: [DONE]\n\n"
    assert json.loads(to_message(body, spec()).message)["content"][0]["text"] == "a"


@pytest.mark.parametrize("body", [b"", b"hello", b"<html>", b"datum: x", b"~{}"])
def test_what_is_neither_json_nor_a_stream(body: bytes) -> None:
    with pytest.raises(Garbled) as caught:
        to_message(body, spec())
    assert caught.value.message == "The upstream's answer is not JSON"


def test_what_a_client_reads_of_a_stream_that_went_wrong() -> None:
    def said(*chunks: Any) -> str:
        machine, _ = run(sse(chunks))
        assert machine.fault is not None
        return machine.fault.message

    assert said(DONE) == "The upstream ended its stream without an answer"
    assert said(chunk({"content": "a"})) == "The upstream stream ended before it was complete"
    endless = [tool("{", call_id="c1", name="Bash"), *[tool(" " * 100)] * 5]
    assert said(*endless, tool(" ")) == "The model's tool arguments go on in whitespace without an end"
    assert not said(*endless).startswith("The model")
    machine = StreamTranslator(spec())
    machine._splitter = Splitter(50)
    machine.feed(b"data: " + b"x" * 100)
    machine.close()
    assert machine.fault is not None
    assert machine.fault.message == "The upstream sent an event that is too long"


def test_what_stands_before_a_json_body_is_skipped() -> None:
    body = json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).encode()
    for before in (b"", b"\xef\xbb\xbf", b" \t\r\n"):
        machine, out = run(before + body)
        assert machine.done
        assert grammar.message_of(grammar.parse(out))["content"][0]["text"] == "a"
    assert run(b"~" + body)[0].fault is not None


def test_the_pieces_of_a_reasoning_detail_are_joined_by_their_members() -> None:
    details = [{"type": "reasoning.summary", "index": 0, "summary": piece} for piece in ("a", "b")]
    details += [{"type": "reasoning.text", "index": 1, "text": piece} for piece in ("c", "d")]
    assert joined(details) == [
        {"type": "reasoning.summary", "index": 0, "summary": "ab"},
        {"type": "reasoning.text", "index": 1, "text": "cd"},
    ]


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        ({"choices": []}, "The upstream's answer has no choices"),
        (
            {"choices": [{"finish_reason": "error"}]},
            "The upstream reported an error instead of finishing its answer",
        ),
        (
            {"choices": [{"finish_reason": "insufficient_system_resource"}]},
            "The upstream has no capacity for this request at the moment",
        ),
    ],
)
def test_what_a_client_reads_of_an_answer_that_is_none(completion: dict[str, Any], words: str) -> None:
    with pytest.raises(ProxyError) as caught:
        to_message(json.dumps(completion).encode(), spec())
    assert caught.value.message == words
