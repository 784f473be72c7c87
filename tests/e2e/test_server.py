"""What everybody may ask, and what everybody is told when it can't be had."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from datetime import datetime

import httpx
import pytest

from ccproxy_sanic.relay import LARGE
from tests.support.metrics import page_of
from tests.support.proxy import HELLO, message, serving
from tests.support.upstream import ScriptedUpstream, reply_json

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def assert_anthropic_error(response: httpx.Response, status: int, kind: str) -> str:
    body = response.json()
    assert response.status_code == status, body
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == response.headers["request-id"]
    assert body["request_id"].startswith("req_")
    message: str = body["error"]["message"]
    return message


async def test_the_root_says_ok_and_the_time_and_nothing_else() -> None:
    async with serving() as proxy:
        response = await proxy.client.get("/")
        assert response.status_code == 200
        assert set(response.json()) == {"status", "timestamp"}
        assert response.json()["status"] == "ok"
        assert datetime.fromisoformat(response.json()["timestamp"]).utcoffset() is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/"), ("HEAD", "/api/hello"), ("GET", "/api/hello"), ("GET", "/health"), ("GET", "/v1/health")],
)
async def test_probes_are_answered(method: str, path: str) -> None:
    async with serving() as proxy:
        response = await proxy.client.request(method, path)
        assert response.status_code == 200
        assert response.headers["request-id"].startswith("req_")


async def test_preflight_is_plain_text() -> None:
    async with serving() as proxy:
        response = await proxy.client.get("/v1/preflight")
        assert response.text == "[BashTool] Pre-flight check passed."
        assert response.headers["content-type"].startswith("text/plain")


async def test_ready_until_the_drain_begins() -> None:
    async with serving() as proxy:
        assert (await proxy.client.get("/ready")).status_code == 200
        await proxy.runtime.drain()
        assert (await proxy.client.get("/ready")).status_code == 503
        refused = await proxy.post()
        assert_anthropic_error(refused, 529, "overloaded_error")
        assert refused.headers["connection"] == "close"
        assert refused.headers["retry-after"] == "1"


async def test_unknown_paths_and_methods_are_told_in_anthropics_shape() -> None:
    async with serving() as proxy:
        assert_anthropic_error(await proxy.client.get("/v1/nothing"), 404, "not_found_error")
        wrong = await proxy.client.get("/v1/messages")
        assert_anthropic_error(wrong, 405, "invalid_request_error")
        assert "POST" in wrong.headers["allow"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "JSON"),
        (b"", "JSON"),
        (b"[]", "object"),
        (json.dumps({"max_tokens": 5, "messages": []}).encode(), "model: Field required"),
        (json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode(), "max_tokens: Field"),
        (json.dumps(message(messages=[])).encode(), "messages: at least one message is required"),
        (json.dumps(message(messages=[{"role": "user", "content": 5}])).encode(), "messages.0.content"),
        (json.dumps(message(messages=[{"role": "user", "content": [{"type": "text"}]}])).encode(), "text: Field req"),
        (json.dumps(message(max_tokens="many")).encode(), "max_tokens"),
        (json.dumps(message(temperature=3)).encode(), "temperature: range: 0..1"),
    ],
)
async def test_bad_bodies_are_named_by_field(body: bytes, said: str) -> None:
    async with ScriptedUpstream() as upstream, serving(upstream.base_url) as proxy:
        assert said in assert_anthropic_error(await proxy.post(body), 400, "invalid_request_error")
        assert upstream.requests == []


async def test_a_body_over_the_limit_is_refused_by_its_length_alone() -> None:
    async with serving(CCPROXY_MAX_BODY_MB="1") as proxy:
        response = await proxy.post(b" " * (1 << 20) + b"{}")
        assert_anthropic_error(response, 413, "request_too_large")


async def test_compressed_bodies_are_read_and_bounded() -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, CCPROXY_MAX_BODY_MB="1") as proxy:
            headers = {"content-encoding": "gzip"}
            good = await proxy.post(gzip.compress(json.dumps(HELLO).encode()), headers=headers)
            assert good.status_code == 200
            bomb = await proxy.post(gzip.compress(b" " * (2 << 20)), headers=headers)
            assert_anthropic_error(bomb, 413, "request_too_large")
            assert_anthropic_error(await proxy.post(b"no gzip", headers=headers), 400, "invalid_request_error")
            unknown = await proxy.post(b"x", headers={"content-encoding": "br"})
            assert_anthropic_error(unknown, 400, "invalid_request_error")
            assert len(upstream.requests) == 1


async def test_an_answer_carries_the_asked_name_and_says_what_it_cost() -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, BIG_MODEL_NAME="big-one", OPENAI_API_KEY="sk-test-key") as proxy:
            response = await proxy.post(path="/v1/messages?beta=true")
            body = response.json()
            assert response.status_code == 200
            assert body["model"] == HELLO["model"]
            assert body["content"] == [{"type": "text", "text": "Hi"}]
            assert body["usage"]["input_tokens"] == 9
            assert response.headers["request-id"].startswith("req_")
            assert response.headers["x-upstream-model"] == "big-one"
            assert "upstream;dur=" in response.headers["server-timing"]
            [received] = upstream.requests
            assert received.json()["model"] == "big-one"
            assert received.headers["authorization"] == "Bearer sk-test-key"
            assert received.target == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("claude-opus-5-5", "big-one"),
        ("claude-sonnet-4-5", "big-one"),
        ("My-SONNET-x", "big-one"),
        ("claude-haiku-4-5", "small-one"),
        ("claude-opus-haiku", "big-one"),
        ("claude-fable-5-2", "big-one"),
        ("claude-sonnet-4-5[1m]", "big-one"),
        ("gpt-oss-120b[1m]", "gpt-oss-120b"),
        ("anthropic/gpt-x", "anthropic/gpt-x"),
        ("exactly", "that"),
        ("claude-haiku-exact", "other"),
    ],
)
async def test_every_model_name_is_taken_somewhere(asked: str, sent: str) -> None:
    async with (
        ScriptedUpstream([reply_json(COMPLETION)]) as upstream,
        serving(
            upstream.base_url,
            BIG_MODEL_NAME="big-one",
            SMALL_MODEL_NAME="small-one",
            CCPROXY_MODEL_MAP="exactly=that,claude-haiku-exact=other",
        ) as proxy,
    ):
        response = await proxy.post(message(model=asked))
        assert response.status_code == 200
        assert response.json()["model"] == asked
        assert upstream.requests[0].json()["model"] == sent


@pytest.mark.parametrize("size", [LARGE // 2, LARGE, 64 * LARGE])
async def test_a_whole_answer_of_any_size_is_followed_by_the_next(size: int) -> None:
    text = "word " * (size // 5)
    said = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    async with ScriptedUpstream([reply_json(said)]) as upstream, serving(upstream.base_url) as proxy:
        for _ in range(3):
            answer = (await proxy.post()).json()
            assert answer["content"] == [{"type": "text", "text": text}]
        assert len(proxy.connections) == 1


async def test_max_tokens_zero_is_answered_without_an_upstream() -> None:
    async with ScriptedUpstream() as upstream, serving(upstream.base_url) as proxy:
        body = (await proxy.post(message(max_tokens=0))).json()
        assert (body["content"], body["stop_reason"]) == ([], "max_tokens")
        async with proxy.streaming(message(max_tokens=0)) as response:
            text = (await response.aread()).decode()
        assert text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')
        assert '"stop_reason":"max_tokens"' in text
        assert upstream.requests == []


async def test_the_doubled_v1_of_a_wrong_base_url_is_taken() -> None:
    async with serving() as proxy:
        assert (await proxy.post(path="/v1/v1/messages")).status_code == 200


async def test_what_translation_dropped_is_listed() -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream, serving(upstream.base_url) as proxy:
        response = await proxy.post(
            message(
                top_k=5,
                tools=[
                    {"type": "web_search_20250305", "name": "web_search"},
                    {"name": "f", "input_schema": {"type": "object"}},
                ],
            )
        )
        assert response.status_code == 200
        assert response.headers["x-ccproxy-adjustments"] == "tool_dropped=tools.0, sampling_dropped=top_k"
        metrics = (await proxy.client.get("/metrics")).text
        assert "ccproxy_adjustments_total{" in metrics


async def test_metrics_count_what_happened_and_reset() -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream, serving(upstream.base_url) as proxy:
        await proxy.post()
        await proxy.post(b"{")
        page = await page_of(proxy.client)
        assert page("ccproxy_requests_total", path="/v1/messages", stream="false", status="200", outcome="ok") == 1
        totals = (await proxy.client.get("/v1/metrics")).json()["performance"]
        assert totals["requests"] == 2
        assert totals["by_outcome"] == {"ok": 1, "client_fault": 1}
        assert totals["output_tokens"] == 2
        assert (await proxy.client.post("/v1/metrics/reset")).json() == {"status": "metrics_reset"}
        assert (await proxy.client.get("/v1/metrics")).json()["performance"]["requests"] == 0


async def test_an_answer_is_sent_once() -> None:
    """Sanic sends once more what a handler that returns has sent: a second head would be the next request's answer."""
    async with serving() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        body = json.dumps(message(temperature=0)).encode()
        for _ in range(3):  # the first one is kept, the second one a hit, the third one known by its bytes
            writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.findall(rb"content-length: (\d+)", head)[0]))
        writer.write(b"GET /v1/preflight HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            rest = await reader.read()
        writer.close()
        assert rest.count(b"HTTP/1.1 ") == 1
        assert rest.endswith(b"[BashTool] Pre-flight check passed.")


@pytest.mark.parametrize("name", ["x-ccproxy-cache", "x-ccproxy-share"])
async def test_a_wish_that_means_nothing_is_refused(name: str) -> None:
    async with serving() as proxy:
        response = await proxy.post(headers={name: "maybe"})
        assert response.status_code == 400
        assert response.json()["error"]["message"].startswith(f"{name}: must be on, off")
