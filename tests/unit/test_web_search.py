"""Anthropic's web search at a provider that has its own; elsewhere test_request_tools.py says what happens."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.profiles import Profile, resolve
from tests.support.translation import WEATHER, body, codes, refusal, sent, translate

OPENROUTER = resolve("https://openrouter.ai/api/v1", "anthropic/claude")
SEARCHING = resolve("https://api.openai.com/v1", "gpt-4o-search-preview-2025-03-11")
PLACE = {"type": "approximate", "city": "Paris", "country": "FR"}


def search(**limits: Any) -> dict[str, Any]:
    return {"type": "web_search_20250305", "name": "web_search", **limits}


def test_a_request_that_only_searches_is_mapped() -> None:
    request = body(tools=[search(max_uses=8)], tool_choice={"type": "auto"})
    done = translate(request, OPENROUTER)
    assert codes(done) == {"search_mapped": "tools.0", "tool_choice_dropped": "tool_choice"}
    wire = sent(request, OPENROUTER)
    assert wire["plugins"] == [{"id": "web", "max_uses": 8}]
    assert "tools" not in wire
    assert "tool_choice" not in wire


def test_the_clients_limits_go_where_the_provider_has_them() -> None:
    limits = {"allowed_domains": ["a.example"], "blocked_domains": [], "user_location": PLACE, "max_uses": None}
    request = body(tools=[WEATHER, search(**limits)])
    assert sent(request, OPENROUTER)["plugins"] == [
        {"id": "web", "include_domains": ["a.example"], "user_location": PLACE}
    ]
    assert codes(translate(request, OPENROUTER)) == {"search_mapped": "tools.1"}
    blocked = sent(body(tools=[search(blocked_domains=["b.example"])]), OPENROUTER)
    assert blocked["plugins"] == [{"id": "web", "exclude_domains": ["b.example"]}]


def test_a_search_model_of_openai_gets_its_options_and_the_rest_is_noted() -> None:
    request = body(tools=[search(user_location=PLACE, max_uses=2)])
    assert sent(request, SEARCHING)["web_search_options"] == {
        "user_location": {"type": "approximate", "approximate": {"city": "Paris", "country": "FR"}}
    }
    assert codes(translate(request, SEARCHING)) == {"search_mapped": "tools.0", "field_ignored": "tools.0.max_uses"}
    assert sent(body(tools=[search()]), SEARCHING)["web_search_options"] == {}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "gpt-5.4", "o3"])
def test_other_models_of_openai_have_no_search(model: str) -> None:
    assert "web_search_20250305" in refusal(body(tools=[search()]), resolve("https://api.openai.com/v1", model))


@pytest.mark.parametrize("model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview", "gpt-5-search-api"])
def test_search_models(model: str) -> None:
    profile = resolve("https://api.openai.com/v1", model)
    assert (bool(profile.web_search), profile.temperature, profile.top_p, profile.effort) == (True, False, False, {})


def test_a_search_that_is_forced_needs_no_force() -> None:
    request = body(tools=[search(), WEATHER], tool_choice={"type": "tool", "name": "web_search"})
    done = translate(request, OPENROUTER)
    assert codes(done) == {"search_mapped": "tools.0", "tool_choice_dropped": "tool_choice"}
    assert done.tools == {"get_weather"}


def test_no_tools_means_no_search() -> None:
    request = body(tools=[search(), WEATHER], tool_choice={"type": "none"})
    assert "plugins" not in sent(request, OPENROUTER)
    assert codes(translate(request, OPENROUTER)) == {"tool_dropped": "tools.0"}


def test_other_server_tools_are_still_dropped_or_refused() -> None:
    fetch = {"type": "web_fetch_20250910", "name": "web_fetch"}
    assert codes(translate(body(tools=[fetch, search()]), OPENROUTER)) == {
        "tool_dropped": "tools.0",
        "search_mapped": "tools.1",
    }
    assert "web_fetch_20250910" in refusal(body(tools=[fetch]), OPENROUTER)


@pytest.mark.parametrize(
    ("limit", "complaint"),
    [
        ({"max_uses": "many"}, "tools.0.max_uses: Input should be a valid integer"),
        ({"allowed_domains": "a.example"}, "tools.0.allowed_domains: Input should be a valid list"),
        ({"blocked_domains": [5]}, "tools.0.blocked_domains: Input should be a valid list"),
        ({"user_location": "Paris"}, "tools.0.user_location: Input should be a valid dictionary"),
    ],
)
def test_a_limit_of_a_wrong_type_is_named(limit: dict[str, Any], complaint: str) -> None:
    assert refusal(body(tools=[search(**limit)]), OPENROUTER) == complaint


def test_places_in_lists_and_tables_vanish_where_nothing_is_set() -> None:
    profile = Profile(name="x", web_search={"a": ["$max_uses", "b"], "c": {"d": "$max_uses"}})
    wire = sent(body(tools=[search()]), profile)
    assert (wire["a"], wire["c"]) == (["b"], {})
    wire = sent(body(tools=[search(max_uses=3)]), profile)
    assert (wire["a"], wire["c"]) == ([3, "b"], {"d": 3})


def test_fields_of_every_request_stay_beside_it() -> None:
    profile = Profile(name="x", extra={"mine": 1}, web_search={"search": True})
    wire = sent(body(tools=[search()]), profile)
    assert (wire["mine"], wire["search"]) == (1, True)
