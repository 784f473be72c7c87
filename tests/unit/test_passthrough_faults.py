"""Errors of an upstream that speaks Messages keep their words (protocol.md 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.errors import TYPE_OF_STATUS, PromptTooLong, ProxyError, Throttled, TimedOut, as_response
from ccproxy_sanic.translate import faults
from ccproxy_sanic.translate.passthrough_faults import fault_in, fault_of


def body(kind: str, message: str, **more: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message, **more}}).encode()


def fault(
    status: int, kind: str, message: str = "No.", headers: dict[str, str] | None = None, **more: Any
) -> ProxyError:
    return fault_of(status, headers or {}, body(kind, message, **more.pop("error", {})), **more)


@pytest.mark.parametrize("status", [400, 402, 403, 404, 408, 409, 413, 429, 500, 501, 503, 504, 529])
def test_what_anthropic_says_stays_word_for_word(status: int) -> None:
    message = "messages.3.content.0: `tool_use` ids were found without `tool_result` blocks — ÄÖ"
    found = fault(status, "some_error", message, error={"details": {"error_code": "tool_name_conflict", "n": [1]}})
    said_status, _, said = as_response(found, "req_1")
    assert said_status == status
    assert json.loads(said) == {
        "type": "error",
        "error": {
            "type": "some_error",
            "message": message,
            "details": {"error_code": "tool_name_conflict", "n": [1]},
        },
        "request_id": "req_1",
    }


@pytest.mark.parametrize(("status", "wanted"), [(422, 400), (498, 403), (405, 400), (502, 500), (520, 500), (522, 504)])
def test_a_status_that_anthropic_does_not_have_is_mapped_and_the_type_stays(status: int, wanted: int) -> None:
    found = fault(status, "invalid_request_error")
    assert (found.status, found.type, found.message) == (wanted, "invalid_request_error", "No.")


@pytest.mark.parametrize(
    "message",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "context_management: Extra inputs are not permitted",
        "max_tokens: 128000 > 16384, which is the maximum allowed number of output tokens for claude-x",
        "input length and `max_tokens` exceed context limit: 188240 + 32000 > 200000, decrease input length",
        "capability_rejected: prompt_too_long",
        "capability_rejected: thinking_signature",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Prompt is too long",
    ],
)
def test_wordings_that_clients_recover_by_are_not_touched(message: str) -> None:
    assert fault(400, "invalid_request_error", message).message == message


@pytest.mark.parametrize(
    ("status", "message", "wanted"),
    [
        (400, "prompt is too long: 5 tokens > 4 maximum", "prompt is too long: 5 tokens > 4 maximum"),
        (
            500,
            "request (9 tokens) exceeds the available context size (8 tokens)",
            "prompt is too long: 9 tokens > 8 max",
        ),
        (413, "prompt is too long: 7, model maximum context length: 6", "prompt is too long: 7 tokens > 6 maximum"),
        (400, "Please reduce the length of the messages", "prompt is too long (Please reduce the length of the me"),
        (400, "capability_rejected: prompt_too_long", "capability_rejected: prompt_too_long"),
    ],
)
def test_an_overflow_is_said_so_that_clients_compact(status: int, message: str, wanted: str) -> None:
    found = fault(status, "invalid_request_error", message, error={"details": {"a": 1}})
    assert isinstance(found, PromptTooLong)
    assert found.status == 400
    assert found.message.startswith(wanted)
    assert found.details == {"a": 1}


def test_the_range_of_max_tokens_is_said_with_what_was_asked() -> None:
    found = fault(400, "invalid_request_error", "Range of max_tokens should be [1, 8192]", asked=9000)
    assert found.message.startswith("max_tokens: 9000 > 8192, which is the maximum")


def test_a_refused_key_is_the_proxys_and_is_not_asked_for_again() -> None:
    found = fault(401, "authentication_error", "invalid x-api-key sk-ant-abcdefghijkl", {"x-should-retry": "true"})
    assert (found.status, found.type, found.should_retry) == (403, "permission_error", False)
    assert found.message == "upstream authentication failed: invalid x-api-key sk-ant-***"
    in_stream = fault_in(body("authentication_error", "invalid x-api-key"))
    assert (in_stream.status, in_stream.type, in_stream.should_retry) == (403, "permission_error", False)


@pytest.mark.parametrize("kind", ["billing_error", "policy_blocked"])
def test_what_waiting_does_not_mend_is_not_retried(kind: str) -> None:
    assert fault(403, kind).should_retry is False
    assert fault(403, kind, "No.", {"x-should-retry": "true"}).should_retry is False


@pytest.mark.parametrize(("said", "wanted"), [("true", True), ("False", False), ("", None), ("maybe", None)])
def test_the_upstreams_word_on_retrying_is_kept(said: str, wanted: bool | None) -> None:
    assert fault(429, "rate_limit_error", "No.", {"x-should-retry": said}).should_retry is wanted


@pytest.mark.parametrize(
    ("headers", "app", "wanted"),
    [
        ({"retry-after": "7"}, None, 7.0),
        ({"retry-after": "700"}, None, 700.0),
        ({"retry-after": "700"}, "cli", faults.CLI_PATIENCE),
        ({"retry-after-ms": "1500"}, "cli", 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, "cli", 50.0),
        ({"retry-after": "soon"}, "cli", None),
        ({}, "cli", None),
    ],
)
def test_the_wait_is_kept_and_capped_for_claude_code(headers: dict[str, str], app: str | None, wanted: float) -> None:
    assert fault(529, "overloaded_error", "No.", headers, client_app=app, now=10.0).retry_after == wanted


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (408, TimedOut), (504, TimedOut)])
def test_faults_have_the_class_that_the_books_count_by(status: int, kind: type[ProxyError]) -> None:
    assert type(fault(status, "x_error")) is kind


TYPES = {
    "invalid_request_error": 400,
    "policy_blocked": 400,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "not_supported": 501,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@pytest.mark.parametrize(("kind", "status"), TYPES.items())
def test_an_error_in_a_stream_gets_the_status_of_its_type(kind: str, status: int) -> None:
    said = body(kind, "No.", details={"a": 1})
    for found in (fault_in(said), fault_of(200, {}, said)):
        assert (found.status, found.type, found.message, found.details) == (status, kind, "No.", {"a": 1})


def test_the_types_are_those_of_the_statuses() -> None:
    assert {TYPE_OF_STATUS[status] for kind, status in TYPES.items() if kind != "policy_blocked"} == {*TYPES} - {
        "policy_blocked"
    }


def test_an_unknown_type_in_a_stream_stays_and_its_words_decide_the_status() -> None:
    found = fault_in(body("weird_error", "Rate limit reached"))
    assert (found.status, found.type, found.message) == (429, "weird_error", "Rate limit reached")


OTHERS = [
    b'{"error":{"message":"Bad.","code":"invalid_api_key"}}',
    b'{"error":{"message":"no","type":"insufficient_quota"}}',
    b'{"error":{"message":"filtered","code":"content_filter"}}',
    b'{"type":"error","error":"text"}',
    b'{"type":"error","error":{"type":null,"message":"m"}}',
    b"<html><title>502</title>",
    b"",
    b"\xff\xfe",
    b"[" * 50_000,
]


@pytest.mark.parametrize("raw", OTHERS)
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 503])
def test_other_forms_are_read_as_any_upstreams(status: int, raw: bytes) -> None:
    headers = {"retry-after": "90"}
    found = fault_of(status, headers, raw, client_app="cli", now=1.0)
    wanted = faults.from_upstream(status, headers, raw, client_app="cli", now=1.0)
    assert type(found) is type(wanted)
    assert as_response(found, "r") == as_response(wanted, "r")


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (b'{"error":{"message":"slow down","code":429}}', 429, "slow down"),
        (b"Internal server error", 500, "Internal server error"),
        (b'{"error":{"type":"overloaded_error","message":"busy"}}', 529, "busy"),
    ],
)
def test_an_error_of_another_form_in_a_stream_is_read_too(raw: bytes, status: int, words: str) -> None:
    found = fault_in(raw)
    assert (found.status, found.message) == (status, words)


def test_details_that_are_no_object_are_left_out() -> None:
    assert fault(400, "invalid_request_error", error={"details": [1]}).details is None


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "error", "message"]), inner),
    max_leaves=8,
)
bodies = st.binary(max_size=60) | junk.map(lambda value: json.dumps(value).encode())


@given(st.integers(200, 600), bodies)
def test_no_body_makes_it_raise(status: int, raw: bytes) -> None:
    for found in (fault_of(status, {}, raw), fault_in(raw)):
        said, _, rendered = as_response(found, "req_1")
        assert 400 <= said < 600
        assert json.loads(rendered)["error"]["message"]
