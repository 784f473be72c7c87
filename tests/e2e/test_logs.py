"""One line per request, and in none of them a prompt, an answer or a key."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.support.proxy import message
from tests.support.quiet import assert_quiet
from tests.support.server_process import serve
from tests.support.upstream import ScriptedUpstream, reply_json

KEY = "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"
SECRETS = ("the prompt nobody may read", "the answer nobody may read", KEY, "client-token-of-ann")


async def test_the_log_has_a_line_per_request_and_no_secret(tmp_path: Path) -> None:
    prompt, answer, _, token = SECRETS
    completion = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
    }
    refusal = reply_json({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, 401)
    async with ScriptedUpstream([reply_json(completion), refusal]) as upstream:
        settings = {
            "OPENAI_BASE_URL": upstream.base_url,
            "OPENAI_API_KEY": KEY,
            "CCPROXY_AUTH_TOKENS": f"ann:{token}",
            "LOG_LEVEL": "DEBUG",
        }
        with serve(tmp_path, settings) as server:
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
                headers = {"x-api-key": token}
                body = message(messages=[{"role": "user", "content": prompt}])
                good = await client.post("/v1/messages", json=body, headers=headers)
                refused = await client.post("/v1/messages", json=body, headers=headers)
                stranger = await client.post("/v1/messages", json=body)
                assert [good.status_code, refused.status_code, stranger.status_code] == [200, 403, 401]
                assert KEY not in refused.text
            await assert_quiet(server.url)
            output = server
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        by_id = {line["request_id"]: line for line in lines if line.get("path") == "/v1/messages"}
        first = by_id[good.headers["request-id"]]
        assert first["status"] == 200
        assert first["caller"] == "ann"
        assert (first["input_tokens"], first["output_tokens"]) == (11, 3)
        assert first["client_model"] == "claude-sonnet-4-5"
        assert first["duration_s"] > 0
        assert by_id[refused.headers["request-id"]]["error_type"] == "permission_error"
        assert by_id[stranger.headers["request-id"]]["status"] == 401
        everything = (tmp_path / "log.jsonl").read_text() + (tmp_path / "error.jsonl").read_text() + output.output
        assert [secret for secret in SECRETS if secret in everything] == []
