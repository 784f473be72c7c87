"""Every fault a client can see, and how it looks on the wire.

Rule: no other module knows a status code.  A fault is raised as a :class:`ProxyError`, and is rendered in exactly two
forms: :func:`as_response` before the status line is out, :func:`as_event` after it (protocol.md 5.1).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import msgspec

TYPE_OF_STATUS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    411: "invalid_request_error",
    413: "request_too_large",
    414: "invalid_request_error",
    417: "invalid_request_error",
    429: "rate_limit_error",
    431: "request_too_large",
    500: "api_error",
    501: "not_supported",
    503: "api_error",
    504: "timeout_error",
    508: "api_error",
    529: "overloaded_error",
}


class ProxyError(Exception):
    """Base of all faults.

    ``status`` and ``type`` are class data; a subclass that carries an upstream's answer sets them per instance.
    ``retry_after`` is in seconds; ``should_retry`` becomes ``x-should-retry`` (None leaves it to the client);
    ``details`` becomes ``error.details``; ``provider`` is who answered behind an upstream that asks others, if it says
    so: ``provider``, ``provider_message`` and ``provider_code`` of ``error`` (original.md behaviour 42); ``asked_wait``
    are the seconds for which an upstream asked to be left alone, also where this client is told less.
    """

    status: int = 500
    type: str = "api_error"
    closes: ClassVar[bool] = False  # whether the client's connection is closed after the answer
    provider: dict[str, Any] | None = None
    asked_wait: float | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002 (Anthropic's own field name)
        retry_after: float | None = None,
        should_retry: bool | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after, self.should_retry, self.details = retry_after, should_retry, details
        if status is not None:
            self.status = status
            self.type = type or TYPE_OF_STATUS.get(status, "invalid_request_error" if status < 500 else "api_error")
        elif type is not None:
            self.type = type

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} {self.status} {self.type}: {self.message[:200]}>"


class ClientFault(ProxyError):
    """The client can mend it."""

    status, type = 400, "invalid_request_error"


class InvalidRequest(ClientFault):
    pass


class Unauthenticated(ClientFault):
    status, type = 401, "authentication_error"


class Forbidden(ClientFault):
    status, type = 403, "permission_error"


class NotFound(ClientFault):
    status, type = 404, "not_found_error"


class TooLarge(ClientFault):
    status, type = 413, "request_too_large"


class RateLimited(ClientFault):
    status, type = 429, "rate_limit_error"


class Looped(ClientFault):
    """The request has already passed through this proxy."""

    status, type = 508, "api_error"


class UpstreamFault(ProxyError):
    """The upstream refused or failed."""


class Refused(UpstreamFault):
    """An upstream status that is mapped; the constructor gets the mapped status."""


class PromptTooLong(UpstreamFault):
    status, type = 400, "invalid_request_error"


class Throttled(UpstreamFault):
    status, type = 429, "rate_limit_error"


class Unreachable(UpstreamFault):
    """No connection: DNS, TCP or TLS failed.  The message names the provider, never its address."""

    status, type = 500, "api_error"


class Exhausted(Unreachable):
    """No connection, because this process may open no more: that says nothing about the upstream."""


class TimedOut(UpstreamFault):
    status, type = 504, "timeout_error"


class Garbled(UpstreamFault):
    """The upstream answered something that is not its protocol."""

    status, type = 500, "api_error"


class Broken(UpstreamFault):
    """The upstream's stream ended before it was complete."""

    status, type = 500, "api_error"


class HouseFault(ProxyError):
    """Ours."""


class Overloaded(HouseFault):
    status, type = 529, "overloaded_error"


class Draining(HouseFault):
    status, type, closes = 529, "overloaded_error", True


class Crashed(HouseFault):
    status, type = 500, "api_error"


class Bug(HouseFault):
    status, type = 500, "api_error"


def let_go(fault: ProxyError) -> None:
    """Forget the frames in which ``fault``, and what led to it, was raised; not those of a bug, which is recorded.

    They hold the request, whose machine holds its fault: only the collector would free them.
    """
    error: BaseException | None = fault
    # One without frames has been here: what is raised again while what it caused is handled leads back to itself.
    while error is not None and error.__traceback__ is not None and not isinstance(fault, HouseFault):
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _body(error: ProxyError, request_id: str) -> bytes:
    inner: dict[str, Any] = {"type": error.type, "message": error.message}
    if error.details:
        inner["details"] = error.details
    if error.provider:
        inner |= error.provider
    return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})


def headers_of(error: ProxyError) -> dict[str, str]:
    """``retry-after`` (whole seconds, rounded up: clients parse an integer) and ``x-should-retry``."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(0, math.ceil(error.retry_after)))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers


def as_response(error: ProxyError, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (without content-type and request-id, which the rim adds) and the JSON body."""
    return error.status, headers_of(error), _body(error, request_id)


def as_event(error: ProxyError, request_id: str) -> bytes:
    """The SSE ``error`` event: the last thing a stream says when it can't end well (protocol.md 4.7)."""
    return b"event: error\ndata: " + _body(error, request_id) + b"\n\n"
