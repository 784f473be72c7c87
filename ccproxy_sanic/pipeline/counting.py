"""What a request would send, for counting its tokens.

Rule: an upstream that counts for itself is asked; every other request is counted as it would be translated.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.dialects import Call, lane_of
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.way import Way
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.translate import request
from ccproxy_sanic.upstream.exchange import Exchange
from ccproxy_sanic.wire.openai_chat import ChatRequest

MAX_COUNT: Final = 64 * 1024  # bytes of an answer that is one number
WITHOUT_LIMITS: Final[dict[str, Any]] = {"prefill": "prefix", "parts": True, "pdf": True, "pdf_urls": True}


class Count(msgspec.Struct):
    input_tokens: int


_decode: Final = msgspec.json.Decoder(Count).decode


def as_sent(house: House, work: Work) -> tuple[ChatRequest, Profile]:
    """What the request would be in Chat Completions, and to an upstream of what kind.  Raises InvalidRequest.

    What only this upstream can't take (a prefilled answer, a PDF) is no reason not to count it.
    """
    step = work.plan.steps[0]
    profile = house.profile_of(work.upstreams.targets[step.upstream], step.model)
    able = msgspec.structs.replace(profile, **WITHOUT_LIMITS)
    return request.to_chat(work.req, model=step.model, profile=able, strict=house.strict).request, profile


async def asked_upstream(house: House, ctx: RequestContext, work: Work) -> int | None:
    """The upstream's own count, where it speaks the client's protocol; None where it does not, or can't."""
    if not lane_of(house, work.upstreams, work.plan.steps[0]).through:
        return None
    way = Way(house, ctx, work)
    way.call.suffix = "/count_tokens"
    try:
        return await way.hop(_read)
    except (errors.UpstreamFault, errors.Overloaded):
        return None


async def _read(_: Way, call: Call, exchange: Exchange) -> int:
    try:
        return _decode(await exchange.read(MAX_COUNT)).input_tokens
    except msgspec.MsgspecError:
        raise errors.Garbled(f"the answer of {call.lane.target.name} is no count of tokens") from None
