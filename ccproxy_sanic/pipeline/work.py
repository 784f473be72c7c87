"""A request that is to be answered, before any upstream is chosen.

Rule: nothing here depends on which upstream answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House, Upstreams
from ccproxy_sanic.routing import Plan, facts_of
from ccproxy_sanic.wire.anthropic import MessagesRequest

CacheWish = Literal["", "off", "on", "refresh"]


class Work(msgspec.Struct):
    """``raw`` is the body as it came (decoded), ``headers`` and ``query`` are the client's, for upstreams that speak
    its protocol; ``share`` and ``cache`` are what its headers ask for."""

    req: MessagesRequest
    raw: bytes
    upstreams: Upstreams
    plan: Plan
    headers: Mapping[str, str]
    query: str
    share: bool | None = None
    cache: CacheWish = ""

    @property
    def route(self) -> tuple[str, ...]:
        """Who may be asked, and where that is: a reload may give a name another address or other headers."""
        targets = self.upstreams.targets
        return tuple([f"{step.upstream} {step.model} {targets[step.upstream].place}" for step in self.plan.steps])


def begin(
    house: House,
    ctx: RequestContext,
    req: MessagesRequest,
    raw: bytes,
    headers: Mapping[str, str],
    query: str,
    share: bool | None = None,
    cache: CacheWish = "",
) -> Work:
    """Choose the plan for ``req``, and note it."""
    upstreams = house.upstreams
    facts = facts_of(req, headers, len(raw), look_for_images=upstreams.routing.look_for_images)
    plan = upstreams.routing.plan(facts, session=ctx.session, pick=house.chance())
    ctx.rule = plan.rule
    return Work(req, raw, upstreams, plan, headers, query, share, cache)
