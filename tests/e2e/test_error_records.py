"""Each request that fails leaves one record, which holds no prompt, no answer and no key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy_sanic.handlers import messages
from tests.e2e.test_hardening import say
from tests.support.proxy import Proxy, message, serving
from tests.support.server_process import serve
from tests.support.upstream import CUT, ScriptedUpstream, delta, reply_json, sse

KEY = "sk-proj-Zm9vYmFyYmF6cXV4Zm9v"
PROMPT, ANSWER = "the prompt nobody may read", "the answer nobody may read"
TOKEN = "client-token-of-ann"
ASKED = message(messages=[{"role": "user", "content": PROMPT}])
ONCE = {"PROVIDER_MAX_RETRIES": "0"}


class Records:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "errors.jsonl"
        self.environ = {"ERROR_TRACKING_FILE": str(self.path), **ONCE}

    def all(self, proxy: Proxy | None = None) -> list[dict[str, Any]]:
        """What is written by the end; with ``proxy``, its thread is ended first."""
        if proxy is not None:
            assert proxy.runtime.log_writer.stop()
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


async def test_a_refusal_of_the_upstream_is_recorded_with_its_way(records: Records) -> None:
    refusal = reply_json({"error": {"message": f"slow down, {KEY}", "type": "rate_limit"}}, 429, retry_after="7")
    async with ScriptedUpstream([refusal]) as upstream:
        tokens = {"CCPROXY_AUTH_TOKENS": f"ann:{TOKEN}", "OPENAI_API_KEY": KEY}
        async with serving(upstream.base_url, **records.environ, **tokens) as proxy:
            answer = await proxy.post(ASKED, path="/v1/messages?beta=true", headers={"x-api-key": TOKEN})
            assert answer.status_code == 429
            [record] = records.all(proxy)
    assert record["request_id"] == answer.headers["request-id"]
    assert record["error_type"] == "rate_limit_error"
    assert record["error_message"] == answer.json()["error"]["message"]
    request, response = record["request_snapshot"], record["response_snapshot"]
    assert (request["method"], request["path"], request["query_params"]) == ("POST", "/v1/messages", {"beta": "true"})
    assert request["headers"]["x-api-key"] == "[REDACTED]"
    assert request["client_ip"] == "127.0.0.1"
    assert request["user_agent"].startswith("python-httpx/")
    assert response["status_code"] == 429
    assert response["headers"]["retry-after"] == "7"
    assert response["headers"]["request-id"] == answer.headers["request-id"]
    assert response["elapsed_ms"] > 0
    told = record["metadata"]
    assert told["caller"] == "ann"
    assert told["hops"] == [f"{told['upstream']}/{told['upstream_model']};failed=429"]
    assert "request_snapshot.headers.x-api-key" in record["redacted_fields"]
    text = records.path.read_text()
    assert [secret for secret in (KEY, TOKEN, PROMPT) if secret in text] == []


async def test_a_stream_that_ends_in_an_error_is_recorded(records: Records) -> None:
    broken = sse(delta(role="assistant", content=ANSWER), delta(content="more"), CUT)
    async with ScriptedUpstream([broken]) as upstream, serving(upstream.base_url, **records.environ) as proxy:
        async with proxy.streaming(ASKED) as response:
            assert response.status_code == 200
            assert b"event: error" in await response.aread()
        [record] = records.all(proxy)
    assert record["error_type"] == "stream_error"
    assert record["response_snapshot"]["status_code"] == 200
    assert (record["metadata"]["stream"], record["metadata"]["status"]) == (True, 500)
    assert PROMPT not in records.path.read_text()
    assert ANSWER not in records.path.read_text()


async def test_what_no_handler_saw_is_recorded_too(records: Records) -> None:
    async with serving(**records.environ, CCPROXY_AUTH_TOKENS=f"ann:{TOKEN}") as proxy:
        answers = [
            await proxy.client.get("/nothing?token=abc"),
            await proxy.client.get("/v1/messages"),
            await proxy.client.get("/v1/models"),
            await proxy.post(headers={"authorization": "Bearer wrong"}),
            await proxy.post(b"{", headers={"x-api-key": TOKEN}),
        ]
        await say(proxy, b"hello\r\n\r\n")
        assert [answer.status_code for answer in answers] == [404, 405, 401, 401, 400]
        found = records.all(proxy)
    assert [record["request_id"] for record in found[:5]] == [answer.headers["request-id"] for answer in answers]
    assert [record["error_type"] for record in found] == [
        *("validation_error", "validation_error", "auth_error", "auth_error", "validation_error", "validation_error")
    ]
    assert found[0]["request_snapshot"]["query_params"] == {"token": "[REDACTED]"}
    assert found[3]["request_snapshot"]["headers"]["authorization"] == "[REDACTED]"
    assert TOKEN not in records.path.read_text()


async def test_a_bug_is_recorded_with_its_place_and_without_its_words(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(raw: bytes) -> Any:
        raise KeyError(PROMPT)

    monkeypatch.setattr(messages.anthropic, "decode_request", broken)
    async with serving(**records.environ) as proxy:
        assert (await proxy.post(ASKED)).status_code == 500
        [record] = records.all(proxy)
    assert record["error_type"] == "internal_error"
    assert record["stack_trace"][0] == "KeyError"
    assert record["stack_trace"][-1].endswith(" broken")
    assert PROMPT not in records.path.read_text()


async def test_bodies_are_kept_where_they_are_asked_for(records: Records) -> None:
    captured = {"ERROR_TRACKING_CAPTURE_REQUEST": "1", "ERROR_TRACKING_CAPTURE_RESPONSE": "1"}
    async with serving(**records.environ, **captured) as proxy:
        answer = await proxy.post({**ASKED, "max_tokens": "many", "metadata": {"password": "p4ss", "user_id": "u"}})
        [record] = records.all(proxy)
    kept = record["request_snapshot"]["body"]
    assert kept["messages"] == ASKED["messages"]
    assert kept["metadata"] == {"password": "[REDACTED]", "user_id": "u"}
    assert record["response_snapshot"]["body"] == answer.json()


async def test_what_goes_well_and_who_leaves_is_no_failure(records: Records) -> None:
    hanging = sse(delta(role="assistant", content="Hi"), 30.0, CUT)
    async with ScriptedUpstream([hanging]) as upstream, serving(upstream.base_url, **records.environ) as proxy:
        async with proxy.streaming() as response:
            await anext(response.aiter_bytes())
        await upstream.until(open=0)
        assert (await proxy.client.get("/")).status_code == 200
        assert records.all(proxy) == []
    assert not records.path.exists()


@pytest.mark.parametrize("environ", [{"ERROR_TRACKING_ENABLED": "0"}, {"ERROR_TRACKING_FILE": ""}])
async def test_switched_off_nothing_is_written(records: Records, environ: dict[str, str]) -> None:
    async with serving(**records.environ | environ) as proxy:
        assert (await proxy.post(b"{")).status_code == 400
        assert records.all(proxy) == []


async def test_a_server_writes_its_last_records_before_it_ends(tmp_path: Path) -> None:
    async with ScriptedUpstream([reply_json({"error": {"message": "no"}}, 400)]) as upstream:
        with serve(tmp_path, {"OPENAI_BASE_URL": upstream.base_url}) as server:
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
                for _ in range(50):
                    assert (await client.get("/nothing")).status_code == 404
            assert server.terminate() == 0
    lines = (tmp_path / "errors_detailed.jsonl").read_text().splitlines()
    assert len(lines) == 50
    assert len({json.loads(line)["error_id"] for line in lines}) == 50
