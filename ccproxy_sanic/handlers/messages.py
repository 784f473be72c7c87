"""``POST /v1/messages``: the main job.

Rule: what is committed ends as a stream, with its last event or an error; what is not gets a status of its own.
"""

from __future__ import annotations

from typing import Final

from sanic import Request

from ccproxy_sanic import pipeline
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.handlers.serving import admitted, answered
from ccproxy_sanic.relay import Client
from ccproxy_sanic.routing import Route, upstream_model
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.translate.faults import ContentFiltered
from ccproxy_sanic.translate.stream import StreamTranslator
from ccproxy_sanic.wire import anthropic

SHARE: Final = {"on": True, "off": False}  # x-ccproxy-share


async def create(request: Request) -> None:
    await answered(request, _serve)


async def _serve(runtime: Runtime, request: Request, ctx: RequestContext, client: Client) -> None:
    house = runtime.house
    raw = admitted(runtime, request, ctx)
    req = anthropic.decode_request(raw)
    ctx.stream, ctx.client_model = bool(req.stream), req.model
    route = Route(runtime.endpoint, upstream_model(req.model, runtime.models))
    share = SHARE.get(request.headers.get("x-ccproxy-share", "").lower())
    call = pipeline.translate(house, ctx, req, route, raw, share)
    client.headers.update(call.headers)
    if not ctx.stream:
        answer = await pipeline.complete(house, ctx, call)
        if ctx.shared:
            client.headers["x-ccproxy-shared"] = "true"
        await client.reply(200, {}, answer.message)
        return
    machine = StreamTranslator(call.spec)
    if call.empty:
        await client.end(machine.feed(pipeline.EMPTY_STREAM))
        return
    with runtime.watch.over(client):
        try:
            async with pipeline.stream(house, ctx, call) as exchange:
                try:
                    await client.pump(exchange, machine)
                finally:
                    pipeline.note_usage(ctx, machine.usage)
        except ContentFiltered:
            await client.end(machine.feed(pipeline.FILTERED_STREAM))
