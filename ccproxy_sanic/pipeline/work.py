"""A request that is to be answered, before any upstream is chosen.

Rule: nothing here depends on which upstream answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House, Upstreams, remember
from ccproxy_sanic.routing import DEFAULT, Plan, Rule, facts_of
from ccproxy_sanic.upstream.exchange import Head
from ccproxy_sanic.wire.anthropic import MessagesRequest

CacheWish = Literal["", "off", "on", "refresh"]


class Work(msgspec.Struct):
    """``raw`` is the body as it came (decoded), ``headers`` and ``query`` are the client's, for upstreams that speak
    its protocol; ``share`` and ``cache`` are what its headers ask for.  ``onward``: what was made of ``headers`` for
    such upstreams, by what is said to each; kept by whoever knows that the headers are the same again."""

    req: MessagesRequest
    raw: bytes
    upstreams: Upstreams
    plan: Plan
    headers: Mapping[str, str]
    query: str
    share: bool | None = None
    cache: CacheWish = ""
    onward: dict[Head, Head] | None = None

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
    onward: dict[Head, Head] | None = None,
) -> Work:
    """Choose the plan for ``req``, and note it."""
    upstreams = house.upstreams
    plan = _plan(house, ctx, upstreams, req, headers, len(raw))
    ctx.rule = plan.rule
    return Work(req, raw, upstreams, plan, headers, query, share, cache, onward)


def _plan(
    house: House, ctx: RequestContext, upstreams: Upstreams, req: MessagesRequest, headers: Mapping[str, str], size: int
) -> Plan:
    """The plan for ``req``.  What follows from the rule and the model alone is remembered: clients know few models."""
    routing, plans = upstreams.routing, upstreams.plans
    rule: Rule | None = None
    if routing.rules:
        rule = routing.deciding(facts_of(req, headers, size, look_for_images=routing.look_for_images))
        if rule is not None and rule.balances:
            return routing.along(rule, req.model, session=ctx.session, pick=house.chance())
    key = DEFAULT if rule is None else rule.name, req.model
    if (plan := plans.get(key)) is not None:
        return plan
    return remember(plans, key, routing.along(rule, req.model, session="", pick=0.0), req.model)
