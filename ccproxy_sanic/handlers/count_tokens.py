"""``POST /v1/messages/count_tokens``: how many tokens a request would be (protocol.md 6).

Rule: it accepts what ``/v1/messages`` accepts and refuses what that refuses; the upstream is never asked.
"""

from __future__ import annotations

import msgspec
from sanic import Request

from ccproxy_sanic import pipeline
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.handlers.serving import admitted, answered
from ccproxy_sanic.relay import Client
from ccproxy_sanic.routing import Route, upstream_model
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.tokens import Prompt, prompt_of
from ccproxy_sanic.wire import anthropic


async def create(request: Request) -> None:
    await answered(request, _serve)


async def _serve(runtime: Runtime, request: Request, ctx: RequestContext, client: Client) -> None:
    raw = admitted(runtime, request, ctx)

    def prepare() -> Prompt:
        req = anthropic.decode_count_request(raw)
        route = Route(runtime.endpoint, upstream_model(req.model, runtime.models))
        ctx.client_model, ctx.endpoint, ctx.upstream_model = req.model, route.endpoint, route.model
        chat, profile = pipeline.as_sent(runtime.house, req, route)
        return prompt_of(req, chat, profile)

    prompt = await runtime.counter.run(len(raw), prepare)
    tokens = await runtime.counter.count(prompt)
    client.headers["x-upstream-model"] = ctx.upstream_model
    await client.reply(200, {}, msgspec.json.encode({"input_tokens": tokens}))
