"""What an upstream must get back next turn, carried through a client inside a signature (protocol.md 2.3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import DONE, Received, ScriptedUpstream, delta, reply_json, sse

TOOL = {"name": "f", "input_schema": {"type": "object"}}
CALL = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
DETAILS = [{"type": "reasoning.encrypted", "data": "opaque", "format": "x", "index": 0}]
ADAPTIVE = {"type": "adaptive", "display": "summarized"}


async def first_turn(proxy: Proxy, **fields: Any) -> list[dict[str, Any]]:
    """The content of an answer that thinks and calls a tool, streamed and put together as the SDK does."""
    response = await proxy.post(message(tools=[TOOL], max_tokens=4096, **fields))
    assert response.status_code == 200, response.text
    content: list[dict[str, Any]] = response.json()["content"]
    return content


async def second_turn(proxy: Proxy, content: list[dict[str, Any]], **fields: Any) -> None:
    history = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]},
    ]
    response = await proxy.post(message(tools=[TOOL], max_tokens=4096, messages=history, **fields))
    assert response.status_code == 200, response.text


def answer(**reasoning: Any) -> list[Any]:
    said = {"role": "assistant", "content": None, "tool_calls": CALL, **reasoning}
    return reply_json({"choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}]})  # type: ignore[return-value]


def sent(received: Received) -> dict[str, Any]:
    """The assistant message of the second request."""
    found: dict[str, Any] = next(m for m in received.json()["messages"] if m["role"] == "assistant")
    return found


@pytest.mark.parametrize("display", ["summarized", "omitted"])
async def test_reasoning_comes_back_to_deepseek_though_the_client_may_not_have_seen_it(display: str) -> None:
    thinking = {"type": "adaptive", "display": display}
    async with ScriptedUpstream([answer(reasoning_content="because")]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="deepseek") as proxy:
            content = await first_turn(proxy, thinking=thinking)
            assert content[0]["type"] == "thinking"
            assert content[0]["thinking"] == ("because" if display == "summarized" else "")
            await second_turn(proxy, content, thinking=thinking)
            assert sent(upstream.requests[1])["reasoning_content"] == "because"


async def test_opaque_details_come_back_whole_to_the_same_family_only() -> None:
    reply = answer(reasoning="thought", reasoning_details=DETAILS)
    names = {"BIG_MODEL_NAME": "anthropic/claude-x", "SMALL_MODEL_NAME": "openai/gpt-5"}
    async with ScriptedUpstream([reply]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="openrouter", **names) as proxy:
            content = await first_turn(proxy, thinking=ADAPTIVE)
            await second_turn(proxy, content, thinking=ADAPTIVE)
            assert sent(upstream.requests[1])["reasoning_details"] == DETAILS
            await second_turn(proxy, content, thinking=ADAPTIVE, model="claude-haiku-4-5")
            assert sent(upstream.requests[2])["reasoning_details"] == [{"type": "reasoning.text", "text": "thought"}]


async def test_foreign_and_forged_signatures_are_ignored() -> None:
    async with ScriptedUpstream([answer(reasoning="t", reasoning_details=DETAILS)]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="openrouter") as proxy:
            content = await first_turn(proxy, thinking=ADAPTIVE)
            ours = content[0]["signature"]
            for signature in ("", "EqoBCkgIARABGAIiQ", ours[:-4] + "AAAA", "ppx1.", "ppx1.%%%"):
                content[0]["signature"] = signature
                await second_turn(proxy, content, thinking=ADAPTIVE)
                assert sent(upstream.requests[-1])["reasoning_details"] == [{"type": "reasoning.text", "text": "t"}]


async def test_a_restart_with_the_same_upstream_key_still_knows_its_signatures() -> None:
    async with ScriptedUpstream([answer(reasoning_content="because")]) as upstream:
        settings = {"CCPROXY_PROFILE": "deepseek", "OPENAI_API_KEY": "sk-one"}
        omitted = {"type": "adaptive", "display": "omitted"}
        async with serving(upstream.base_url, **settings) as proxy:
            content = await first_turn(proxy, thinking=omitted)
        async with serving(upstream.base_url, **settings) as proxy:
            await second_turn(proxy, content, thinking=omitted)
        assert sent(upstream.requests[1])["reasoning_content"] == "because"
        async with serving(upstream.base_url, **{**settings, "OPENAI_API_KEY": "sk-two"}) as proxy:
            await second_turn(proxy, content, thinking=omitted)
        assert sent(upstream.requests[2])["reasoning_content"] != "because"


async def test_streamed_reasoning_is_signed_and_comes_back() -> None:
    script = sse(
        delta(reasoning_content="be"),
        delta(reasoning_content="cause"),
        delta(tool_calls=CALL),
        delta("tool_calls"),
        DONE,
    )
    async with ScriptedUpstream([script, answer()]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="deepseek") as proxy:
            from tests.support.grammar import message_of, parse

            body = message(tools=[TOOL], max_tokens=4096, thinking={"type": "adaptive", "display": "omitted"})
            async with proxy.streaming(body) as response:
                content = message_of(parse(await response.aread()))["content"]
            assert content[0]["thinking"] == ""
            await second_turn(proxy, content)
            assert sent(upstream.requests[1])["reasoning_content"] == "because"
