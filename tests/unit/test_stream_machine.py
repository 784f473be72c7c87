"""The rows of protocol.md 4.1 to 4.4 and 4.7, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, Garbled
from ccproxy_sanic.translate import stream, stream_input
from ccproxy_sanic.translate.stream import StreamTranslator
from tests.support import grammar
from tests.support.replies import DONE, blocks, chunk, events, message, run, spec, sse, tool

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
END = [chunk(finish="stop"), DONE]
THOUGHT = ("thinking", "Hm", "sig_X")


def text(*pieces: str) -> list[Any]:
    return [chunk({"content": piece}) for piece in pieces]


# start and end


def test_nothing_comes_before_the_first_chunk() -> None:
    machine = StreamTranslator(spec())
    assert machine.feed(b": OPENROUTER PROCESSING\n\n") == b""
    assert not machine.started
    out = machine.feed(sse([chunk({"role": "assistant", "content": ""})]))
    assert [event["type"] for event in grammar.parse(out)] == ["message_start"]
    assert (machine.started, machine.spoken, machine.done, machine.finishing) == (True, False, False, False)


def test_the_first_delta_is_the_first_word() -> None:
    machine = StreamTranslator(spec())
    machine.feed(sse([chunk({"role": "assistant"})]))
    machine.feed(sse(text("\n")))
    assert not machine.spoken
    machine.feed(sse(text("x")))
    assert machine.spoken


def test_after_its_finish_reason_it_waits_for_usage() -> None:
    machine = StreamTranslator(spec())
    machine.feed(sse([*text("x"), chunk(finish="stop")]))
    assert machine.finishing
    assert not machine.done
    assert machine.feed(sse([{"choices": [], "usage": USAGE}])) == b""
    out = machine.close()
    assert grammar.parse(out)[-2]["usage"]["output_tokens"] == 2
    assert machine.done
    assert not machine.finishing


def test_nothing_comes_after_the_end() -> None:
    machine = StreamTranslator(spec())
    machine.feed(sse([*text("x"), *END]))
    assert machine.done
    assert machine.feed(sse(text("more"))) == b""
    assert machine.close() == b""
    assert machine.fault is None


def test_what_follows_done_in_the_same_read_is_ignored() -> None:
    assert blocks([*text("x"), *END, *text("y"), {"error": {"message": "late"}}]) == [("text", "x")]


def test_content_behind_the_finish_reason_still_counts() -> None:
    assert blocks([*text("a"), chunk(finish="stop"), *text("b"), DONE]) == [("text", "ab")]


def test_content_beside_the_finish_reason_counts() -> None:
    assert blocks([chunk({"content": "a"}, "stop"), DONE]) == [("text", "a")]


def test_the_first_id_and_model_of_the_upstream_are_kept() -> None:
    machine, _ = run(sse([chunk(), chunk({"content": "x"}, "stop"), DONE]))
    assert (machine.upstream_id, machine.upstream_model, machine.finish_reason) == ("chatcmpl-1", "up-model", "stop")


def test_repr_says_where_it_is() -> None:
    machine, _ = run(sse([*text("x"), *END]))
    assert "done" in repr(machine)


# wire format


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices":[{"delta":{"content":"a"}}]}\ndata:{"choices":[{"delta":{"content":"b"}}]}\n\ndata:[DONE]',
        b'data: {"choices":[{"delta":{"content":"a"}}]}{"choices":[{"delta":{"content":"b"}}]}\n\ndata: [DONE]\n\n',
        b'data: [{"choices":[{"delta":{"content":"a"}}]},{"choices":[{"delta":{"content":"b"}}]}]\n\ndata:[DONE]\n\n',
        b'event: message\r\ndata:{"choices":[{"delta":{"content":"ab"}}]}\r\n\r\ndata:[DONE]',
        b'\xef\xbb\xbfdata: {"choices":[{"delta":{"content":"ab"}}]}\r\rdata: [DONE] \r\r',
        b'\n\n  data: {"choices":[{"delta":{"content":"ab"}}]}\n\ndata: "[DONE]"\n\n',
        b'data: {"choices":[{"delta":{"content":"ab"}}]}\n[DONE]\n\n' * 2 + b"data: [DONE]",
        b'data: \n\ndata: null\n\ndata: 1\n\ndata: {"choices":[{"delta":{"content":"ab"}}]} [DONE]\n\n',
    ],
)
def test_odd_framings_of_the_same_answer(body: bytes) -> None:
    expected = [("text", "abab" if body.count(b'"ab"') == 2 else "ab")]
    for cuts in ((), range(1, len(body))):
        _, out = run(body, cuts=cuts)
        found = grammar.parse(out)
        grammar.check(found)
        content = grammar.message_of(found)["content"]
        assert [(block["type"], block["text"]) for block in content] == expected


def test_a_payload_that_is_no_json_is_garbled() -> None:
    machine, out = run(sse([*text("a"), "hello"]))
    assert isinstance(machine.fault, Garbled)
    assert grammar.parse(out)[-1]["error"]["type"] == "api_error"


def test_endless_nesting_is_garbled() -> None:
    machine, _ = run(b'data: {"choices":' + b"[" * 200_000 + b"\n\n")
    assert isinstance(machine.fault, Garbled)


def test_an_endless_event_is_garbled() -> None:
    machine = StreamTranslator(spec())
    machine._splitter = type(machine._splitter)(50)
    out = machine.feed(b"data: {}\n\ndata: " + b"x" * 100)
    assert machine.fault is None or isinstance(machine.fault, Garbled)
    assert [event["type"] for event in grammar.parse(out)] == ["message_start"]
    assert machine.close() == b""
    assert isinstance(machine.fault, Garbled)
    assert machine.fault.message == stream.TOO_LONG


def test_an_endless_first_event_is_garbled() -> None:
    machine = StreamTranslator(spec())
    machine._splitter = type(machine._splitter)(50)
    assert machine.feed(b"data: " + b"x" * 100) == b""
    assert isinstance(machine.fault, Garbled)
    assert machine.feed(b"\n\n") == machine.close() == b""


def test_bad_utf8_is_replaced() -> None:
    assert (
        run(b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\ndata: [DONE]\n\n')[1].count("a\ufffdb".encode())
        == 1
    )


def test_a_lone_surrogate_is_replaced() -> None:
    assert blocks([r'{"choices":[{"delta":{"content":"a\ud83d!"}}]}', DONE]) == [("text", "a\ufffd!")]


def test_wrong_types_are_normalised() -> None:
    odd = {
        "id": 5,
        "model": ["x"],
        "usage": "none",
        "choices": [
            None,
            {
                "index": "0",
                "finish_reason": False,
                "delta": {
                    "content": {"type": "text", "text": "12"},
                    "reasoning": [{"text": "H"}, "m"],
                    "tool_calls": [None, {"index": "0", "id": 7, "function": {"name": "Bash", "arguments": ["ls"]}}],
                },
            },
        ],
    }
    assert blocks([odd, DONE]) == [THOUGHT, ("text", "12"), ("Bash", "7", {"value": ["ls"]})]


@pytest.mark.parametrize(
    "choices", [None, [], {}, [None], [{}], [{"delta": None}], [{"delta": "x"}], [{"index": None}], "x"]
)
def test_chunks_that_say_nothing(choices: Any) -> None:
    assert blocks([{"choices": choices}, *text("a"), *END]) == [("text", "a")]


def test_other_choices_are_ignored() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "zzz"}, "finish_reason": "length"}]}
    assert message([other, *text("a"), *END])["stop_reason"] == "end_turn"


def test_a_message_instead_of_a_delta() -> None:
    body = {"choices": [{"index": 0, "message": {"content": "a", "reasoning": "Hm"}}]}
    assert blocks([body, *END]) == [THOUGHT, ("text", "a")]


def test_a_cumulative_message_beside_the_delta_is_ignored() -> None:
    body = {"choices": [{"index": 0, "delta": {"content": "b"}, "message": {"content": "ab"}}]}
    assert blocks([*text("a"), body, *END]) == [("text", "ab")]


# errors and truncation


ERROR = {"error": {"code": 429, "message": "slow down"}}


@pytest.mark.parametrize(
    "faulty",
    [
        ERROR,
        [ERROR],
        {"choices": [{"index": 0, "error": ERROR["error"], "delta": {"content": "x"}}]},
        {"error": ERROR["error"], "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]},
    ],
)
def test_an_error_before_the_start_is_an_http_error(faulty: Any) -> None:
    machine, out = run(sse([faulty, DONE]))
    assert out == b""
    assert not machine.started
    assert machine.fault is not None
    assert (machine.fault.status, machine.fault.type) == (429, "rate_limit_error")


def test_an_error_after_the_start_closes_nothing() -> None:
    found = events([tool('{"a":', call_id="c1", name="Bash"), ERROR, *text("x"), *END])
    assert [event["type"] for event in found] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "error",
    ]
    assert found[-1]["error"]["type"] == "rate_limit_error"
    assert found[-1]["request_id"] == "req_X"


@pytest.mark.parametrize(
    ("reason", "type_"),
    [("error", "api_error"), ("network_error", "api_error"), ("insufficient_system_resource", "overloaded_error")],
)
def test_a_finish_reason_that_is_an_error(reason: str, type_: str) -> None:
    assert events([*text("a"), chunk(finish=reason), DONE])[-1]["error"]["type"] == type_


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "boom"},
        {"object": "error", "message": "boom", "type": "BadRequestError", "code": 400},
        {"message": "boom", "code": "x"},
        {"code": "y", "error": "boom"},
    ],
)
def test_error_bodies_without_an_error_member(body: Any) -> None:
    machine, _ = run(sse([body]))
    assert machine.fault is not None
    assert "boom" in machine.fault.message


@pytest.mark.parametrize("empty", [None, {}, "", False])
def test_an_empty_error_is_none(empty: Any) -> None:
    assert blocks([{**chunk({"content": "a"}), "error": empty}, *END]) == [("text", "a")]


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"data: [DONE]\n\n", b"<html>502</html>"])
def test_a_stream_without_an_answer_is_broken(body: bytes) -> None:
    machine, out = run(body)
    assert out == b""
    assert isinstance(machine.fault, Broken)


@pytest.mark.parametrize(
    "last",
    [
        chunk({"content": "b"}),
        {**chunk({"content": "b"}), "usage": USAGE},  # usage on every chunk (xAI, vLLM) is no end
        tool('{"a":1}', call_id="c1", name="Bash"),
    ],
)
def test_an_end_without_any_sign_of_one_is_an_error(last: Any) -> None:
    machine, out = run(sse([*text("a"), last]))
    assert isinstance(machine.fault, Broken)
    assert machine.fault.message == stream.TRUNCATED
    assert grammar.parse(out)[-1]["type"] == "error"


@pytest.mark.parametrize(
    "last",
    [
        [DONE],
        [chunk(finish="stop")],
        [{"choices": [], "usage": USAGE}],
        [{**chunk({"role": "assistant", "content": ""}), "usage": USAGE}],
        [{"choices": [{"index": 0, "delta": {}, "usage": USAGE}]}],
    ],
)
def test_any_sign_of_an_end_is_enough(last: list[Any]) -> None:
    assert message([*text("a"), *last])["stop_reason"] == "end_turn"


def test_a_lenient_profile_takes_any_end() -> None:
    assert message(text("a"), lenient_eof=True)["stop_reason"] == "end_turn"


def test_half_a_call_is_no_end_even_for_a_lenient_profile() -> None:
    machine, _ = run(sse([tool('{"a":', call_id="c1", name="Bash")]), spec(lenient_eof=True))
    assert isinstance(machine.fault, Broken)


# a JSON body instead of a stream


def test_json_lines_instead_of_events() -> None:
    body = b"\n".join(json.dumps(item).encode() for item in [*text("a", "b"), chunk(finish="stop")])
    _, out = run(body, cuts=range(1, len(body)))
    assert grammar.message_of(grammar.parse(out))["content"] == [{"type": "text", "text": "ab"}]
    _, out = run(body.replace(b'"stop"', b"null") + b"\n[DONE]")
    assert grammar.parse(out)[-1] == {"type": "message_stop"}
    machine, _ = run(body.replace(b'"stop"', b"null"))
    assert isinstance(machine.fault, Broken)


def test_an_error_body_instead_of_events() -> None:
    machine, out = run(json.dumps(ERROR).encode(), cuts=[3])
    assert out == b""
    assert machine.fault is not None
    assert machine.fault.status == 429
    machine, _ = run(json.dumps([ERROR]).encode())
    assert machine.fault is not None
    assert machine.fault.status == 429
    machine, _ = run(json.dumps(ERROR).encode() + json.dumps(ERROR).encode())
    assert machine.fault is not None


@pytest.mark.parametrize("body", [b"{", b'{"choices":[]}', b"{}", b'{"choices":null}', b"[]", b"[1]"])
def test_a_json_body_without_an_answer_is_a_fault(body: bytes) -> None:
    machine, out = run(body)
    assert out == b""
    assert machine.fault is not None
    assert machine.fault.status == 500


def test_an_endless_json_body_is_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_input, "LIMIT", 10)
    machine = StreamTranslator(spec())
    assert machine.feed(b"{" + b" " * 20) == b""
    assert isinstance(machine.fault, Garbled)


def test_a_json_body_is_a_whole_message_in_events() -> None:
    body = {
        "id": "x",
        "model": "m",
        "choices": [
            {
                "message": {
                    "content": "a",
                    "reasoning": "Hm",
                    "tool_calls": [{"id": "c", "function": {"name": "Bash", "arguments": '{"a":1}'}}] * 2,
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USAGE,
    }
    machine, out = run(json.dumps(body).encode())
    found = grammar.parse(out)
    grammar.check(found)
    short = grammar.message_of(found)
    assert [block["type"] for block in short["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block["id"] for block in short["content"][2:]] == ["c", "toolu_X1"]
    assert short["usage"]["output_tokens"] == machine.usage.output_tokens == 2
    assert (machine.started, machine.spoken, machine.done, machine.stop_reason) == (True, True, True, "tool_use")
    assert (machine.upstream_id, machine.upstream_model, machine.finish_reason) == ("x", "m", "tool_calls")
