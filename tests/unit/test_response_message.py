"""A whole ChatCompletion as a Message: protocol.md 3.1 to 3.3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Garbled, ProxyError
from ccproxy_sanic.translate.response import Reply, to_message
from tests.support.replies import DONE, chunk, message, short, spec, sse


def completion(said: dict[str, Any] | None = None, finish: Any = "stop", /, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **(said or {})}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "up-model", "choices": [choice | more.pop("choice", {})], **more}


def reply(body: Any, **changes: Any) -> Reply:
    return to_message(body if isinstance(body, bytes) else json.dumps(body).encode(), spec(**changes))


def answer(body: Any, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reply(body, **changes).message)
    return found


def blocks(said: dict[str, Any], finish: str = "stop", **changes: Any) -> list[tuple[Any, ...]]:
    return [short(block) for block in answer(completion(said, finish), **changes)["content"]]


def calls(*functions: Any, finish: str = "tool_calls", **changes: Any) -> list[tuple[Any, ...]]:
    entries = [{"id": f"c{number}", "function": function} for number, function in enumerate(functions)]
    return blocks({"tool_calls": entries}, finish, **changes)


def test_thinking_text_refusal_and_tools_in_this_order() -> None:
    said = {
        "tool_calls": [{"id": "c1", "function": {"name": "Bash", "arguments": "{}"}}],
        "refusal": "No",
        "content": "A",
        "reasoning": "R",
    }
    assert blocks(said) == [("thinking", "R", "sig_X"), ("text", "A"), ("text", "No"), ("Bash", "c1", {})]


@pytest.mark.parametrize("said", [{"content": ""}, {"content": " \n"}, {"content": None}, {}, {"reasoning": ""}])
def test_nothing_visible_is_no_block(said: dict[str, Any]) -> None:
    out = answer(completion(said))
    assert (out["content"], out["stop_reason"]) == ([], "end_turn")


def test_text_keeps_its_whitespace() -> None:
    assert blocks({"content": "\n a \n"}) == [("text", "\n a \n")]


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_content": "R"},
        {"reasoning": "R"},
        {"reasoning_text": "R"},
        {"reasoning_content": "R", "reasoning": "R", "reasoning_details": [{"type": "reasoning.text", "text": "R"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "R"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "R"}]}]},
    ],
)
def test_reasoning_comes_from_any_field_once(said: dict[str, Any]) -> None:
    content = said.pop("content", [])
    out = blocks({**said, "content": [*content, {"type": "text", "text": "A"}, {"type": "refusal", "refusal": "B"}]})
    assert out == [("thinking", "R", "sig_X"), ("text", "A"), ("text", "B")]


def test_what_the_carrier_gets() -> None:
    def kinds(said: dict[str, Any], **changes: Any) -> list[tuple[Any, ...]]:
        return blocks(said, sign=lambda kind, data: f"{kind}:{json.dumps(data)}", **changes)

    details = [{"type": "reasoning.encrypted", "data": "x"}]
    call = {"id": "c", "function": {"name": "Bash"}, "extra_content": {"google": {"thought_signature": "s"}}}
    gem = 'gem:{"c": "s"}'
    assert kinds({"reasoning": "R"}) == [("thinking", "R", 'plain:""')]
    assert kinds({"reasoning": "R"}, thinking="omit") == [("thinking", "", 'plain:"R"')]
    assert kinds({"reasoning": "R"}, thinking="drop") == []
    assert kinds({"reasoning_details": details}) == [("thinking", "", "or:" + json.dumps(details))]
    assert kinds({"tool_calls": [call]})[0] == ("thinking", "", gem)
    assert kinds({"tool_calls": [call], "reasoning": "R"})[0] == ("thinking", "R", gem)
    assert kinds({"tool_calls": [call], "reasoning_details": details})[:2] == [
        ("thinking", "", "or:" + json.dumps(details)),
        ("thinking", "", gem),
    ]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"a":1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ("", {}),
        (None, {}),
        ('"{\\"a\\":1}"', {"a": 1}),
        ('{"a":"x', {"a": "x"}),
        ("ls", {"_raw_arguments": "ls"}),
        ("[1]", {"value": [1]}),
        ([1], {"value": [1]}),
        (5, {"value": 5}),
    ],
)
def test_arguments(arguments: Any, value: Any) -> None:
    assert calls({"name": "Bash", "arguments": arguments}) == [("Bash", "c0", value)]


def test_large_numbers_survive() -> None:
    text = '{"a":123456789012345678901234567890,"b":0.10}'
    assert text.encode() in reply(completion({"tool_calls": [{"function": {"name": "B", "arguments": text}}]})).message


@pytest.mark.parametrize("finish", ["length", "content_filter", "model_length"])
def test_cut_arguments_are_not_closed(finish: str) -> None:
    half, full = {"name": "Bash", "arguments": '{"a":"x'}, {"name": "Bash", "arguments": '{"a":1}'}
    assert calls(full, half, finish=finish) == [("Bash", "c0", {"a": 1}), ("Bash", "c1", {"_raw_arguments": '{"a":"x'})]


def test_names() -> None:
    assert calls({"name": "Unknown"}) == [("Unknown", "c0", {})]
    assert calls({"name": "s"}, names={"s": "long"}) == [("long", "c0", {})]
    assert calls({"name": ""}, {"arguments": "{}"}, None) == []
    assert calls({"arguments": "{}"}, tools=frozenset({"Bash"})) == [("Bash", "c0", {})]


def test_ids() -> None:
    function = {"name": "Bash", "arguments": "{}"}
    entries = [{"id": call_id, "function": function} for call_id in ("a", "a", "", None, "used", 5)]
    out = blocks({"tool_calls": entries}, used_tool_ids=frozenset({"used"}))
    assert [block[1] for block in out] == ["a", "toolu_X1", "toolu_X2", "toolu_X3", "toolu_X4", "5"]


def test_custom_tools_get_their_text_as_input() -> None:
    entry = {"id": "c1", "type": "custom", "custom": {"name": "Bash", "input": 'é"'}}
    assert blocks({"tool_calls": [entry]}) == [("Bash", "c1", {"input": 'é"'})]
    assert blocks({"tool_calls": [entry | {"custom": {"name": "Bash", "input": None}}]}) == [
        ("Bash", "c1", {"input": ""})
    ]


def test_think_tags() -> None:
    said = {"content": "<think>Hm</think>\n\nA"}
    assert blocks(said, think_tags=True) == [("thinking", "Hm", "sig_X"), ("text", "A")]
    assert blocks(said) == [("text", "<think>Hm</think>\n\nA")]
    assert blocks({"content": "<think>Hm</th"}, think_tags=True) == [("thinking", "Hm</th", "sig_X")]


def test_an_enforced_stop_ends_the_answer() -> None:
    said = {"content": "one END two", "refusal": "x", "tool_calls": [{"function": {"name": "Bash"}}]}
    out = answer(completion(said), enforce_stops=("END",))
    assert out["content"] == [{"type": "text", "text": "one "}]
    assert (out["stop_reason"], out["stop_sequence"]) == ("stop_sequence", "END")
    assert blocks({"content": "one EN"}, enforce_stops=("END",)) == [("text", "one EN")]


def test_only_the_first_choice_counts() -> None:
    body = completion({"content": "A"})
    body["choices"].append({"index": 1, "message": {"content": "B"}, "finish_reason": "length"})
    out = answer(body)
    assert (out["content"], out["stop_reason"]) == ([{"type": "text", "text": "A"}], "end_turn")


def test_what_the_log_wants_to_know() -> None:
    found = reply(completion({"content": "A"}))
    assert (found.upstream_id, found.upstream_model, found.finish_reason) == ("chatcmpl-1", "up-model", "stop")
    assert (found.stop_reason, found.usage.known) == ("end_turn", False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 500),
        (b"<html>oops</html>", 500),
        (b"{", 500),
        (b"[]", 500),
        (b"{}", 500),
        (b'{"choices":[]}', 500),
        (b'{"choices":null,"usage":{}}', 500),
        (b'{"error":{"message":"slow","code":429}}', 429),
        (b'[{"error":{"message":"slow","code":429}}]', 429),
        (b'{"choices":[{"error":{"message":"slow","code":429}}]}', 429),
        (b'{"choices":[{"message":{"content":"x"},"finish_reason":"error"}]}', 500),
        (b'{"choices":[{"message":{"content":"x"},"finish_reason":"insufficient_system_resource"}]}', 529),
        (b"data: [DONE]\n\n", 500),
        (b'data: {"error":{"message":"slow","code":429}}\n\n', 429),
        (b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n', 500),
        (b'{"choices":' + b"[" * 200_000, 500),
    ],
)
def test_faults_in_spite_of_the_status(body: bytes, status: int) -> None:
    with pytest.raises(ProxyError) as caught:
        reply(body)
    assert caught.value.status == status
    if status == 500:
        assert isinstance(caught.value, Garbled) or caught.value.type == "api_error"


def test_an_event_stream_instead_of_a_body() -> None:
    chunks = [
        chunk({"reasoning": "R"}),
        chunk({"content": "A"}),
        chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Bash", "arguments": '{"a":1}'}}]}),
        chunk({"refusal": "No"}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 2}, service_tier="fast"),
        DONE,
    ]
    out = answer(sse(chunks))
    expected = message(chunks)
    expected["usage"]["service_tier"] = "priority"
    assert out == expected
    assert answer(b"\n: ping\n\n" + sse(chunks)) == expected
    assert answer(b"\n".join(json.dumps(item).encode() for item in chunks[:-1])) == expected


def test_a_chunk_instead_of_a_completion() -> None:
    assert answer(chunk({"content": "A"}, "stop"))["content"] == [{"type": "text", "text": "A"}]
