"""Upstreams and rules from the tree of a file that is syntactically sound.

Rule: nothing stops the reading: every table and key is looked at, and what is wrong is a fault with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from operator import itemgetter
from typing import Any

import msgspec

from ccproxy_sanic.masking import Secret
from ccproxy_sanic.routing import fields, lines
from ccproxy_sanic.routing.models import bare
from ccproxy_sanic.routing.plan import DEFAULT, Rule, Target, takes_all
from ccproxy_sanic.settings_parsers import Api, key, nearest
from ccproxy_sanic.settings_upstream import OPEN_KEY, Faulty, is_unencrypted, normalise

Remark = tuple[int, str]  # its line, and the whole text


class UpstreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream.  ``keys`` rotate; times are seconds; what is None is as the settings or the profile say.

    ``profile_place`` is where the file names the profile, which is looked up where the profiles are known.
    """

    name: str
    base_url: str
    keys: tuple[Secret, ...] = ()
    profile: str | None = None
    profile_place: str = ""
    api: Api | None = None
    headers: dict[str, str] = {}
    slots: int | None = None
    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    idle_timeout: float | None = None


def by_line(remarks: list[Remark]) -> list[str]:
    return [text for _, text in sorted(remarks, key=itemgetter(0))]


class Reading:
    """One pass over a tree that is syntactically sound; collects faults and warnings on the way."""

    def __init__(
        self,
        file: str,
        index: Mapping[lines.Path, int],
        names: Mapping[str, str],
        has_default: bool,
        is_own: Callable[[str], bool],
    ) -> None:
        self.file, self.index, self.names, self.is_own = file, index, names, is_own
        self.has_default = has_default
        self.known: tuple[str, ...] = ()  # what a target may name
        self.variables: set[str] = set()
        self.faults: list[Remark] = []
        self.warnings: list[Remark] = []

    def place(self, path: lines.Path) -> str:
        return f"{self.file}, line {lines.nearest(path, self.index)}"

    def fault(self, path: lines.Path, reason: str) -> None:
        self.faults.append((lines.nearest(path, self.index), f"{self.place(path)}: {reason}"))

    def warn(self, path: lines.Path, reason: str) -> None:
        self.warnings.append((lines.nearest(path, self.index), f"{self.place(path)}: {reason}"))

    def all(self, tree: Any) -> tuple[tuple[UpstreamSpec, ...], tuple[Rule, ...]]:
        if not isinstance(tree, dict):
            self.fault((), f"must be an object with upstream and rule, not {fields.kind(tree)}")
            return (), ()
        for section in tree:
            if section not in fields.SECTIONS:
                self.fault((section,), f"there is no section {section}{nearest(section, fields.SECTIONS)}")
        tables, rules = tree.get("upstream", {}), tree.get("rule", [])
        if not isinstance(tables, dict):
            self.fault(("upstream",), "must be tables with names: [upstream.NAME]")
            tables = {}
        if not isinstance(rules, list):
            self.fault(("rule",), "must be a list of tables: [[rule]]")
            rules = []
        self.known = (*tables, DEFAULT) if self.has_default else tuple(tables)
        specs = [self.upstream(name, table, ("upstream", name)) for name, table in tables.items()]
        made = [self.rule(table, ("rule", number)) for number, table in enumerate(rules)]
        if not self.has_default and all(isinstance(rule, dict) and rule.keys() & fields.CONDITIONS for rule in rules):
            last: lines.Path = ("rule", len(rules) - 1) if rules else ()
            self.fault(
                last,
                "a request that no rule takes has nowhere to go, because no upstream is set in the environment: "
                "add a last [[rule]] that has targets and no conditions",
            )
        self.together(tuple(tables), made)
        return tuple(filter(None, specs)), tuple(filter(None, made))

    def table(self, given: Any, path: lines.Path, checks: Mapping[str, fields.Check]) -> dict[str, Any] | None:
        """The values of a table, checked one by one; those that are faulty are missing."""
        if not isinstance(given, dict):
            self.fault(path, f"must be a table, not {fields.kind(given)}")
            return None
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in checks:
                hint = fields.HINTS.get(name) or nearest(name, checks)
                self.fault((*path, name), f"there is no {name[:80]} here{hint}")
                continue
            try:
                values[name] = checks[name](value)
            except ValueError as error:
                self.fault((*path, name), f"{name}: {error}")
        return values

    def upstream(self, name: str, given: Any, path: lines.Path) -> UpstreamSpec | None:
        try:
            fields.named(name)
        except ValueError as error:
            self.fault(path, str(error))
        if name == DEFAULT:
            self.fault(path, f"{DEFAULT} is the name of the environment's upstream: choose another")
        values = self.table(given, path, fields.UPSTREAM)
        if values is None:
            return None
        if "base_url" not in given:
            self.fault(path, f"upstream {name} has no base_url")
        base_url = self.address(values.pop("base_url", None), (*path, "base_url"))
        keys = self.keys(values.pop("key_env", ()), (*path, "key_env"))
        if keys and base_url and is_unencrypted(base_url):
            self.warn((*path, "base_url"), OPEN_KEY)
        place = self.place((*path, "profile"))
        return UpstreamSpec(name=name, base_url=base_url, keys=keys, profile_place=place, **values)

    def address(self, url: str | None, path: lines.Path) -> str:
        if url is None:
            return ""
        try:
            base_url, remarks = normalise(url, "the environment and its name in key_env")
        except Faulty as error:
            self.fault(path, f"base_url: {error}")
            return ""
        for remark in remarks:
            self.warn(path, f"base_url: {remark}")
        if self.is_own(base_url):
            self.fault(path, "base_url: is this proxy's own address: it would call itself without end")
        return base_url

    def keys(self, variables: tuple[str, ...], path: lines.Path) -> tuple[Secret, ...]:
        keys: list[Secret] = []
        self.variables.update(variables)
        for variable in variables:
            # a key that was put here by mistake is hardly ever all in capitals: only such a name is said
            shown = variable if variable.isupper() else "the variable that it names"
            value = self.names.get(variable, "").strip()
            if not value:
                self.fault(path, f"key_env: {shown} is not set")
                continue
            try:
                keys.append(key(value))
            except ValueError as error:
                self.fault(path, f"key_env: {shown} {error}")
        return tuple(dict.fromkeys(keys))

    def rule(self, given: Any, path: lines.Path) -> Rule | None:
        values = self.table(given, path, fields.RULE)
        if values is None:
            return None
        if "targets" not in given:
            self.fault(path, "the rule has no targets")
        over, under = values.get("over_tokens"), values.get("under_tokens")
        if over is not None and under is not None and under <= over + 1:
            self.warn(path, "the rule never decides: no size is over over_tokens and under under_tokens")
        entries = enumerate(values.pop("targets", ()))
        targets = [self.target(entry, (*path, "targets", number)) for number, entry in entries]
        return Rule(
            name=values.pop("name", f"rule {int(path[-1]) + 1}"),
            models=tuple(map(bare, values.pop("model", ()))),
            roles=values.pop("role", ()),
            groups=_grouped([target for target in targets if target is not None]),
            **values,
        )

    def target(self, given: Any, path: lines.Path) -> Target | None:
        if isinstance(given, str):  # "upstream" or "upstream:model"
            upstream, colon, model = given.partition(":")
            given = {"upstream": upstream, "model": model} if colon else {"upstream": upstream}
        values = self.table(given, path, fields.TARGET)
        if values is None:
            return None
        if "upstream" not in given:
            self.fault(path, "the target has no upstream")
        name = values.get("upstream")
        if name is None:
            return None
        if name == DEFAULT and not self.has_default:
            self.fault(
                path, f"upstream {DEFAULT} is the environment's, and OPENAI_API_KEY or OPENAI_BASE_URL is not set"
            )
        elif name not in self.known:
            self.fault((*path, "upstream"), f"there is no upstream {name}{nearest(name, self.known)}")
        return Target(**values)

    def together(self, upstreams: tuple[str, ...], rules: list[Rule | None]) -> None:
        """What one rule or upstream means beside the others."""
        names: set[str] = {DEFAULT}
        used: set[str] = set()
        taker: Rule | None = None
        for number, rule in enumerate(rules):
            if rule is None:
                continue
            path: lines.Path = ("rule", number)
            if rule.name in names:
                self.fault((*path, "name"), f"name: {rule.name} is the name of another rule")
            names.add(rule.name)
            if taker is not None:
                self.warn(path, f"{rule.name} never decides: {taker.name} before it takes everything")
            elif takes_all(rule):
                taker = rule
            self.targets(rule, (*path, "targets"))
            used.update(target.upstream for target in rule.targets)
        for name in upstreams:
            if name not in used:
                self.warn(("upstream", name), f"no rule uses upstream {name}")

    def targets(self, rule: Rule, path: lines.Path) -> None:
        for group in rule.groups:
            if len(group) == 1 and group[0].weight is not None:
                self.warn(path, f"the weight of {group[0].upstream} means nothing without a neighbour's")
        if len({(target.upstream, target.model) for target in rule.targets}) < len(rule.targets):
            self.warn(path, "a target is there twice: it is tried once")


def _grouped(targets: list[Target]) -> tuple[tuple[Target, ...], ...]:
    """Neighbours with a weight stand together, all others alone."""
    groups: list[list[Target]] = [targets[:1]] if targets else []
    for before, target in pairwise(targets):
        if before.weight is not None and target.weight is not None:
            groups[-1].append(target)
        else:
            groups.append([target])
    return tuple(map(tuple, groups))
