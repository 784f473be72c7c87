"""Behaviours 40 to 42: what is kept and told of failures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.e2e.original.support import NO_RETRIES, between, is_error
from tests.support.proxy import message
from tests.support.upstream import Reply, delta, reply_json, sse

SECRETS = ("hunter2-hunter2", "sk-ant-api03-" + "x" * 90, "sk-or-v1-" + "y" * 64, "tok-123-secret")
DOWN = reply_json({"error": {"message": "down"}}, 500)


async def records(path: Path, count: int) -> list[dict[str, Any]]:
    """The records, when there are so many; a thread writes them."""
    lines: list[str] = []
    for _ in range(400):
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            break
        await asyncio.sleep(0.01)
    assert len(lines) == count
    return [json.loads(line) for line in lines]


async def test_40_no_record_holds_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "errors.jsonl"
    settings = {"ERROR_TRACKING_FILE": str(file), "ERROR_TRACKING_CAPTURE_REQUEST": "1", **NO_RETRIES}
    password, ant, router, token = SECRETS
    body = message(
        messages=[{"role": "user", "content": f"Bearer {ant} and api_key={router}; " + "z" * 20_000}],
        metadata={"user_id": "me"},
        extra={"deep": [{"password": password, "list": [{"token": token, "max_tokens": 5}]}]},
    )
    async with between(DOWN, **settings) as (proxy, _):
        await proxy.post(body, headers={"x-api-key": ant, "authorization": f"Bearer {router}"})
        [record] = await records(file, 1)
    text = json.dumps(record)
    assert not [secret for secret in SECRETS if secret in text]
    assert "[REDACTED]" in text
    kept = record["request_snapshot"]["body"]
    assert kept["max_tokens"] == 64
    assert kept["extra"]["deep"][0]["list"][0]["max_tokens"] == 5
    assert len(kept["messages"][0]["content"]) < 10_200
    assert record["redacted_fields"]


async def test_40_without_being_asked_to_no_record_holds_a_prompt(tmp_path: Path) -> None:
    file = tmp_path / "errors.jsonl"
    async with between(DOWN, ERROR_TRACKING_FILE=str(file), **NO_RETRIES) as (proxy, _):
        await proxy.post(message(messages=[{"role": "user", "content": "a very private prompt"}]))
        [record] = await records(file, 1)
    assert "private" not in json.dumps(record)
    assert record["request_snapshot"]["path"] == "/v1/messages"


async def test_41_records_can_be_turned_off(tmp_path: Path) -> None:
    file = tmp_path / "errors.jsonl"
    async with between(DOWN, ERROR_TRACKING_FILE=str(file), ERROR_TRACKING_ENABLED="0", **NO_RETRIES) as (proxy, _):
        assert (await proxy.post()).status_code == 500
    assert not file.exists()


def openrouter(status: int) -> Reply:
    metadata = {"provider_name": "DeepInfra", "raw": json.dumps({"error": {"message": "model is loading", "code": 17}})}
    return reply_json({"error": {"message": "Provider returned error", "code": status, "metadata": metadata}}, status)


async def test_42_an_error_names_the_provider_behind_the_upstream() -> None:
    async with between(openrouter(500), **NO_RETRIES) as (proxy, _):
        response = await proxy.post()
        assert is_error(response, 500, "api_error")
        error = response.json()["error"]
        assert error["provider"] == "DeepInfra"
        assert "model is loading" in error["provider_message"]
        assert str(error["provider_code"]) == "17"


async def test_42_also_in_a_stream() -> None:
    metadata = {"provider_name": "DeepInfra", "raw": "model is loading"}
    fault = {"error": {"message": "Provider returned error", "code": 502, "metadata": metadata}}
    async with between(sse(delta(role="assistant"), delta(content="Hi"), fault), **NO_RETRIES) as (proxy, _):
        text = (await proxy.post(message(stream=True))).text
        [line] = [line for line in text.splitlines() if line.startswith("data:") and '"error"' in line]
        assert json.loads(line[5:])["error"]["provider"] == "DeepInfra"


async def test_42_statuses_become_those_of_the_table() -> None:
    table = {
        400: (400, "invalid_request_error"),
        404: (404, "not_found_error"),
        413: (413, "request_too_large"),
        422: (400, "invalid_request_error"),
        429: (429, "rate_limit_error"),
        500: (500, "api_error"),
        503: (529, "overloaded_error"),
        504: (504, "timeout_error"),
    }
    for status, (told, kind) in table.items():
        async with between(reply_json({"error": {"message": "no"}}, status), **NO_RETRIES) as (proxy, _):
            assert is_error(await proxy.post(), told, kind)
