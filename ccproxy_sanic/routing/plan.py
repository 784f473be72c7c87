"""Which targets a request gets, in which order.

Rule: a pure function of the rules, the request's facts and its session: the same session gets the same order, and
loses only what was taken away.  Chance is handed in.
"""

from __future__ import annotations

import hashlib
import math
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from ccproxy_sanic.routing.facts import Facts, Role
from ccproxy_sanic.routing.models import ModelMap, bare, upstream_model

DEFAULT: Final = "default"  # in a file: the upstream that the environment configures; also the last rule's name
_WILD: Final = frozenset("*?[")
_HASHES: Final = 1 << 64


class Step(msgspec.Struct, frozen=True):
    """One upstream to try, by name, and the model it is asked for."""

    upstream: str
    model: str


class Plan(msgspec.Struct, frozen=True):
    """The name of the rule that decided, and where the request goes: the first step, else the next.  Never empty.

    ``upstreams`` are the names in the steps, each once; they follow from those.
    """

    rule: str
    steps: tuple[Step, ...]
    upstreams: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = dict.fromkeys(step.upstream for step in self.steps)
        msgspec.structs.force_setattr(self, "upstreams", tuple(names))


class Target(msgspec.Struct, frozen=True):
    """``model`` None keeps the client's name (at ``default``: what BIG and SMALL make of it); ``weight`` None means
    that the target stands alone."""

    upstream: str
    model: str | None = None
    weight: float | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What is set must hold, all of it; a rule where nothing is set takes everything.

    ``models`` are patterns (fnmatch, in any case), sizes are estimated tokens.  ``groups`` are in order of preference;
    a group of more than one target is balanced by weight.
    """

    name: str
    models: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    over_tokens: int | None = None
    under_tokens: int | None = None
    thinking: bool | None = None
    images: bool | None = None
    groups: tuple[tuple[Target, ...], ...]

    def objection(self, facts: Facts) -> str:
        """The first condition that does not hold, by its name in the file; "" if the rule decides."""
        if self.models and not _fits(bare(facts.model).lower(), self.models):
            return "model"
        if self.roles and facts.role not in self.roles:
            return "role"
        if self.over_tokens is not None and facts.tokens <= self.over_tokens:
            return "over_tokens"
        if self.under_tokens is not None and facts.tokens >= self.under_tokens:
            return "under_tokens"
        if self.thinking is not None and facts.thinking is not self.thinking:
            return "thinking"
        if self.images is not None and facts.images is not self.images:
            return "images"
        return ""

    @property
    def balances(self) -> bool:
        """Whether the order of its targets is a matter of the session, or of chance."""
        return any(len(group) > 1 for group in self.groups)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(target for group in self.groups for target in group)


def takes_all(rule: Rule) -> bool:
    """Whether a rule has no conditions."""
    conditions = (rule.over_tokens, rule.under_tokens, rule.thinking, rule.images)
    return not rule.models and not rule.roles and all(condition is None for condition in conditions)


class Routing(msgspec.Struct, frozen=True):
    """All that decides where requests go.  ``default`` is the name of the environment's upstream, None without one:
    then the last rule takes whatever no other takes.  Made by :func:`routing_of`."""

    rules: tuple[Rule, ...]
    models: ModelMap
    default: str | None
    look_for_images: bool = False

    def plan(self, facts: Facts, *, session: str, pick: float) -> Plan:
        """Where a request goes.  ``pick`` in [0, 1) is the chance that balances where there is no session."""
        return self.along(self.deciding(facts), facts.model, session=session, pick=pick)

    def along(self, rule: Rule | None, model: str, *, session: str, pick: float) -> Plan:
        """Where ``rule`` sends a request for ``model``; None: the default route.  Others as for :meth:`plan`."""
        if rule is None:
            return Plan(DEFAULT, (self._step(Target(DEFAULT), model),))
        key = session or repr(pick)
        ordered = (target for group in rule.groups for target in _in_order(group, key))
        return Plan(rule.name, tuple(dict.fromkeys(self._step(target, model) for target in ordered)))

    def deciding(self, facts: Facts) -> Rule | None:
        """The first rule that objects to nothing; None where the default route is left."""
        for rule in self.rules:
            if not rule.objection(facts):
                return rule
        return self.rules[-1] if self.default is None else None

    def listed(self) -> tuple[str, ...]:
        """The model names that rules say in full: those without a pattern's signs."""
        names = (name for rule in self.rules for name in rule.models if _WILD.isdisjoint(name))
        return tuple(dict.fromkeys(names))

    def _step(self, target: Target, model: str) -> Step:
        if target.upstream != DEFAULT or self.default is None:
            return Step(target.upstream, target.model or bare(model))
        return Step(self.default, target.model or upstream_model(model, self.models))


def routing_of(rules: tuple[Rule, ...], models: ModelMap, default: str | None) -> Routing:
    """The routing of these rules, which looks for images if one of them asks."""
    return Routing(rules, models, default, any(rule.images is not None for rule in rules))


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def _in_order(group: tuple[Target, ...], key: str) -> tuple[Target, ...]:
    return group if len(group) == 1 else tuple(sorted(group, key=lambda target: _distance(target, key)))


def _distance(target: Target, key: str) -> float:
    """Weighted rendezvous hashing: the nearest target is one of weight w with a chance of w / (sum of all weights),
    and the distances of the others don't change when one comes or goes."""
    name = f"{key}\0{target.upstream}\0{target.model or ''}".encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) + 0.5
    return -math.log(drawn / _HASHES) / (target.weight or 1.0)
