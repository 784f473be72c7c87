"""Behaviour 42: who answered behind OpenRouter, and what it said, reaches the client, whole and in a stream."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ccproxy_sanic.errors import ProxyError, as_event, as_response
from ccproxy_sanic.translate.faults import from_stream_error, from_upstream

KEY = "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"


def wrapped(raw: object, name: object = "DeepInfra", code: int = 400) -> dict[str, Any]:
    metadata = {"raw": raw, "provider_name": name}
    return {"error": {"message": "Provider returned error", "code": code, "metadata": metadata}}


def shown(error: ProxyError) -> dict[str, Any]:
    """The error as both renderings have it."""
    whole = msgspec.json.decode(as_response(error, "req_1")[2])["error"]
    event = msgspec.json.decode(as_event(error, "req_1").split(b"data: ")[1])["error"]
    assert whole == event
    found: dict[str, Any] = whole
    return found


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            '{"error":{"message":"model is loading","code":17}}',
            {"provider_message": "model is loading", "provider_code": 17},
        ),
        ({"error": {"message": "no", "code": "bad_thing"}}, {"provider_message": "no", "provider_code": "bad_thing"}),
        (
            '{"message":"no","type":"invalid_request_error"}',
            {"provider_message": "no", "provider_code": "invalid_request_error"},
        ),
        (
            '[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]',
            {"provider_message": "no", "provider_code": 400},
        ),
        ("just words", {"provider_message": "just words"}),
        ("", {}),
        (None, {}),
        (7, {}),
        ({"a": 1}, {}),
    ],
)
def test_the_provider_is_named(raw: object, told: dict[str, Any]) -> None:
    for error in (from_upstream(400, {}, msgspec.json.encode(wrapped(raw))), from_stream_error(wrapped(raw)["error"])):
        found = shown(error)
        assert {name: value for name, value in found.items() if name.startswith("provider")} == {
            "provider": "DeepInfra",
            **told,
        }
        assert (error.status, found["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "code": 400}},
        {"error": {"message": "no", "code": 400, "metadata": {"reasons": ["x"]}}},
        {"error": {"message": "no", "code": 400, "metadata": None}},
        {"error": {"message": "no", "code": 400, "metadata": "DeepInfra"}},
        wrapped("x", name=7),
        wrapped("x", name=""),
    ],
)
def test_where_nobody_is_named_there_are_no_such_fields(body: dict[str, Any]) -> None:
    assert set(shown(from_upstream(400, {}, msgspec.json.encode(body)))) == {"type", "message"}


@pytest.mark.parametrize(
    ("status", "ours", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (401, 403, "permission_error"),
        (403, 403, "permission_error"),
        (404, 404, "not_found_error"),
        (413, 413, "request_too_large"),
        (422, 400, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (502, 500, "api_error"),
        (503, 529, "overloaded_error"),
        (504, 504, "timeout_error"),
    ],
)
def test_statuses_are_those_of_the_table_and_the_provider_stays(status: int, ours: int, kind: str) -> None:
    error = from_upstream(status, {}, msgspec.json.encode(wrapped('{"message":"no"}', code=status)))
    found = shown(error)
    assert (error.status, found["type"], found["provider"]) == (ours, kind, "DeepInfra")
    assert found["provider_message"] == "no"


def test_the_providers_own_words_stay_where_ours_tell_the_client_what_to_do() -> None:
    words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    found = shown(from_upstream(400, {}, msgspec.json.encode(wrapped(words))))
    assert found["message"] == "prompt is too long: 9000 tokens > 8192 maximum"
    assert found["provider_message"] == words


def test_no_key_and_no_flood_gets_through() -> None:
    found = shown(from_upstream(400, {}, msgspec.json.encode(wrapped(f"bad {KEY} " + "x" * 9_000, name="N" * 500))))
    assert KEY[8:] not in str(found)
    assert len(found["provider_message"]) <= 2_000
    assert len(found["provider"]) <= 100
