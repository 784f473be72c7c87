"""Small whole answers of handlers that are not the main job.

Rule: every response has a ``request-id``, and the lines of all answers (relay.Head).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sanic import HTTPResponse

from ccproxy_sanic.context import new_id
from ccproxy_sanic.relay import Head


def plain(
    text: str | bytes,
    content_type: str = "text/plain; charset=utf-8",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    """``headers`` hold values that are valid already."""
    body = text.encode() if isinstance(text, str) else text
    return Head(status, {"request-id": new_id("req_"), **(headers or {})}, content_type, body)


def json(value: Any, status: int = 200) -> HTTPResponse:
    return plain(msgspec.json.encode(value), "application/json", status)
