"""Records of failures: complete, without secrets, and never in a request's way (behaviours 40 and 41)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic import errors
from ccproxy_sanic.ops import error_records
from ccproxy_sanic.ops.error_records import CAPACITY, CUT_BODY, ErrorRecords, Failure, error_type, stack_of
from ccproxy_sanic.ops.logging import LogWriter
from ccproxy_sanic.ops.redaction import Redactor
from ccproxy_sanic.settings import Settings, load
from ccproxy_sanic.translate.faults import from_upstream

Job = Callable[[], object]
KEY = "sk-proj-Zm9vYmFyYmF6cXV4"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**environ: str) -> Settings:
    return load({"LOG_FILE_PATH": "", "ERROR_LOG_FILE_PATH": "", **environ})


def failure(fault: errors.ProxyError | None = None, **fields: Any) -> Failure:
    fault = fault or errors.InvalidRequest("model: Field required")
    values: dict[str, Any] = {
        "at": 1_700_000_000.5,
        "request_id": "req_1",
        "error_type": error_type(fault),
        "message": fault.message,
        "stack": stack_of(fault),
        "method": "POST",
        "path": "/v1/messages",
        "query": "beta=true",
        "headers": (("user-agent", "claude-cli/2"), ("x-api-key", "client-secret-1"), ("accept", "*/*")),
        "client_ip": "127.0.0.1",
        "status": fault.status,
        "answer_headers": {"request-id": "req_1", "content-length": 12},
        "elapsed_s": 0.0125,
        "metadata": {"upstream": "openai", "hops": ["openai/gpt-5;failed=429"]},
    }
    return Failure(**(values | fields))


class Desk:
    """The thread's work, done when the test says so."""

    def __init__(self, conf: Settings, accepts: bool = True) -> None:
        self.jobs: list[Job] = []
        self.accepts = accepts
        self.records = ErrorRecords(conf, Redactor(conf.secrets), self.later)

    def later(self, job: Job) -> bool:
        if self.accepts:
            self.jobs.append(job)
        return self.accepts

    def work(self) -> list[dict[str, Any]]:
        for job in self.jobs:
            job()
        self.jobs.clear()
        path = Path("errors_detailed.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_record_says_what_was_asked_and_what_came_of_it() -> None:
    desk = Desk(settings())
    desk.records.note(failure())
    [record] = desk.work()
    assert record.pop("error_id").startswith("err_")
    assert record == {
        "timestamp": "2023-11-14T22:13:20.500Z",
        "request_id": "req_1",
        "error_type": "validation_error",
        "error_message": "model: Field required",
        "stack_trace": None,
        "request_snapshot": {
            "method": "POST",
            "path": "/v1/messages",
            "headers": {"user-agent": "claude-cli/2", "x-api-key": "[REDACTED]", "accept": "*/*"},
            "query_params": {"beta": "true"},
            "client_ip": "127.0.0.1",
            "user_agent": "claude-cli/2",
        },
        "response_snapshot": {
            "status_code": 400,
            "headers": {"request-id": "req_1", "content-length": 12},
            "elapsed_ms": 12.5,
        },
        "metadata": {"upstream": "openai", "hops": ["openai/gpt-5;failed=429"]},
        "redacted_fields": ["request_snapshot.headers.x-api-key"],
    }


def test_message_query_and_echoes_hold_no_secret() -> None:
    """The original redacted neither its message nor its query."""
    desk = Desk(settings(OPENAI_API_KEY=KEY))
    fault = errors.Unauthenticated(f"wrong key {KEY}; you sent client-secret-1")
    desk.records.note(failure(fault, query="api_key=abc&beta=true&x=Bearer+zzz&api_key=def"))
    [record] = desk.work()
    assert record["error_message"] == "wrong key [REDACTED]; you sent [REDACTED]"
    assert record["request_snapshot"]["query_params"] == {
        "api_key": "[REDACTED]",
        "beta": "true",
        "x": "Bearer [REDACTED]",
    }
    assert set(record["redacted_fields"]) == {
        "error_message",
        "request_snapshot.headers.x-api-key",
        "request_snapshot.query_params.api_key",
        "request_snapshot.query_params.x",
    }


def test_a_key_that_a_reload_brought_is_not_shown_either() -> None:
    conf = settings()
    writer = LogWriter(conf, stream=io.StringIO())
    records = ErrorRecords(conf, writer.redactor, writer.later)
    writer.start()
    writer.hide(settings(OPENAI_API_KEY="plainkey").secrets)
    records.note(failure(errors.Bug("plainkey is wrong")))
    assert writer.stop()
    records.close()
    assert "plainkey" not in Path("errors_detailed.jsonl").read_text()


def test_bodies_only_where_asked_for_and_never_their_secrets() -> None:
    body = json.dumps({"messages": ["the prompt"], "metadata": {"password": "p4ss"}, "max_tokens": 5}).encode()
    answer = b'{"type":"error"}'
    desk = Desk(settings(ERROR_TRACKING_CAPTURE_REQUEST="1", ERROR_TRACKING_CAPTURE_RESPONSE="1"))
    assert desk.records.captures_request
    assert desk.records.captures_answer
    desk.records.note(failure(request_body=body, answer_body=answer))
    desk.records.note(failure(request_body=b"no JSON, Bearer abc", answer_body=answer))
    first, second = desk.work()
    assert first["request_snapshot"]["body"] == {
        "messages": ["the prompt"],
        "metadata": {"password": "[REDACTED]"},
        "max_tokens": 5,
    }
    assert first["response_snapshot"]["body"] == {"type": "error"}
    assert second["request_snapshot"]["body"] == "no JSON, Bearer [REDACTED]"
    quiet = Desk(settings()).records
    assert not quiet.captures_request
    assert not quiet.captures_answer


def test_a_body_that_takes_long_to_read_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_records, "MAX_PARSED", 20)
    desk = Desk(settings(ERROR_TRACKING_CAPTURE_REQUEST="1"))
    desk.records.note(failure(request_body=b'{"password": "two words", "max_tokens": 5}'))
    [record] = desk.work()
    assert record["request_snapshot"]["body"] == '{"password": [REDACTED], "max_tokens": 5}'


def test_texts_of_a_body_are_cut_at_the_limit_and_messages_are_not() -> None:
    desk = Desk(settings(ERROR_TRACKING_CAPTURE_REQUEST="1", ERROR_TRACKING_MAX_BODY_SIZE="10"))
    desk.records.note(failure(errors.Bug("m" * 500), request_body=json.dumps(["x" * 30]).encode()))
    [record] = desk.work()
    assert record["request_snapshot"]["body"] == ["x" * 10 + "... [20 characters cut]"]
    assert record["error_message"] == "m" * 500


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (errors.InvalidRequest("x"), "validation_error"),
        (errors.NotFound("x"), "validation_error"),
        (errors.TooLarge("x"), "validation_error"),
        (errors.PromptTooLong("x"), "validation_error"),
        (errors.Unauthenticated("x"), "auth_error"),
        (errors.Forbidden("x"), "auth_error"),
        (errors.RateLimited("x"), "rate_limit_error"),
        (errors.Throttled("x"), "rate_limit_error"),
        (errors.TimedOut("x"), "timeout_error"),
        (errors.Unreachable("x"), "api_error"),
        (errors.Broken("x"), "stream_error"),
        (errors.Garbled("x"), "conversion_error"),
        (errors.Overloaded("x"), "api_error"),
        (errors.Crashed("x"), "internal_error"),
        (errors.Bug("x"), "internal_error"),
        (from_upstream(400, {}, b'{"error":{"message":"bad"}}'), "validation_error"),
        (from_upstream(401, {}, b'{"error":{"message":"no"}}'), "auth_error"),
        (from_upstream(500, {}, b""), "api_error"),
    ],
)
def test_faults_have_the_originals_names(fault: errors.ProxyError, named: str) -> None:
    """It guessed them from the class's name, so that a client's mistake was an internal_error."""
    assert error_type(fault) == named


def test_a_bug_says_where_it_happened_and_not_what_it_said() -> None:
    fault = errors.Bug("internal error")
    try:
        raise KeyError("the prompt")
    except KeyError as error:
        fault.__cause__ = error
    kind, place = stack_of(fault)
    assert kind == "KeyError"
    assert place.endswith("test_a_bug_says_where_it_happened_and_not_what_it_said")
    assert stack_of(errors.Bug("x")) == stack_of(errors.InvalidRequest("x")) == ()


def test_a_full_queue_costs_the_record_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """41."""
    desk = Desk(settings())
    for number in range(CAPACITY + 5):
        desk.records.note(failure(request_id=f"req_{number}"))
    assert desk.records.statistics().dropped == 5
    with caplog.at_level(logging.WARNING, logger="ccproxy"):
        assert len(desk.work()) == CAPACITY
    assert [record.getMessage() for record in caplog.records] == ["5 error records were dropped: too many waited"]
    desk.records.note(failure())
    assert len(desk.work()) == CAPACITY + 1
    assert desk.records.statistics().waiting == 0


def test_bodies_that_wait_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_records, "MOST_WAITING", 100)
    desk = Desk(settings(ERROR_TRACKING_CAPTURE_REQUEST="1"))
    for _ in range(2):
        desk.records.note(failure(request_body=b'"%b"' % (b"x" * 60)))
    first, second = desk.work()
    assert "body" in first["request_snapshot"]
    assert "body" not in second["request_snapshot"]
    assert second["metadata"]["bodies"] == CUT_BODY
    desk.records.note(failure(request_body=b'"y"'))
    assert desk.work()[2]["request_snapshot"]["body"] == "y"


@pytest.mark.parametrize("environ", [{"ERROR_TRACKING_ENABLED": "0"}, {"ERROR_TRACKING_FILE": ""}])
def test_switched_off_nothing_is_noted_or_written(environ: dict[str, str]) -> None:
    desk = Desk(settings(**environ))
    assert not desk.records.enabled
    desk.records.note(failure())
    assert desk.jobs == []
    assert desk.work() == []


def test_without_a_thread_a_record_is_dropped_and_counted() -> None:
    desk = Desk(settings(), accepts=False)
    desk.records.note(failure())
    assert desk.records.statistics() == error_records.RecordStatistics(0, 1, 0, 0, 0)


def test_a_disk_that_refuses_is_said_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    desk = Desk(settings(ERROR_TRACKING_FILE=str(folder / "e.jsonl")))
    folder.rmdir()
    with caplog.at_level(logging.WARNING, logger="ccproxy"):
        for _ in range(3):
            desk.records.note(failure())
        desk.work()
    assert [record.getMessage() for record in caplog.records] == [
        "error records can't be written: No such file or directory"
    ]
    folder.mkdir()
    desk.records.note(failure())
    desk.work()
    assert desk.records.statistics() == error_records.RecordStatistics(1, 0, 3, 0, 0)


def test_the_end_of_the_log_writes_all_records() -> None:
    conf = settings()
    writer = LogWriter(conf, stream=io.StringIO())
    records = ErrorRecords(conf, writer.redactor, writer.later)
    writer.start()
    for number in range(500):
        records.note(failure(request_id=f"req_{number}"))
    assert writer.stop()
    records.close()
    lines = Path("errors_detailed.jsonl").read_text().splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == [f"req_{number}" for number in range(500)]
