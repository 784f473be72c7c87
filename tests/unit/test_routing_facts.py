"""What a request says of itself: role, size, thinking, images."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ccproxy_sanic.routing import Facts, facts_of
from ccproxy_sanic.wire.anthropic import decode_count_request, decode_request

SESSION = {"x-claude-code-session-id": "s1"}
AGENT = {"x-claude-code-agent-id": "a1"}
SCHEMA = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}
TOOL = {"name": "t", "input_schema": {"type": "object"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}}
TEXT = {"type": "text", "text": "x"}


def facts(
    headers: dict[str, str] | None = None, *, model: str = "claude-opus-5-5", look: bool = True, **fields: Any
) -> Facts:
    body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}], **fields}
    encoded = msgspec.json.encode(body)
    return facts_of(decode_request(encoded), headers or {}, len(encoded), look_for_images=look)


@pytest.mark.parametrize(
    ("headers", "model", "fields", "role"),
    [
        ({}, "claude-haiku-5-5", SCHEMA, ""),
        (SESSION, "claude-opus-5-5", {}, "main"),
        (SESSION, "my-model", {"tools": [TOOL]}, "main"),
        (SESSION, "claude-haiku-5-5", {}, "small"),
        (SESSION, "claude-haiku-5-5", {"tools": [TOOL]}, "small"),
        (SESSION, "claude-haiku-5-5", {"tools": [], **SCHEMA}, "title"),
        (SESSION, "claude-opus-5-5", SCHEMA, "title"),
        (SESSION, "claude-opus-5-5", {"tools": [TOOL], **SCHEMA}, "main"),
        (SESSION, "claude-opus-5-5", {"output_config": {"effort": "low"}}, "main"),
        (SESSION | AGENT, "claude-haiku-5-5", SCHEMA, "subagent"),
        (AGENT, "claude-opus-5-5", {}, "subagent"),
    ],
)
def test_claude_codes_requests_have_roles(
    headers: dict[str, str], model: str, fields: dict[str, Any], role: str
) -> None:
    assert facts(headers, model=model, **fields).role == role


@pytest.mark.parametrize(
    ("thinking", "wanted"),
    [(None, False), ({"type": "disabled"}, False), ({"type": "adaptive"}, True), ({"type": "between_tools"}, True)],
)
def test_thinking_is_what_is_given_and_not_disabled(thinking: Any, wanted: bool) -> None:
    assert facts(thinking=thinking).thinking is wanted


@pytest.mark.parametrize(
    "content",
    [
        [IMAGE],
        [TEXT, IMAGE],
        [{"type": "tool_result", "tool_use_id": "t", "content": [TEXT, IMAGE]}],
        [{"type": "document", "source": {"type": "content", "content": [TEXT, IMAGE]}}],
    ],
)
def test_an_image_is_found_wherever_it_is(content: list[Any]) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": content}]
    assert facts(messages=messages).images
    assert not facts(messages=messages, look=False).images


def test_what_is_no_image_is_none() -> None:
    url = {"type": "document", "source": {"type": "url", "url": "https://x/image.png"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "image"}
    assert not facts(messages=[{"role": "user", "content": [TEXT, url, result]}]).images


def test_the_size_is_an_estimate_from_the_bytes() -> None:
    small = facts(messages=[{"role": "user", "content": "x"}])
    large = facts(messages=[{"role": "user", "content": "x" * 36_001}])
    assert large.tokens - small.tokens in (10_000, 10_001)


def test_a_request_to_count_has_facts_too() -> None:
    req = decode_count_request(b'{"model":"claude-haiku-5-5[1m]","messages":[{"role":"user","content":"foo"}]}')
    assert facts_of(req, SESSION, 36, look_for_images=True) == Facts("claude-haiku-5-5[1m]", "small", 10, False, False)
