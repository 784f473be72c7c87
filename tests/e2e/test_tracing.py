"""Spans as a collector sees them: whose children they are, what they say, and what they never say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.collector import Collector, Span
from tests.support.proxy import message, serving
from tests.support.server_process import ROOT, clean_environment, serve
from tests.support.upstream import CUT, Received, ScriptedUpstream, delta, reply_json, sse, text_stream

PROMPT, ANSWER, KEY = "the prompt nobody may read", "the answer nobody may read", "sk-proj-Zm9vYmFyYmF6cXV4"
ASKED = message(messages=[{"role": "user", "content": PROMPT}])
COMPLETION = {
    "id": "chatcmpl-7",
    "model": "gpt-5-2025-08-07",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 3,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CALLER}-01"
ONCE = {"PROVIDER_MAX_RETRIES": "0"}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def traced(collector: Collector, **environ: str) -> dict[str, str]:
    return {"TRACING_ENABLED": "1", "TRACING_ENDPOINT": collector.url, **ONCE, **environ}


def named(received: Received) -> tuple[str, str, bool]:
    """Trace, parent and whether it is sampled, as the upstream was told."""
    version, trace, parent, flags = received.headers["traceparent"].split("-")
    assert (version, len(parent)) == ("00", 16)
    return trace, parent, bool(int(flags, 16) & 1)


def only(spans: list[Span]) -> tuple[Span, Span]:
    server, client = spans
    assert (server.kind, client.kind) == ("server", "client")
    assert (client.trace, client.parent) == (server.trace, server.id)
    return server, client


async def test_a_request_is_a_span_and_its_upstream_a_child(collector: Collector) -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        environ = traced(collector, TRACING_SERVICE_NAME="gate", OPENAI_API_KEY=KEY)
        async with serving(upstream.base_url, **environ) as proxy:
            headers = {"x-claude-code-session-id": "s1", "user-agent": "claude-cli/2"}
            answer = await proxy.post(ASKED, path="/v1/messages?secret=query", headers=headers)
        [asked] = upstream.requests
    server, client = only(collector.spans)
    assert collector.resource["service.name"] == "gate"
    assert (server.name, server.parent, server.failed) == ("POST /v1/messages", "", False)
    assert (
        server.attributes
        | {
            "http.request.method": "POST",
            "http.route": "/v1/messages",
            "http.response.status_code": 200,
            "client.address": "127.0.0.1",
            "url.scheme": "http",
            "user_agent.original": "claude-cli/2",
            "ccproxy.request_id": answer.headers["request-id"],
            "ccproxy.outcome": "ok",
            "gen_ai.conversation.id": "s1",
        }
        == server.attributes
    )
    assert (client.name, client.failed) == ("chat gpt-5-2025-08-07", False)
    assert (
        client.attributes
        | {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5-2025-08-07",
            "gen_ai.request.stream": False,
            "gen_ai.response.model": "gpt-5-2025-08-07",
            "gen_ai.response.id": "chatcmpl-7",
            "gen_ai.response.finish_reasons": ["end_turn"],
            "gen_ai.usage.input_tokens": 11,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.conversation.id": "s1",
            "server.address": "127.0.0.1",
            "server.port": upstream.port,
            "http.response.status_code": 200,
        }
        == client.attributes
    )
    assert named(asked) == (server.trace, client.id, True)
    assert 0 < client.seconds <= server.seconds
    everything = b"".join(received.body for received in collector.requests)
    assert [text for text in (PROMPT, ANSWER, KEY, "secret=query") if text.encode() in everything] == []


async def test_the_clients_trace_goes_on(collector: Collector) -> None:
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=opaque"}
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            await proxy.post(headers=headers)
        [asked] = upstream.requests
    server, client = only(collector.spans)
    assert (server.trace, server.parent, server.state) == (TRACE, CALLER, "vendor=opaque")
    assert named(asked) == (TRACE, client.id, True)
    assert asked.headers["tracestate"] == "vendor=opaque"


async def test_a_trace_that_its_client_does_not_sample_is_passed_on_and_not_sent(collector: Collector) -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            await proxy.post(headers={"traceparent": SAMPLED[:-2] + "00"})
        trace, span, sampled = named(upstream.requests[0])
    assert (trace, sampled) == (TRACE, False)
    assert span != CALLER
    assert collector.requests == []


@pytest.mark.parametrize(
    "garbage", ["", "x", "00-0-0-01", f"ff-{TRACE}-{CALLER}-01", "00-" + "0" * 32 + f"-{CALLER}-01"]
)
async def test_a_traceparent_that_is_none_begins_a_new_trace(collector: Collector, garbage: str) -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            assert (await proxy.post(headers={"traceparent": garbage, "tracestate": "a=b"})).status_code == 200
    server, _ = only(collector.spans)
    assert server.parent == ""
    assert server.trace not in (TRACE, "0" * 32)


async def test_a_messages_upstream_gets_our_trace_once_and_not_its_clients(collector: Collector) -> None:
    reply = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    async with ScriptedUpstream([reply_json(reply)]) as upstream:
        async with serving(upstream.base_url, **traced(collector, CCPROXY_API="messages")) as proxy:
            await proxy.post(headers={"traceparent": "nonsense", "tracestate": "a=b"})
            await proxy.post(headers={"traceparent": SAMPLED})
        first, second = upstream.requests
    spans = collector.spans
    assert named(first) == (spans[0].trace, spans[1].id, True)
    assert "tracestate" not in first.headers
    assert named(second) == (TRACE, spans[3].id, True)


async def test_a_stream_is_told_when_it_is_over(collector: Collector) -> None:
    async with ScriptedUpstream([text_stream("Hel", "lo")]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            async with proxy.streaming() as response:
                await response.aread()
    server, client = only(collector.spans)
    assert (server.failed, client.failed) == (False, False)
    assert server.attributes["http.response.status_code"] == 200
    assert client.attributes["gen_ai.request.stream"] is True
    assert client.attributes["gen_ai.usage.output_tokens"] == 2
    assert client.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert 0 <= client.attributes["gen_ai.response.time_to_first_chunk"] <= server.seconds


async def test_a_refusal_names_its_status(collector: Collector) -> None:
    async with ScriptedUpstream([reply_json({"error": {"message": f"slow, {PROMPT}"}}, 429)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            assert (await proxy.post()).status_code == 429
    server, client = only(collector.spans)
    assert (client.failed, client.attributes["error.type"]) == (True, "429")
    assert client.attributes["http.response.status_code"] == 429
    assert server.failed is False  # a 4xx is the client's
    assert server.attributes["error.type"] == "rate_limit_error"
    assert server.attributes["http.response.status_code"] == 429
    assert PROMPT.encode() not in collector.requests[0].body


async def test_a_stream_that_breaks_is_an_error_after_its_200(collector: Collector) -> None:
    async with ScriptedUpstream([sse(delta(content="Hi"), CUT)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy, proxy.streaming() as response:
            await response.aread()
    server, client = only(collector.spans)
    assert (client.failed, client.attributes["error.type"]) == (True, "broken")
    assert (server.failed, server.attributes["http.response.status_code"]) == (True, 200)


async def test_a_client_that_leaves_is_no_error(collector: Collector) -> None:
    async with ScriptedUpstream([sse(delta(content="Hi"), 30.0, CUT)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            async with proxy.streaming() as response:
                await anext(response.aiter_bytes())
            await upstream.until(open=0)
    server, client = only(collector.spans)
    assert (server.failed, client.failed) == (False, False)
    assert server.attributes["ccproxy.outcome"] == "client_closed"
    assert client.attributes["error.type"] == "client_closed"


async def test_each_hop_is_a_span(collector: Collector, tmp_path: Path) -> None:
    routes = tmp_path / "routes.toml"
    async with ScriptedUpstream([reply_json({}, 503)]) as first, ScriptedUpstream([reply_json(COMPLETION)]) as second:
        routes.write_text(
            f'[upstream.one]\nbase_url = "{first.base_url}"\nprofile = "generic"\n'
            f'[upstream.two]\nbase_url = "{second.base_url}"\nprofile = "generic"\n'
            '[[rule]]\ntargets = [{ upstream = "one", model = "a" }, { upstream = "two", model = "b" }]\n'
        )
        async with serving(**traced(collector, CCPROXY_ROUTES=str(routes), CCPROXY_PROFILE="")) as proxy:
            assert (await proxy.post()).status_code == 200
        parents = [named(upstream.requests[0])[1] for upstream in (first, second)]
    server, *hops = collector.spans
    assert [(hop.name, hop.failed, hop.attributes.get("error.type")) for hop in hops] == [
        ("chat a", True, "503"),
        ("chat b", False, None),
    ]
    assert {hop.parent for hop in hops} == {server.id}
    assert [hop.id for hop in hops] == parents
    assert server.attributes["ccproxy.hops"] == ["one/a;failed=503", "two/b"]


async def test_a_key_in_the_wrong_place_is_in_no_span(collector: Collector) -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            headers = {"user-agent": f"curl {KEY}", "x-claude-code-session-id": KEY}
            assert (await proxy.post(message(model=KEY), headers=headers)).status_code == 200
    assert len(collector.spans) == 2
    assert KEY.encode() not in b"".join(received.body for received in collector.requests)


async def test_an_answer_from_the_cache_is_a_span_without_a_child(collector: Collector) -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with serving(upstream.base_url, **traced(collector)) as proxy:
            for _ in range(3):
                assert (await proxy.post(message(temperature=0))).status_code == 200
        assert len(upstream.requests) == 1
    assert [span.kind for span in collector.spans] == ["server", "client", "server", "server"]
    assert [span.attributes.get("ccproxy.cache") for span in collector.spans] == ["miss", None, "hit", "hit"]


async def test_requests_that_reach_no_upstream_are_spans_too(collector: Collector) -> None:
    async with serving(**traced(collector)) as proxy:
        assert (await proxy.post(b"{")).status_code == 400
    [server] = collector.spans
    assert (server.kind, server.failed) == ("server", False)
    assert server.attributes["ccproxy.outcome"] == "client_fault"


@pytest.mark.parametrize("reply", [[30.0], [CUT], reply_json({}, 500)], ids=["silent", "gone", "500"])
async def test_a_collector_that_fails_costs_no_request_and_no_long_end(
    reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccproxy_sanic.ops.tracing.PATIENCE", 0.2)
    async with Collector(reply) as collector:
        async with asyncio.timeout(20), serving(**traced(collector)) as proxy:
            for _ in range(3):
                assert (await proxy.post()).status_code == 200


async def test_without_tracing_a_translated_request_names_no_trace() -> None:
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream, serving(upstream.base_url) as proxy:
        await proxy.post(headers={"traceparent": SAMPLED})
        assert "traceparent" not in upstream.requests[0].headers


async def test_a_served_process_without_tracing_knows_no_opentelemetry(tmp_path: Path) -> None:
    """It would cost every start 100 ms and 15 MB."""
    (tmp_path / "probe.py").write_text(
        "import os, sys\n"
        "from ccproxy_sanic import runtime\n"
        "stop = runtime.Runtime.stop\n"
        "async def told(self):\n"
        "    found = [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "    os.write(1, f'LOADED {found}\\n'.encode())\n"  # in one piece: the log's thread writes there too
        "    await stop(self)\n"
        "runtime.Runtime.stop = told\n"
    )
    (tmp_path / "sitecustomize.py").write_text("import probe\n")
    with serve(tmp_path, {"PYTHONPATH": f"{tmp_path}:{ROOT}"}) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            assert (await client.post("/v1/messages", json=message())).status_code == 200
        server.terminate()
        assert "LOADED []" in server.output


async def test_the_console_gets_a_line_of_json_for_each_span(tmp_path: Path) -> None:
    with serve(tmp_path, {"TRACING_ENABLED": "1", "TRACING_EXPORTER": "console"}) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            assert (await client.post("/v1/messages", json=message())).status_code == 200
        assert server.terminate() == 0
        spans = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
    assert sorted(span["name"] for span in spans) == ["POST /v1/messages", "chat demo-big"]
    assert {span["context"]["trace_id"] for span in spans} == {spans[0]["context"]["trace_id"]}


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name.startswith('opentelemetry') else find(name, *more)\n"
    )
    environ = clean_environment(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TRACING_ENABLED": "1", "PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "ccproxy_sanic", "serve"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "pip install 'ccproxy-sanic[tracing]'" in done.stderr + done.stdout
