"""One JSON line for each failed request: what was asked, what came of it, and no secret (behaviours 40, 41).

Rule: a request never waits for its record.  The loop notes a :class:`Failure`, which refers to what is there anyway;
the log's thread makes the line.  What is too much is dropped and counted.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from ccproxy_sanic import errors
from ccproxy_sanic.context import new_id
from ccproxy_sanic.ops.lines import timestamp
from ccproxy_sanic.ops.redaction import Redactor, Scrubber, Shapes
from ccproxy_sanic.ops.rotating import RotatingFile
from ccproxy_sanic.settings import Settings

log = logging.getLogger("ccproxy")
CAPACITY: Final = 1_000  # records that may wait
MOST_WAITING: Final = 64 << 20  # bytes of bodies that may wait; a record beyond that comes without them
MAX_TEXT: Final = 10_000  # characters of a message or a header, however small the limit of bodies is
MAX_FRAMES: Final = 50
MAX_PARSED: Final = 1 << 20  # bytes
CUT_BODY: Final = "[not kept: too many records wait]"

# What a fault is called; the first line that fits (the original's words, original.md 1.10).
ERROR_TYPE: Final[tuple[tuple[type[errors.ProxyError], str], ...]] = (
    (errors.Unauthenticated, "auth_error"),
    (errors.Forbidden, "auth_error"),
    (errors.RateLimited, "rate_limit_error"),
    (errors.Throttled, "rate_limit_error"),
    (errors.TimedOut, "timeout_error"),
    (errors.Broken, "stream_error"),
    (errors.Garbled, "conversion_error"),
    (errors.Overloaded, "api_error"),
    (errors.Draining, "api_error"),
    (errors.HouseFault, "internal_error"),
    (errors.PromptTooLong, "validation_error"),
    (errors.ClientFault, "validation_error"),
)
# ... and what an upstream's refusal is called, by its Anthropic type; anything else is an api_error.
REFUSAL_TYPE: Final = {
    "authentication_error": "auth_error",
    "permission_error": "auth_error",
    "rate_limit_error": "rate_limit_error",
    "timeout_error": "timeout_error",
    "invalid_request_error": "validation_error",
    "request_too_large": "validation_error",
}


def error_type(fault: errors.ProxyError) -> str:
    """The original's name for a fault."""
    named = next((name for kind, name in ERROR_TYPE if isinstance(fault, kind)), None)
    return named or REFUSAL_TYPE.get(fault.type, "api_error")


def stack_of(fault: errors.ProxyError) -> tuple[str, ...]:
    """Of a bug: which exception, and where; never its text, which may quote what a client wrote."""
    cause = fault.__cause__
    if cause is None or not isinstance(fault, errors.HouseFault):
        return ()
    frames = traceback.extract_tb(cause.__traceback__)[-MAX_FRAMES:]
    return (type(cause).__qualname__, *(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames))


class Failure(msgspec.Struct, gc=False):
    """A failed request as it is at its end.  ``status`` is what the client got, 200 where a stream had begun;
    ``metadata`` says what became of it.

    It holds no exception: the frames of one hold connections, which must not be freed by another thread.
    """

    at: float  # wall clock
    request_id: str
    error_type: str
    message: str
    stack: tuple[str, ...]
    method: str
    path: str
    query: str
    headers: Iterable[tuple[str, str]]
    client_ip: str
    status: int
    answer_headers: Mapping[str, Any]
    elapsed_s: float
    metadata: dict[str, Any]
    request_body: bytes | None = None
    answer_body: bytes | None = None


class RecordStatistics(msgspec.Struct, frozen=True):
    """Records since the start."""

    written: int
    dropped: int  # too many waited
    failed: int  # could not be made or written
    waiting: int
    rotations: int


class ErrorRecords:
    """The file of one process; ``later`` gives a job to the thread that writes (LogWriter.later)."""

    def __init__(
        self,
        settings: Settings,
        redactor: Redactor,
        later: Callable[[Callable[[], object]], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        path = settings.error_tracking_file if settings.error_tracking_enabled else None
        self._file = (
            None
            if path is None
            else RotatingFile(
                path, settings.error_tracking_max_size_mb << 20, settings.error_tracking_retention_days, now
            )
        )
        self._redactor, self._later = redactor, later
        self._shapes = Shapes(settings.redact_log_fields)
        self._longest = settings.error_tracking_max_body_size
        self.captures_request = settings.error_tracking_capture_request
        self.captures_answer = settings.error_tracking_capture_response
        # Those of the loop and those of the thread are apart: each is written by one side only.
        self._taken = self._dropped = self._bytes_taken = 0
        self._done = self._failed = self._told = self._bytes_done = 0
        self._refused = False  # the last line could not be written

    def __repr__(self) -> str:
        return f"<ErrorRecords {self._file!r} | {self.statistics()}>"

    @property
    def enabled(self) -> bool:
        return self._file is not None

    def statistics(self) -> RecordStatistics:
        return RecordStatistics(
            written=self._done - self._failed,
            dropped=self._dropped,
            failed=self._failed,
            waiting=self._taken - self._done,
            rotations=self._file.rotations if self._file is not None else 0,
        )

    def note(self, failure: Failure) -> None:
        """Have a record made.  Never blocks, never raises."""
        if self._file is None:
            return
        size = len(failure.request_body or b"") + len(failure.answer_body or b"")
        if size and self._bytes_taken - self._bytes_done + size > MOST_WAITING:
            size = 0
            failure = msgspec.structs.replace(
                failure, request_body=None, answer_body=None, metadata={**failure.metadata, "bodies": CUT_BODY}
            )
        if self._taken - self._done >= CAPACITY or not self._later(partial(self._write, self._file, failure, size)):
            self._dropped += 1
            return
        self._taken += 1
        self._bytes_taken += size

    def close(self) -> None:
        """After the thread has ended."""
        if self._file is not None:
            self._file.close()

    # -- the thread

    def _write(self, file: RotatingFile, failure: Failure, size: int) -> None:
        self._done += 1
        self._bytes_done += size
        try:
            file.append(msgspec.json.encode(self._record(failure)) + b"\n")
            self._refused = False
        except OSError as error:
            self._failed += 1
            if not self._refused:  # a full disk is said once, not for each request
                log.warning("error records can't be written: %s", error.strerror)
            self._refused = True
        except Exception:
            self._failed += 1
            raise
        if self._dropped > self._told:
            missing, self._told = self._dropped - self._told, self._dropped
            log.warning("%d error records were dropped: too many waited", missing)

    def _record(self, failure: Failure) -> dict[str, Any]:
        scrub = Scrubber(self._redactor, self._shapes, max(self._longest, MAX_TEXT))
        headers, query = list(failure.headers), parse_qsl(failure.query, keep_blank_values=True)
        scrub.remember((*headers, *query))
        agent = next((value for name, value in headers if name.lower() == "user-agent"), None)
        request = {
            "method": scrub.text(failure.method, "request_snapshot.method"),
            "path": scrub.text(failure.path, "request_snapshot.path"),
            "headers": scrub.value(_joined(headers), "request_snapshot.headers"),
            "query_params": scrub.value(_joined(query), "request_snapshot.query_params"),
            "client_ip": failure.client_ip,
            "user_agent": scrub.value(agent, "request_snapshot.user_agent"),
        }
        answer = {
            "status_code": failure.status,
            "headers": scrub.value(failure.answer_headers, "response_snapshot.headers"),
            "elapsed_ms": round(failure.elapsed_s * 1e3, 2),
        }
        record = {
            "error_id": new_id("err_"),
            "timestamp": timestamp(failure.at),
            "request_id": failure.request_id,
            "error_type": failure.error_type,
            "error_message": scrub.text(failure.message, "error_message"),
            "stack_trace": list(failure.stack) or None,
            "request_snapshot": request,
            "response_snapshot": answer,
            "metadata": scrub.value(failure.metadata, "metadata"),
        }
        scrub.longest = self._longest
        if failure.request_body is not None:
            request["body"] = scrub.value(_parsed(failure.request_body), "request_snapshot.body")
        if failure.answer_body is not None:
            answer["body"] = scrub.value(_parsed(failure.answer_body), "response_snapshot.body")
        return {**record, "redacted_fields": scrub.redacted}


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Pairs as an object; values of equal names become a list."""
    members: dict[str, str | list[str]] = {}
    for name, value in pairs:
        known = members.get(name)
        members[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return members


def _parsed(body: bytes) -> Any:
    """JSON as what it says; what is none, or would keep the loop from the interpreter for long, as a text."""
    if len(body) <= MAX_PARSED:
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(body)
    return body.decode("utf-8", "replace")
