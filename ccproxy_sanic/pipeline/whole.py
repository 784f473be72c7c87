"""How a request is answered in one piece.

Rule: permit, cache, way, in this order; what was granted comes back however it ends.  What may be kept is looked for
with a permit that charges no upstream: one that is at its limit, or pauses, has nothing to do with a kept answer.
"""

from __future__ import annotations

from typing import Final

from actors.rate_limiter import Permit
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.books import admitted, settle
from ccproxy_sanic.pipeline.dialects import Call, Whole
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.keeping import Use, through, use_of
from ccproxy_sanic.pipeline.report import note_usage
from ccproxy_sanic.pipeline.way import Way
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.translate import faults, response
from ccproxy_sanic.upstream.exchange import Exchange

MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes of a whole answer that is read into memory

# what an upstream would say to max_tokens 0: the same machine makes the answer
EMPTY: Final = b'{"choices":[{"index":0,"message":{"role":"assistant"},"finish_reason":"length"}]}'
# ... and to what a content filter refuses with a 400, where others answer with this finish reason (protocol.md 5.2)
FILTERED: Final = EMPTY.replace(b"length", b"content_filter")


async def complete(house: House, ctx: RequestContext, work: Work) -> bytes:
    """The whole answer of a non-stream request.  Raises ProxyError."""
    way = Way(house, ctx, work)
    use = use_of(house, ctx, work, way.call)
    permit = await admitted(house, ctx, work, way, alone=use is not None and use.look)
    try:
        if way.call.empty:  # max_tokens 0: legal, and nothing for an upstream to do (protocol.md 0.7)
            return response.to_message(EMPTY, way.call.spec).message
        if use is not None:
            return await _kept(house, ctx, work, way, use, permit)
        reply = await _asked(way)
        note_usage(ctx, reply.usage)
        return reply.message
    finally:
        settle(permit, ctx)


async def _kept(house: House, ctx: RequestContext, work: Work, way: Way, use: Use, permit: Permit) -> bytes:
    """The answer by way of the cache."""

    async def charged() -> Whole:
        permit.release()
        own = await admitted(house, ctx, work, way)
        try:
            reply = await _asked(way)
            note_usage(ctx, reply.usage)
            return reply
        finally:
            settle(own, ctx)

    return await through(house, ctx, work, use, charged if use.look else lambda: _asked(way))


async def _asked(way: Way) -> Whole:
    try:
        return await way.hop(_read)
    except errors.ProxyError as error:
        fault = error
    try:
        return await way.go_on(fault, _read)
    except faults.ContentFiltered:
        return response.to_message(FILTERED, way.call.spec)
    finally:
        del fault


async def _read(way: Way, call: Call, exchange: Exchange) -> Whole:
    body = exchange.rest(MAX_ANSWER)
    if body is None:
        body = await way.waiting(exchange.read(MAX_ANSWER))
    call.answer = reply = call.lane.dialect.whole(body, call.spec)
    return reply
