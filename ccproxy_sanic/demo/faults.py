"""Refusals, and their shape at OpenAI; ``render_messages`` has Anthropic's.

Rule: the OpenAI endpoints never answer an error in any other shape than ``{"error": {message, type, param, code}}``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

TYPE_OF_STATUS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
CODE_OF_STATUS: Final = {
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
}


class Fault(Exception):
    """Ends an exchange with ``status`` (or, once a stream runs, with an error object inside it).

    ``code`` "" stands for null, None for the usual one of the status.
    ``overflow`` is set if the prompt is too long: its tokens and the most there may be, for APIs with their own words.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        overflow: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = CODE_OF_STATUS.get(status) if code is None else code or None
        self.headers = headers or {}
        self.overflow = overflow

    def body(self) -> dict[str, Any]:
        kind = TYPE_OF_STATUS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def encode(self) -> bytes:
        return msgspec.json.encode(self.body())
