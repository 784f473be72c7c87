"""The demo model's Messages API, read with Anthropic's own client and the reference grammar of event streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, ThinkingBlock, ToolUseBlock

from ccproxy_sanic import demo
from ccproxy_sanic.demo import scenarios
from tests.support import grammar

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "input_schema": CITY}
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
ADAPTIVE: dict[str, Any] = {"thinking": {"type": "adaptive"}}
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def server() -> AsyncIterator[demo.DemoServer]:
    server = await demo.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: demo.DemoServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    url = server.base_url.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(base_url=url, api_key="the key", max_retries=0) as client:
        yield client


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def said(content: Any) -> Any:
    return {"role": "assistant", "content": content}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def calls_of(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def answers(message: Message, *texts: str) -> Any:
    results = zip(calls_of(message), texts, strict=True)
    return user([{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in results])


async def ask(client: anthropic.AsyncAnthropic, *messages: Any, **options: Any) -> Message:
    """By ``create``, after checking that a stream says the same."""
    given = [user(message) if isinstance(message, str) else message for message in messages]
    request: Any = {"model": "m", "max_tokens": 4096, "messages": given, **options}
    whole: Message = await client.messages.create(**request)
    async with client.messages.stream(**request) as stream:
        streamed = await stream.get_final_message()

    def comparable(message: Message) -> list[Any]:
        blocks = [block.model_dump(exclude={"id"}, exclude_none=True) for block in message.content]
        return [*blocks, message.stop_reason, message.stop_sequence, message.usage.output_tokens]

    assert comparable(whole) == comparable(streamed)
    return whole


async def post(server: demo.DemoServer, path: str = "/messages", **fields: Any) -> httpx.Response:
    """A request with ``fields`` changed, None: left out."""
    body = {"model": "m", "max_tokens": 100, "messages": [user("Hi")], **fields}
    body = {name: value for name, value in body.items() if value is not None}
    async with httpx.AsyncClient() as http:
        return await http.post(f"{server.base_url}{path}", json=body, headers=VERSION)


async def streamed(server: demo.DemoServer, prompt: str, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream that the grammar allows."""
    answer = await post(server, messages=[user(prompt)], stream=True, **fields)
    events = grammar.parse(answer.content.replace(b'{"type": "ping"}', b'{"type":"ping"}'))
    grammar.check(events)
    return events


@pytest.mark.parametrize("name", sorted({"text", "think", "long", "empty", "length", "refusal", "tool", "coding"}))
async def test_streams_keep_to_the_grammar_and_say_what_whole_answers_say(server, client, name: str) -> None:
    assert name in scenarios.SCENARIOS
    options: dict[str, Any] = {"tools": [WEATHER], "max_tokens": 4096, **ADAPTIVE}
    events = await streamed(server, f"[demo:{name}]", **options)
    assert [event["type"] for event in events[:2]] == ["message_start", "ping"]
    message = await ask(client, f"[demo:{name}]", **options)
    assert Message.model_validate(message.model_dump(), strict=False) == message
    assert message.stop_reason == grammar.message_of(events)["stop_reason"]
    assert message.usage.input_tokens > 0


async def test_parallel_tools_and_their_results_in_another_order(client) -> None:
    message = await ask(client, '[demo:tools city="São Paulo"]', tools=[WEATHER, CLOCK])
    assert message.stop_reason == "tool_use"
    weather, clock = calls_of(message)
    assert (weather.name, weather.input, clock.name, clock.input) == (
        "get_weather",
        {"city": "São Paulo"},
        "get_time",
        {},
    )
    results = answers(message, "20 degrees", "noon")
    results["content"] = [*reversed(results["content"]), {"type": "text", "text": "Please sum up."}]
    final = await ask(client, "[demo:tools]", said(message.content), results, tools=[WEATHER, CLOCK])
    assert "noon | 20 degrees" in text_of(final)
    alone = {"type": "auto", "disable_parallel_tool_use": True}
    assert len(calls_of(await ask(client, "[demo:tools]", tools=[WEATHER, CLOCK], tool_choice=alone))) == 1


async def test_a_tool_is_forced_and_forbidden(client) -> None:
    async def called(**choice: Any) -> list[str]:
        return [call.name for call in calls_of(await ask(client, "Hi", tools=[WEATHER, CLOCK], tool_choice=choice))]

    assert await called(type="any") == ["get_weather"]
    assert await called(type="tool", name="get_time") == ["get_time"]
    assert await called(type="none") == await called(type="auto") == []


async def test_thinking_is_signed_and_counted_when_it_comes_back(server, client) -> None:
    message = await ask(client, "[demo:tool]", tools=[WEATHER], **ADAPTIVE)
    assert [block.type for block in message.content] == ["tool_use"]
    message = await ask(client, "Hi", **ADAPTIVE)
    thinking = message.content[0]
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.thinking == scenarios.REASONING
    await ask(client, "Hi", said(message.content), "And?")
    assert server.stats.reasoning_returned == 2, "once whole, once streamed"
    for changed, words in (
        ({"signature": "mine"}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        ({"thinking": "Something else."}, "cannot be modified"),
    ):
        odd = {**thinking.model_dump(), **changed}
        with pytest.raises(anthropic.BadRequestError, match=words):
            await ask(client, "Hi", said([odd, {"type": "text", "text": "x"}]), "And?")
    with pytest.raises(anthropic.BadRequestError, match=r"thinking\.signature: Field required"):
        await ask(client, "Hi", said([{"type": "thinking", "thinking": "x"}]), "And?")


async def test_thinking_is_left_out_or_emptied_as_asked(server, client) -> None:
    quiet = await ask(client, "[demo:think]", thinking={"type": "disabled"})
    assert [block.type for block in quiet.content] == ["text"]
    assert [block.type for block in (await ask(client, "Hi")).content] == ["text"]
    empty = (await ask(client, "Hi", thinking={"type": "adaptive", "display": "omitted"})).content[0]
    assert isinstance(empty, ThinkingBlock)
    assert empty.thinking == ""
    await ask(client, "Hi", said([empty, {"type": "text", "text": "x"}]), "And?")
    assert server.stats.reasoning_returned == 2


async def test_why_an_answer_ends(client) -> None:
    stopped = await ask(client, "[demo:long n=9]", stop_sequences=["word7", "word3"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "word3")
    assert text_of(stopped) == "word0 word1 word2 "
    assert (await ask(client, "[demo:long n=9]", max_tokens=5)).stop_reason == "max_tokens"
    refused = await ask(client, "[demo:refusal]")
    assert refused.stop_reason == "refusal"
    assert refused.stop_details is not None


async def test_a_session_as_claude_code_has_it(client) -> None:
    environment = {"role": "system", "content": [{"type": "text", "text": "# Environment\n - cwd: /home/me"}]}
    write = {"type": "object", "properties": {"file_path": {}, "content": {}}}
    tools: Any = [{"name": "Write", "input_schema": write, "defer_loading": False}]
    system: Any = [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]
    message = await ask(client, "[demo:coding]", environment, system=system, tools=tools)
    [call] = calls_of(message)
    assert call.input["file_path"] == "/home/me/greet.sh"


async def test_images_are_seen_in_messages_and_in_results(client) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [image], "is_error": False}
    message = await ask(client, user([{"type": "text", "text": "Look"}, image]), said([call]), user([result]))
    assert "2 images (image/png, 8 bytes; image/png, 8 bytes)" in text_of(message)


async def test_a_long_conversation_reports_cached_tokens(client) -> None:
    usage = (await ask(client, "x" * 9000, said("ok"), "go on")).usage
    assert usage.cache_read_input_tokens == 2176  # 17 * 128
    assert 0 < usage.input_tokens < 300


async def test_tokens_are_counted_and_formats_kept(server, client) -> None:
    count = await client.messages.count_tokens(model="m", messages=[user("x" * 400)])
    assert 100 <= count.input_tokens <= 150
    shaped = await ask(client, "Hi", output_config={"format": {"type": "json_schema", "schema": CITY}})
    assert text_of(shaped) == '{"city":"city"}'
    assert '"Hi"' in text_of(await ask(client, "Hi", output_config={"effort": "low"}))


async def test_errors_have_anthropic_s_shape_and_headers(server, client) -> None:
    with pytest.raises(anthropic.RateLimitError) as limited:
        await ask(client, "[demo:error status=429 retry_after=2]")
    headers = limited.value.response.headers
    assert headers["retry-after"] == "2"
    assert headers["anthropic-ratelimit-requests-remaining"].isdigit()
    assert limited.value.body["request_id"] == headers["request-id"] == limited.value.request_id
    kinds = {401: "authentication_error", 404: "not_found_error", 503: "api_error", 529: "overloaded_error"}
    for status, kind in kinds.items():
        answer = await post(server, messages=[user(f"[demo:error status={status}]")])
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 20 maximum"):
        await ask(client, "[demo:overflow limit=20]")
    good = await post(server)
    assert good.headers["request-id"].startswith("req_")


async def test_faults_in_a_stream(server) -> None:
    events = await streamed(server, "[demo:error-midstream after=2 status=529]")
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "The demo model failed in mid-stream."}
    late = await streamed(server, "[demo:error-midstream after=999]")
    assert [event["type"] for event in late[-2:]] == ["content_block_stop", "error"]
    for after in (0, 3, 999):
        with pytest.raises(httpx.RemoteProtocolError):
            await post(server, messages=[user(f"[demo:drop after={after}]")], stream=True)


async def test_quirks_of_the_wire_show_here_too(server, client) -> None:
    async with client.messages.stream(
        model="m", max_tokens=99, messages=[user("[demo:tools city=Rome quirk=no-space]")], tools=[WEATHER, CLOCK]
    ) as stream:
        assert calls_of(await stream.get_final_message())[0].input == {"city": "Rome"}
    events = await streamed(server, "[demo:tools city=Rome quirk=numbered-ids]", tools=[WEATHER, CLOCK])
    assert [block["id"] for block in grammar.message_of(events)["content"]] == ["toolu_0", "toolu_1"]


async def test_the_memory_is_one_for_all_apis(server, client) -> None:
    prompt = user("[demo:error status=500 first=2]")
    with pytest.raises(anthropic.InternalServerError):
        await client.messages.create(model="m", max_tokens=9, messages=[prompt])
    async with httpx.AsyncClient() as http:
        chat = await http.post(f"{server.base_url}/chat/completions", json={"model": "m", "messages": [prompt]})
        response = await http.post(f"{server.base_url}/responses", json={"model": "m", "input": [prompt]})
    assert (chat.status_code, response.status_code) == (500, 200)


USE = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "x"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": None}, "messages: Field required"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
    ({"stream_options": {}}, "stream_options: Extra inputs are not permitted"),
    ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "budget_tokens: Input should be greater than or equal to"),
    ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "`max_tokens` must be greater than"),
    ({"tools": [WEATHER, WEATHER]}, "tools: Tool names must be unique."),
    ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{**WEATHER, "name": "a.b"}]}, "tools.0.custom.name: String should match pattern"),
    ({"tool_choice": {"type": "tool", "name": "f"}}, "Tool 'f' not found in provided tools"),
    ({"tool_choice": {"type": "required"}}, "tool_choice: Input tag 'required' found using 'type'"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
    ({"messages": [{"role": "system", "content": "x"}, user("x")]}, "messages.0: use the top-level 'system' parameter"),
    ({"messages": [said("x"), user("x")]}, 'first message must use the "user" role'),
    ({"messages": [user("x"), said("x")]}, "does not support assistant message prefill"),
    ({"messages": [user([])]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [user(" ")]}, "text content blocks must contain non-whitespace text"),
    ({"messages": [user([{"type": "image_url"}])]}, "messages.0.content.0: Input tag 'image_url' found using 'type'"),
    (
        {"messages": [user([{"type": "text", "text": "x", "index": 0}])]},
        "messages.0.content.0.text.index: Extra inputs",
    ),
    ({"messages": [user("x"), said([USE]), user("y")]}, "messages.1: `tool_use` ids were found without `tool_result`"),
    ({"messages": [user([RESULT])]}, "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: c"),
    (
        {"messages": [user("x"), said([USE, USE]), user([RESULT])]},
        "messages.1.content.1: `tool_use` ids must be unique",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[1])
async def test_what_anthropic_refuses_is_refused(server, case: tuple[dict[str, Any], str]) -> None:
    fields, message = case
    answer = await post(server, **fields)
    body = answer.json()
    assert (answer.status_code, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    assert message in body["error"]["message"]
    assert server.stats.served == 1


async def test_a_request_without_version_or_json_is_refused(server) -> None:
    async with httpx.AsyncClient() as http:
        bare = await http.post(f"{server.base_url}/messages", json={"model": "m"})
        broken = await http.post(f"{server.base_url}/messages", content=b"{", headers=VERSION)
        wrong = await http.get(f"{server.base_url}/messages")
    assert bare.json()["error"]["message"] == "anthropic-version: header is required"
    assert broken.status_code == 400
    assert (wrong.status_code, wrong.json()["type"]) == (405, "error")


async def test_the_last_request_can_be_looked_at_but_not_its_credentials(server, client) -> None:
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{server.base_url}/demo/last")).json() is None
        await client.beta.messages.create(
            model="some-model", max_tokens=9, messages=[user("Hi")], betas=["a", "b"], extra_query={"beta": "true"}
        )
        last = (await http.get(f"{server.base_url}/demo/last")).json()
        assert (last["method"], last["path"], last["query"]) == ("POST", "/v1/messages", "beta=true")
        assert last["model"] == "some-model"
        headers = {name.lower(): value for name, value in last["headers"]}
        assert headers["anthropic-beta"] == "a,b"
        assert headers["authorization"] == f"sha256:{hashlib.sha256(b'Bearer the key').hexdigest()}"
        for path, body in (("/chat/completions", b'{"model": "x"}'), ("/responses", b"[]")):
            await http.post(f"{server.base_url}{path}", content=body, headers={"X-Api-Key": "secret"})
            last = (await http.get(f"{server.base_url}/demo/last")).json()
            assert last["body_sha256"] == hashlib.sha256(body).hexdigest()
            assert last["model"] == ("x" if b"x" in body else None)
            assert ["X-Api-Key", f"sha256:{hashlib.sha256(b'secret').hexdigest()}"] in last["headers"]
            assert "secret" not in str(last)


async def test_two_hundred_streams_at_once(client) -> None:
    async def words(number: int) -> str:
        async with client.messages.stream(
            model="m", max_tokens=99, messages=[user(f"[demo:long n=9] {number}")]
        ) as stream:
            return await stream.get_final_text()

    assert set(await asyncio.gather(*map(words, range(200)))) == {" ".join(f"word{n}" for n in range(9))}
