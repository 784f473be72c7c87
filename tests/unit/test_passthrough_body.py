"""The client's body for an upstream that speaks Messages: only the model's name changes, and our own thinking goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import carrier
from ccproxy_sanic.translate.passthrough_body import body_for

OURS = carrier.sign(b"key", "openai", "gpt", "plain", "")
OUR_THINKING = {"type": "thinking", "thinking": "hm", "signature": OURS}
THEIRS = {"type": "thinking", "thinking": "hm", "signature": "EqQBCkYIARgC"}
TEXT = {"type": "text", "text": "said"}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"model": "ppx1."}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ppx1."}]}
ENABLED = {"type": "enabled", "budget_tokens": 1024}
CLEAR = {"type": "clear_thinking_20251015", "keep": "all"}


def request(*content: Any, after: tuple[Any, ...] = (), **fields: Any) -> bytes:
    messages = [
        {"role": "user", "content": "ppx1. is a prefix"},
        {"role": "assistant", "content": list(content)},
        *after,
    ]
    return json.dumps({"model": "a", "max_tokens": 9, "messages": messages, **fields}).encode()


def sent(raw: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    body, adjustments = body_for(raw, "up", named=json.loads(raw)["model"])
    return json.loads(body), {one.code: one.path for one in adjustments}


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b'{"model":"a"}', b'{"model":"up"}'),
        (b' {\n"model" :\t"a"\r\n, "x": [ 1 ] } \n', b' {\n"model" :\t"up"\r\n, "x": [ 1 ] } \n'),
        (b'{"mod\\u0065l":"a\\u00e9"}', b'{"mod\\u0065l":"up"}'),
        (b'{"x":{"model":"a"},"model":"a","y":["model"]}', b'{"x":{"model":"a"},"model":"up","y":["model"]}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"a"}', b'{"x":"\\"model\\":\\"a\\"","model":"up"}'),
        (b'{"model":"a","x":1,"x":2,"model":"b"}', b'{"model":"up","x":1,"x":2,"model":"up"}'),
        (b'{"a":{"model":"a"},"mod\\u0065l":"a"}', b'{"a":{"model":"a"},"mod\\u0065l":"up"}'),
        (b'{"model": "a", "x": {"models": "a"}}', b'{"model": "up", "x": {"models": "a"}}'),
        (b'{"model":null,"n":1.50,"m":1E+2}', b'{"model":"up","n":1.50,"m":1E+2}'),
        ('{"é":"ü\\u00fc","model":"ä"}'.encode(), '{"é":"ü\\u00fc","model":"up"}'.encode()),
    ],
)
def test_only_the_value_of_the_model_changes(raw: bytes, wanted: bytes) -> None:
    assert body_for(raw, "up") == (wanted, [])
    assert body_for(raw, "up", named=json.loads(raw)["model"] or "") == (wanted, [])


def test_a_model_name_is_written_as_json() -> None:
    assert json.loads(body_for(b'{"model":"a"}', 'ü"\\/\n')[0]) == {"model": 'ü"\\/\n'}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{}", "model: Field required"),
        (b'{"x":{"model":"a"}}', "model: Field required"),
        (b'["model"]', "not valid JSON"),
        (b'{"model":"a"', "not valid JSON"),
        (b'{"model":"\\ud800"', "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
    ],
)
def test_what_is_no_request_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        body_for(raw, "up")


@pytest.mark.parametrize(
    "messages",
    [
        b'[{"\xff":"ppx1."}]',
        b'[{"content":[%s,{"type":"tool_use"}]},{"role":"\xff"}]' % json.dumps(OUR_THINKING).encode(),
    ],
)
def test_what_is_looked_into_must_be_utf_8(messages: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        body_for(b'{"model":"a","messages":' + messages + b"}", "up")


def test_lone_surrogates_are_replaced_because_the_api_calls_them_invalid_json() -> None:
    body, codes = sent(b'{"model":"a","x":"\\ud83d","y":"\\ud83d\\ude00"}')
    assert body == {"model": "up", "x": "�", "y": "😀"}
    assert codes == {"surrogates_replaced": ""}


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ([OUR_THINKING, TEXT], [TEXT]),
        ([TEXT, OUR_THINKING], [TEXT]),
        ([THEIRS, OUR_THINKING, TEXT, {"type": "redacted_thinking", "data": OURS}, CALL], [THEIRS, TEXT, CALL]),
        ([OUR_THINKING, OUR_THINKING, CALL], [CALL]),
        ([{"type": "thinking", "thinking": "", "signature": "ppx1."}, TEXT], [TEXT]),
    ],
)
def test_our_thinking_is_cut_out(content: list[Any], left: list[Any]) -> None:
    body, codes = sent(request(*content, after=(RESULT,), tail="kept"))
    assert body == json.loads(request(*left, after=(RESULT,), tail="kept")) | {"model": "up"}
    assert codes == {"thinking_dropped": "messages.1.content"}


def test_bytes_around_a_cut_block_stay() -> None:
    one, two = json.dumps(TEXT, indent=1), json.dumps(OUR_THINKING)
    raw = f'{{"messages": [ {{"content" :\n[ {one} , {two}\n,{one}\t] , "role":"assistant"}} ], "model":"a"}}'
    wanted = f'{{"messages": [ {{"content" :\n[ {one}\n,{one}\t] , "role":"assistant"}} ], "model":"up"}}'
    assert body_for(raw.encode(), "up")[0] == wanted.encode()


@pytest.mark.parametrize(
    "content",
    [
        [THEIRS, TEXT],
        [{"type": "text", "text": "ppx1.", "signature": OURS}],
        [{"type": "thinking", "thinking": OURS, "signature": ""}, TEXT],
        [{"type": "redacted_thinking", "data": "x ppx1."}, TEXT],
        [{"type": "thinking", "thinking": "", "signature": 5}, {"type": ["ppx1."]}, "ppx1.", TEXT],
    ],
)
def test_everything_that_is_not_our_thinking_stays(content: list[Any]) -> None:
    raw = request(*content)
    assert body_for(raw, "up") == (raw.replace(b'"model": "a"', b'"model": "up"'), [])


@pytest.mark.parametrize(
    "messages", [b'"ppx1."', b'{"content":"ppx1."}', b'["ppx1.", {"content": "ppx1."}, {"content": {"a": "ppx1."}}]']
)
def test_messages_of_an_odd_shape_are_left_to_the_upstream(messages: bytes) -> None:
    assert body_for(b'{"messages":' + messages + b',"model":"a"}', "up") == (
        b'{"messages":' + messages + b',"model":"up"}',
        [],
    )


def test_a_turn_of_our_thinking_alone_gets_words_because_an_empty_one_is_refused() -> None:
    body, codes = sent(request(OUR_THINKING, after=({"role": "user", "content": "go on"},)))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "(no content)"}]
    assert codes == {"thinking_dropped": "messages.1.content", "content_filled": "messages.1.content"}


def test_our_thinking_is_cut_out_of_every_message_and_under_a_repeated_key() -> None:
    more = ({"role": "user", "content": "x"}, {"role": "assistant", "content": [OUR_THINKING, TEXT]})
    raw = request(OUR_THINKING, TEXT, after=more)
    doubled = raw[:-1] + b"," + raw[1:]
    body, _ = body_for(doubled, "up")
    assert b"ppx1." not in body.replace(b"ppx1. is", b"")
    assert body.count(b'"messages"') == body.count(b'"up"') == 2
    assert [len(message["content"]) for message in json.loads(body)["messages"][1::2]] == [1, 1]


def test_a_tool_loop_goes_on_without_thinking_where_enabled_thinking_would_want_the_cut_block() -> None:
    management = {"edits": [CLEAR, {"type": "clear_tool_uses_20250919"}]}
    body, codes = sent(
        request(OUR_THINKING, CALL, after=(RESULT,), thinking=ENABLED, context_management=management, top_k=1)
    )
    assert body["thinking"] == {"type": "disabled"}
    assert body["context_management"] == {"edits": [{"type": "clear_tool_uses_20250919"}]}
    assert (body["model"], body["top_k"], body["messages"][1]["content"]) == ("up", 1, [CALL])
    assert set(codes) == {"thinking_dropped", "effort_forced", "field_ignored"}
    assert (codes["effort_forced"], codes["field_ignored"]) == ("thinking", "context_management.edits")


LATER = ({"role": "user", "content": "x"}, {"role": "assistant", "content": [TEXT]}, {"role": "user", "content": "y"})


@pytest.mark.parametrize(
    ("content", "fields", "after"),
    [
        pytest.param([OUR_THINKING, CALL], {"thinking": {"type": "adaptive"}}, (RESULT,), id="adaptive demands none"),
        pytest.param([OUR_THINKING, CALL], {"thinking": None}, (RESULT,), id="null"),
        pytest.param([OUR_THINKING, CALL], {}, (RESULT,), id="not asked for"),
        pytest.param([OUR_THINKING, TEXT], {"thinking": ENABLED}, LATER[::2], id="no tool call"),
        pytest.param([THEIRS, OUR_THINKING, CALL], {"thinking": ENABLED}, (RESULT,), id="thinking of its own is left"),
        pytest.param([OUR_THINKING, CALL], {"thinking": ENABLED}, (RESULT, *LATER), id="an earlier tool loop"),
    ],
)
def test_thinking_stays_as_it_was_asked_for(content: list[Any], fields: dict[str, Any], after: tuple[Any, ...]) -> None:
    body, codes = sent(request(*content, after=after, context_management={"edits": [CLEAR]}, **fields))
    assert body.get("thinking") == fields.get("thinking")
    assert body["context_management"] == {"edits": [CLEAR]}
    assert set(codes) == {"thinking_dropped"}


@pytest.mark.parametrize("management", [{"edits": "clear_thinking"}, ["clear_thinking"], "clear_thinking", None])
def test_odd_context_management_is_left_to_the_upstream(management: Any) -> None:
    body, _ = sent(request(OUR_THINKING, CALL, after=(RESULT,), thinking=ENABLED, context_management=management))
    assert body["context_management"] == management
    assert body["thinking"] == {"type": "disabled"}
