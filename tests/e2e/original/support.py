"""What the numbered tests share.

Rule: a test says what the upstream answers and looks at both ends: what the upstream heard, what the client got.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import Reply, ScriptedUpstream, reply_json

NAMES = {"BIG_MODEL_NAME": "big-model", "SMALL_MODEL_NAME": "small-model"}
NO_RETRIES = {"PROVIDER_MAX_RETRIES": "0"}
TOOL = {
    "name": "get_weather",
    "description": "Weather of a place",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def completion(finish: str = "stop", usage: dict[str, Any] | None = None, **fields: Any) -> Reply:
    """A Chat completion whose message has ``fields``."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "an-upstream-model",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": "Hi"} | fields}],
        "usage": usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
    return reply_json(body)


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@asynccontextmanager
async def between(*script: Reply, **environ: str) -> AsyncIterator[tuple[Proxy, ScriptedUpstream]]:
    """A proxy and its upstream, which answers by ``script``."""
    async with ScriptedUpstream(list(script) or [completion()]) as upstream:
        async with serving(upstream.base_url, **NAMES, **environ) as proxy:
            yield proxy, upstream


class Both(NamedTuple):
    """One request at both ends: ``sent`` is what the upstream heard, None where it was not asked."""

    response: httpx.Response
    sent: dict[str, Any]

    @property
    def content(self) -> list[dict[str, Any]]:
        assert self.response.status_code == 200, self.response.text
        blocks: list[dict[str, Any]] = self.response.json()["content"]
        return blocks


async def ask(*script: Reply, **fields: Any) -> Both:
    """One Messages request with ``fields``, against an upstream that answers by ``script``."""
    async with between(*script, **NO_RETRIES) as (proxy, upstream):
        response = await proxy.post(message(**fields))
        return Both(response, upstream.requests[-1].json() if upstream.requests else {})


def is_error(response: httpx.Response, status: int, kind: str) -> bool:
    """Whether this is Anthropic's envelope, with no stack trace in it."""
    body = response.json()
    assert (response.status_code, body["type"], body["error"]["type"]) == (status, "error", kind), response.text
    assert body["request_id"] == response.headers["request-id"]
    return "Traceback" not in response.text
