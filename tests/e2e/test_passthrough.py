"""An upstream that speaks the Messages API hears and says what client and upstream wrote, byte for byte."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages_api import MESSAGE, event, streamed, text_events
from tests.support.proxy import Proxy, events, message, serving, text_of
from tests.support.routes import routed
from tests.support.upstream import CUT, Received, Reply, ScriptedUpstream, head, reply_json, text_stream

# odd spacing, escapes, unknown fields, a model that is named more than once: all of it is the client's business
BODY = (
    '{ "max_tokens":64,\n "model" : "claude-opus-5-5", "metadata":{"model":"claude-opus-5-5"},"future_field":[1.0,2e3],'
    '"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1; \\u00e9","cache_control":'
    '{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":"\\"model\\": \\ud83d\\ude00 é"}]STREAM}'
)
HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,some-future-beta-2027-01-01",
    "x-claude-code-session-id": "0a0b",
    "x-stainless-lang": "js",
    "user-agent": "claude-cli/2.1.328 (external, cli)",
    "x-app": "cli",
    "x-future-header": "kept",
    "content-type": "application/json",
    "x-api-key": "the clients own key",
    "authorization": "Bearer the clients own token",
    "cookie": "c=1",
    "x-forwarded-for": "10.1.2.3",
}
OPTIONS: dict[str, str] = {
    "CCPROXY_API": "messages",
    "OPENAI_API_KEY": "sk-upstream-123",
    "BIG_MODEL_NAME": "claude-up",
    "PROVIDER_MAX_RETRIES": "0",
}


def body(*, stream: bool = False) -> bytes:
    return BODY.replace("STREAM", ',"stream":true' if stream else "").encode()


async def ask(proxy: Proxy, *, stream: bool = False) -> Any:
    return await proxy.post(body(stream=stream), path="/v1/messages?beta=true", headers=HEADERS)


async def test_the_body_arrives_unchanged_but_for_the_model(tmp_path: Path) -> None:
    async with ScriptedUpstream([reply_json(MESSAGE)]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            response = await ask(proxy)
            assert response.status_code == 200, response.text
            (received,) = upstream.requests
            assert received.body == body().replace(b'"model" : "claude-opus-5-5"', b'"model" : "claude-up"')
            assert received.target == "/v1/messages?beta=true"


async def test_the_clients_headers_go_on_but_not_its_credentials(tmp_path: Path) -> None:
    async with ScriptedUpstream([reply_json(MESSAGE)]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            await ask(proxy)
            (received,) = upstream.requests
            for name in ("anthropic-version", "anthropic-beta", "x-claude-code-session-id", "user-agent", "x-app"):
                assert received.headers[name] == HEADERS[name]
            assert received.headers["x-stainless-lang"] == "js"
            assert received.headers["x-future-header"] == "kept"
            assert received.headers["authorization"] == "Bearer sk-upstream-123"
            assert not {"x-api-key", "cookie", "x-forwarded-for"} & set(received.headers)
            assert received.headers["accept-encoding"] == "identity"


async def test_a_whole_answer_comes_back_unchanged_but_for_the_model() -> None:
    said = json.dumps(MESSAGE, indent=1).encode()
    async with ScriptedUpstream([reply_json(said, request_id="req_up", anthropic_ratelimit_x="7")]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            response = await ask(proxy)
            assert response.content == said.replace(b"claude-up", b"claude-opus-5-5")
            assert response.headers["anthropic-ratelimit-x"] == "7"
            assert response.headers["request-id"] != "req_up"
            assert response.headers["x-upstream-model"] == "claude-up"


@pytest.mark.parametrize("cut", ["events", "all at once", "bytes"])
async def test_a_stream_comes_back_unchanged_but_for_the_model(cut: str) -> None:
    parts = text_events("one ", 'two "model": ', "event: message_stop\n\n ü😀", "three")
    wire = b"".join(parts)
    pieces = {"events": parts, "all at once": [wire], "bytes": [wire[at : at + 7] for at in range(0, len(wire), 7)]}
    async with ScriptedUpstream([streamed(pieces[cut])]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            response = await ask(proxy, stream=True)
            assert response.content == wire.replace(b'"model": "claude-up"', b'"model": "claude-opus-5-5"')
            assert upstream.requests[0].body.endswith(b',"stream":true}')


async def test_usage_is_counted_as_of_any_other_upstream() -> None:
    async with ScriptedUpstream([reply_json(MESSAGE), streamed(text_events("x"))]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            await ask(proxy)
            await ask(proxy, stream=True)
            totals = (await proxy.client.get("/v1/metrics")).json()["performance"]
            assert (totals["input_tokens"], totals["output_tokens"]) == (22, 6)
            assert totals["cache_read_tokens"] == 5


async def test_a_ping_never_lands_inside_an_event() -> None:
    parts = text_events("one ", "two")
    first, rest = b"".join(parts[:3]) + parts[3][:20], parts[3][20:] + b"".join(parts[4:])
    goes_on = asyncio.Event()
    steps = streamed([first, rest])
    async with ScriptedUpstream([[*steps[:2], goes_on, *steps[2:]]]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            async with proxy.streaming(headers=HEADERS) as response:
                got = b""
                async for part in response.aiter_raw():
                    got += part
                    if not goes_on.is_set():
                        proxy.tick(16)
                        goes_on.set()
            assert b"event: ping" in got.replace(b"".join(parts[2:3]), b"", 1)
            assert text_of(events(got)) == "one two"
            assert events(got)[-1][0] == "message_stop"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("status", "type_", "seen"),
    [
        (400, "invalid_request_error", 400),
        (404, "not_found_error", 404),
        (413, "request_too_large", 413),
        (429, "rate_limit_error", 429),
        (529, "overloaded_error", 529),
        (401, "authentication_error", 403),
    ],
)
async def test_an_error_keeps_its_words(status: int, type_: str, seen: int, stream: bool) -> None:
    error = {"type": type_, "message": "thinking.type: enabled is not supported", "details": {"error_code": "x"}}
    said = {"type": "error", "error": error, "request_id": "req_up"}
    async with ScriptedUpstream([reply_json(said, status, retry_after="7", x_should_retry="true")]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            response = await ask(proxy, stream=stream)
            assert response.status_code == seen
            shown = response.json()["error"]
            if status != 401:
                assert shown == error
                assert response.headers["x-should-retry"] == "true"
            assert "enabled is not supported" in shown["message"]


async def test_an_error_event_ends_the_stream_with_its_own_words() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    parts = [*text_events("one ")[:4], event("error", error=error)]
    async with ScriptedUpstream([streamed(parts)]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            said = events((await ask(proxy, stream=True)).content)
            assert said[-1][0] == "error"
            assert said[-1][1]["error"] == error
            assert text_of(said) == "one "


async def test_a_stream_that_is_cut_never_ends_well() -> None:
    steps = streamed(text_events("one ", "two")[:4])
    async with ScriptedUpstream([[*steps[:-1], CUT]]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            said = events((await ask(proxy, stream=True)).content)
            assert said[-1][0] == "error"


@pytest.mark.parametrize("fails", ["status", "error event", "cut"])
async def test_pass_through_falls_back_to_translation_and_back(fails: str, tmp_path: Path) -> None:
    failing = {
        "status": reply_json({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, 529),
        "error event": streamed([text_events()[0], event("error", error={"type": "api_error", "message": "x"})]),
        "cut": [head(200, None, content_type="text/event-stream"), CUT],
    }
    async with ScriptedUpstream([failing[fails]]) as native, ScriptedUpstream([text_stream("sec", "ond")]) as chat:
        upstreams = {
            "native": {"base_url": native.base_url, "api": "messages"},
            "chat": {"base_url": chat.base_url},
        }
        async with routed(tmp_path, upstreams) as proxy:
            said = events((await proxy.post(message(stream=True))).content)
            assert text_of(said) == "second"
            assert [name for name, _ in said].count("message_start") == 1
            assert (len(native.requests), len(chat.requests)) == (1, 1)
    broken = reply_json({"error": {"message": "x"}}, 500)
    async with ScriptedUpstream([broken]) as chat, ScriptedUpstream([streamed(text_events("native"))]) as native:
        upstreams = {
            "chat": {"base_url": chat.base_url},
            "native": {"base_url": native.base_url, "api": "messages"},
        }
        async with routed(tmp_path, upstreams) as proxy:
            said = events((await proxy.post(message(stream=True))).content)
            assert text_of(said) == "native"


async def test_our_own_signatures_do_not_reach_another_vendor() -> None:
    ours = {"type": "thinking", "thinking": "ours", "signature": "ppx1.abc"}
    theirs = {"type": "thinking", "thinking": "theirs", "signature": "EqQBCg=="}
    history = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [ours, theirs, {"type": "text", "text": "Done"}]},
        {"role": "user", "content": "On"},
    ]
    async with ScriptedUpstream([reply_json(MESSAGE)]) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            response = await proxy.post(message(messages=history))
            sent = upstream.requests[0].json()["messages"][1]["content"]
            assert sent == [theirs, {"type": "text", "text": "Done"}]
            assert "x-ccproxy-adjustments" in response.headers


KIMIS = "functions.Bash:0"
CALLED_ELSEWHERE = [
    {"role": "user", "content": "Go"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": KIMIS, "name": "Bash", "input": {"id": KIMIS}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": KIMIS, "content": "done"}]},
]


async def test_tool_ids_of_another_provider_reach_anthropic_as_ids_that_it_takes() -> None:
    async with ScriptedUpstream([reply_json(MESSAGE)]) as upstream:
        async with serving(upstream.base_url, **OPTIONS, CCPROXY_PROFILE="anthropic") as proxy:
            response = await proxy.post(message(messages=CALLED_ELSEWHERE))
            _, called, answered = upstream.requests[0].json()["messages"]
            assert called["content"][0]["id"] == answered["content"][0]["tool_use_id"] != KIMIS
            assert called["content"][0]["input"] == {"id": KIMIS}
            assert response.headers["x-ccproxy-adjustments"] == "id_replaced=messages.1.content.0"


async def test_an_upstream_that_refuses_such_ids_is_asked_again_without_them_and_one_that_takes_them_keeps_them() -> (
    None
):
    def picky(received: Received) -> Reply:
        if KIMIS in received.json()["messages"][1]["content"][0]["id"]:
            wording = "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            return reply_json({"type": "error", "error": {"type": "invalid_request_error", "message": wording}}, 400)
        return reply_json(MESSAGE)

    async with ScriptedUpstream(picky) as refuses, ScriptedUpstream([reply_json(MESSAGE)]) as takes:
        for upstream, calls in ((refuses, 2), (takes, 1)):
            async with serving(upstream.base_url, **OPTIONS) as proxy:
                response = await proxy.post(message(messages=CALLED_ELSEWHERE))
                assert response.status_code == 200, response.text
                assert len(upstream.requests) == calls
        assert takes.requests[0].json()["messages"] == CALLED_ELSEWHERE


async def test_tokens_are_counted_by_the_upstream_or_by_us() -> None:
    replies = [reply_json({"input_tokens": 4711}), reply_json({"error": {"message": "no such path"}}, 404)]
    async with ScriptedUpstream(replies) as upstream:
        async with serving(upstream.base_url, **OPTIONS) as proxy:
            path = "/v1/messages/count_tokens?beta=true"
            first = (await proxy.post(body(), path=path)).json()
            second = (await proxy.post(body(), path=path)).json()
            assert first == {"input_tokens": 4711}
            assert 0 < second["input_tokens"] < 1000
            assert [received.target for received in upstream.requests] == [path] * 2
