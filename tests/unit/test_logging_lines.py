"""What a log line says, and what it never says."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.metrics import Exchange
from ccproxy_sanic.masking import Secret
from ccproxy_sanic.ops import lines
from ccproxy_sanic.ops.redaction import Redactor

AT = 1_790_000_000.1234  # 2026-09-21T14:13:20.123Z
PROMPT = "what the client wrote"


def exchange(**fields: Any) -> Exchange:
    given_fields: dict[str, Any] = {
        "request_id": "req_1",
        "path": "/v1/messages",
        "caller": "ann",
        "status": 200,
        "outcome": "ok",
    }
    return Exchange(**(given_fields | fields))


def same(text: str) -> str:
    return text


of_requests = lines.RequestLines(same)


def request(**fields: Any) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(of_requests.line(exchange(**fields), AT))
    return line


def test_a_request_is_one_line_of_json() -> None:
    full: dict[str, Any] = {
        "session": "s-1",
        "client_model": "claude-sonnet-4-5",
        "upstream_model": "gpt-5",
        "endpoint": "openai",
        "stream": True,
        "input_tokens": 11,
        "output_tokens": 3,
        "cache_read_tokens": 5,
        "cache_write_tokens": 6,
        "thinking_tokens": 7,
        "duration_s": 1.23456,
        "queue_s": 0.0,
        "upstream_s": 0.5,
        "first_content_s": 0.75,
        "translate_s": 0.000123,
        "retries": 1,
        "adjustments": ("top_k.dropped",),
        "bytes_in": 100,
        "bytes_out": 200,
        "shared": True,
    }
    line = of_requests.line(exchange(**full), AT)
    assert b"\n" not in line
    assert json.loads(line) == {
        "timestamp": "2026-09-21T14:13:20.123Z",
        "level": "INFO",
        "event": "request_completed",
        "request_id": "req_1",
        "path": "/v1/messages",
        "status": 200,
        "outcome": "ok",
        "caller": "ann",
        **full,
        "adjustments": ["top_k.dropped"],
        "duration_s": 1.2346,
    }


def test_what_is_not_known_is_left_out_and_zero_is_said() -> None:
    line = request()
    assert None not in line.values()
    assert {"session", "client_model", "upstream_s", "error_type", "shared", "retries", "adjustments"}.isdisjoint(line)
    assert (line["input_tokens"], line["stream"], line["queue_s"]) == (0, False, 0)


@pytest.mark.parametrize(
    ("outcome", "status", "level", "event"),
    [
        ("ok", 200, "INFO", "request_completed"),
        ("client_closed", 499, "INFO", "client_closed"),
        ("client_fault", 400, "WARNING", "request_failure"),
        ("client_fault", 508, "WARNING", "request_failure"),
        ("upstream_fault", 429, "WARNING", "request_failure"),
        ("upstream_fault", 500, "ERROR", "request_failure"),
        ("upstream_fault", 200, "ERROR", "request_failure"),  # a stream that broke after its head
        ("house_fault", 529, "ERROR", "request_failure"),
    ],
)
def test_the_outcome_decides_the_level(outcome: str, status: int, level: str, event: str) -> None:
    line = request(outcome=outcome, status=status)
    assert (line["level"], line["event"]) == (level, event)


def test_every_field_of_the_event_is_in_the_line_or_in_the_protocol_on_purpose() -> None:
    """A new field of the metrics event must be put on the allow-list by hand."""
    assert set(Exchange.__struct_fields__) == set(lines.Exchange.__annotations__)


def text_of(chosen: Exchange, of: lines.RequestLines = of_requests) -> str:
    return of.text(chosen, of.about(chosen)[1])


def test_a_person_reads_one_line() -> None:
    text = text_of(
        exchange(client_model="claude-x", upstream_model="gpt-5", stream=True, input_tokens=3, duration_s=0.5)
    )
    assert text == "200 /v1/messages claude-x -> gpt-5 stream 0.50s in 3 out 0 req_1"
    failed = text_of(exchange(status=529, outcome="house_fault", error_type="overloaded_error"))
    assert failed == "529 /v1/messages house_fault overloaded_error 0.00s req_1"


def test_what_is_remembered_of_one_request_is_told_of_those_that_resemble_it_only() -> None:
    memory = lines.RequestLines(same)
    names = ("", "m", "m" * (lines.MAX_NAME + 1))
    kinds: list[dict[str, Any]] = [
        *({field: name} for field in ("path", "client_model", "upstream_model") for name in names),
        *({"stream": stream} for stream in (False, True)),
        *({"hops": hops} for hops in ((), ("a",), ("a", "b"))),
        *({"outcome": outcome} for outcome in ("client_fault", "house_fault", "client_closed")),
        *({"outcome": "house_fault", "status": status} for status in (0, 404, 500)),
        *({"outcome": "house_fault", "error_type": kind} for kind in (None, "", "api_error")),
    ]
    for kind in (*kinds, *kinds):
        chosen = exchange(**kind)
        fresh = lines.RequestLines(same)
        assert (memory.about(chosen), text_of(chosen, memory)) == (fresh.about(chosen), text_of(chosen, fresh))


def test_names_that_a_client_chose_are_masked_and_bounded() -> None:
    key = "sk-proj-0123456789abcdefghij"
    chosen = exchange(client_model=key, path=f"/{key}", upstream_model="m" * 1_000)
    masked = lines.RequestLines(Redactor())
    for text in (masked.line(chosen, AT).decode(), text_of(chosen, masked)):
        assert key not in text
        assert "m" * 201 not in text
        assert "m" * 200 in text


@given(st.text(max_size=50))
def test_no_name_breaks_the_line_or_the_terminal(name: str) -> None:
    chosen = exchange(client_model=name, path=name)
    assert text_of(chosen).isprintable()
    try:
        line = of_requests.line(chosen, AT)
    except UnicodeEncodeError:  # a lone surrogate: no decoder of ours lets one in
        assert not name.isprintable()
    else:
        assert b"\n" not in line


# Records


def record(
    message: str, *values: object, name: str = "ccproxy", error: BaseException | None = None
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.ERROR, "file.py", 1, message, values, info)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_a_record_says_what_happened_and_where_but_not_what_was_written() -> None:
    error = raised(ValueError(PROMPT), KeyError(PROMPT))
    given_note = lines.note(record("handling %s failed", "x", error=error), ours=True, request_id="req_1")
    text = lines.note_line(given_note, same).decode()
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"], line["request_id"]) == (
        "ERROR",
        "ccproxy",
        "handling x failed",
        "req_1",
    )
    assert line["error"]["name"] == "ValueError"
    assert line["error"]["causes"] == ["KeyError"]
    assert line["error"]["stack"][-1].endswith(" raised")
    assert PROMPT not in text
    assert lines.note_text(given_note, same).startswith("handling x failed [ValueError at ")


def test_the_operating_systems_words_are_kept() -> None:
    error = raised(OSError(28, "No space left on device", PROMPT))
    line = json.loads(lines.note_line(lines.note(record("x", error=error), ours=True), same))
    assert line["error"]["message"] == "No space left on device"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Task exception was never retrieved\nfuture: <Task exception=ValueError('{}')>", "Task exception was never "),
        ("Exception in callback write(b'{}')", "Exception in callback write"),
        ("Executing <Task {}> took 0.2 seconds", "Executing "),
    ],
)
def test_of_a_librarys_record_only_the_words_before_a_value_are_kept(message: str, kept: str) -> None:
    given_note = lines.note(record(message.format(PROMPT), name="asyncio"), ours=False)
    assert given_note.message.startswith(kept)
    assert PROMPT not in given_note.message


def test_a_wrong_format_string_is_still_a_line() -> None:
    given_note = lines.note(record("%d of %d", "x"), ours=True)
    assert given_note.message == "%d of %d"


def test_a_long_message_is_cut() -> None:
    assert len(lines.note(record("x" * 5_000), ours=True).message) == lines.MAX_TEXT


def test_a_deep_stack_is_cut() -> None:
    def dive(depth: int) -> None:
        if depth == 0:
            raise RuntimeError
        dive(depth - 1)

    try:
        dive(100)
    except RuntimeError:
        info = sys.exc_info()
    given_note = lines.note(logging.LogRecord("ccproxy", logging.ERROR, "f", 1, "x", (), info), ours=True)
    assert given_note.error is not None
    assert len(given_note.error["stack"]) == 20


# Redaction


def test_known_secrets_go_by_their_value_and_the_longest_first() -> None:
    redact = Redactor([Secret("plain-words"), Secret("plain-words-and-more"), Secret("a.b*c"), Secret("xy")])
    assert redact("a plain-words-and-more b plain-words c a.b*c aXbbc") == "a *** b *** c *** aXbbc"
    assert redact("xylophone") == "xylophone"  # too short to be a secret
    assert "plain" not in repr(redact)


@given(
    st.text(min_size=8, max_size=40, alphabet=st.characters(min_codepoint=33, max_codepoint=126)), st.text(max_size=40)
)
def test_a_secret_never_survives(secret: str, around: str) -> None:
    redacted = Redactor([Secret(secret)])(f"{around}{secret}{around}")
    assert secret not in redacted.replace("***", "\0")
