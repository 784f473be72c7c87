"""Every word by which an upstream's fault is known, one by one (protocol.md 5.2 to 5.4)."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import Any

import pytest

from ccproxy_sanic.translate import faults, overflow, unwrap
from ccproxy_sanic.translate.faults import from_stream_error, from_upstream
from tests.unit.test_faults_statuses import answered

# status of the answer <- machine-readable words
CODES = {
    402: [
        *("insufficient_quota", "insufficient_balance", "insufficient_credits", "exceeded_current_quota_error"),
        *("billing_hard_limit_reached", "billing_error", "arrearage", "1113", "1008"),
    ],
    403: [
        *("invalid_api_key", "invalidapikey", "api_key_invalid", "authentication_error"),
        *("invalid_authentication_error", "unauthenticated", "1004", "2049"),
    ],
    404: ["not_found_error", "not_found"],
    413: ["request_too_large"],
    429: [
        *("rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "resource_exhausted"),
        *("too_many_requests", "1302", "1002", "1039"),
    ],
    504: ["timeout", "timeout_error", "deadline_exceeded", "1001", "vector_store_timeout"],
    529: [
        *("overloaded", "overloaded_error", "engine_overloaded_error", "model_overloaded", "unavailable"),
        *("unavailable_error", "service_unavailable"),
    ],
}
REFUSED = [
    *("invalid_request_error", "invalid_argument", "badrequesterror", "2013"),
    *("invalid_prompt", "data_residency_mismatch"),
    *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large"),
    *("image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large"),
    *("unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found"),
]
FILTERED = [
    *("content_filter", "responsibleaipolicyviolation", "data_inspection_failed", "datainspectionfailed"),
    *("1301", "1026", "1027"),
    *("bio_policy", "misalignment_policy_violation", "image_content_policy_violation", "content_policy_violation"),
]
ROWS = [(status, code) for status, codes in CODES.items() for code in codes] + [(400, code) for code in REFUSED]


@pytest.mark.parametrize(("status", "code"), ROWS)
def test_a_code_in_a_stream_decides(status: int, code: str) -> None:
    error = from_stream_error({"message": "x", "code": code})
    assert (error.status, type(error) is faults.ContentFiltered) == (status, False)
    assert from_stream_error({"message": "x", "type": code.upper()}).status == status
    assert (error.should_retry is False) == (status in (402, 403))
    assert error.message == ("upstream authentication failed: x" if status == 403 else "x")


@pytest.mark.parametrize("code", FILTERED)
def test_a_filter_s_code_decides(code: str) -> None:
    error = from_stream_error({"message": "x", "code": code})
    assert (error.status, type(error)) == (400, faults.ContentFiltered)
    assert type(answered(400, {"error": {"message": "x", "code": code}})) is faults.ContentFiltered


def test_every_code_is_tested_here() -> None:
    assert set(faults.KINDS) == {code for _, code in ROWS} | set(FILTERED)


# kind of correction: which of the statuses 400, 403, 404, 409, 413, 429, 500, 504, 529 a code may change, and into what
CORRECTED = {
    "billing_error": {400: 402, 403: 402, 429: 402, 503: 402},
    "invalid_api_key": {400: 403},
    "overloaded": {429: 529, 500: 529},
    "rate_limit_error": {500: 429},
    "timeout": {500: 504},
    "not_found": {},
    "invalid_argument": {},
    "request_too_large": {},
}
PLAIN = {400: 400, 402: 402, 403: 403, 404: 404, 409: 409, 413: 413, 429: 429, 500: 500, 503: 529, 504: 504}


@pytest.mark.parametrize("code", CORRECTED)
@pytest.mark.parametrize("status", PLAIN)
def test_a_code_corrects_only_what_it_may(code: str, status: int) -> None:
    wanted = CORRECTED[code].get(status, PLAIN[status])
    assert answered(status, {"error": {"message": "x", "type": code}}).status == wanted


@pytest.mark.parametrize("status", [401, 498])
def test_a_refused_key_is_a_refused_key_whatever_else_is_said(status: int) -> None:
    error = answered(status, {"error": {"message": "x", "code": "content_filter"}})
    assert (error.status, error.should_retry, type(error)) == (403, False, faults.Refused)
    assert answered(status, {"error": {"message": "x", "code": "billing_error"}}).status == 402


PHRASES = {
    402: [
        *("Insufficient balance", "insufficient account balance", "insufficient_credit", "Insufficient credits"),
        *("insufficient funds", "insufficient_balance", "INSUFFICIENT ACCOUNT CREDITS"),
    ],
    403: [
        *("Incorrect API key provided", "API key not valid. Please", "Invalid API key", "Invalid API-key"),
        *("invalid x-api-key", "'Invalid API Key'", "**: incorrect api key"),
    ],
    529: [
        *("The model is Overloaded", "No available provider", "The queue is full", "queue full", "Server is busy"),
        *("We are at capacity", "Loading model"),
    ],
    429: ["Rate limit reached", "Too Many Requests"],
    504: ["The request timed out", "Deadline exceeded"],
    400: ["Image input is not supported - hint: an mmproj"],
}


@pytest.mark.parametrize(("status", "words"), [(status, each) for status, all_ in PHRASES.items() for each in all_])
def test_words_in_a_stream_decide(status: int, words: str) -> None:
    assert from_stream_error(words).status == status
    assert from_stream_error({"message": words}).status == status


@pytest.mark.parametrize("words", ["please: incorrect api key", "xxxxx incorrect api key", "an overload", "the queue"])
def test_other_words_in_a_stream_do_not(words: str) -> None:
    assert from_stream_error(words).status == 500


def test_a_picture_refused_with_500_is_not_tried_again() -> None:
    assert answered(500, {"error": {"message": "image input is not supported"}}).status == 400


@pytest.mark.parametrize("status", [429, 500, 504, 529, 400, 402, 403, 404, 409, 413])
def test_only_what_may_pass_by_itself_says_when(status: int) -> None:
    wait = answered(status, {"error": {"message": "x"}}, {"retry-after": "7"}).retry_after
    if status == 402:  # the budget of requests in flight
        status = 429
    assert wait == (7.0 if status in (429, 500, 504, 529) else None)


def test_claude_code_waits_at_most_a_minute_and_nobody_more_than_a_day() -> None:
    body = {"error": {"message": "x"}}
    assert answered(429, body, {"retry-after": "61"}, client_app="cli").retry_after == 60
    assert answered(429, body, {"retry-after": "61"}).retry_after == 61
    assert answered(429, body, {"retry-after": "86401"}).retry_after == 86_400
    assert answered(429, body, {"retry-after": "1.25"}).retry_after == 1.25
    assert answered(429, body, {"retry-after": "9" * 16}, now=0.0).retry_after is None


@pytest.mark.parametrize(("status", "garbled"), [(200, True), (399, True), (199, False), (400, False)])
def test_a_page_with_success_is_no_answer(status: int, garbled: bool) -> None:
    error = from_upstream(status, {}, b"<html>x")
    assert isinstance(error, faults.Garbled) == garbled


OVERFLOWS = [
    "prompt is too long",
    "input is too long for requested model",
    "capability_rejected: prompt_too_long",
    "maximum context length",
    "context_length_exceeded",
    "exceeds the context window",
    "contextwindowexceedederror",
    "longer than the maximum model length",
    "longer than the model's context length",
    "exceeds the available context size",
    "exceed_context_size_error",
    "exceeds the maximum number of tokens allowed",
    "exceeded model token limit",
    "input token length too long",
    "input tokens exceed the configured limit",
    "maximum context limit",
    "maximum prompt length",
    "prompt exceeds max length",
    "tokens in request more than max tokens allowed",
    "range of input length should be",
    "context window exceeds limit",
    "but model only supports up to",
    "reduce the length of the messages",
    "`inputs` tokens + `max_new_tokens` must be",
    "context exceeds your deployment",
    "prompt token count of 9 exceeds the limit of 8",
    "number of tokens to keep from the initial prompt",
    "tokens when context the overflows",
]


@pytest.mark.parametrize("words", OVERFLOWS)
def test_words_that_mean_an_overflow(words: str) -> None:
    assert overflow.is_overflow(f"Error: {words.capitalize()}.")
    assert overflow.is_overflow("x", code=words)
    error = answered(400, {"error": {"message": f"Error: {words}."}})
    assert error.message.startswith("prompt is too long")


@pytest.mark.parametrize("status", [400, 413, 500])
def test_an_overflow_is_looked_for_where_servers_say_it(status: int) -> None:
    assert answered(status, {"error": {"message": OVERFLOWS[3]}}).message.startswith("prompt is too long")
    assert answered(403, {"error": {"message": OVERFLOWS[3]}}).message == OVERFLOWS[3]


@pytest.mark.parametrize(
    "words", ["policy_blocked", "Expected maxLength 8", "string too long. Expected a string with "]
)
def test_words_that_hold_them_and_are_something_else(words: str) -> None:
    whole = f"{words}maximum length" if words.endswith("with ") else words
    assert not overflow.is_overflow(f"{whole}: maximum context length")


def test_how_far_an_overflow_is_looked_for() -> None:
    words = "maximum context length"
    room = 20_000 - len(words)
    assert overflow.is_overflow("x" * room + words)
    assert not overflow.is_overflow("x" * (room + 1) + words)


def test_every_wording_is_tested_here() -> None:
    assert len(overflow.WORDINGS) == len(OVERFLOWS)
    assert len(overflow.NOT_OVERFLOW) == 3


MEMBERS = [
    *("message", "detail", "error_description", "msg", "error_msg", "errorMessage", "Message", "status_msg", "title"),
    *("error", "errors"),
]


@pytest.mark.parametrize("member", MEMBERS)
def test_each_member_may_hold_the_words(member: str) -> None:
    assert from_stream_error({member: "the words"}).message == "the words"


@pytest.mark.parametrize(("better", "worse"), [*itertools.pairwise(MEMBERS)])
def test_the_members_have_an_order(better: str, worse: str) -> None:
    assert from_stream_error({worse: "second", better: "first"}).message == "first"


@pytest.mark.parametrize("member", ["error", "errors", "base_resp"])
def test_each_member_may_hold_another_error(member: str) -> None:
    error = from_stream_error({member: {"message": "inner", "code": "rate_limit_error"}, "message": "outer"})
    assert (error.message, error.status) == ("inner", 429)


@pytest.mark.parametrize(
    "start", ["<!DOCTYPE html>", "<html>", "<head>", "<body>", '<?xml version="1"?>', "<center>", "<h1>"]
)
@pytest.mark.parametrize("space", ["", "\n  "])
def test_a_page_is_shown_as_its_words(start: str, space: str) -> None:
    page = f"{space}{start}<script>let a</script><p>Gone &amp; away</p>".encode()
    assert from_upstream(502, {}, page).message == "the upstream answered 502 Bad Gateway with a page: Gone & away"


@pytest.mark.parametrize("tag", ["script", "style", "svg"])
def test_what_no_reader_sees_of_a_page_is_not_shown(tag: str) -> None:
    for page in (f"<html><{tag} a='b'>hidden</{tag} ><b>seen</b>", f"<html><b>seen</b><{tag}>hidden"):
        assert from_upstream(502, {}, page.encode()).message.endswith("with a page: seen")


def test_the_bounds_of_what_is_read() -> None:
    assert from_upstream(502, {}, b"x" * 301).message == "x" * 299 + "…"
    assert from_upstream(502, {}, b"x" * 300).message == "x" * 300
    assert from_upstream(502, {}, b'{"message": "%s"}' % (b"y" * 2001)).message == "y" * 1999 + "…"
    long = b'{"message": "%s"}' % (b"y" * ((1 << 20) - 14))
    assert len(long) == (1 << 20) + 1
    assert from_upstream(502, {}, long).message.startswith('{"message"')
    assert from_upstream(502, {}, long.replace(b"y", b"", 1)).message.startswith("y")
    assert HTTPStatus(502).phrase in unwrap.phrase(502)


@pytest.mark.parametrize(
    "body", [b"data: {%s}", b"data:{%s}", b": x\ndata: {%s}", b"event: error\ndata: {%s}", b"data: [{%s}]"]
)
def test_an_event_instead_of_a_body(body: bytes) -> None:
    assert from_upstream(502, {}, body % b'"message": "words"').message == "words"


def test_an_event_that_is_a_string() -> None:
    assert from_upstream(502, {}, b'data: "words"').message == "words"


def test_how_much_and_how_deep_an_error_is_read() -> None:
    assert len(unwrap.value("x" * 20_001, 500).message) == 20_000
    nested: Any = "words"
    for depth in range(1, 10):
        nested = {"error": nested}
        assert (unwrap.value(nested, 500).message == "words") == (depth <= 8)


def test_control_characters_are_not_shown() -> None:
    for character in ("\x00", "\x08", "\x0b", "\x1f", "\x7f", "\ud800", "\udfff"):
        assert from_stream_error(f"a{character}b").message == "a b"
    assert from_stream_error("a\n\tb").message == "a\n\tb"
