"""Through the proxy to a model server that nobody here wrote: llama.cpp's, with a small model (`make e2e-llama`).

A model of 135 million parameters talks nonsense: what it says is never looked at, only what it says it in.
Its quirks: real-upstream.md.  One slot, so that a request that nobody wants any more stands in everybody's way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, TextBlock, ThinkingBlock, ToolUseBlock

from tests.e2e.conftest import APIS
from tests.support.llama import MODEL as UPSTREAM_MODEL
from tests.support.llama import Llama, llama
from tests.support.quiet import assert_quiet
from tests.support.server_process import ServerProcess, serve

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(600)]
MODEL = "claude-sonnet-5-5"
CONTEXT = 4096  # tokens
LONG_PROMPT = "long " * 2500  # half a minute of reading for this model on one core
IDLE_WITHIN = 1.0  # seconds after the client has gone (issue: the three disconnects)
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# The model would call for ever: where a second call begins, the request itself says stop.
ONE_CALL: Any = {"tools": [WEATHER], "tool_choice": {"type": "any"}, "stop_sequences": ["\n```json"], "max_tokens": 100}
# What Chat Completions only has: stop sequences and answers of less than 16 tokens; the Messages API is passed through.
by_chat = pytest.mark.parametrize("proxy", ["chat"], indirect=True)
both = pytest.mark.parametrize("streamed", [False, True], ids=["create", "stream"])


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """It calls a tool where a choice demands one; without tools it just talks."""
    settings = {"LLM_SLOTS": "1", "LLM_CTX": str(CONTEXT), "LLM_KWARGS": '{"force_tool": true}'}
    with llama(tmp_path_factory.mktemp("llama"), settings) as server:
        yield server


@pytest.fixture(scope="module", params=APIS)
def proxy(
    request: pytest.FixtureRequest, upstream: Llama, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Once for each of the APIs that this server speaks itself."""
    with serve(tmp_path_factory.mktemp("proxy"), in_front_of(upstream, CCPROXY_API=request.param)) as server:
        yield server


@pytest.fixture
async def client(proxy: ServerProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client_of(proxy) as client:
        yield client
    print(proxy.output)  # pytest shows it when a test has failed
    await assert_quiet(proxy.url)


def in_front_of(upstream: Llama, **settings: str) -> dict[str, str]:
    names = {"BIG_MODEL_NAME": UPSTREAM_MODEL, "SMALL_MODEL_NAME": UPSTREAM_MODEL}
    return {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_API_KEY": "none", **names, **settings}


def client_of(server: ServerProcess) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=server.url, api_key="test", max_retries=0)


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


async def ask(client: anthropic.AsyncAnthropic, streamed: bool, *messages: Any, **options: Any) -> Message:
    request: Any = {"model": MODEL, "max_tokens": 24, "messages": list(messages), **options}
    if not streamed:
        return await client.messages.create(**request)
    async with client.messages.stream(**request) as stream:
        return await stream.get_final_message()


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


@by_chat
@both
async def test_text(client, streamed: bool) -> None:
    message = await ask(client, streamed, user("Say hello."), system="You are kind.", max_tokens=5)
    assert [block.type for block in message.content] == ["text"]
    assert text_of(message)
    assert (message.model, message.stop_reason, message.usage.output_tokens) == (MODEL, "max_tokens", 5)


@both
async def test_text_through_every_api(client, streamed: bool) -> None:
    message = await ask(client, streamed, user("Say hello."), system="You are kind.", max_tokens=20)
    assert [block.type for block in message.content] == ["text"]
    assert text_of(message)
    assert message.model == MODEL
    assert message.stop_reason in ("max_tokens", "end_turn")
    assert 0 < message.usage.output_tokens <= 20


async def test_a_stream_comes_in_pieces_and_says_the_same(client) -> None:
    prompt: Any = {"model": MODEL, "max_tokens": 24, "messages": [user("Say hello.")]}
    async with client.messages.stream(**prompt) as stream:
        pieces = [piece async for piece in stream.text_stream]
    assert len(pieces) > 5
    assert "".join(pieces) == text_of(await ask(client, False, user("Say hello.")))


@both
async def test_a_stop_sequence_ends_the_text(client, streamed: bool) -> None:
    prompt = user("Count: one two three four five. Repeat that.")
    message = await ask(client, streamed, prompt, stop_sequences=["three"], max_tokens=64)
    assert message.stop_reason in ("end_turn", "stop_sequence")  # this server doesn't name what stopped it
    assert text_of(message).strip()
    assert "three" not in text_of(message)


@by_chat
@both
async def test_usage_tells_cached_tokens_from_new_ones(client, streamed: bool) -> None:
    prompt = user(f"Repeat: {'again ' * 60}")
    await ask(client, False, prompt, max_tokens=1)
    usage = (await ask(client, streamed, prompt, max_tokens=1)).usage
    assert usage.cache_read_input_tokens is not None
    assert usage.cache_read_input_tokens > 60
    assert usage.input_tokens < 10  # the server reads the last token of a prompt again
    assert usage.output_tokens == 1


@by_chat
@both
async def test_a_forced_tool_call(client, streamed: bool) -> None:
    message = await ask(client, streamed, user("What is the weather in Paris?"), **ONE_CALL)
    assert message.stop_reason == "tool_use"
    [call] = message.content
    assert isinstance(call, ToolUseBlock)
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert call.id


@by_chat
@both
async def test_a_tool_loop(client, streamed: bool) -> None:
    """Two calls and their results go back; then an answer without a call.  Every turn the server takes as it is."""
    turns = [user("What is the weather in Paris?")]
    prompt_sizes = []
    for _ in range(2):
        message = await ask(client, streamed, *turns, **ONE_CALL)
        assert message.stop_reason == "tool_use"
        [call] = message.content
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees and sunny"}
        turns += [{"role": "assistant", "content": message.content}, user([result])]
        prompt_sizes.append(message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0))
    final = await ask(client, streamed, *turns, tools=[WEATHER], tool_choice={"type": "none"})
    prompt_sizes.append(final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0))
    assert [block.type for block in final.content] == ["text"]
    assert prompt_sizes[0] + 20 < prompt_sizes[1] < prompt_sizes[2] - 20  # what was called and said is in the prompt


@by_chat
async def test_a_call_that_is_cut_is_no_call_with_half_its_arguments(client) -> None:
    message = await ask(client, False, user("What is the weather in Paris?"), **ONE_CALL | {"max_tokens": 18})
    assert message.stop_reason == "max_tokens"
    assert all(isinstance(block.input, dict) for block in message.content if isinstance(block, ToolUseBlock))


@both
async def test_reasoning(tmp_path_factory: pytest.TempPathFactory, streamed: bool) -> None:
    home = tmp_path_factory.mktemp("thinking")
    with llama(home, {"LLM_KWARGS": '{"think": "pre"}'}) as upstream, serve(home, in_front_of(upstream)) as server:
        async with client_of(server) as client:
            thinking: Any = {"type": "adaptive", "display": "summarized"}
            first = await ask(client, streamed, user("Say hello."), thinking=thinking)
            assert [block.type for block in first.content] == ["thinking", "text"]
            thought = first.content[0]
            assert isinstance(thought, ThinkingBlock)
            assert "answer briefly" in thought.thinking
            assert thought.signature
            turns = [user("Say hello."), {"role": "assistant", "content": first.content}, user("And again.")]
            second = await ask(client, streamed, *turns, thinking=thinking)
            assert text_of(second)
        await assert_quiet(server.url)


@both
async def test_an_overflow_is_said_in_words_that_clients_know(client, streamed: bool) -> None:
    with pytest.raises(anthropic.BadRequestError, match=rf"prompt is too long: \d{{4}} tokens > {CONTEXT} maximum"):
        await ask(client, streamed, user("word " * (CONTEXT + 100)))


@both
async def test_a_request_that_the_server_refuses_is_a_bad_request(client, streamed: bool) -> None:
    """The server says 500 to an image, which this model can't see: a retry would not help."""
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    with pytest.raises(anthropic.BadRequestError, match="image input is not supported"):
        await ask(client, streamed, user([{"type": "image", "source": source}]))


@by_chat
async def test_a_request_without_messages_never_reaches_the_server(client) -> None:
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await ask(client, False)


@pytest.mark.parametrize(
    ("stream", "prompt", "after"),
    [
        pytest.param(True, LONG_PROMPT, 0, id="before-the-first-token"),
        pytest.param(True, "Tell a story.", 3, id="mid-stream"),
        pytest.param(False, "Tell a story.", 0, id="non-stream"),
    ],
)
async def test_a_client_that_leaves_frees_the_model(
    proxy: ServerProcess, upstream: Llama, stream: bool, prompt: str, after: int
) -> None:
    await upstream.until_idle()
    body = {"model": MODEL, "max_tokens": 2000, "stream": stream, "messages": [user(prompt)]}
    data = json.dumps(body).encode()
    address = httpx.URL(proxy.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    head = f"POST /v1/messages HTTP/1.1\r\nhost: {address.netloc.decode()}\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    for _ in range(after):
        await reader.readuntil(b"event: content_block_delta")
    await asyncio.sleep(0.4)
    assert await upstream.busy()
    await asyncio.sleep(0.5)
    writer.close()
    await asyncio.sleep(IDLE_WITHIN)
    assert not await upstream.busy()
    await assert_quiet(proxy.url)
    assert "unhandled" not in proxy.output  # a client that leaves is nobody's error


async def test_the_next_request_need_not_wait_for_one_that_was_left(client) -> None:
    """The same seen from outside: with one slot, an orphan of 2,000 tokens would hold this up for a minute."""
    gone = asyncio.ensure_future(ask(client, False, user("Tell a story."), max_tokens=2000))
    await asyncio.sleep(0.5)
    gone.cancel()
    async with asyncio.timeout(20):
        assert text_of(await ask(client, False, user("Say hello.")))
