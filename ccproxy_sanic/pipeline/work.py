"""A request that is to be answered, before any upstream is chosen.

Rule: nothing here depends on which upstream answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House, Upstreams
from ccproxy_sanic.routing import Plan, facts_of
from ccproxy_sanic.wire.anthropic import MessagesRequest


class Work(msgspec.Struct):
    """``raw`` is the body as it came (decoded), ``headers`` and ``query`` are the client's, for upstreams that speak
    its protocol; ``share`` is what its header asks for."""

    req: MessagesRequest
    raw: bytes
    upstreams: Upstreams
    plan: Plan
    headers: Mapping[str, str]
    query: str
    share: bool | None = None


def begin(
    house: House,
    ctx: RequestContext,
    req: MessagesRequest,
    raw: bytes,
    headers: Mapping[str, str],
    query: str,
    share: bool | None = None,
) -> Work:
    """Choose the plan for ``req``, and note it."""
    upstreams = house.upstreams
    facts = facts_of(req, headers, len(raw), look_for_images=upstreams.routing.look_for_images)
    plan = upstreams.routing.plan(facts, session=ctx.session, pick=house.chance())
    ctx.rule = plan.rule
    return Work(req, raw, upstreams, plan, headers, query, share)


def share_key(house: House, ctx: RequestContext, work: Work) -> bytes | None:
    """The key under which equal requests are one call, or None where each is a sample of its own.

    Shared are: what the client asks to share, a resend (same session, same body), and what is deterministic.  The key
    holds the caller: an answer never crosses from one to another (ARCHITECTURE.md invariant 12).
    """
    if ctx.stream or work.share is False:
        return None
    deterministic = house.share == "safe" and (work.req.temperature == 0 or work.req.top_k == 1)
    if not (work.share or ctx.session or deterministic):
        return None
    session = "" if work.share or deterministic else ctx.session
    steps = (f"{step.upstream}/{step.model}" for step in work.plan.steps)
    seed = "\n".join((ctx.caller.key, session, *steps)).encode()
    return hashlib.blake2b(work.raw, key=hashlib.sha256(seed).digest(), digest_size=32).digest()
