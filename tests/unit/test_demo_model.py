"""The demo model over real sockets, read with OpenAI's own client and types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ccproxy_sanic import demo
from ccproxy_sanic.demo.quirks import QUIRKS

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 3},
                "unit": {"enum": ["celsius", "kelvin"]},
            },
            "required": ["city", "unit"],
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}


@pytest.fixture
async def server() -> AsyncIterator[demo.DemoServer]:
    server = await demo.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: demo.DemoServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
        yield client


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def ask(client: openai.AsyncOpenAI, text: str, **options: Any) -> ChatCompletion:
    options.setdefault("messages", [user(text)])
    return ChatCompletion.model_validate(await client.chat.completions.create(model="any", **options), strict=False)


async def stream(client: openai.AsyncOpenAI, text: str, **options: Any) -> list[ChatCompletionChunk]:
    options.setdefault("messages", [user(text)])
    options.setdefault("stream_options", {"include_usage": True})
    return [chunk async for chunk in await client.chat.completions.create(model="any", stream=True, **options)]


def joined(chunks: list[ChatCompletionChunk], field: str = "content") -> str:
    return "".join(getattr(chunk.choices[0].delta, field, None) or "" for chunk in chunks if chunk.choices)


def calls_of(chunks: list[ChatCompletionChunk]) -> list[tuple[str, str]]:
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for chunk in chunks:
        for call in (chunk.choices[0].delta.tool_calls or ()) if chunk.choices else ():
            assert call.function is not None
            names[call.index] = names.get(call.index, "") + (call.function.name or "")
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    return [(names[index], arguments[index]) for index in names]


def finish_of(chunks: list[ChatCompletionChunk]) -> str | None:
    return next((chunk.choices[0].finish_reason for chunk in reversed(chunks) if chunk.choices), None)


async def test_a_plain_prompt_gets_a_text_that_introduces_the_model_and_quotes_the_prompt(client) -> None:
    answer = await ask(client, "Hello there")
    text = answer.choices[0].message.content or ""
    assert "demo model" in text
    assert "OPENAI_API_KEY" in text
    assert '"Hello there"' in text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "any"


async def test_stream_and_whole_answer_say_the_same(client) -> None:
    for marker in ("Hi", "[demo:think]", "[demo:length]", "[demo:empty]", "[demo:long n=50]"):
        answer = await ask(client, marker)
        chunks = await stream(client, marker)
        assert joined(chunks) == (answer.choices[0].message.content or "")
        assert joined(chunks, "reasoning_content") == getattr(answer.choices[0].message, "reasoning_content", "")
        assert finish_of(chunks) == answer.choices[0].finish_reason
        assert chunks[-1].usage is not None
        assert answer.usage is not None
        assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens


async def test_equal_requests_get_equal_bytes(server) -> None:
    body = {"model": "m", "messages": [user("[demo:tools]")], "tools": [WEATHER, CLOCK], "stream": True}
    async with httpx.AsyncClient() as http:
        first, second = [(await http.post(f"{server.base_url}/chat/completions", json=body)).content for _ in range(2)]
    assert first == second
    assert b"tool_calls" in first


async def test_usage_comes_only_when_asked_for_and_in_a_chunk_of_its_own(client) -> None:
    assert all(chunk.usage is None for chunk in await stream(client, "Hi", stream_options={"include_usage": False}))
    *_, finish, usage = await stream(client, "Hi")
    assert finish.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.total_tokens == usage.usage.prompt_tokens + usage.usage.completion_tokens


async def test_a_long_conversation_reports_cached_tokens(client) -> None:
    history = [user("x" * 9000), {"role": "assistant", "content": "ok"}, user("go on")]
    usage = (await ask(client, "", messages=history)).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 2176  # 17 * 128
    fresh = (await ask(client, "", messages=history[:1])).usage
    assert fresh is not None
    assert fresh.prompt_tokens_details is not None
    assert fresh.prompt_tokens_details.cached_tokens == 0


async def test_high_effort_shows_reasoning(client) -> None:
    assert joined(await stream(client, "Hi", reasoning_effort="high"), "reasoning_content")
    assert not joined(await stream(client, "Hi", reasoning_effort="low"), "reasoning_content")


async def test_a_tool_call_has_arguments_from_its_schema_and_from_the_marker(client) -> None:
    chunks = await stream(client, '[demo:tool city="New York"]', tools=[CLOCK, WEATHER], tool_choice="auto")
    assert calls_of(chunks) == [("get_time", "{}")]
    chunks = await stream(client, '[demo:tool name=get_weather city="New York" days=4]', tools=[CLOCK, WEATHER])
    [(name, arguments)] = calls_of(chunks)
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "New York", "unit": "celsius", "days": 4})
    assert finish_of(chunks) == "tool_calls"


async def test_tools_in_parallel_unless_forbidden(client) -> None:
    answer = await ask(client, "[demo:tools]", tools=[WEATHER, CLOCK])
    calls = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert len({call.id for call in calls}) == 2
    alone = await ask(client, "[demo:tools]", tools=[WEATHER, CLOCK], parallel_tool_calls=False)
    assert len(alone.choices[0].message.tool_calls) == 1


async def test_a_forced_tool_is_called_without_a_marker(client) -> None:
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        answer = await ask(client, "Hi", tools=[WEATHER, CLOCK], tool_choice=choice)
        assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["get_weather"]


async def test_a_tool_loop_goes_on_for_the_turns_asked_for_and_quotes_the_results(client) -> None:
    messages: list[Any] = [user("[demo:tool turns=3]")]
    ids: set[str] = set()
    for turn in range(3):
        message = (await ask(client, "", messages=messages, tools=[WEATHER])).choices[0].message
        [call] = message.tool_calls
        ids.add(call.id)
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": f"result {turn}"}]
    final = (await ask(client, "", messages=messages, tools=[WEATHER])).choices[0]
    assert final.finish_reason == "stop"
    assert "result 0 | result 1 | result 2" in final.message.content
    assert len(ids) == 3
    again = [*messages, final.message, user("thanks")]
    assert (await ask(client, "", messages=again, tools=[WEATHER])).choices[0].message.tool_calls is None


async def test_an_answer_is_cut_at_the_token_limit(client) -> None:
    answer = await ask(client, "Hi", max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    cut = await stream(client, "[demo:tool]", tools=[WEATHER], max_completion_tokens=2)
    assert finish_of(cut) == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(calls_of(cut)[0][1])


async def test_an_answer_ends_before_a_stop_sequence(client) -> None:
    assert joined(await stream(client, "[demo:long n=9]", stop=["word3"])) == "word0 word1 word2 "


async def test_a_response_format_gets_json_that_fits(client) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    shape = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    assert json.loads(joined(await stream(client, "Hi", response_format=shape))) == {"title": "title"}


async def test_an_image_is_described_by_type_and_size(client) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    answer = await ask(client, "", messages=[{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}])
    assert "1 image (image/png, 8 bytes)" in answer.choices[0].message.content


async def test_a_refusal_stands_in_its_own_field(client) -> None:
    assert (await ask(client, "[demo:refusal]")).choices[0].message.refusal
    assert joined(await stream(client, "[demo:refusal]"), "refusal")


async def test_echo_returns_the_request(client) -> None:
    answer = await ask(client, "[demo:echo]", max_tokens=1, temperature=0.5)
    assert json.loads(answer.choices[0].message.content)["temperature"] == 0.5


async def test_reminders_are_no_prompt_and_a_marker_counts_for_its_turn_only(client) -> None:
    wrapped = "<system-reminder>\nprefer tea\n</system-reminder>"
    answer = await ask(client, "", messages=[user("Hello"), {"role": "user", "content": wrapped}])
    assert '"Hello"' in answer.choices[0].message.content
    history = [user("[demo:empty]"), {"role": "assistant", "content": "x"}, user("Hello")]
    assert (await ask(client, "", messages=history)).choices[0].message.content


async def test_errors_come_in_openai_form_with_retry_after(client) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await ask(client, "[demo:error status=429 retry_after=2]")
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.code == "rate_limit_exceeded"
    with pytest.raises(openai.BadRequestError, match="maximum context length is") as overflow:
        await stream(client, "[demo:overflow]")
    assert overflow.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="maximum context length is 500 tokens"):
        await ask(client, f"[demo:overflow limit=500] {'x' * 4000}")
    assert (await ask(client, "[demo:overflow limit=500]")).choices[0].finish_reason == "stop"
    with pytest.raises(openai.InternalServerError):
        await ask(client, "[demo:error status=503]")


@pytest.mark.parametrize(
    "marker", ["long n=many", "long n=-1", "slow pace=nan", "hang seconds=inf", "error status=200", "drop after=-1"]
)
async def test_a_marker_that_cannot_be_obeyed_is_a_400(client, marker: str) -> None:
    with pytest.raises(openai.BadRequestError, match="marker"):
        await ask(client, f"[demo:{marker}]")


async def test_a_fault_set_beyond_the_end_comes_at_the_end(server) -> None:
    async with httpx.AsyncClient() as http:
        body = {"model": "m", "messages": [user("[demo:error-midstream after=999]")], "stream": True}
        text = (await http.post(f"{server.base_url}/chat/completions", json=body)).text
        assert '"finish_reason":"stop"' in text
        assert text.splitlines()[-2].startswith('data: {"error"')
        body["messages"] = [user("[demo:drop after=999]")]
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(f"{server.base_url}/chat/completions", json=body)


async def test_an_error_in_mid_stream_ends_the_stream(client, server) -> None:
    with pytest.raises(openai.APIError, match="mid-stream"):
        await stream(client, "[demo:error-midstream after=2]")
    with pytest.raises(openai.InternalServerError):
        await ask(client, "[demo:error-midstream]")
    async with httpx.AsyncClient() as http:
        body = {"model": "m", "messages": [user("[demo:error-midstream after=2]")], "stream": True}
        text = (await http.post(f"{server.base_url}/chat/completions", json=body)).text
    assert text.count("data: ") == 4  # role, two pieces, error
    assert "[DONE]" not in text


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("after", [0, 3])
async def test_a_drop_cuts_the_connection_before_the_end(server, streamed: bool, after: int) -> None:
    body = {"model": "m", "messages": [user(f"[demo:drop after={after}]")], "stream": streamed}
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(f"{server.base_url}/chat/completions", json=body)


@pytest.mark.parametrize(
    "case",
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [user("x")], "tools": []}, "tools"),
        ({"messages": [user("x")], "tool_choice": "auto"}, "tool_choice"),
        ({"messages": [user("x")], "max_tokens": 0}, "max_tokens"),
        ({"messages": [user("x")], "max_tokens": "many"}, "max_tokens"),
        ({"messages": [user("x")], "stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, "messages[0].role"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
                    user("x"),
                ]
            },
            "messages",
        ),
    ],
    ids=lambda case: case[1],
)
async def test_what_openai_refuses_is_refused(server, case: tuple[dict[str, Any], str]) -> None:
    fields, param = case
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{server.base_url}/chat/completions", json={"model": "m", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"] == param


async def test_the_other_paths(server, client) -> None:
    assert [model.id for model in (await client.models.list()).data] == list(demo.MODELS)
    root = server.base_url.removesuffix("/v1")
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{root}/health")).json() == {"status": "ok"}
        missing = await http.get(f"{root}/v1/nothing?x=1")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
        wrong = await http.put(f"{root}/v1/chat/completions", json={})
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        broken = await http.post(f"{root}/v1/chat/completions", content=b"{")
        assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
        assert len(server._connections) == 2, "one for each client: every answer left its connection usable"


async def test_a_client_that_leaves_is_noticed_and_counted(server, client) -> None:
    for marker, streamed in (("[demo:hang seconds=30]", False), ("[demo:hang seconds=30 after=1]", True)):
        left = server.stats.aborted
        asking = asyncio.ensure_future((stream if streamed else ask)(client, marker))
        while not server.stats.open:
            await asyncio.sleep(0.01)
        asking.cancel()
        async with asyncio.timeout(5):
            while server.stats.aborted == left or server.stats.open:
                await asyncio.sleep(0.01)
    async with httpx.AsyncClient() as http:
        stats = (await http.get(f"{server.base_url}/demo/stats")).json()
    assert stats == {"open": 0, "served": 0, "aborted": 2, "reasoning_returned": 0}


async def test_pace_spreads_the_pieces(server, client) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await stream(client, "[demo:long n=4 pace=0.05]")
    assert loop.time() - started >= 0.2
    assert server.stats.served == 1


async def test_close_ends_running_exchanges(server, client) -> None:
    waiting = asyncio.ensure_future(ask(client, "[demo:hang seconds=30]"))
    while not server.stats.open:
        await asyncio.sleep(0.01)
    await server.close()
    with pytest.raises(openai.APIConnectionError):
        await waiting
    assert server.stats.open == 0


async def test_two_hundred_streams_at_once(client) -> None:
    answers = await asyncio.gather(*(stream(client, f"[demo:long n=20] {n}") for n in range(200)))
    assert {joined(chunks) for chunks in answers} == {" ".join(f"word{n}" for n in range(20))}


EVIDENCE: dict[str, Callable[[str], bool]] = {
    "whole-arguments": lambda text: text.count('"tool_calls":') == 2 and '{\\"city\\":\\"Rome\\"' in text,
    "same-index": lambda text: '"tool_calls":[{"index":1' not in text and text.count('"tool_calls":[{"index":0') == 2,
    "no-index": lambda text: '"tool_calls":[{"id":' in text,
    "no-ids": lambda text: text.count('"id":""') == 2 and "call_" not in text.replace("tool_calls", ""),
    "numbered-ids": lambda text: '"id":"call_0"' in text and '"id":"call_1"' in text,
    "object-arguments": lambda text: '"arguments":{"city":"Rome"' in text,
    "double-arguments": lambda text: '"arguments":"\\"{' in text,
    "reasoning-field": lambda text: '"reasoning":' in text and "reasoning_content" not in text,
    "no-usage": lambda text: "usage" not in text and "[DONE]" in text,
    "usage-with-finish": lambda text: '"finish_reason":"tool_calls"}],"usage":{' in text and '"choices":[]' not in text,
    "no-finish": lambda text: '"finish_reason":"tool_calls"' not in text and "usage" in text,
    "no-done": lambda text: "[DONE]" not in text and "usage" in text,
    "comments": lambda text: text.count(": DEMO PROCESSING\n\n") == text.count("\ndata: "),
    "crlf": lambda text: "\n" not in text.replace("\r\n", ""),
    "no-space": lambda text: "data: " not in text and "data:{" in text,
    "json-body": lambda text: text.startswith("{") and '"object":"chat.completion"' in text,
}


@pytest.mark.parametrize("quirk", QUIRKS)
async def test_a_quirk_shows_on_demand_only(server, quirk: str) -> None:
    marker = "[demo:think]" if quirk == "reasoning-field" else '[demo:tools city="Rome"]'
    options = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "tools": [WEATHER, CLOCK]}
    async with httpx.AsyncClient() as http:
        plain, odd = [
            (await http.post(f"{server.base_url}/chat/completions", json=options | {"messages": [user(text)]})).text
            for text in (marker, marker.replace("]", f" quirk={quirk}]"))
        ]
    assert EVIDENCE[quirk](odd), odd
    assert not EVIDENCE[quirk](plain), plain
