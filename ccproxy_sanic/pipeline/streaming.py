"""How a request is answered by a stream.

Rule: permit, way, in this order; what was granted comes back however it ends.
"""

from __future__ import annotations

from typing import Final, Protocol

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.books import admitted, settle
from ccproxy_sanic.pipeline.dialects import DIALECTS, Call, Reader
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.report import note_usage
from ccproxy_sanic.pipeline.way import Way
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.translate import faults
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.stream import StreamTranslator
from ccproxy_sanic.upstream.exchange import Exchange

# what an upstream would say to max_tokens 0: the same machine makes the answer
EMPTY: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
# ... and to what a content filter refuses with a 400, where others answer with this finish reason (protocol.md 5.2)
FILTERED: Final = EMPTY.replace(b"length", b"content_filter")


class Client(Protocol):
    """What is needed of the client's wire (relay.Client)."""

    opened: bool
    spoken: bool

    async def pump(self, exchange: Exchange, machine: Reader) -> None: ...
    async def end(self, data: bytes) -> None: ...


async def stream(house: House, ctx: RequestContext, work: Work, client: Client) -> None:
    """Carry the answer to ``client``, to its end.  Raises ProxyError."""
    way = Way(house, ctx, work)

    async def pump(call: Call, exchange: Exchange) -> None:
        call.spec.opened = client.opened
        machine = DIALECTS[call.api].machine(call.spec)
        try:
            await client.pump(exchange, machine)
            await exchange.finish()
        finally:
            note_usage(ctx, machine.usage)

    permit = await admitted(house, ctx)
    try:
        if way.call.empty:
            await client.end(_made_of(EMPTY, way.call.spec, opened=False))
            return
        await way.go(pump, lambda: client.spoken)
    except faults.ContentFiltered:
        if client.spoken:
            raise
        await client.end(_made_of(FILTERED, way.call.spec, opened=client.opened))
    finally:
        settle(permit, ctx)


def _made_of(chunks: bytes, spec: ReplySpec, *, opened: bool) -> bytes:
    spec.opened = opened
    return StreamTranslator(spec).feed(chunks)
