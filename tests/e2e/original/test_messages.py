"""Behaviours 8 to 29: what becomes of a request, and of its answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.original.support import NO_RETRIES, TOOL, ask, between, call, completion, is_error
from tests.support.proxy import events, message, text_of
from tests.support.upstream import DONE, delta, reply_json, sse, text_stream

UNICODE = (
    '\U0001f600 \u65e5\u672c\u8a9e e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u202eabc \x7f \\ " \u0000 </s>'
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def use(use_id: str, name: str = "get_weather", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": use_id, "name": name, "input": fields}


def result(use_id: str, content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": use_id, "content": content}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ("claude-opus-4-1", "big-model"),
        ("CLAUDE-Sonnet-4", "big-model"),
        ("my-OPUS-of-old", "big-model"),
        ("claude-3-5-haiku-latest", "small-model"),
        ("Haiku", "small-model"),
        ("opus-and-haiku", "big-model"),
        ("haiku-sonnet", "big-model"),
    ],
)
async def test_08_names_lead_to_models(asked: str, used: str) -> None:
    assert (await ask(model=asked)).sent["model"] == used


async def test_08_unknown_names_pass_unless_told_otherwise() -> None:
    """The older product made the small model of them; that is a setting now."""
    async with between() as (proxy, upstream):
        await proxy.post(message(model="gpt-4o"))
        assert upstream.requests[-1].json()["model"] == "gpt-4o"
    async with between(CCPROXY_UNKNOWN_MODEL="small") as (proxy, upstream):
        await proxy.post(message(model="gpt-4o"))
        assert upstream.requests[-1].json()["model"] == "small-model"


async def test_09_an_answer_is_a_message_of_the_model_that_was_asked_for() -> None:
    both = await ask(model="claude-sonnet-4-5")
    body = both.response.json()
    assert both.content == [{"type": "text", "text": "Hi"}]
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "claude-sonnet-4-5")


async def test_10_a_body_that_is_no_json_is_refused() -> None:
    async with between() as (proxy, upstream):
        assert is_error(await proxy.post(b'{"model": '), 400, "invalid_request_error")
        assert not upstream.requests


async def test_11_a_body_without_messages_is_refused_with_400() -> None:
    """The older product said 422; Anthropic says 400."""
    async with between() as (proxy, upstream):
        response = await proxy.post({"model": "claude-sonnet-4-5", "max_tokens": 1})
        assert is_error(response, 400, "invalid_request_error")
        assert "messages" in response.json()["error"]["message"]
        assert not upstream.requests


async def test_12_negative_max_tokens_are_refused() -> None:
    both = await ask(max_tokens=-1)
    assert is_error(both.response, 400, "invalid_request_error")
    assert "max_tokens" in both.response.json()["error"]["message"]
    assert not both.sent


async def test_13_a_failing_upstream_is_an_error_without_a_stack_trace() -> None:
    both = await ask(reply_json({"error": {"message": "kaputt"}}, 500))
    assert is_error(both.response, 500, "api_error")


@pytest.mark.parametrize("stream", [False, True])
async def test_14_a_single_503_is_not_seen(stream: bool) -> None:
    answer = text_stream("Hi") if stream else completion()
    down = reply_json({"error": {"message": "overloaded"}}, 503)
    async with between(down, answer, PROVIDER_RETRY_BASE_DELAY="0.01") as (proxy, upstream):
        response = await proxy.post(message(stream=stream))
        assert response.status_code == 200
        assert len(upstream.requests) == 2


async def test_15_events_arrive_one_by_one() -> None:
    gate = asyncio.Event()
    stream = sse(delta(role="assistant"), delta(content="one"), gate, delta(content="two"), delta("stop"), DONE)
    async with between(stream) as (proxy, _), proxy.streaming() as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        body = ""
        async for piece in response.aiter_text():
            body += piece
            if '"one"' in body and not gate.is_set():
                assert '"two"' not in body
                gate.set()
        assert gate.is_set()
        assert text_of(events(body)) == "onetwo"


async def test_16_streamed_text_is_a_text_block_and_thinking_a_thinking_block() -> None:
    stream = sse(
        delta(reasoning_content="Let me think."), delta(content="Hello"), delta(content=" there"), delta("stop"), DONE
    )
    thinking = {"type": "enabled", "budget_tokens": 1024}
    async with between(stream) as (proxy, _):
        said = events((await proxy.post(message(stream=True, max_tokens=2048, thinking=thinking))).content)
    starts = [data["content_block"]["type"] for name, data in said if name == "content_block_start"]
    assert starts == ["thinking", "text"]
    assert text_of(said) == "Hello there"
    thoughts = [data["delta"].get("thinking", "") for name, data in said if name == "content_block_delta"]
    assert "".join(thoughts) == "Let me think."


async def test_17_tools_go_there_and_calls_come_back() -> None:
    calls = [call("call_1", "get_weather", '{"city": "Oslo"}')]
    both = await ask(completion("tool_calls", content=None, tool_calls=calls), tools=[TOOL])
    [sent] = both.sent["tools"]
    assert sent["type"] == "function"
    assert sent["function"]["name"] == "get_weather"
    assert sent["function"]["description"] == "Weather of a place"
    assert sent["function"]["parameters"] == TOOL["input_schema"]
    assert both.content == [use("call_1", city="Oslo")]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
        ({"type": "none"}, "none"),
    ],
)
async def test_18_tool_choices(choice: Any, sent: Any) -> None:
    """Without a choice none is sent: "auto" is every upstream's default where there are tools."""
    both = await ask(tools=[TOOL], **({} if choice is None else {"tool_choice": choice}))
    assert both.sent.get("tool_choice") == sent


@pytest.mark.parametrize(
    ("finish", "stop"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal")],
)
async def test_19_finish_reasons(finish: str, stop: str) -> None:
    """A content filter was a ``stop_sequence`` in the older product; Anthropic's word for it is ``refusal``."""
    calls = {"tool_calls": [call("call_1", "get_weather", "{}")]} if finish == "tool_calls" else {}
    assert (await ask(completion(finish, **calls), tools=[TOOL])).response.json()["stop_reason"] == stop


async def test_20_a_refusal_is_text_and_nothing_is_no_block() -> None:
    """The older product made one empty text block of an empty answer; Anthropic refuses that when it comes back."""
    refused = await ask(completion(content=None, refusal="I can't help with that."))
    assert [block["text"] for block in refused.content] == ["I can't help with that."]
    assert (await ask(completion(content=""))).content == []


async def test_21_large_arguments_are_parsed_whole() -> None:
    arguments = {"city": "x" * 5_000, "list": list(range(500)), "nested": {"a": {"b": ["c", None, True, 1.5]}}}
    calls = [call("call_1", "get_weather", json.dumps(arguments))]
    both = await ask(completion("tool_calls", content=None, tool_calls=calls), tools=[TOOL])
    assert both.content[0]["input"] == arguments


async def test_22_an_answer_without_choices_is_an_error() -> None:
    both = await ask(reply_json({"id": "x", "object": "chat.completion", "choices": []}))
    assert is_error(both.response, 500, "api_error")


async def test_23_text_and_calls_are_one_assistant_message() -> None:
    history = [
        user("Weather?"),
        assistant({"type": "text", "text": "Looking."}, use("a", city="Oslo"), use("b", city="Rome")),
        user([result("a", "cold"), result("b", "warm")]),
    ]
    sent = (await ask(messages=history, tools=[TOOL])).sent["messages"]
    [turn] = [entry for entry in sent if entry["role"] == "assistant"]
    assert turn["content"] == "Looking."
    assert [(one["id"], json.loads(one["function"]["arguments"])) for one in turn["tool_calls"]] == [
        ("a", {"city": "Oslo"}),
        ("b", {"city": "Rome"}),
    ]


@pytest.mark.parametrize(
    ("content", "heard"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
        ([{"type": "text", "text": '{"a": 1}'}], '{"a": 1}'),
    ],
)
async def test_24_a_result_is_a_tool_message_with_its_words(content: Any, heard: str) -> None:
    """Never the text of an internal object."""
    history = [user("Weather?"), assistant(use("a", city="Oslo")), user([result("a", content)])]
    sent = (await ask(messages=history, tools=[TOOL])).sent["messages"]
    assert sent[-1]["role"] == "tool"
    assert sent[-1]["tool_call_id"] == "a"
    assert sent[-1]["content"] == heard


async def test_25_a_call_without_a_result_keeps_the_conversation_legal() -> None:
    """The older product deleted the call; now it stays and is answered, so that nothing of the history is lost."""
    history = [user("Weather?"), assistant(use("a", city="Oslo")), user("Never mind.")]
    sent = (await ask(messages=history, tools=[TOOL])).sent["messages"]
    assert [entry["role"] for entry in sent] == ["user", "assistant", "tool", "user"]
    assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"] == "a"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "base64", "media_type": "image/png", "data": PIXEL}, f"data:image/png;base64,{PIXEL}"),
        ({"type": "url", "url": "https://example.org/a.png"}, "https://example.org/a.png"),
    ],
)
async def test_26_text_and_images_keep_their_order(source: dict[str, str], url: str) -> None:
    parts = [{"type": "text", "text": "before"}, {"type": "image", "source": source}, {"type": "text", "text": "after"}]
    [sent] = (await ask(messages=[user(parts)])).sent["messages"]
    assert [part["type"] for part in sent["content"]] == ["text", "image_url", "text"]
    assert sent["content"][0]["text"] == "before"
    assert sent["content"][1]["image_url"]["url"] == url


@pytest.mark.parametrize(
    "system", ["Be brief.\n\nBe kind.", [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]]
)
async def test_27_system_prompts_are_one_message(system: Any) -> None:
    """Blocks are joined by a blank line, as Anthropic's model reads them."""
    sent = (await ask(system=system)).sent["messages"]
    assert [entry["role"] for entry in sent] == ["system", "user"]
    assert sent[0]["content"] == "Be brief.\n\nBe kind."


async def test_27_no_system_prompt_is_no_system_message() -> None:
    assert [entry["role"] for entry in (await ask()).sent["messages"]] == ["user"]


async def test_28_every_character_arrives() -> None:
    history = [user(UNICODE), assistant(use("a", city=UNICODE)), user([result("a", UNICODE)])]
    calls = [call("call_1", "get_weather", json.dumps({"city": UNICODE}))]
    answer = completion("tool_calls", content=UNICODE, tool_calls=calls)
    both = await ask(answer, messages=history, tools=[TOOL], system=UNICODE)
    system, said, turn, told = both.sent["messages"]
    assert system["content"] == said["content"] == told["content"] == UNICODE
    assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == {"city": UNICODE}
    assert both.content == [{"type": "text", "text": UNICODE}, use("call_1", city=UNICODE)]


async def test_29_empty_and_deep_inputs_are_json() -> None:
    deep: Any = "bottom"
    for _ in range(60):
        deep = {"next": [deep]}
    history = [
        user("Go."),
        assistant(use("a"), use("b", deep=deep)),
        user([result("a", "1"), result("b", "2")]),
    ]
    sent = (await ask(messages=history, tools=[TOOL])).sent["messages"]
    first, second = (one["function"]["arguments"] for one in sent[1]["tool_calls"])
    assert first == "{}"
    assert json.loads(second) == {"deep": deep}


async def test_13_and_22_hold_for_streams_too() -> None:
    async with between(reply_json({"error": {"message": "kaputt"}}, 500), **NO_RETRIES) as (proxy, _):
        assert is_error(await proxy.post(message(stream=True)), 500, "api_error")
    async with between(sse(DONE), **NO_RETRIES) as (proxy, _):
        response = await proxy.post(message(stream=True))
        assert '"message_stop"' not in response.text
        assert '"type":"error"' in response.text.replace(" ", "")
