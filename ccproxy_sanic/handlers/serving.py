"""The frame around every request that has a body: who may ask, what its bytes are, how it ends.

Rule: one request, one :class:`Client` that answers it, one event when it is over, whatever happens in between.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

from ccproxy_sanic import context, errors, pipeline
from ccproxy_sanic.context import HOP_HEADER, RequestContext, Trace, Tracer
from ccproxy_sanic.front.requests import StrictRequest
from ccproxy_sanic.handlers import failing
from ccproxy_sanic.relay import Client
from ccproxy_sanic.runtime import Runtime

log = logging.getLogger("ccproxy")

Work = Callable[[Runtime, StrictRequest, RequestContext, Client], Awaitable[None]]

WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's names for the encodings
CLIENT_CLOSED: Final = 499  # what a log says of a client that left; never sent


async def answered(runtime: Runtime, request: StrictRequest, work: Work) -> None:
    """Answer ``request`` by ``work``, whatever comes of it."""
    house, settings = runtime.house, runtime.settings
    started = house.clock()
    ctx = context.begin(request.asker, started, house.timer(), len(request.body), started + settings.total_timeout)
    if runtime.tracer is not None:
        ctx.trace = _traced(runtime.tracer, request, ctx)
    client = Client(request, ctx, house.clock, settings)
    runtime.active.add(client)
    fault: errors.ProxyError | None = None
    finished = False
    try:
        try:
            await work(runtime, request, ctx, client)
        except asyncio.CancelledError:
            if client.cut is None:
                raise
            client.task.uncancel()
            raise client.cut from None
        finished = True
    except errors.ProxyError as error:
        fault = error
        runtime.watch.clients.add(client)  # one that takes no more is not waited for without end
        await client.fail(error)
        finished = True
    except Exception as error:
        log.exception("bug while serving %s", ctx.request_id)
        fault = errors.Bug("internal error")
        fault.__cause__ = error
        await client.fail(fault)
        finished = True
    finally:
        runtime.leave(client)
        status, outcome, kind = client.status, "ok", None
        if not finished:
            status, outcome = CLIENT_CLOSED, "client_closed"
        elif fault is not None:
            status, outcome, kind = fault.status, pipeline.outcome(fault), fault.type
        try:
            pipeline.report(house, ctx, status, outcome, kind)
            if ctx.trace is not None:
                ctx.trace.end(client.status, outcome, kind)
            if fault is not None:
                failing.note(runtime.failures, request, fault, ctx.request_id, ctx=ctx)
        except Exception:
            log.exception("bug after serving %s", ctx.request_id)
        if fault is not None:
            errors.let_go(fault)
        fault = client.cut = None


def _traced(tracer: Tracer, request: StrictRequest, ctx: RequestContext) -> Trace:
    headers = request.headers
    return tracer.begin(
        ctx,
        method=request.method,
        scheme=request.scheme,
        client=request.client_ip,
        traceparent=headers.get("traceparent", ""),
        tracestate=",".join(headers.getall("tracestate", [])),
        agent=headers.get("user-agent", ""),
    )


def admitted(runtime: Runtime, request: StrictRequest, ctx: RequestContext) -> bytes:
    """The body of a request that may be served, decoded; the context gets its caller.

    Raises Draining, Looped, Unauthenticated, Forbidden, InvalidRequest, TooLarge.
    """
    if runtime.draining:
        raise errors.Draining("the proxy is restarting", retry_after=1)
    asker = request.asker
    if asker.caller is None:
        if runtime.hop in request.headers.get(HOP_HEADER, ""):
            raise errors.Looped("this request has already passed through this proxy: its upstream leads back to it")
        asker.caller = runtime.identify(request.headers)
    ctx.caller = asker.caller
    if not asker.encoding:
        return request.body
    return decode_body(asker.encoding, request.body, runtime.settings.max_body_bytes)


def decode_body(encoding: str, body: bytes, limit: int) -> bytes:
    """The body without its ``content-encoding`` (protocol.md 1.1).  Raises InvalidRequest, TooLarge.

    ``limit`` bounds the decoded size too, so that a small body can't become a large one.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOW_BITS:
        raise errors.InvalidRequest(
            f"content-encoding {encoding[:40]!r} is not supported; send gzip, deflate or none",
            details={"error_code": "request_body_encoding_unsupported"},
        )
    decoder = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        decoded = decoder.decompress(body, limit + 1)
    except zlib.error:
        decoded = b""
    if len(decoded) > limit:
        raise errors.TooLarge(
            "the request body is too large after decoding",
            details={"error_code": "request_body_too_large_after_decoding"},
        )
    if not decoder.eof:
        raise errors.InvalidRequest(
            f"the request body is not valid {encoding}", details={"error_code": "request_body_encoding_invalid"}
        )
    return decoded
