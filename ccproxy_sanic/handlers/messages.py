"""``POST /v1/messages``: the main job.

Rule: what is committed ends as a stream, with its last event or an error; what is not gets a status of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

from sanic import HTTPResponse

from ccproxy_sanic import errors, pipeline
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.front.heads import thorough
from ccproxy_sanic.front.requests import StrictRequest
from ccproxy_sanic.handlers.serving import admitted, answered
from ccproxy_sanic.pipeline import Work
from ccproxy_sanic.pipeline.work import CacheWish
from ccproxy_sanic.relay import Client
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.wire import anthropic

SHARE: Final[dict[str, bool | None]] = {"": None, "on": True, "off": False}  # x-ccproxy-share
CACHE: Final[dict[str, CacheWish]] = {"": "", "on": "on", "off": "off", "refresh": "refresh"}  # x-ccproxy-cache
T = TypeVar("T")


@thorough
def create(request: StrictRequest) -> HTTPResponse | Awaitable[None]:
    """Its answer, where that is known at once, else the work that sends it."""
    runtime: Runtime = request.app.ctx.runtime
    at_once = not runtime.draining and runtime.tracer is None  # a trace is begun with the frame around all others
    if at_once and (known := runtime.caching.known.find(request.head, request.body)) is not None:
        event, ready = known
        runtime.caching.hits.report(event)
        return ready
    return answered(runtime, request, _serve)


def _serve(runtime: Runtime, request: StrictRequest, ctx: RequestContext, client: Client) -> Awaitable[None]:
    house, headers, asker = runtime.house, request.headers, request.asker
    raw = admitted(runtime, request, ctx)
    req = anthropic.decode_request(raw)
    ctx.stream, ctx.client_model = bool(req.stream), req.model
    if asker.wishes is None:
        asker.wishes = _wish(headers, "x-ccproxy-share", SHARE), _wish(headers, "x-ccproxy-cache", CACHE)
    share, cache = asker.wishes
    work = pipeline.begin(house, ctx, req, raw, headers, asker.query, share, cache, asker.onward)
    if ctx.stream:
        runtime.watch.clients.add(client)
        return pipeline.stream(house, ctx, work, client)
    return _whole(runtime, request, ctx, work, client)


async def _whole(runtime: Runtime, request: StrictRequest, ctx: RequestContext, work: Work, client: Client) -> None:
    house = runtime.house
    message = await pipeline.complete(house, ctx, work)
    if ctx.shared:
        client.headers["x-ccproxy-shared"] = "true"
    if work.upstreams is house.upstreams:  # else a reload came in between, and what follows takes another route
        runtime.caching.known.note(request.head, request.body, ctx)
    await client.reply(200, {}, message)


def _wish(headers: Mapping[str, str], name: str, words: Mapping[str, T]) -> T:
    """What a header of ours asks for.  Raises InvalidRequest: one that can't be met would look as if it were."""
    word = headers.get(name, "").strip().lower()
    if word not in words:
        raise errors.InvalidRequest(f"{name}: must be {', '.join(filter(None, words))}")
    return words[word]
