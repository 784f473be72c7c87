"""Failures of a Responses upstream as Anthropic errors, or as the refusals they are (protocol.md 5, 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, PromptTooLong, Refused, Throttled
from ccproxy_sanic.translate.faults import ContentFiltered, from_upstream
from ccproxy_sanic.translate.responses_reply import to_message
from tests.support import grammar
from tests.support.replies import spec
from tests.support.responses import (
    added,
    answer,
    call,
    created,
    delta,
    ended,
    fault,
    message,
    read,
    response,
    run,
    seen,
    sse,
    told,
    unstreamed,
)

LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."
CODES = {
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "insufficient_quota": 402,
    "invalid_prompt": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "failed_to_download_image": 400,
    "data_residency_mismatch": 400,
    "vector_store_timeout": 504,
    "server_is_overloaded": 529,
    "something_new": 500,
}
POLICIES = ("bio_policy", "misalignment_policy_violation", "image_content_policy_violation", "content_policy_violation")


def failed(code: str, text: str = "The server is overloaded") -> dict[str, Any]:
    return {"code": code, "message": text if code == "server_is_overloaded" else "x"}


@pytest.mark.parametrize("code", CODES)
def test_a_code_means_the_same_in_every_form(code: str) -> None:
    error = failed(code)
    status = CODES[code]
    assert fault([*created(), ended(status="failed", error=error)]).status == status
    assert fault([*created(), {"type": "error", "param": None, **error}]).status == status
    assert fault([*created(), {"type": "error", "error": {"type": "x", "param": None, **error}}]).status == status
    assert fault([{"error": error}]).status == status
    with pytest.raises(type(fault([{"error": error}]))) as caught:
        unstreamed(response(status="failed", error=error))
    assert caught.value.status == status


def test_a_failure_before_the_first_item_is_an_http_error() -> None:
    machine, out = run(sse([*created(), ended(status="failed", error=failed("rate_limit_exceeded"))]))
    assert isinstance(machine.fault, Throttled)
    assert (out, machine.started) == (b"", False)


def test_a_failure_behind_it_is_an_error_event_and_closes_nothing() -> None:
    found = seen([*created(), *told(0, message("Hi"))[:3], ended(status="failed", error=failed("server_error"))])
    assert [event["type"] for event in found] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "error",
    ]


def test_a_failure_without_an_error_is_one() -> None:
    for event in (ended(status="failed"), {"type": "response.failed"}, {"type": "response.failed", "response": {}}):
        found = fault([*created(), event])
        assert (found.status, found.type) == (500, "api_error")
        assert "failed" in found.message


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "context_length_exceeded", "message": LONG, "param": "input"},
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": LONG},
        },
        ended(status="failed", error={"code": "context_length_exceeded", "message": LONG}),
    ],
)
def test_a_context_overflow_is_told_in_the_words_that_make_a_client_compact(error: dict[str, Any]) -> None:
    found = fault([*created(), error])
    assert isinstance(found, PromptTooLong)
    assert found.message.startswith("prompt is too long")


def test_what_a_failed_response_holds_is_not_said() -> None:
    machine, out = run(sse([*created(), ended([message("Hi")], status="failed", error=failed("server_error"))]))
    assert (machine.started, out) == (False, b"")


@pytest.mark.parametrize("code", POLICIES)
def test_a_policy_s_refusal_is_an_answer(code: str) -> None:
    error = {"code": code, "message": "Not this."}
    found = read([*created(), *told(0, message("Well, "))[:3], ended(status="failed", error=error)])
    assert [block["text"] for block in found["content"]] == ["Well, "]
    assert (found["stop_reason"], found["stop_details"]["explanation"]) == ("refusal", "Not this.")
    assert read([{"type": "error", **error}])["stop_reason"] == "refusal"
    assert unstreamed(response(status="failed", error=error))["stop_reason"] == "refusal"
    assert isinstance(from_upstream(400, {}, json.dumps({"error": error}).encode()), ContentFiltered)


def test_a_policy_s_refusal_in_the_middle_of_a_call_does_not_let_it_run_as_if_it_were_whole() -> None:
    begun = [added(0, call("Bash", "")), delta("function_call_arguments", 0, "fc_1", '{"command":"rm')]
    found = read([*begun, ended(status="failed", error={"code": "bio_policy", "message": "No."})])
    assert found["content"][0]["input"] == {"command": "rm", "_cut": True}


def test_a_policy_s_refusal_comes_behind_what_the_model_refused_itself() -> None:
    begun = told(0, message({"type": "refusal", "refusal": "I won't."}))[:4]
    found = read([*begun, ended(status="failed", error={"code": "bio_policy", "message": "No."})], enforce_stops=("S",))
    assert found["stop_details"]["explanation"].startswith("I won")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "x", "code": 503}}, 529),
        ({"error": "x"}, 500),
        ({"detail": "x"}, 500),
        ({"object": "error", "message": "x", "code": 400}, 400),
        ({"message": "x", "code": "rate_limit_exceeded"}, 429),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, 529),
    ],
)
def test_error_bodies_in_spite_of_a_good_status(body: dict[str, Any], status: int) -> None:
    with pytest.raises(Refused) if status != 429 else pytest.raises(Throttled) as caught:
        to_message(json.dumps(body).encode(), spec())
    assert caught.value.status == status
    assert fault([*created(), body]).status == status
    machine, out = run(json.dumps(body).encode())
    assert machine.fault is not None
    assert (machine.fault.status, out) == (status, b"")


def test_an_answer_that_is_cut_off_behind_a_whole_call_says_so() -> None:
    machine, out = run(sse(told(0, call("Bash", "{}"))))
    assert isinstance(machine.fault, Broken)
    kinds = [event["type"] for event in grammar.parse(out)]
    assert kinds[-2:] == ["content_block_stop", "error"]


def test_an_error_member_that_is_empty_says_nothing() -> None:
    quiet = [{**event, "error": None} for event in answer(message("Hi"))]
    assert read(quiet)["content"] == [{"type": "text", "text": "Hi"}]
