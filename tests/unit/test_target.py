"""Where an upstream's requests go, and what they carry."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.upstream import build
from ccproxy_sanic.upstream.exchange import Deadlines
from ccproxy_sanic.upstream.target import Api, Target


def target(base_url: str = "http://h/v1", **fields: Any) -> Target:
    return Target("t", base_url, transport=build("h1"), hop="hop-1", deadlines=Deadlines(), **fields)


@pytest.mark.parametrize(
    ("base_url", "api", "own_path", "url"),
    [
        ("https://api.openai.com/v1", "chat", "", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "responses", "", "https://api.openai.com/v1/responses"),
        ("https://h/openai/v1", "responses", "", "https://h/openai/v1/responses"),
        ("https://api.anthropic.com", "messages", "", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "messages", "", "https://api.anthropic.com/v1/messages"),
        ("http://127.0.0.1:8000/v1", "messages", "", "http://127.0.0.1:8000/v1/messages"),
        ("https://h/api/anthropic", "messages", "", "https://h/api/anthropic/v1/messages"),
        (
            "https://api.deepseek.com",
            "messages",
            "/anthropic/v1/messages",
            "https://api.deepseek.com/anthropic/v1/messages",
        ),
        ("https://openrouter.ai/api/v1", "messages", "/api/v1/messages", "https://openrouter.ai/api/v1/messages"),
    ],
)
def test_the_path_follows_from_base_url_and_api(base_url: str, api: Api, own_path: str, url: str) -> None:
    assert str(target(base_url).head(api, messages_path=own_path).url) == url


def test_a_query_and_a_suffix_are_appended() -> None:
    url = target("https://h/v1").head("messages", suffix="/count_tokens", query="beta=true&x=%20").url
    assert str(url) == "https://h/v1/messages/count_tokens?beta=true&x=%20"


@pytest.mark.parametrize(
    ("api", "kind", "header"),
    [
        ("chat", "x-api-key", (b"authorization", b"Bearer two")),
        ("responses", "bearer", (b"authorization", b"Bearer two")),
        ("messages", "bearer", (b"authorization", b"Bearer two")),
        ("messages", "x-api-key", (b"x-api-key", b"two")),
    ],
)
def test_the_chosen_key_goes_where_the_api_wants_it(api: Api, kind: Any, header: tuple[bytes, bytes]) -> None:
    headers = target(keys=("one", "two")).head(api, 1, kind).headers
    credentials = [field for field in headers if field[0] in (b"authorization", b"x-api-key")]
    assert credentials == [header]


def test_a_key_number_from_after_a_reload_is_no_fault_for_a_request_from_before_it() -> None:
    headers = dict(target(keys=("one", "two")).head("chat", 4).headers)
    assert headers[b"authorization"] == b"Bearer one"


def test_without_a_key_there_is_no_credential_and_extra_headers_are_there_in_lower_case() -> None:
    headers = dict(target(extra_headers={"X-Title": "T"}).head("chat").headers)
    assert headers[b"x-title"] == b"T"
    assert headers[b"x-ccproxy-hop"] == b"hop-1"
    assert b"authorization" not in headers
    assert "secret" not in repr(target(keys=("secret",)))
