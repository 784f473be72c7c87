"""What is noted of a request that failed.

Rule: made of what is there anyway; nothing is copied, decoded or redacted before the log's thread does it.
"""

from __future__ import annotations

import time
from typing import Any

from sanic import Request

from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.front.requests import sent_headers
from ccproxy_sanic.ops.error_records import ErrorRecords, Failure, error_type, stack_of
from ccproxy_sanic.relay import Head


def note(
    records: ErrorRecords,
    request: Request,
    fault: errors.ProxyError,
    request_id: str,
    *,
    answer: Head | None = None,
    ctx: RequestContext | None = None,
) -> None:
    """Have ``fault`` recorded.  ``answer`` is what the client gets, where that is not on its way already."""
    if not records.enabled:
        return
    began = getattr(request.stream, "perft0", None)  # None: its head was not read to the end
    if answer is None:
        answer = getattr(request.stream, "response", None)
    records.note(
        Failure(
            time.time(),
            request_id,
            error_type(fault),
            fault.message,
            stack_of(fault),
            request.method,
            request.path,
            request.query_string,
            sent_headers(request),
            request.client_ip,
            fault.status if answer is None else answer.status,
            {} if answer is None else answer.headers,
            0.0 if began is None else time.perf_counter() - began,
            _metadata(fault, ctx),
            request.body if records.captures_request else None,
            errors.as_response(fault, request_id)[2] if records.captures_answer else None,
        )
    )


def _metadata(fault: errors.ProxyError, ctx: RequestContext | None) -> dict[str, Any]:
    told: dict[str, Any] = {"fault": type(fault).__name__, "type": fault.type, "status": fault.status}
    if ctx is None:
        return told
    return told | {
        "caller": ctx.caller.name,
        "session": ctx.session,
        "client_app": ctx.client_app,
        "client_model": ctx.client_model,
        "upstream_model": ctx.upstream_model,
        "upstream": ctx.endpoint,
        "rule": ctx.rule,
        "hops": list(ctx.hops),
        "adjustments": list(ctx.adjustments),
        "stream": ctx.stream,
        "bytes_in": ctx.bytes_in,
        "bytes_out": ctx.bytes_out,
    }
