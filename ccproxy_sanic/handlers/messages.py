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
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.wire import anthropic

SHARE: Final = {"on": True, "off": False}  # x-ccproxy-share


async def create(request: Request) -> None:
    await answered(request, _serve)


async def _serve(runtime: Runtime, request: Request, ctx: RequestContext, client: Client) -> None:
    house, headers = runtime.house, request.headers
    raw = admitted(runtime, request, ctx)
    req = anthropic.decode_request(raw)
    ctx.stream, ctx.client_model = bool(req.stream), req.model
    share = SHARE.get(headers.get("x-ccproxy-share", "").lower())
    work = pipeline.begin(house, ctx, req, raw, headers, request.query_string, share)
    if ctx.stream:
        with runtime.watch.over(client):
            await pipeline.stream(house, ctx, work, client)
        return
    message = await pipeline.complete(house, ctx, work)
    if ctx.shared:
        client.headers["x-ccproxy-shared"] = "true"
    await client.reply(200, {}, message)
