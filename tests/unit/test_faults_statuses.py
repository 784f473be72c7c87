"""Every row of the map of upstream statuses, and what corrects it (protocol.md 5.2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.errors import (
    TYPE_OF_STATUS,
    Garbled,
    ProxyError,
    Refused,
    Throttled,
    TimedOut,
    as_event,
    as_response,
)
from ccproxy_sanic.translate import faults
from ccproxy_sanic.translate.faults import ContentFiltered, from_stream_error, from_upstream

ALLOWED = {400, 402, 403, 404, 409, 413, 429, 500, 504, 529}


def answered(status: int, error: object, headers: dict[str, str] | None = None, **more: Any) -> ProxyError:
    return from_upstream(status, headers or {}, msgspec.json.encode(error), **more)


ROWS = {
    400: (400, "invalid_request_error"),
    401: (403, "permission_error"),
    402: (402, "billing_error"),
    403: (403, "permission_error"),
    404: (404, "not_found_error"),
    405: (400, "invalid_request_error"),
    408: (504, "timeout_error"),
    409: (409, "conflict_error"),
    413: (413, "request_too_large"),
    418: (400, "invalid_request_error"),
    422: (400, "invalid_request_error"),
    429: (429, "rate_limit_error"),
    498: (403, "permission_error"),
    500: (500, "api_error"),
    501: (500, "api_error"),
    502: (500, "api_error"),
    503: (529, "overloaded_error"),
    504: (504, "timeout_error"),
    520: (500, "api_error"),
    522: (504, "timeout_error"),
    524: (504, "timeout_error"),
    529: (529, "overloaded_error"),
    599: (500, "api_error"),
}


@pytest.mark.parametrize(("status", "wanted"), ROWS.items())
def test_a_status_is_mapped(status: int, wanted: tuple[int, str]) -> None:
    plain = answered(status, {"error": {"message": "no", "type": "whatever", "code": None}})
    assert (plain.status, plain.type) == wanted
    in_stream = from_stream_error({"message": "no", "code": status})
    assert (in_stream.status, in_stream.type) == wanted
    assert plain.message.endswith("no")


@pytest.mark.parametrize("status", [401, 498])
def test_a_wrong_key_is_ours_and_is_not_retried(status: int) -> None:
    error = answered(status, {"error": {"message": "Invalid API Key"}}, {"x-should-retry": "true"})
    assert error.message == "upstream authentication failed: Invalid API Key"
    assert error.should_retry is False


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***. "}),
        (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "X"}}]),
        (400, {"error": {"message": "Bad.", "code": "invalid_api_key"}}),
    ],
)
def test_a_wrong_key_under_another_status_is_recognised(status: int, error: object) -> None:
    found = answered(status, error)
    assert (found.status, found.should_retry) == (403, False)
    assert found.message.startswith("upstream authentication failed: ")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, {"error": {"message": "Insufficient Balance"}}),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}),
        (429, {"error": {"message": "x", "type": "insufficient_quota"}}),
        (429, {"error": {"message": "x", "type": "exceeded_current_quota_error"}}),
        (429, {"error": {"message": "x", "code": "1113"}}),
        (400, {"error": {"message": "Account has insufficient balance"}}),
        (403, {"error": {"message": "insufficient credits"}}),
        (400, {"code": "Arrearage", "message": "Access denied."}),
        (503, {"error": {"message": "Insufficient funds"}}),
    ],
)
def test_money_is_402_and_not_retried(status: int, error: object) -> None:
    found = answered(status, error)
    assert (found.status, found.type, found.should_retry) == (402, "billing_error", False)


def test_a_quota_per_minute_is_a_rate_limit() -> None:
    """Google says "exceeded your current quota" for both."""
    body = [
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": "type.googleapis.com/google.rpc.Help"},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"},
                ],
            }
        }
    ]
    error = answered(429, body)
    assert (error.status, error.retry_after) == (429, 12.5)


def test_openrouters_budget_in_flight_is_a_rate_limit() -> None:
    error = answered(402, {"error": {"message": "in flight", "code": 402}}, {"retry-after": "3"})
    assert (type(error), error.status, error.retry_after, error.should_retry) == (Throttled, 429, 3.0, None)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"error": {"message": "The engine is overloaded", "type": "engine_overloaded_error"}}),
        (500, {"error": {"message": "The model is overloaded. Please try again later."}}),
        (502, {"error": {"message": "No available provider for this model"}}),
        (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
        (503, {"object": "error", "message": "The request queue is full."}),
        (500, [{"error": {"code": 500, "message": "x", "status": "UNAVAILABLE"}}]),
    ],
)
def test_busy_upstreams_are_529(status: int, error: object) -> None:
    found = answered(status, error)
    assert (found.status, found.type) == (529, "overloaded_error")


def test_a_400_that_quotes_the_client_is_not_corrected() -> None:
    for words in ("tool 'overloaded' is unknown", "the field 'rate limit' timed out", "see: incorrect api key"):
        assert answered(400, {"error": {"message": words}}).status == 400


def test_llama_cpps_refusal_of_an_image_is_no_server_fault() -> None:
    error = answered(500, {"error": {"code": 500, "message": "image input is not supported - hint: mmproj"}})
    assert (error.status, error.type) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "error",
    [
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering content management policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content.", "request_id": "1"},
        {"error": {"code": "1301", "message": "unsafe"}},
        {"error": {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
    ],
)
def test_a_content_filter_is_a_class_of_its_own(error: object) -> None:
    found = answered(400, error)
    assert isinstance(found, ContentFiltered)
    assert isinstance(found, Refused)
    assert (found.status, found.type) == (400, "invalid_request_error")
    assert isinstance(from_stream_error(error), ContentFiltered)


def test_moderation_keeps_its_words() -> None:
    text = 'Your chosen model requires moderation and your input was flagged for "violence".'
    error = answered(403, {"error": {"code": 403, "message": text, "metadata": {"reasons": ["violence"]}}})
    assert (type(error), error.status, error.message) == (Refused, 403, text)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "x", "type": "server_error", "code": None}, 500),
        ({"message": "x", "code": "rate_limit_exceeded"}, 429),
        ({"message": "x", "code": "429"}, 429),
        ({"message": "Rate limit reached for this model"}, 429),
        ({"message": "x", "type": "overloaded_error"}, 529),
        ({"message": "server is busy"}, 529),
        ({"message": "x", "type": "timeout"}, 504),
        ({"message": "The request timed out."}, 504),
        ({"message": "x", "type": "invalid_request_error"}, 400),
        ({"message": "x", "code": "not_found"}, 404),
        ({"message": "x", "type": "request_too_large"}, 413),
        ({"message": "x", "type": "authentication_error"}, 403),
        ({"message": "x", "code": 12}, 500),
        ({"message": "x", "code": True}, 500),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, 403),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient"}}, 402),
        ({"base_resp": {"status_code": 1002, "status_msg": "rpm"}}, 429),
        ({"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}, 400),
        ({"error": {"code": 500, "message": "peg-native format", "type": "server_error"}}, 500),
        ("just words", 500),
        (None, 500),
        ([], 500),
        (17, 500),
    ],
)
def test_an_error_in_a_stream_finds_its_status(error: object, status: int) -> None:
    found = from_stream_error(error)
    assert (found.status, found.type) == (status, TYPE_OF_STATUS[status])
    assert found.message


def test_an_error_in_a_200_body_is_read() -> None:
    error = answered(200, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}})
    assert (type(error), error.message) == (Throttled, "rate limit")


@pytest.mark.parametrize("body", [b"", b"<html><title>Welcome</title>", b"hello", b"\xff\xfe\x00"])
def test_a_success_that_is_no_json_is_garbled(body: bytes) -> None:
    error = from_upstream(200, {}, body)
    assert (type(error), error.status) == (Garbled, 500)


def test_kinds_and_statuses_agree_with_the_types() -> None:
    assert {*faults.STATUS.values(), *faults.STATUS_OF_KIND.values()} <= ALLOWED <= TYPE_OF_STATUS.keys()
    assert set(faults.STATUS_OF_KIND) == set(faults.Kind)
    assert set(faults.KINDS.values()) | {kind for _, kind in faults.PHRASES} == set(faults.Kind)
    assert all(code == code.lower() for code in faults.KINDS)


# retry-after and x-should-retry


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 1.25 "}, 1.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "999999999"}, faults.LONGEST_WAIT),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 99999 07:27:00 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    now = 1_445_412_480.0  # 2015-10-21 07:28:00
    assert answered(429, {}, headers, now=now).retry_after == seconds


def test_a_date_needs_a_clock() -> None:
    assert answered(429, {}, {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}).retry_after is None


def test_claude_code_is_never_asked_to_wait_longer_than_it_would() -> None:
    headers = {"retry-after": "300"}
    assert answered(429, {}, headers, client_app="cli").retry_after == faults.CLI_PATIENCE
    assert answered(429, {}, headers, client_app="sdk").retry_after == 300
    assert answered(503, {}, headers, client_app="cli").retry_after == faults.CLI_PATIENCE


def test_a_refusal_has_no_retry_after() -> None:
    assert answered(400, {}, {"retry-after": "5"}).retry_after is None


@pytest.mark.parametrize(("said", "kept"), [("true", True), ("False", False), ("maybe", None)])
def test_the_upstreams_own_word_on_retries_is_kept(said: str, kept: bool | None) -> None:
    assert answered(500, {}, {"x-should-retry": said}).should_retry is kept


def test_timeouts_and_limits_have_their_classes() -> None:
    assert type(answered(504, {})) is TimedOut
    assert type(answered(429, {})) is Throttled


# Whatever comes


MEMBERS = st.sampled_from(
    [
        *(
            "error",
            "errors",
            "message",
            "detail",
            "code",
            "type",
            "status",
            "status_code",
            "metadata",
            "raw",
            "details",
        ),
        *("innererror", "base_resp", "retryDelay", "loc", "msg", "n_ctx", "n_prompt_tokens", "status_msg"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            MEMBERS,
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def legal(error: ProxyError) -> None:
    assert error.status in ALLOWED
    assert error.type == TYPE_OF_STATUS[error.status]
    assert error.message
    assert len(error.message) <= 2_000
    status, headers, body = as_response(error, "req_X")
    assert status == error.status
    assert all(value.isascii() for value in headers.values())
    assert msgspec.json.decode(body)["error"]["message"] == error.message
    assert as_event(error, "req_X").count(b"\n\n") == 1


HEADERS = st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry"]), st.text())


@given(
    st.integers(100, 999),
    HEADERS,
    st.binary(max_size=300),
    st.sampled_from([None, "cli"]),
    st.none() | st.floats(0, 4e9),
)
def test_any_bytes_have_an_answer(
    status: int, headers: dict[str, str], body: bytes, app: str | None, now: float | None
) -> None:
    legal(from_upstream(status, headers, body, client_app=app, now=now))


@given(st.integers(100, 999), JSON)
def test_any_json_has_an_answer(status: int, value: object) -> None:
    legal(from_upstream(status, {}, msgspec.json.encode(value)))
    legal(from_stream_error(value))


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"error":' * 50_000, b'{"error":"' + b"a" * 3_000_000 + b'"}', b"<" * 500_000, b"9" * 20_000],
)
def test_hostile_bodies_have_an_answer(body: bytes) -> None:
    legal(from_upstream(500, {}, body))
    legal(from_upstream(400, {}, msgspec.json.encode({"error": {"message": body.decode(), "code": body.decode()}})))
