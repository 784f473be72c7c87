"""Tool call ids that the Messages API refuses become the same legal one in the call and in its result."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import carrier
from ccproxy_sanic.translate.passthrough_body import body_for

KIMI = "functions.Bash:0"
LEGAL = re.compile(r"toolu_[0-9A-Za-z]{24}")


def call(tool_id: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id, "name": "Bash", "input": {}, **more}


def result(tool_id: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_id, "content": "ok", **more}


def request(*turns: list[Any], **form: Any) -> bytes:
    said = [{"role": ("user", "assistant")[nth % 2], "content": turn} for nth, turn in enumerate(turns)]
    return json.dumps({"model": "a", "messages": [*said]}, **form).encode()


def sent(raw: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    body, adjustments = body_for(raw, "up")
    blocks = [block for message in json.loads(body)["messages"] for block in message["content"]]
    return blocks, [f"{one.code}={one.path}" for one in adjustments]


@pytest.mark.parametrize("tool_id", [KIMI, "", "a b", "é", "call_1__thought__Cq+/=", 'a"b', "a\\b", "a\n"])
def test_an_id_that_is_refused_is_replaced_in_the_call_and_in_its_result(tool_id: str) -> None:
    (_, used, answer, last), notes = sent(
        request([{"type": "text", "text": "x"}], [call(tool_id)], [result(tool_id)], [call("ok")])
    )
    assert LEGAL.fullmatch(used["id"])
    assert answer["tool_use_id"] == used["id"]
    assert last["id"] == "ok"
    assert notes == ["id_replaced=messages.1.content.0"]


@pytest.mark.parametrize("tool_id", ["toolu_01AbC", "call_9-x", "_", "-", "x" * 500])
def test_an_id_that_is_taken_stays(tool_id: str) -> None:
    raw = request([], [call(tool_id)], [result(tool_id)])
    assert body_for(raw, "a") == (raw, [])


def test_different_ids_stay_different_and_the_same_one_is_the_same_in_each_request() -> None:
    one, other = (sent(request([], [call(KIMI), call("functions.Bash:1")]))[0] for _ in range(2))
    assert one == other
    assert len({block["id"] for block in one}) == 2


@pytest.mark.parametrize("form", [{}, {"indent": 1}, {"separators": (",", ":")}, {"separators": (" ,\r\n", "\t: ")}])
def test_every_other_byte_stays(form: dict[str, Any]) -> None:
    raw = request([{"type": "text", "text": f'"id":"{KIMI}" é'}], [call(KIMI, future=[1.50])], [result(KIMI)], **form)
    body, _ = body_for(raw, "a")
    (used,) = {*LEGAL.findall(body.decode())}
    assert body.replace(used.encode(), KIMI.encode()) == raw
    assert body.count(used.encode()) == 2


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": f'"id":"{KIMI}"', "id": KIMI},
        {"type": "server_tool_use", "id": KIMI, "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "ok", "name": "f", "input": {"id": KIMI, "tool_use_id": KIMI, "type": "tool_use"}},
        {"type": "tool_result", "tool_use_id": "ok", "id": KIMI, "content": [{"type": "text", "text": "", "id": ""}]},
        {"type": ["tool_use"], "id": KIMI},
        {"type": "tool_use", "id": [KIMI], "more": {"id": KIMI}},
        {"id": KIMI},
        [{"type": "tool_use", "id": KIMI}],
        KIMI,
    ],
)
def test_what_only_looks_like_an_id_stays(block: Any) -> None:
    raw = request([block])
    assert body_for(raw, "a") == (raw, [])


def test_what_is_not_a_message_stays() -> None:
    for fields in (
        {"metadata": {"user_id": "{}", "id": KIMI}},
        {"tools": [call(KIMI)]},
        {"messages": call(KIMI)},
        {"messages": [[call(KIMI)], {"content": call(KIMI)}, KIMI]},
    ):
        raw = json.dumps({"model": "a", **fields}).encode()
        assert body_for(raw, "a") == (raw, [])


def test_a_repeated_key_is_replaced_each_time() -> None:
    raw = request([{"x": 1}], [call(KIMI)]).replace(b'"name"', b'"\\u0069d": "a:b", "id": "ok", "name"')
    body, _ = body_for(raw[:-1] + b"," + raw[1:], "a")
    assert len(LEGAL.findall(body.decode())) == 4
    assert len({*LEGAL.findall(body.decode())}) == 2
    assert body.count(b'"ok"') == 2


def test_escapes_in_an_id_are_read() -> None:
    raw = request([], [call("a-b")]).replace(b"a-b", b"a\\u002db")
    assert body_for(raw, "a") == (raw, [])
    written = request([], [call(KIMI)]).replace(b"tions.", b"tions\\u002e")
    assert sent(written) == sent(request([], [call(KIMI)]))


def test_our_thinking_and_foreign_ids_go_from_one_request() -> None:
    ours = {"type": "thinking", "thinking": "hm", "signature": carrier.sign(b"key", "openai", "gpt", "plain", "")}
    blocks, notes = sent(request([], [ours, call(KIMI)], [result(KIMI)]))
    assert [block["type"] for block in blocks] == ["tool_use", "tool_result"]
    assert LEGAL.fullmatch(blocks[0]["id"])
    assert notes == ["id_replaced=messages.1.content.1", "thinking_dropped=messages.1.content"]


@pytest.mark.parametrize("place", [b"content", b"name", KIMI.encode()])
def test_what_is_looked_into_must_be_utf_8(place: bytes) -> None:
    raw = request([], [call(KIMI)]).replace(place, b"\xff")
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        body_for(raw, "a")
