"""Anthropic's Python SDK against the real server process and the demo model."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, TextBlock, ThinkingBlock, ToolUseBlock

from ccproxy_sanic import demo
from tests.support.pictures import png
from tests.support.quiet import assert_quiet
from tests.support.server_process import ServerProcess, serve

MODEL = "claude-sonnet-5-5"
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture
async def client(spoken: ServerProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client_of(spoken) as client:
        yield client
    print(spoken.output)  # pytest shows it when a test has failed
    await assert_quiet(spoken.url)


def client_of(server: ServerProcess, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=server.url, api_key="test", **{"max_retries": 0, **options})


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def calls_of(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if isinstance(block, ToolUseBlock)]


def result(call: ToolUseBlock, content: Any, **fields: Any) -> Any:
    return {"type": "tool_result", "tool_use_id": call.id, "content": content, **fields}


async def ask(client: anthropic.AsyncAnthropic, streamed: bool, *messages: Any, **options: Any) -> Message:
    """One message, by ``create`` or by ``stream`` and ``get_final_message``."""
    request: Any = {"model": MODEL, "max_tokens": 4096, "messages": list(messages), **options}
    if not streamed:
        return await client.messages.create(**request)
    async with client.messages.stream(**request) as stream:
        return await stream.get_final_message()


both = pytest.mark.parametrize("streamed", [False, True], ids=["create", "stream"])
chat_only = pytest.mark.parametrize("spoken", ["chat"], indirect=True)  # oddities that only Chat Completions has


@both
async def test_a_text_comes_whole(client, streamed: bool) -> None:
    message = await ask(client, streamed, user("Hello there"), system="Be kind.")
    assert '"Hello there"' in text_of(message)
    assert (message.model, message.role, message.stop_reason) == (MODEL, "assistant", "end_turn")
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


async def test_a_stream_brings_its_text_in_pieces(client) -> None:
    async with client.messages.stream(model=MODEL, max_tokens=100, messages=[user("[demo:long n=40]")]) as stream:
        pieces = [piece async for piece in stream.text_stream]
        final = await stream.get_final_message()
    words = " ".join(f"word{n}" for n in range(40))
    assert "".join(pieces) == words == text_of(final)
    assert final.usage.output_tokens == 40


@both
async def test_a_tool_loop_of_three_turns(client, streamed: bool) -> None:
    messages = [user('[demo:tool name=get_weather city="São Paulo" turns=3 say="Let me look."]')]
    seen: set[str] = set()
    for turn in range(3):
        message = await ask(client, streamed, *messages, tools=[CLOCK, WEATHER])
        assert message.stop_reason == "tool_use"
        assert text_of(message) == "Let me look."
        [call] = calls_of(message)
        assert (call.name, call.input) == ("get_weather", {"city": "São Paulo"})
        seen.add(call.id)
        messages += [{"role": "assistant", "content": message.content}, user([result(call, f"{20 + turn} degrees")])]
    final = await ask(client, streamed, *messages, tools=[CLOCK, WEATHER])
    assert final.stop_reason == "end_turn"
    assert "20 degrees | 21 degrees | 22 degrees" in text_of(final)
    assert len(seen) == 3


@both
async def test_parallel_tools_answered_in_another_order(client, streamed: bool) -> None:
    prompt = user("[demo:tools city=Paris]")
    message = await ask(client, streamed, prompt, tools=[WEATHER, CLOCK])
    weather, clock = calls_of(message)
    assert (weather.name, weather.input, clock.name, clock.input) == ("get_weather", {"city": "Paris"}, "get_time", {})
    assert weather.id != clock.id
    results = [
        result(clock, [{"type": "text", "text": "noon"}]),
        result(weather, "broken thermometer", is_error=True),
        {"type": "text", "text": "Please sum up."},
    ]
    turns = [prompt, {"role": "assistant", "content": message.content}, user(results)]
    final = await ask(client, streamed, *turns, tools=[WEATHER, CLOCK])
    assert "noon" in text_of(final)
    assert "broken thermometer" in text_of(final)
    alone = await ask(
        client,
        streamed,
        prompt,
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert [call.name for call in calls_of(alone)] == ["get_weather"]


@both
async def test_a_forced_tool_is_called(client, streamed: bool) -> None:
    choice = {"type": "tool", "name": "get_time"}
    message = await ask(client, streamed, user("Hi"), tools=[WEATHER, CLOCK], tool_choice=choice)
    assert [call.name for call in calls_of(message)] == ["get_time"]


@chat_only
@pytest.mark.parametrize(
    "quirk", ["same-index", "no-index", "no-ids", "numbered-ids", "object-arguments", "whole-arguments", "no-finish"]
)
@both
async def test_parallel_tools_of_an_odd_upstream(client, streamed: bool, quirk: str) -> None:
    prompt = user(f"[demo:tools city=Paris quirk={quirk}]")
    message = await ask(client, streamed, prompt, tools=[WEATHER, CLOCK])
    first, second = calls_of(message)
    assert (first.name, first.input, second.name, second.input) == ("get_weather", {"city": "Paris"}, "get_time", {})
    assert len({first.id, second.id, ""}) == 3
    assert message.stop_reason == "tool_use"


@chat_only
@pytest.mark.parametrize(
    "quirk", ["no-usage", "usage-with-finish", "no-done", "comments", "crlf", "no-space", "json-body"]
)
async def test_a_stream_of_an_odd_upstream(client, quirk: str) -> None:
    message = await ask(client, True, user(f"[demo:long n=5 quirk={quirk}]"))
    assert text_of(message) == "word0 word1 word2 word3 word4"
    assert message.stop_reason == "end_turn"


def image(data: bytes) -> Any:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()}
    return {"type": "image", "source": source}


@both
async def test_an_image_arrives_unchanged(client, streamed: bool) -> None:
    picture = png()
    message = await ask(client, streamed, user([image(picture), {"type": "text", "text": "What is it?"}]))
    assert f"1 image (image/png, {len(picture)} bytes)" in text_of(message)


@both
async def test_an_image_in_a_tool_result_arrives(client, streamed: bool) -> None:
    prompt, picture = user("[demo:tool]"), png(3, 3)
    message = await ask(client, streamed, prompt, tools=[WEATHER])
    [call] = calls_of(message)
    turns = [prompt, {"role": "assistant", "content": message.content}, user([result(call, [image(picture)])])]
    final = await ask(client, streamed, *turns, tools=[WEATHER])
    assert f"1 image (image/png, {len(picture)} bytes)" in text_of(final)


@both
async def test_thinking_comes_first_and_may_be_sent_back(client, streamed: bool) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    prompt = user("[demo:think]")
    message = await ask(client, streamed, prompt, thinking=thinking)
    thought, answer = message.content
    assert isinstance(thought, ThinkingBlock)
    assert "does not reason" in thought.thinking
    assert thought.signature
    assert isinstance(answer, TextBlock)
    again = await ask(
        client, streamed, prompt, {"role": "assistant", "content": message.content}, user("Thanks"), thinking=thinking
    )
    assert '"Thanks"' in text_of(again)


@both
async def test_stop_reasons(client, streamed: bool) -> None:
    short = await ask(client, streamed, user("[demo:long n=50]"), max_tokens=16)  # the least that Responses takes
    assert (short.stop_reason, text_of(short)) == ("max_tokens", " ".join(f"word{n}" for n in range(16)))
    refused = await ask(client, streamed, user("[demo:refusal]"))
    assert refused.stop_reason == "refusal"
    empty = await ask(client, streamed, user("[demo:empty]"))
    assert (empty.stop_reason, text_of(empty)) == ("end_turn", "")


ERRORS: list[tuple[str, type[anthropic.APIStatusError], str]] = [
    ("[demo:error status=429 retry_after=2]", anthropic.RateLimitError, "rate_limit_error"),
    ("[demo:error status=400]", anthropic.BadRequestError, "invalid_request_error"),
    ("[demo:error status=500]", anthropic.InternalServerError, "api_error"),
    ("[demo:overflow]", anthropic.BadRequestError, "invalid_request_error"),
]


@both
@pytest.mark.parametrize(("prompt", "kind", "type_"), ERRORS, ids=[case[0] for case in ERRORS])
async def test_errors_before_the_stream_have_status_type_and_request_id(
    client, streamed: bool, prompt: str, kind: type[anthropic.APIStatusError], type_: str
) -> None:
    with pytest.raises(kind) as caught:
        await ask(client, streamed, user(prompt))
    assert caught.value.type == type_
    assert caught.value.request_id
    if "retry_after" in prompt:
        assert caught.value.response.headers["retry-after"] == "2"
    if "overflow" in prompt:
        assert "prompt is too long" in str(caught.value)


async def test_an_error_in_mid_stream_is_raised_after_the_text_so_far(client) -> None:
    seen = ""
    with pytest.raises(anthropic.APIStatusError) as caught:
        async with client.messages.stream(
            model=MODEL, max_tokens=100, messages=[user("[demo:error-midstream after=3 pace=0.02]")]
        ) as stream:
            async for piece in stream.text_stream:
                seen += piece
    assert seen == "Once upon a"
    assert caught.value.type == "api_error"


@both
async def test_a_dropped_connection_is_an_error_not_an_end(client, streamed: bool) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await ask(client, streamed, user("[demo:drop after=4 pace=0.02]"))
    assert caught.value.type == "api_error"


async def test_a_request_that_makes_no_sense_names_the_field(client) -> None:
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await client.messages.create(model=MODEL, max_tokens=10, messages=[{"role": "user"}])


async def test_two_hundred_streams_of_which_a_third_leaves(tmp_path) -> None:
    dice = random.Random(7)
    upstream = await demo.start(pace=0.005)
    settings = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "test"}
    with serve(tmp_path, settings) as server:
        limits = httpx.Limits(max_connections=None)
        async with client_of(server, http_client=anthropic.DefaultAsyncHttpxClient(limits=limits)) as client:
            stays = [dice.random() > 1 / 3 for _ in range(200)]
            texts = await asyncio.gather(*(_read(client, number, stay, dice) for number, stay in enumerate(stays)))
        words = " ".join(f"word{n}" for n in range(60))
        assert {text for text, stay in zip(texts, stays, strict=True) if stay} == {words}
        assert any(not stay for stay in stays)
        await assert_quiet(server.url)
        async with asyncio.timeout(5):
            while upstream.stats.open:
                await asyncio.sleep(0.01)
        assert upstream.stats.served >= sum(stays)
        assert upstream.stats.aborted > 0, "leaving clients must be seen at the upstream"
    await upstream.close()


async def _read(client: anthropic.AsyncAnthropic, number: int, stay: bool, dice: random.Random) -> str:
    """A whole stream, or its beginning: one that leaves does so after a few pieces or before the first."""
    leave_after = None if stay else dice.randrange(40)
    request: Any = {"model": MODEL, "max_tokens": 100, "messages": [user(f"{number} [demo:long n=60]")]}
    text = ""
    async with client.messages.stream(**request) as stream:
        if leave_after == 0:
            return ""
        async for piece in stream.text_stream:
            text += piece
            if leave_after is not None and text.count("word") >= leave_after:
                break
    return text


@pytest.mark.parametrize(("streamed", "after"), [(False, ""), (True, ""), (True, "after=2")])
async def test_a_client_that_leaves_frees_the_upstream(tmp_path, streamed: bool, after: str) -> None:
    upstream = await demo.start()
    with serve(tmp_path, {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "test"}) as server:
        async with client_of(server) as client:
            asking = asyncio.ensure_future(ask(client, streamed, user(f"[demo:hang seconds=60 {after}]")))
            async with asyncio.timeout(10):
                while not upstream.stats.open:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # so that mid-stream is really mid-stream
            asking.cancel()
            async with asyncio.timeout(5):
                while upstream.stats.open:
                    await asyncio.sleep(0.01)
        assert upstream.stats.aborted == 1
        await assert_quiet(server.url)
    await upstream.close()
