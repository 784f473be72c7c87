"""Errors of an upstream that speaks Messages itself.

Rule: what it says in Anthropic's form stays word for word, because clients recover by the wording (protocol.md 5.4);
only what means something else behind a proxy changes.  Every other form goes through :mod:`faults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ..errors import PromptTooLong, ProxyError, Refused, Throttled, TimedOut
from . import faults, overflow, unwrap

# Statuses that Anthropic's API itself gives (protocol.md 5.1) stay; the others are mapped as any upstream's.
_KEPT: Final = frozenset({400, 402, 403, 404, 408, 409, 413, 429, 500, 501, 503, 504, 529})
# The status of an error that came without one: in a stream, or in the body of a success.
STATUS_OF_TYPE: Final = {
    "invalid_request_error": 400,
    "policy_blocked": 400,
    "authentication_error": 401,
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
_CLASS: Final[dict[int, type[ProxyError]]] = {408: TimedOut, 429: Throttled, 504: TimedOut}
_OVERFLOWS: Final = frozenset({400, 413, 500})
_FINAL: Final = frozenset({"billing_error", "policy_blocked"})  # asking again does not help
_UNDERSTOOD: Final = ("prompt is too long", "capability_rejected")  # Claude Code compacts at these as they are
_SUCCESS: Final = range(200, 400)


class _Error(msgspec.Struct):
    type: str
    message: str
    details: Any = None


class _Body(msgspec.Struct):
    type: Literal["error"]
    error: _Error


_shaped: Final = msgspec.json.Decoder(_Body).decode
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def fault_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    client_app: str | None = None,
    now: float | None = None,
    asked: int | None = None,
) -> ProxyError:
    """The client's error for an answer that is no success; arguments as for :func:`faults.from_upstream`.

    Type, message and details are the upstream's, and so is the status where Anthropic has it.  Differences: a refused
    key is the proxy's (403, not retried), ``retry-after`` is capped for Claude Code, and an overflow has the wording
    that makes it compact (protocol.md 5.2, 5.3).  Never raises.
    """
    try:
        error = _shaped(body).error
    except _DECODE_ERRORS:
        return faults.from_upstream(status, headers, body, client_app=client_app, now=now, asked=asked)
    if status in _SUCCESS:
        return _fault(_status_of(error), error, asked)
    fault = _fault(status, error, asked)
    faults.note_wait(fault, faults.retry_after(headers, now), client_app)
    if fault.should_retry is None and (hint := headers.get("x-should-retry", "").lower()) in ("true", "false"):
        fault.should_retry = hint == "true"
    return fault


def fault_in(payload: bytes) -> ProxyError:
    """The client's error for the data of an ``error`` event, or for a success that holds an error.  Never raises."""
    try:
        error = _shaped(payload).error
    except _DECODE_ERRORS:
        return faults.from_stream_error(_value(payload))
    return _fault(_status_of(error), error, None)


def _value(payload: bytes) -> object:
    try:
        return msgspec.json.decode(payload)
    except _DECODE_ERRORS:
        return payload.decode("utf-8", "replace")


def _status_of(error: _Error) -> int:
    status = STATUS_OF_TYPE.get(error.type)
    return status or faults.from_stream_error({"type": error.type, "message": error.message}).status


def _fault(status: int, error: _Error, asked: int | None) -> ProxyError:
    message = unwrap.clean(error.message)
    details = error.details if isinstance(error.details, dict) else None
    if status == 401:
        return Refused(
            f"upstream authentication failed: {message}", status=403, should_retry=False, details=details
        )  # it is the proxy's key: a 401 would make Claude Code ask its user to log in
    ours = status if status in _KEPT else faults.STATUS.get(status, 400 if 400 <= status < 500 else 500)
    if ours in _OVERFLOWS and (told := overflow.rewrite(message, error.type, asked=asked)) is not None:
        understood = any(words in message.lower() for words in _UNDERSTOOD)
        return PromptTooLong(message if understood and told.endswith(f"({message})") else told, details=details)
    return _CLASS.get(ours, Refused)(
        message,
        status=ours,
        type=error.type[:100],
        should_retry=False if error.type in _FINAL else None,
        details=details,
    )
