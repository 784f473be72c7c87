"""Which upstream and which model a request gets, and what is tried after them.

Rule: pure but for :func:`file.read`, which reads the file that CCPROXY_ROUTES names (docs/routes.md).
"""

from __future__ import annotations

from ccproxy_sanic.routing.facts import Facts, facts_of
from ccproxy_sanic.routing.models import TIERS, ModelMap, UnknownModel, tier_of, upstream_model
from ccproxy_sanic.routing.plan import DEFAULT, Plan, Routing, Rule, Step, Target, routing_of

__all__ = [
    "DEFAULT",
    "TIERS",
    "Facts",
    "ModelMap",
    "Plan",
    "Routing",
    "Rule",
    "Step",
    "Target",
    "UnknownModel",
    "facts_of",
    "routing_of",
    "tier_of",
    "upstream_model",
]
