"""``POST /v1/messages/count_tokens`` in front of the demo model (protocol.md 6; claude-code.md 1)."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.support.proxy import HELLO, Proxy, serving
from tests.support.server_process import serve

PATH = "/v1/messages/count_tokens"
MODEL = "claude-sonnet-5-5"
TOOL: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK = {key: value for key, value in HELLO.items() if key != "max_tokens"}
MAPS = Path("/proc/self/maps")
USER: Any = {"role": "user", "content": "Hello, world"}


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with serving() as proxy:
        yield proxy


def sdk(proxy: Proxy, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=proxy.url, api_key="test", max_retries=0, _strict_response_validation=True, **options
    )


async def tokens(proxy: Proxy, **fields: Any) -> int:
    response = await proxy.post(ASK | fields, PATH)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert list(answer) == ["input_tokens"]
    return int(answer["input_tokens"])


async def test_the_sdk_counts(proxy: Proxy) -> None:
    async with sdk(proxy) as client:
        plain = await client.messages.count_tokens(model=MODEL, messages=[USER])
        more = await client.messages.count_tokens(model=MODEL, system="Be brief.", messages=[USER], tools=[TOOL])
        beta = await client.beta.messages.count_tokens(model=MODEL, messages=[USER])
    assert 5 <= plain.input_tokens == beta.input_tokens < more.input_tokens < 100


async def test_it_answers_as_messages_does(proxy: Proxy) -> None:
    before = proxy.handled()
    response = await proxy.post(ASK, PATH + "?beta=true")
    assert response.headers["request-id"].startswith("req_")
    assert response.headers["content-type"] == "application/json"
    assert "server-timing" in response.headers
    after = proxy.handled()
    # one event, and nobody else is asked: counting takes no permit and no slot
    assert after["metrics"] == before["metrics"] + 1
    assert (after["limiter"], after["provider"]) == (before["limiter"], before["provider"])


async def test_a_base_url_that_ends_in_v1_is_served_too(proxy: Proxy) -> None:
    assert (await proxy.post(ASK, "/v1" + PATH)).status_code == 200


async def test_a_body_may_be_compressed(proxy: Proxy) -> None:
    body = gzip.compress(json.dumps(ASK).encode())
    response = await proxy.post(body, PATH, headers={"content-encoding": "gzip"})
    assert response.json() == {"input_tokens": await tokens(proxy)}


async def test_max_tokens_and_stream_change_nothing(proxy: Proxy) -> None:
    assert await tokens(proxy, max_tokens=1, stream=True) == await tokens(proxy)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The request body is not valid JSON"),
        ({"messages": [USER]}, "model: Field required"),
        ({"model": MODEL}, "messages: Field required"),
        ({"model": MODEL, "messages": []}, "messages: at least one message is required"),
        ({"model": MODEL, "messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"model": MODEL, "messages": [{"role": "assistant", "content": "x"}]}, 'must use the "user" role'),
        ({"model": MODEL, "messages": [USER], "tools": [TOOL, TOOL]}, "Tool names must be unique"),
    ],
)
async def test_what_is_wrong_is_named(proxy: Proxy, body: Any, message: str) -> None:
    response = await proxy.post(body, PATH)
    error = response.json()
    assert (response.status_code, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
    assert message in error["error"]["message"]
    assert error["request_id"] == response.headers["request-id"]


async def test_a_large_body_that_is_wrong_is_named_too(proxy: Proxy) -> None:
    """It is read in another thread: its error must find the way back."""
    messages = [{"role": "user", "content": "x" * 100_000}, {"role": "user", "content": [{"type": "text"}]}]
    response = await proxy.post(ASK | {"messages": messages}, PATH)
    assert response.status_code == 400
    assert "messages.1.content.0.text: Field required" in response.text


@pytest.mark.parametrize(
    "messages",
    [
        [USER, {"role": "assistant", "content": "Hello"}],  # the demo model has no prefill
        [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "https://a.example/b"}}]}],
    ],
)
async def test_what_the_upstream_could_not_take_is_counted_all_the_same(proxy: Proxy, messages: Any) -> None:
    assert await tokens(proxy, messages=messages) > 0


async def test_a_token_is_asked_for() -> None:
    async with serving(CCPROXY_AUTH_TOKENS="ann:token-of-ann-1234") as proxy:
        assert (await proxy.post(ASK, PATH)).status_code == 401
        assert (await proxy.post(ASK, PATH, headers={"x-api-key": "token-of-ann-1234"})).status_code == 200


async def test_what_context_sends_at_once_is_answered(proxy: Proxy) -> None:
    """Claude Code's /context: some 25 bodies in parallel, one tool each (claude-code.md 1)."""
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "d" * 40} for n in range(30)}}
    tools = [{**TOOL, "name": f"tool_{n}", "description": "word " * n * 50, "input_schema": schema} for n in range(25)]
    counts = await asyncio.gather(*(tokens(proxy, tools=[tool]) for tool in tools))
    assert counts == sorted(counts)
    assert len(set(counts)) == 25
    assert await asyncio.gather(*(tokens(proxy, tools=[tool]) for tool in tools)) == counts


async def test_a_growing_conversation_counts_the_sum_of_its_parts(proxy: Proxy) -> None:
    turns = [
        {"role": role, "content": f"{role} {number} " + "some words of a conversation " * 200}
        for number in range(20)
        for role in ("user", "assistant")
    ]
    counts = [await tokens(proxy, messages=turns[:end]) for end in (1, 2, 39, 40)]
    assert counts == sorted(set(counts))
    memory = proxy.runtime.counter.memory
    assert memory is not None
    assert len(memory) == 40


async def test_the_memory_can_be_switched_off() -> None:
    async with serving(CACHE_TOKEN_COUNTS_ENABLED="0", THREAD_POOL_MAX_WORKERS="1") as proxy:
        assert proxy.runtime.counter.memory is None
        assert await tokens(proxy) == await tokens(proxy)


async def test_five_megabytes_are_counted_while_others_are_served(proxy: Proxy) -> None:
    await tokens(proxy)  # the vocabulary is there
    large = asyncio.ensure_future(tokens(proxy, messages=[{"role": "user", "content": "some words " * 480_000}]))
    served = 0
    while not large.done():
        assert (await proxy.client.get("/health")).status_code == 200
        served += 1
    assert await large > 900_000
    assert served >= 2


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux says what a process has loaded")
def test_no_vocabulary_is_in_memory_before_somebody_counts(tmp_path: Path) -> None:
    """75 MB is what the idle proxy may take, and a vocabulary takes 65 MB of its own."""
    with serve(tmp_path) as server, anthropic.Anthropic(base_url=server.url, api_key="test", max_retries=0) as client:
        maps = Path(f"/proc/{server.process.pid}/maps")
        assert "toktok" not in maps.read_text()
        assert client.messages.count_tokens(model=MODEL, messages=[USER]).input_tokens > 0
        assert "toktok" in maps.read_text()
