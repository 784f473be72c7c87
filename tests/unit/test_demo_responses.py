"""The demo model's Responses API, read with OpenAI's own client and types."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ccproxy_sanic import demo
from ccproxy_sanic.demo import scenarios

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: dict[str, Any] = {"type": "function", "name": "get_weather", "parameters": CITY, "strict": False}
CLOCK: dict[str, Any] = {"type": "function", "name": "get_time", "parameters": {"type": "object"}, "strict": False}
CARRIED: dict[str, Any] = {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}, "store": False}


@pytest.fixture
async def server() -> AsyncIterator[demo.DemoServer]:
    server = await demo.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: demo.DemoServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
        yield client


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def told(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(event name, data) of an SSE body."""
    pairs = []
    for block in text.replace("\r\n", "\n").split("\n\n")[:-1]:
        lines = [line.partition(":") for line in block.split("\n")]
        fields = {name: value.lstrip(" ") for name, _, value in lines}
        if "data" in fields:
            pairs.append((fields["event"], json.loads(fields["data"])))
    return pairs


async def post(server: demo.DemoServer, given: Any, **fields: Any) -> httpx.Response:
    """``given`` is the input; ``fields`` with value None are left out."""
    body = {"model": "m", "input": given, **fields}
    async with httpx.AsyncClient() as http:
        return await http.post(
            f"{server.base_url}/responses", json={name: value for name, value in body.items() if value is not None}
        )


async def streamed(server: demo.DemoServer, given: Any, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream, each checked against its type, its name and its place."""
    answer = await post(server, given, stream=True, **fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = told(answer.text)
    for number, (name, data) in enumerate(events):
        assert (name, number) == (data["type"], data["sequence_number"])
        EVENT.validate_python(data)
    return [data for _, data in events]


def without_ids(answer: dict[str, Any]) -> str:
    """They follow from the request's bytes, as the usage does, and those differ by ``stream``."""
    kept = {name: value for name, value in answer.items() if name != "usage"}
    return re.sub("[0-9a-f]{20,}", "", json.dumps(kept))


async def both(server: demo.DemoServer, given: Any, **fields: Any) -> Response:
    """The whole answer, after checking that a stream's last event holds the same."""
    whole = (await post(server, given, **fields)).json()
    last = (await streamed(server, given, **fields))[-1]["response"]
    assert without_ids(whole) == without_ids(last)
    return Response.model_validate(whole)


def types(events: list[dict[str, Any]]) -> list[str]:
    """The names without ``response.``, a row of deltas as one."""
    names = [event["type"].removeprefix("response.") for event in events]
    return [name for at, name in enumerate(names) if not (at and name.endswith(".delta") and names[at - 1] == name)]


async def test_a_stream_is_the_whole_grammar_of_a_text(server) -> None:
    events = await streamed(server, "[demo:long n=3]")
    assert types(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert "".join(event["delta"] for event in events if event["type"].endswith("delta")) == "word0 word1 word2"


@pytest.mark.parametrize("name", sorted({"text", "think", "long", "empty", "length", "refusal", "slow", "coding"}))
async def test_stream_and_whole_answer_say_the_same_in_openai_types(server, name: str) -> None:
    assert name in scenarios.SCENARIOS
    answer = await both(server, f"[demo:{name} pace=0]")
    assert answer.status == ("incomplete" if name == "length" else "completed")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert bool(answer.output) == (name != "empty")


async def test_openai_s_own_reader_puts_a_stream_together(client) -> None:
    async with client.responses.stream(
        model="m", input='[demo:tools city="Rome" say="Let me look."]', tools=[WEATHER, CLOCK]
    ) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "Let me look."
    calls = [(item.name, json.loads(item.arguments)) for item in final.output if item.type == "function_call"]
    assert calls == [("get_weather", {"city": "Rome"}), ("get_time", {})]
    assert final.tools[0].name == "get_weather"


async def test_a_tool_loop_goes_on_and_its_results_are_quoted(client) -> None:
    items: list[Any] = [user("[demo:tool name=get_weather city=Oslo turns=2 say=Well]")]
    for turn in range(2):
        answer = await client.responses.create(model="m", input=items, tools=[CLOCK, WEATHER], instructions="Be kind.")
        [call] = [item for item in answer.output if item.type == "function_call"]
        items += [item.model_dump(exclude_none=True) for item in answer.output]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": f"{turn} degrees"})
    assert "0 degrees | 1 degrees" in (await client.responses.create(model="m", input=items)).output_text


async def test_a_tool_is_forced_and_forbidden(client) -> None:
    async def called(**options: Any) -> list[str]:
        answer = await client.responses.create(model="m", input="Hi [demo:x]", tools=[WEATHER, CLOCK], **options)
        return [item.name for item in answer.output if item.type == "function_call"]

    assert await called(tool_choice="required") == ["get_weather"]
    assert await called(tool_choice={"type": "function", "name": "get_time"}) == ["get_time"]
    assert await called(tool_choice="none") == []
    parallel = await client.responses.create(
        model="m", input="[demo:tools]", tools=[WEATHER, CLOCK], parallel_tool_calls=False
    )
    assert len(parallel.output) == 1


async def test_reasoning_is_summarised_and_carried_only_if_asked_for(server) -> None:
    plain = await streamed(server, "[demo:think]")
    assert "reasoning_summary_text.delta" not in types(plain)
    assert plain[-1]["response"]["output"][0]["summary"] == []
    assert "encrypted_content" not in plain[-1]["response"]["output"][0]
    assert plain[-1]["response"]["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
    off = (await post(server, "[demo:think]", reasoning={"effort": "none"})).json()
    assert [item["type"] for item in off["output"]] == ["message"]
    events = await streamed(server, "[demo:think]", **CARRIED)
    assert types(events)[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]
    added, done = [event["item"] for event in events if "output_item" in event["type"]][:2]
    assert added["encrypted_content"] != done["encrypted_content"]
    assert done["summary"][0]["text"] == scenarios.REASONING


async def test_reasoning_that_comes_back_is_counted_and_any_other_refused(server) -> None:
    [reasoning, message] = (await post(server, "[demo:think]", **CARRIED)).json()["output"]

    async def answered(*items: Any) -> tuple[int, str]:
        answer = await post(server, [user("[demo:think]"), *items, user("And?")], **CARRIED)
        body = answer.json()
        return answer.status_code, body["error"]["code"] if body["error"] else body["status"]

    assert await answered(reasoning, message) == (200, "completed")
    assert server.stats.reasoning_returned == 1
    assert await answered({**reasoning, "summary": []}, message) == (200, "completed")
    assert server.stats.reasoning_returned == 2
    altered = {**reasoning, "summary": [{"type": "summary_text", "text": "Something else."}]}
    assert await answered(altered, message) == (200, "completed")
    assert server.stats.reasoning_returned == 2, "what was changed isn't what the demo gave"
    announced = {**reasoning, "encrypted_content": reasoning["encrypted_content"][:-4]}
    for odd in (announced, {**reasoning, "encrypted_content": "gAAAAB"}, {**reasoning, "id": "rs_other"}):
        assert await answered(odd, message) == (400, "invalid_encrypted_content")
    alone = await post(server, [user("x"), reasoning, user("y")])
    assert f"Item '{reasoning['id']}' of type 'reasoning' was provided without its required" in alone.text
    del reasoning["encrypted_content"]
    assert (await post(server, [user("x"), reasoning, message, user("y")])).status_code == 404


async def test_a_limit_leaves_the_answer_incomplete(server) -> None:
    answer = await both(server, "[demo:long n=99]", max_output_tokens=16)
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[-1].status == "incomplete"
    assert len(answer.output_text.split()) == 16


async def test_a_format_gets_json_that_fits_and_high_effort_reasons(client) -> None:
    shape = {"type": "json_schema", "name": "t", "schema": CITY, "strict": True}
    answer = await client.responses.create(model="m", input="Hi", text={"format": shape}, reasoning={"effort": "high"})
    assert json.loads(answer.output_text) == {"city": "city"}
    assert answer.output[0].type == "reasoning"


async def test_images_are_seen_in_messages_and_in_results(client) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    items: list[Any] = [
        user([{"type": "input_text", "text": "Look"}, image]),
        call,
        {"type": "function_call_output", "call_id": "c", "output": [image]},
    ]
    answer = await client.responses.create(model="m", input=items)
    assert "2 images (image/png, 8 bytes; image/png, 8 bytes)" in answer.output_text


async def test_a_refusal_is_a_part_of_its_own(server) -> None:
    answer = await both(server, "[demo:refusal]")
    assert answer.output[0].content[0].type == "refusal"


async def test_faults_come_in_the_api_s_own_form(server, client) -> None:
    with pytest.raises(openai.BadRequestError, match="exceeds the context window") as overflow:
        await client.responses.create(model="m", input="[demo:overflow]")
    assert (overflow.value.code, overflow.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(openai.RateLimitError) as limited:
        await client.responses.create(model="m", input="[demo:error status=429 retry_after=2]")
    assert limited.value.response.headers["retry-after"] == "2"
    assert limited.value.request_id
    failed = (await streamed(server, "[demo:error-midstream after=2]"))[-1]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "server_error"
    error = (await streamed(server, "[demo:error-midstream after=2 status=503]"))[-1]
    assert (error["type"], error["message"]) == ("error", "The demo model failed in mid-stream.")
    late = await streamed(server, "[demo:error-midstream after=999]")
    assert types(late)[-2:] == ["output_item.done", "failed"]
    for after in (0, 3, 999):
        with pytest.raises(httpx.RemoteProtocolError):
            await post(server, f"[demo:drop after={after}]", stream=True)


@pytest.mark.parametrize(
    ("quirk", "seen"),
    [
        ("whole-arguments", lambda text: text.count("function_call_arguments.delta") == 4),
        ("numbered-ids", lambda text: '"call_id":"call_0"' in text and '"call_id":"call_1"' in text),
        ("comments", lambda text: text.startswith(": DEMO PROCESSING\n\n")),
        ("crlf", lambda text: "\n" not in text.replace("\r\n", "")),
        ("no-space", lambda text: "\ndata:{" in text and text.startswith("event:response")),
        ("json-body", lambda text: text.startswith("{")),
    ],
)
async def test_quirks_that_every_api_can_have(server, quirk: str, seen) -> None:
    texts = [
        (await post(server, f"[demo:tools city=Rome{odd}]", stream=True, tools=[WEATHER, CLOCK])).text
        for odd in ("", f" quirk={quirk}")
    ]
    assert [seen(text) for text in texts] == [False, True]


async def test_reasoning_may_come_openly(server) -> None:
    events = await streamed(server, "[demo:think quirk=reasoning-field]")
    assert "reasoning_text.delta" in types(events)
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == scenarios.REASONING


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "x"}
STRICT = {**WEATHER, "strict": True}
REFUSED: list[tuple[Any, dict[str, Any], str, str | None]] = [
    ([], {}, "Invalid 'input': empty array.", "input"),
    (None, {}, "Missing required parameter: 'input'.", "input"),
    ("x", {"model": None}, "Missing required parameter: 'model'.", "model"),
    ("x", {"stop": ["a"]}, "Unknown parameter: 'stop'.", "stop"),
    ("x", {"max_tokens": 5}, "has moved to 'max_output_tokens'", "max_tokens"),
    ("x", {"reasoning_effort": "low"}, "has moved to 'reasoning.effort'", "reasoning_effort"),
    ("x", {"reasoning": {"max_tokens": 5}}, "Unknown parameter: 'reasoning.max_tokens'.", "reasoning.max_tokens"),
    ("x", {"max_output_tokens": 15}, "Expected a value >= 16, but got 15 instead.", "max_output_tokens"),
    ("x", {"max_output_tokens": True}, "expected an integer, but got a boolean instead.", "max_output_tokens"),
    ("x", {"previous_response_id": "resp_1"}, "id 'resp_1' not found.", "previous_response_id"),
    ("x", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "parameter: 'tools[0].name'.", "tools[0].name"),
    ("x", {"tools": [{**WEATHER, "name": "a.b"}]}, "Invalid 'tools[0].name'", "tools[0].name"),
    ("x", {"tools": [STRICT]}, "'additionalProperties' is required", "tools[0].parameters"),
    ("x", {"tool_choice": {"type": "function", "name": "f"}}, "Tool choice 'f' not found", "tool_choice"),
    ([{"role": "tool", "content": "x"}], {}, "Invalid value: 'tool'.", "input[0]"),
    ([{"type": "thought"}], {}, "Invalid value: 'thought'.", "input[0]"),
    ([user([{"type": "text", "text": "x"}])], {}, "Invalid value: 'text'.", "input[0].content[0]"),
    ([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}], {}, "'output_text', 'refusal'", None),
    (
        [user([{"type": "input_text", "text": "x", "cache_control": {}}])],
        {},
        "'input[0].content[0].cache_control'",
        None,
    ),
    ([{**user("x"), "id": "x_1"}], {}, "Expected an ID that begins with 'msg'.", "input[0].id"),
    ([CALL], {}, "No tool output found for function call c.", "input"),
    ([CALL, OUTPUT, OUTPUT], {}, "No tool call found for function call output with call_id c.", "input"),
    ([{**CALL, "call_id": "c" * 65}, OUTPUT], {}, "maximum length 64, but got a string with length 65", None),
    ([{"type": "reasoning", "id": "rs_1"}], {}, "Missing required parameter: 'input[0].summary'.", "input[0].summary"),
    ([{"type": "item_reference", "id": "rs_1"}], {}, "Items are not persisted when `store` is set to false.", "input"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[2])
async def test_what_openai_refuses_is_refused(server, case: tuple[Any, dict[str, Any], str, str | None]) -> None:
    given, fields, message, param = case
    answer = await post(server, given, **fields)
    error = answer.json()["error"]
    assert answer.status_code in (400, 404)
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]
    assert param is None or error["param"] == param


async def test_chat_sends_some_models_to_responses(server, client) -> None:
    function = {"type": "function", "function": {"name": "f"}}
    ask: dict[str, Any] = {"messages": [user("Hi")]}
    with pytest.raises(openai.BadRequestError, match="use /v1/responses or set reasoning_effort to 'none'") as caught:
        await client.chat.completions.create(model="demo-responses", tools=[function], **ask)
    assert caught.value.param == "reasoning_effort"
    await client.chat.completions.create(model="demo-responses", tools=[function], reasoning_effort="none", **ask)
    await client.chat.completions.create(model="demo-responses", **ask)
    with pytest.raises(openai.NotFoundError, match="only supported in v1/responses and not in v1/chat/completions"):
        await client.chat.completions.create(model="demo-only-responses-2", **ask)
    for model in ("demo-responses", "demo-only-responses"):
        assert model in [listed.id for listed in (await client.models.list()).data]
        assert (await client.responses.create(model=model, input="Hi", tools=[WEATHER])).output_text
