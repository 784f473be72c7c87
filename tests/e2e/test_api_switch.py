"""Which API is spoken: by profile, by force, and by what the server itself asks for (protocol.md 5.6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.proxy import events, message, serving, text_of
from tests.support.upstream import Received, Reply, ScriptedUpstream, reply_json, text_stream

TOOL = {"name": "f", "input_schema": {"type": "object"}}
WORDING = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function tools,"
    " use /v1/responses or set reasoning_effort to 'none'."
)
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 0,
    "model": "gpt-5.6",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "from responses", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    },
}


def picky(received: Received) -> Reply:
    """Chat Completions without function tools only."""
    if received.target == "/v1/responses":
        return reply_json(RESPONSE)
    if received.json().get("tools"):
        return reply_json({"error": {"message": WORDING, "type": "invalid_request_error"}}, 400)
    return text_stream("from ", "chat")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_known_refusal_switches_once_and_is_remembered(stream: bool) -> None:
    body = message(model="gpt-5.6", tools=[TOOL], stream=stream)
    async with ScriptedUpstream(picky) as upstream:
        async with serving(upstream.base_url) as proxy:
            for way in ("local/gpt-5.6;failed=400, local/gpt-5.6", "local/gpt-5.6"):
                response = await proxy.post(body)
                assert response.status_code == 200, response.text
                assert "from responses" in response.text
                assert response.headers["x-ccproxy-route"] == way
            paths = [received.target for received in upstream.requests]
            assert paths == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]


async def test_another_model_of_the_same_server_is_still_asked_in_chat() -> None:
    async with ScriptedUpstream(picky) as upstream:
        async with serving(upstream.base_url) as proxy:
            await proxy.post(message(model="gpt-5.6", tools=[TOOL]))
            response = await proxy.post(message(model="other", stream=True))
            assert text_of(events(response.content)) == "from chat"


async def test_who_forces_chat_gets_no_reasoning_beside_tools() -> None:
    """The other way that the refusal names."""

    def strict(received: Received) -> Reply:
        return text_stream("calm") if received.json().get("reasoning_effort") == "none" else picky(received)

    async with ScriptedUpstream(strict) as upstream:
        async with serving(upstream.base_url, CCPROXY_API="chat") as proxy:
            for _ in range(2):
                response = await proxy.post(message(model="gpt-5.6", tools=[TOOL], stream=True))
                assert text_of(events(response.content)) == "calm"
            assert [received.target for received in upstream.requests] == ["/v1/chat/completions"] * 3


async def test_a_server_that_refuses_both_is_asked_twice_only() -> None:
    refusal = reply_json({"error": {"message": WORDING}}, 400)
    async with ScriptedUpstream([refusal]) as upstream:
        async with serving(upstream.base_url) as proxy:
            response = await proxy.post(message(model="gpt-5.6", tools=[TOOL]))
            assert response.status_code == 400
            assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"CCPROXY_API": "responses"}, "/v1/responses"),
        ({"CCPROXY_API": "messages"}, "/v1/messages"),
        ({"CCPROXY_API": "chat", "CCPROXY_PROFILE": "anthropic"}, "/v1/chat/completions"),
        ({"CCPROXY_PROFILE": "anthropic"}, "/v1/messages"),
        ({}, "/v1/chat/completions"),
    ],
)
async def test_the_api_is_forced_or_the_profiles(environ: dict[str, Any], path: str) -> None:
    async with ScriptedUpstream([reply_json({"error": {"message": "no"}}, 400)]) as upstream:
        async with serving(upstream.base_url, **environ) as proxy:
            await proxy.post()
            assert [received.target for received in upstream.requests] == [path]


SUMMARY = "Your organization must be verified to generate reasoning summaries."
OPENAI = {"CCPROXY_API": "responses", "CCPROXY_PROFILE": "openai"}
THINKING = {"type": "adaptive", "display": "summarized"}


async def test_an_organisation_without_summaries_is_not_asked_for_them_again() -> None:
    def unverified(received: Received) -> Reply:
        if "summary" in (received.json().get("reasoning") or {}):
            return reply_json({"error": {"message": SUMMARY, "param": "reasoning.summary"}}, 400)
        return reply_json(RESPONSE)

    async with ScriptedUpstream(unverified) as upstream:
        async with serving(upstream.base_url, **OPENAI) as proxy:
            for _ in range(3):
                response = await proxy.post(message(model="gpt-5.6", thinking=THINKING))
                assert response.status_code == 200, response.text
            assert len(upstream.requests) == 4
            assert all(received.json()["include"] for received in upstream.requests)


async def test_reasoning_of_another_organisation_is_left_out_of_that_request_only() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "opaque",
    }
    thinks = RESPONSE | {"output": [thought, *RESPONSE["output"]]}  # type: ignore[misc]

    def other(received: Received) -> Reply:
        if any(item.get("type") == "reasoning" for item in received.json()["input"]) and len(upstream.requests) == 2:
            wording = "The encrypted content for item rs_1 could not be verified."
            return reply_json({"error": {"message": wording, "code": "invalid_encrypted_content"}}, 400)
        return reply_json(thinks)

    async with ScriptedUpstream(other) as upstream:
        async with serving(upstream.base_url, **OPENAI) as proxy:
            first = (await proxy.post(message(model="gpt-5.6", thinking=THINKING))).json()["content"]
            history = [
                {"role": "user", "content": "Go"},
                {"role": "assistant", "content": first},
                {"role": "user", "content": "On"},
            ]
            for _ in range(2):
                response = await proxy.post(message(model="gpt-5.6", thinking=THINKING, messages=history))
                assert response.status_code == 200, response.text
            kinds = [[item.get("type") for item in received.json()["input"]] for received in upstream.requests]
            assert ["reasoning" in kind for kind in kinds] == [False, True, False, True]
