"""Upstreams, rules and plans in words, for ``ccproxy check`` and the first lines of ``ccproxy serve``.

Rule: of a key it is said only whether there is one; everything else is shown as the router has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ccproxy_sanic.columns import aligned
from ccproxy_sanic.masking import MASK
from ccproxy_sanic.routing.facts import Facts
from ccproxy_sanic.routing.file import Routes, UpstreamSpec
from ccproxy_sanic.routing.plan import DEFAULT, Routing, Rule, Target

_WIDEST: Final = 56  # a base URL may be long
_HEADINGS: Final = ("UPSTREAM", "BASE URL", "KEY", "SET")
_SHOWN: Final = ("api", "profile", "slots", "connect_timeout", "first_byte_timeout", "idle_timeout")
_LAST: Final = "no rule before decides"
_THEN: Final = ", then "


def table(routes: Routes, default: str | None) -> str:
    """All upstreams and all rules of a file.  ``default`` says where the environment's upstream is, if there is one."""
    rows = [_HEADINGS, *map(_row, routes.upstreams)]
    if default is not None:
        rows.append((DEFAULT, default, "", "from the environment"))
    names = [(f"{number}. {rule.name}", rule) for number, rule in enumerate(routes.rules, 1)]
    rules = [("RULE", "IF", "THEN TO"), *((name, conditions(rule), targets(rule)) for name, rule in names)]
    if default is not None:
        rules.append((DEFAULT, _LAST, f"{DEFAULT}, big or small model"))
    return "\n".join([*aligned(rows, _WIDEST), "", *aligned(rules, _WIDEST)])


def _row(spec: UpstreamSpec) -> tuple[str, str, str, str]:
    key = {0: "-", 1: MASK}.get(len(spec.keys), f"{MASK} x{len(spec.keys)}")
    set_here = [f"{name} {value}" for name in _SHOWN if (value := getattr(spec, name)) is not None]
    if spec.headers:
        set_here.append(f"headers {' '.join(spec.headers)}")
    return spec.name, spec.base_url, key, ", ".join(set_here) or "-"


def conditions(rule: Rule) -> str:
    """What must hold for a rule, in words."""
    parts = [f"model {' or '.join(rule.models)}"] if rule.models else []
    if rule.roles:
        parts.append(f"role {' or '.join(rule.roles)}")
    if rule.over_tokens is not None:
        parts.append(f"over {rule.over_tokens} tokens")
    if rule.under_tokens is not None:
        parts.append(f"under {rule.under_tokens} tokens")
    flags = {"thinking": rule.thinking, "images": rule.images}
    parts += (name if wanted else f"no {name}" for name, wanted in flags.items() if wanted is not None)
    return ", ".join(parts) or "always"


def targets(rule: Rule) -> str:
    """Where a rule sends requests, in order; what is balanced has its share."""
    return _THEN.join(" or ".join(_shares(group)) for group in rule.groups)


def _shares(group: Sequence[Target]) -> list[str]:
    names = [target.upstream + (f":{target.model}" if target.model else "") for target in group]
    if len(group) == 1:
        return names
    whole = sum(target.weight or 0 for target in group)
    return [f"{name} ({100 * (target.weight or 0) / whole:.0f} %)" for name, target in zip(names, group, strict=True)]


def briefly(routes: Routes) -> str:
    """The upstreams and the number of rules, in one line."""
    rules = f"{len(routes.rules)} rule{'' if len(routes.rules) == 1 else 's'}"
    return f"{rules} over {', '.join(spec.name for spec in routes.upstreams) or DEFAULT}"


def explanation(routing: Routing, facts: Facts, session: str, where: Mapping[str, str]) -> str:
    """Which rule takes a request and what is tried, in order; of the rules before, what did not hold.

    ``where`` says where each upstream is.  Without a session the order among weighted targets is one of several.
    """
    lines: list[str] = []
    decides = routing.deciding(facts)
    for rule in routing.rules:
        if rule is decides:
            break
        lines.append(f"no:   {rule.name} ({conditions(rule)}): {rule.objection(facts)} does not fit")
    plan = routing.plan(facts, session=session, pick=0.0)
    lines.append(f"yes:  {plan.rule} ({conditions(decides) if decides else _LAST})")
    steps = [(f"  {n}.", step.upstream, step.model, where[step.upstream]) for n, step in enumerate(plan.steps, 1)]
    lines += aligned(steps, _WIDEST)
    if not session and decides is not None and any(len(group) > 1 for group in decides.groups):
        lines.append(f"without a session, chance picks anew for each request: {targets(decides)}")
    return "\n".join(lines)
