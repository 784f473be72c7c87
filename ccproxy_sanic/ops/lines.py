"""What a log line says.  Pure but for the text of the exceptions it is given.

Rule: an allow-list.  A request's line holds the fields of :class:`Exchange` and no others; a record's line holds its
message and, of an exception, its name and where it happened, never its text: that may quote what a client wrote.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

MAX_TEXT: Final = 2_000  # characters of a message
MAX_NAME: Final = 200  # characters of a name that a client chose
_MAX_FRAMES: Final = 20
_MAX_CAUSES: Final = 4

Redact = Callable[[str], str]


class Exchange(Protocol):
    """What is read of the metrics actor's event: one per request.  Times in seconds, sizes in bytes."""

    request_id: str
    path: str
    caller: str
    session: str | None
    client_model: str
    upstream_model: str
    endpoint: str
    stream: bool
    status: int
    outcome: str
    error_type: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    thinking_tokens: int
    duration_s: float
    queue_s: float
    upstream_s: float | None
    first_content_s: float | None
    translate_s: float
    retries: int
    route: str
    hops: tuple[str, ...]
    adjustments: tuple[str, ...]
    bytes_in: int
    bytes_out: int
    shared: bool


EVENT: Final = {"ok": "request_completed", "client_closed": "client_closed"}  # any other outcome: request_failure
QUIET: Final = frozenset({"ok", "client_closed"})

_encode: Final = msgspec.json.Encoder().encode


def level_of(exchange: Exchange) -> int:
    """INFO for what went well, ERROR for faults of ours and of the upstream, WARNING for what a client can mend."""
    if exchange.outcome in QUIET:
        return logging.INFO
    if exchange.outcome == "client_fault" or 400 <= exchange.status < 500:
        return logging.WARNING
    return logging.ERROR


def timestamp(at: float) -> str:
    """RFC 3339 in UTC, with milliseconds; ``at`` is the wall clock in seconds."""
    return f"{_second(int(at))}.{int(at * 1000) % 1000:03d}Z"


@lru_cache(4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def request_line(exchange: Exchange, at: float, redact: Redact) -> bytes:
    """One JSON line for one request, without a line end.  Unset fields are left out."""
    line: dict[str, Any] = {
        "timestamp": timestamp(at),
        "level": logging.getLevelName(level_of(exchange)),
        "event": EVENT.get(exchange.outcome, "request_failure"),
        "request_id": exchange.request_id,
        "path": redact(exchange.path[:MAX_NAME]),
        "status": exchange.status,
        "outcome": exchange.outcome,
        "error_type": exchange.error_type,
        "caller": exchange.caller,
        "session": exchange.session,
        "client_model": redact(exchange.client_model[:MAX_NAME]),
        "upstream_model": redact(exchange.upstream_model[:MAX_NAME]),
        "endpoint": exchange.endpoint,
        "stream": exchange.stream,
        "shared": exchange.shared or None,
        "input_tokens": exchange.input_tokens,
        "output_tokens": exchange.output_tokens,
        "cache_read_tokens": exchange.cache_read_tokens,
        "cache_write_tokens": exchange.cache_write_tokens,
        "thinking_tokens": exchange.thinking_tokens,
        "duration_s": round(exchange.duration_s, 4),
        "queue_s": round(exchange.queue_s, 4),
        "upstream_s": _rounded(exchange.upstream_s),
        "first_content_s": _rounded(exchange.first_content_s),
        "translate_s": round(exchange.translate_s, 6),
        "retries": exchange.retries or None,
        "route": exchange.route,
        "hops": [redact(hop) for hop in exchange.hops],
        "adjustments": exchange.adjustments,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
    }
    return _encode({name: value for name, value in line.items() if value is not None and value not in ("", (), [])})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def request_text(exchange: Exchange, redact: Redact) -> str:
    """The same for a person, on one line."""
    model = redact(exchange.client_model[:MAX_NAME])
    if exchange.upstream_model and exchange.upstream_model != exchange.client_model:
        model += f" -> {redact(exchange.upstream_model[:MAX_NAME])}"
    words = [str(exchange.status), redact(exchange.path[:MAX_NAME])]
    words += [model] if model else []
    words += ["stream"] if exchange.stream else []
    words += [f"via {redact(' '.join(exchange.hops))}"] if len(exchange.hops) > 1 else []
    words += [] if exchange.outcome == "ok" else [exchange.outcome, exchange.error_type or ""]
    words += [f"{exchange.duration_s:.2f}s"]
    if exchange.input_tokens or exchange.output_tokens:
        words += [f"in {exchange.input_tokens} out {exchange.output_tokens}"]
    return _printable(" ".join(word for word in (*words, exchange.request_id) if word))


def _printable(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


class Note(msgspec.Struct, frozen=True):
    """A logging record, taken apart on the caller's thread: its arguments may change afterwards."""

    at: float
    level: int
    logger: str
    message: str
    request_id: str = ""
    error: dict[str, Any] | None = None


def note(record: logging.LogRecord, *, ours: bool, request_id: str = "") -> Note:
    """``ours`` is False for records of libraries, of which only the words before the first value are kept."""
    try:
        message = record.getMessage()
    except Exception:  # a wrong format string must not cost the program more than its arguments
        message = str(record.msg)
    if not ours:
        message = _VALUE.split(message, maxsplit=1)[0]
    error = record.exc_info[1] if record.exc_info else None
    return Note(
        record.created,
        record.levelno,
        record.name,
        message[:MAX_TEXT],
        request_id,
        None if error is None else _described(error),
    )


_VALUE: Final = re.compile(r"[(<\n]")


def _described(error: BaseException) -> dict[str, Any]:
    """Name and place; the text only where the operating system wrote it."""
    described: dict[str, Any] = {"name": type(error).__qualname__}
    if isinstance(error, OSError) and error.strerror:
        described["message"] = error.strerror
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    if frames:
        described["stack"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < _MAX_CAUSES:
        causes.append(type(cause).__qualname__)
        cause = cause.__cause__ or cause.__context__
    if causes:
        described["causes"] = causes
    return described


def note_line(given: Note, redact: Redact) -> bytes:
    """One JSON line for one record, without a line end."""
    line: dict[str, Any] = {
        "timestamp": timestamp(given.at),
        "level": logging.getLevelName(given.level),
        "logger": given.logger,
        "message": redact(given.message),
    }
    if given.request_id:
        line["request_id"] = given.request_id
    if given.error:
        line["error"] = given.error
    return _encode(line)


def note_text(given: Note, redact: Redact) -> str:
    """The same for a person, on one line."""
    text = redact(given.message)
    if given.error:
        place = f" at {given.error['stack'][-1]}" if "stack" in given.error else ""
        text += f" [{given.error['name']}{place}]"
    return _printable(text)
