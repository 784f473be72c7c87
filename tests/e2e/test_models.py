"""``GET /v1/models`` and ``/v1/models/{id}`` (protocol.md 7; claude-code.md 1)."""

from __future__ import annotations

import re
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.handlers.models import cut
from tests.support.proxy import Proxy, serving

KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}
SET: dict[str, str] = {
    **KEY,
    "BIG_MODEL_NAME": "gpt-5",
    "SMALL_MODEL_NAME": "gpt-5-mini",
    "CCPROXY_MODEL_MAP": "claude-mine=deepseek-chat,fast=gpt-5-mini",
}
ALIASES = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"]
ALL = ["claude-mine", "fast", *ALIASES, "gpt-5", "gpt-5-mini", "deepseek-chat"]


def sdk(proxy: Proxy, **options: Any) -> anthropic.AsyncAnthropic:
    options = {"api_key": "test", "max_retries": 0, "_strict_response_validation": True, **options}
    return anthropic.AsyncAnthropic(base_url=proxy.url, **options)


async def ids(proxy: Proxy, **query: Any) -> tuple[list[str], bool]:
    answer = (await proxy.client.get("/v1/models", params=query)).json()
    found = [entry["id"] for entry in answer["data"]]
    assert (answer["first_id"], answer["last_id"]) == ((found[0], found[-1]) if found else (None, None))
    return found, answer["has_more"]


async def test_the_sdk_lists_what_is_configured() -> None:
    async with serving(**SET) as proxy, sdk(proxy) as client:
        page = await client.models.list()
        assert [model.id for model in page.data] == ALL
        assert not page.has_next_page()
        haiku = page.data[4]
        assert (haiku.type, haiku.line, haiku.lifecycle) == ("model", "haiku", "active")
        assert haiku.display_name == "gpt-5-mini as claude-haiku-5-5"
        assert (haiku.max_input_tokens, haiku.max_tokens) == (400_000, 128_000)
        assert haiku.capabilities is not None
        assert haiku.capabilities.image_input.supported
        assert haiku.capabilities.thinking.types.disabled.supported
        assert page.data[0].line is None


async def test_the_sdk_walks_over_pages_both_ways() -> None:
    async with serving(**SET) as proxy, sdk(proxy) as client:
        assert [model.id async for model in client.models.list(limit=3)] == ALL
        back = [model.id async for model in client.models.list(limit=3, before_id=ALL[-1])]
        assert sorted(back) == sorted(ALL[:-1])


async def test_claude_codes_discovery_finds_names_it_keeps() -> None:
    async with serving(**SET) as proxy:
        answer = (await proxy.client.get("/v1/models?limit=1000")).json()
        kept = [entry for entry in answer["data"] if re.search("claude|anthropic", entry["id"], re.IGNORECASE)]
        assert [entry["id"] for entry in kept] == ["claude-mine", *ALIASES]
        assert all(entry["display_name"] for entry in kept)


async def test_openais_sdk_lists_them_too() -> None:
    async with serving(**SET) as proxy:
        async with openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="test", max_retries=0) as client:
            page = await client.models.list()
            assert page.object == "list"
            assert [(model.id, model.object, model.owned_by) for model in page.data] == [
                (name, "model", "openai") for name in ALL
            ]
            assert (await client.models.retrieve("gpt-5")).created == 0


@pytest.mark.parametrize(
    ("query", "found", "more"),
    [
        ({"limit": 2}, ALL[:2], True),
        ({"limit": 2, "after_id": ALL[1]}, ALL[2:4], True),
        ({"limit": 20, "after_id": ALL[1]}, ALL[2:], False),
        ({"limit": 2, "before_id": ALL[3]}, ALL[1:3], True),
        ({"limit": 2, "before_id": ALL[1]}, ALL[:1], False),
        ({"after_id": ALL[-1]}, [], False),
        ({"after_id": "unheard-of"}, [], False),
        ({"before_id": "unheard-of"}, [], False),
        ({"lifecycle[]": "active"}, ALL, False),
        ({"lifecycle": ["retired", "active"]}, ALL, False),
        ({"lifecycle[]": "retired"}, [], False),
    ],
)
async def test_a_page_is_what_the_query_asks_for(query: dict[str, Any], found: list[str], more: bool) -> None:
    async with serving(**SET) as proxy:
        assert await ids(proxy, **query) == (found, more)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1e2", "9" * 5000])
async def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    async with serving() as proxy:
        response = await proxy.client.get("/v1/models", params={"limit": limit})
        assert response.status_code == 400
        assert response.json()["error"]["message"].startswith("limit: Input should be")


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=9), st.integers(1, 4))
def test_pages_hold_every_name_once(names: list[str], limit: int) -> None:
    forward: list[str] = []
    more = True
    while more:
        found, more = cut(names, limit, forward[-1] if forward else None, None)
        forward += found
    assert forward == names


@pytest.mark.parametrize("path", ["/v1/models", "/v1/v1/models"])
@pytest.mark.parametrize("name", ["claude-opus-4-1", "gpt-5", "openai%2Fgpt-5", "openai/gpt-5:free", "na%C3%AFve%20x"])
async def test_every_name_has_an_entry(path: str, name: str) -> None:
    async with serving(**SET) as proxy:
        response = await proxy.client.get(f"{path}/{name}")
        assert response.status_code == 200
        assert response.headers["request-id"].startswith("req_")
        expected = {"openai%2Fgpt-5": "openai/gpt-5", "na%C3%AFve%20x": "naïve x"}.get(name, name)
        assert response.json()["id"] == expected


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/v1/models/"])
async def test_a_slash_at_the_end_is_no_model_without_a_name(path: str) -> None:
    async with serving(**SET) as proxy:
        assert (await proxy.client.get(path)).json() == (await proxy.client.get("/v1/models")).json()


async def test_the_sdk_gets_a_name_with_a_slash() -> None:
    async with serving(**SET) as proxy, sdk(proxy) as client:
        model = await client.models.retrieve("anthropic/claude-opus-4.5")
        assert (model.id, model.line, model.max_tokens) == ("anthropic/claude-opus-4.5", "opus", 128_000)
        assert model.capabilities is not None
        assert model.capabilities.effort.high.supported


async def test_names_that_lead_elsewhere_are_not_listed_as_the_upstreams_own() -> None:
    async with serving(**SET, CCPROXY_UNKNOWN_MODEL="big") as proxy:
        assert (await ids(proxy))[0] == ["claude-mine", "fast", *ALIASES, "gpt-5"]


async def test_a_token_is_asked_for() -> None:
    async with serving(CCPROXY_AUTH_TOKENS="ann:token-of-ann-1234") as proxy:
        for path in ("/v1/models", "/v1/models/x"):
            response = await proxy.client.get(path)
            assert (response.status_code, response.json()["error"]["type"]) == (401, "authentication_error")
            assert (await proxy.client.get(path, headers={"x-api-key": "token-of-ann-1234"})).status_code == 200
