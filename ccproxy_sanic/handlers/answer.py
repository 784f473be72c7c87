"""Small whole answers of handlers that are not the main job.

Rule: every response has a ``request-id``.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sanic import HTTPResponse

from ccproxy_sanic.context import new_id


def plain(text: str | bytes, content_type: str = "text/plain; charset=utf-8", status: int = 200) -> HTTPResponse:
    return HTTPResponse(text, status, {"request-id": new_id("req_")}, content_type)


def json(value: Any, status: int = 200) -> HTTPResponse:
    return plain(msgspec.json.encode(value), "application/json", status)
