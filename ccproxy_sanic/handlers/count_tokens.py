"""``POST /v1/messages/count_tokens``: how many tokens a request would be (protocol.md 6).

Rule: it accepts what ``/v1/messages`` accepts and refuses what that refuses; only an upstream that speaks the Messages
API itself is asked, and what it does not answer is counted here.
"""

from __future__ import annotations

import msgspec

from ccproxy_sanic import pipeline
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.front.requests import StrictRequest
from ccproxy_sanic.handlers.serving import admitted, answered
from ccproxy_sanic.pipeline import Work
from ccproxy_sanic.relay import Client
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.tokens import Prompt, prompt_of
from ccproxy_sanic.wire import anthropic


async def create(request: StrictRequest) -> None:
    await answered(request.app.ctx.runtime, request, _serve)


async def _serve(runtime: Runtime, request: StrictRequest, ctx: RequestContext, client: Client) -> None:
    raw = admitted(runtime, request, ctx)

    headers, query, onward = request.headers, request.asker.query, request.asker.onward

    def prepare() -> tuple[Work, Prompt]:
        req = anthropic.decode_count_request(raw)
        ctx.client_model = req.model
        work = pipeline.begin(runtime.house, ctx, req, raw, headers, query, onward=onward)
        ctx.endpoint, ctx.upstream_model = work.plan.steps[0].upstream, work.plan.steps[0].model
        chat, profile = pipeline.as_sent(runtime.house, work)
        return work, prompt_of(req, chat, profile)

    work, prompt = await runtime.counter.run(len(raw), prepare)
    tokens = await pipeline.asked_upstream(runtime.house, ctx, work)
    if tokens is None:
        tokens = await runtime.counter.count(prompt)
    await client.reply(200, {}, msgspec.json.encode({"input_tokens": tokens}))
