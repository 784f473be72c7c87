"""How a request is answered by a stream.

Rule: permit, stream to join, way, in this order; what was granted comes back however it ends.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Protocol

from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.books import admitted, settle
from ccproxy_sanic.pipeline.dialects import Call, Reader
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.joining import joined, note_rest, stream_key
from ccproxy_sanic.pipeline.report import note_usage
from ccproxy_sanic.pipeline.way import Way
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.sharing.reader import Client
from ccproxy_sanic.translate import faults
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.stream import StreamTranslator
from ccproxy_sanic.upstream.exchange import Exchange

# what an upstream would say to max_tokens 0: the same machine makes the answer
EMPTY: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
# ... and to what a content filter refuses with a 400, where others answer with this finish reason (protocol.md 5.2)
FILTERED: Final = EMPTY.replace(b"length", b"content_filter")


class Taker(Protocol):
    """Whoever takes an answer: a client's wire (relay.Client), or a shared stream."""

    opened: bool
    spoken: bool
    machine: Any

    def pump(self, exchange: Exchange, machine: Reader) -> Coroutine[Any, Any, None]: ...
    async def end(self, data: bytes = b"") -> None: ...


class Wire(Taker, Client, Protocol):
    """What is needed of the client's wire."""


async def stream(house: House, ctx: RequestContext, work: Work, client: Wire) -> None:
    """Carry the answer to ``client``, to its end.  Raises ProxyError."""
    way = Way(house, ctx, work)
    permit = await admitted(house, ctx, work, way)
    try:
        if way.call.empty:
            await client.end(_made_of(EMPTY, way.call.spec, opened=False))
            return
        key = stream_key(house, ctx, work, way.call)
        place = None if key is None else await joined(house, ctx, key, client, partial(_answer, way))
        if place is None:
            try:
                await _answer(way, client)
            finally:
                if client.machine is not None:
                    note_usage(ctx, client.machine.usage)
            return
        try:
            await place.read()
            await place.stream.driven(place)
        finally:
            place.stream.leave(place)
            way.permit = None  # it goes back with this request, though the way may go on for others
            note_rest(ctx, place)
    finally:
        settle(permit, ctx)


async def _answer(way: Way, taker: Taker) -> None:
    """Hand on what the way's upstreams answer.  Raises ProxyError."""

    def pump(_: Way, call: Call, exchange: Exchange) -> Coroutine[Any, Any, None]:
        call.spec.opened = taker.opened
        call.answer = machine = call.lane.dialect.machine(call.spec)
        pumping = taker.pump(exchange, machine)
        return way.waiting(pumping) if exchange.finished else _finished(way, exchange, pumping)

    try:
        return await way.hop(pump)
    except errors.ProxyError as error:
        fault = error
    try:
        await way.go_on(fault, pump, lambda: taker.spoken)
    except faults.ContentFiltered:
        if taker.spoken:
            raise
        await taker.end(_made_of(FILTERED, way.call.spec, opened=taker.opened))
    finally:
        del fault


async def _finished(way: Way, exchange: Exchange, pumping: Coroutine[Any, Any, None]) -> None:
    await way.waiting(pumping)
    if not exchange.finished:
        await exchange.finish()


def _made_of(chunks: bytes, spec: ReplySpec, *, opened: bool) -> bytes:
    spec.opened = opened
    return StreamTranslator(spec).feed(chunks)
