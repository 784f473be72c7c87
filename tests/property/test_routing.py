"""Plans are never empty and repeat themselves; sessions lose only what is taken away; lines are found in any text."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.routing import Facts, ModelMap, Routing, Rule, Step, Target, lines, routing_of

NAMES = st.sampled_from([f"u{n}" for n in range(6)])
WEIGHTS = st.one_of(st.none(), st.floats(0.001, 1000))
TARGETS = st.builds(Target, NAMES, st.one_of(st.none(), st.sampled_from(["m", "n"])), WEIGHTS)
GROUPS = st.lists(st.lists(TARGETS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=3).map(tuple)
FLAGS = st.one_of(st.none(), st.booleans())
SIZES = st.one_of(st.none(), st.integers(0, 100))
RULES = st.builds(
    Rule,
    name=st.just("r"),
    models=st.lists(st.sampled_from(["claude*", "GPT-5", "*", "?"]), max_size=2).map(tuple),
    roles=st.lists(st.sampled_from(["main", "small"]), max_size=2).map(tuple),
    over_tokens=SIZES,
    under_tokens=SIZES,
    thinking=FLAGS,
    images=FLAGS,
    groups=GROUPS,
)
FACTS = st.builds(
    Facts,
    model=st.one_of(st.sampled_from(["claude-opus-5-5", "gpt-5", "claude-haiku[1m]"]), st.text(max_size=8)),
    role=st.sampled_from(["main", "small", "title", "subagent", ""]),
    tokens=st.integers(0, 100),
    thinking=st.booleans(),
    images=st.booleans(),
)
MODELS = ModelMap("B", "S")
PICKS = st.floats(0, 1, exclude_max=True)
SESSIONS = st.text(max_size=12)


@given(st.lists(RULES, min_size=1, max_size=4), st.sampled_from(["env", None]), FACTS, SESSIONS, PICKS)
def test_every_request_has_a_plan_and_always_the_same(
    rules: list[Rule], default: str | None, facts: Facts, session: str, pick: float
) -> None:
    routing = routing_of(tuple(rules), MODELS, default)
    plan = routing.plan(facts, session=session, pick=pick)
    assert plan.steps
    assert len(set(plan.steps)) == len(plan.steps)
    assert plan == routing.plan(facts, session=session, pick=pick)
    decides = next((rule for rule in rules if not rule.objection(facts)), None if default else rules[-1])
    allowed = {target.upstream for target in decides.targets} if decides else {"env"}
    assert {step.upstream for step in plan.steps} == allowed


def routing(weights: dict[str, float]) -> Routing:
    group = tuple(Target(name, "m", weight) for name, weight in weights.items())
    return routing_of((Rule(name="r", groups=(group,)),), MODELS, None)


@given(st.dictionaries(NAMES, st.floats(0.001, 1000), min_size=2), SESSIONS, PICKS, st.data())
def test_the_order_of_the_others_stays_when_a_target_goes(
    weights: dict[str, float], session: str, pick: float, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(weights)))
    facts = Facts("x")
    before = routing(weights).plan(facts, session=session, pick=pick).steps
    del weights[gone]
    after = routing(weights).plan(facts, session=session, pick=pick).steps
    assert after == tuple(step for step in before if step != Step(gone, "m"))


# Lines

KEYS = st.sampled_from(["a", "b-c", "d_1", "e e", "f.g", "#h"])
SCALARS = st.one_of(
    st.integers(-9, 9), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=9,
)
TREES = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)
GAPS = st.sampled_from(["", " ", "\n", "\n\n  ", "\r\n"])


class Writer:
    """A text with gaps wherever they may be, and the line on which each value was put."""

    def __init__(self, gap: Any, equals: str) -> None:
        self.gap, self.equals = gap, equals
        self.text = ""
        self.lines: dict[lines.Path, int] = {}

    def value(self, value: Any, path: lines.Path) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if pairs is None:
            self.text += json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
            return
        self.text += "{" if isinstance(value, dict) else "["
        for count, (key, inner) in enumerate(pairs):
            self.text += ("," if count else "") + self.gap(value)
            if isinstance(value, dict):
                self.pair(key, inner, path)
            else:
                self.value(inner, (*path, key))
            self.text += self.gap(value)
        self.text += "}" if isinstance(value, dict) else "]"

    def pair(self, key: str, value: Any, path: lines.Path) -> None:
        self.lines[*path, key] = self.text.count("\n") + 1
        self.text += json.dumps(key) + self.equals
        self.value(value, (*path, key))


@given(TREES, st.data())
def test_the_line_of_every_value_is_found_in_json(tree: dict[str, Any], data: st.DataObject) -> None:
    writer = Writer(lambda around: data.draw(GAPS), ": ")
    writer.value(tree, ())
    assert json.loads(writer.text) == tree
    assert {path: line for path, line in lines.of_json(writer.text).items() if path} == {
        path: line for path, line in writer.lines.items() if path
    }


@given(
    st.dictionaries(KEYS, TREES, max_size=3), st.dictionaries(KEYS, st.lists(TREES, min_size=1, max_size=3)), st.data()
)
def test_the_line_of_every_value_is_found_in_toml(
    tables: dict[str, Any], arrays: dict[str, list[Any]], data: st.DataObject
) -> None:
    arrays = {f"many {key}": found for key, found in arrays.items()}
    # an inline table of TOML 1.0 has no line ends in it
    writer = Writer(lambda around: data.draw(GAPS) if isinstance(around, list) else " ", " = ")
    headed = [(f"[{json.dumps(key)}]", (key,), tree) for key, tree in tables.items()]
    headed += [
        (f"[[ {json.dumps(key)} ]]", (key, place), tree)
        for key, trees in arrays.items()
        for place, tree in enumerate(trees)
    ]
    for header, path, tree in headed:
        for length in range(1, len(path) + 1):
            writer.lines.setdefault(path[:length], writer.text.count("\n") + 1)
        writer.text += f"{header} # [no] header = 'here'\n"
        for key, value in tree.items():
            writer.pair(key, value, path)
            writer.text += " # { [ \" '\n"
    assert tomllib.loads(writer.text) == tables | arrays
    assert lines.of_toml(writer.text) == writer.lines
