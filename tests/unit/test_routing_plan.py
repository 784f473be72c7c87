"""Rules decide in order, targets are tried in order, a session keeps its target."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.routing import DEFAULT, Facts, ModelMap, Plan, Routing, Rule, Step, Target, routing_of

MODELS = ModelMap("B", "S", {"exact": "E"})
ANY = (Target("z", "z"),)
FACTS = Facts("claude-opus-5-5[1m]", "main", 1000, True, False)


def only(*groups: tuple[Target, ...], default: str | None = None) -> Routing:
    return routing_of((Rule(name="r", groups=groups),), MODELS, default)


def planned(routing: Routing, facts: Facts = FACTS, session: str = "s", pick: float = 0.5) -> Plan:
    return routing.plan(facts, session=session, pick=pick)


@pytest.mark.parametrize(
    ("conditions", "objection"),
    [
        ({}, ""),
        ({"models": ("claude-opus-5-5",)}, ""),
        ({"models": ("CLAUDE-OPUS-*",)}, ""),
        ({"models": ("gpt-*", "*-5-?")}, ""),
        ({"models": ("claude-opus-[45]-5",)}, ""),
        ({"models": ("claude-opus",)}, "model"),
        ({"models": ("opus*",)}, "model"),
        ({"roles": ("main", "small")}, ""),
        ({"roles": ("subagent",)}, "role"),
        ({"over_tokens": 999}, ""),
        ({"over_tokens": 1000}, "over_tokens"),
        ({"under_tokens": 1001}, ""),
        ({"under_tokens": 1000}, "under_tokens"),
        ({"thinking": True}, ""),
        ({"thinking": False}, "thinking"),
        ({"images": False}, ""),
        ({"images": True}, "images"),
        ({"models": ("claude*",), "roles": ("main",), "over_tokens": 10, "images": True}, "images"),
    ],
)
def test_all_conditions_must_hold(conditions: dict[str, Any], objection: str) -> None:
    rule = Rule(name="r", groups=(ANY,), **conditions)
    assert rule.objection(FACTS) == objection
    assert planned(routing_of((rule,), MODELS, "env")).rule == (DEFAULT if objection else "r")


def test_the_first_rule_that_holds_decides() -> None:
    rules = tuple(Rule(name=str(size), over_tokens=size, groups=(ANY,)) for size in (5000, 500, 50))
    assert planned(routing_of(rules, MODELS, "env")).rule == "500"


def test_the_default_route_is_the_models_of_the_settings() -> None:
    routing = routing_of((), MODELS, "openai")
    assert planned(routing) == Plan("default", (Step("openai", "B"),))
    assert planned(routing, Facts("claude-haiku-5-5")).steps == (Step("openai", "S"),)
    assert planned(routing, Facts("exact")).steps == (Step("openai", "E"),)
    assert planned(routing, Facts("gpt-5")).steps == (Step("openai", "gpt-5"),)


def test_without_a_default_the_last_rule_takes_the_rest() -> None:
    rules = (Rule(name="a", over_tokens=1, groups=(ANY,)), Rule(name="b", over_tokens=10**6, groups=(ANY,)))
    assert planned(routing_of(rules, MODELS, None), Facts("x")).rule == "b"


def test_a_target_without_a_model_keeps_the_clients_and_default_maps_it() -> None:
    routing = only((Target("a"),), (Target(DEFAULT),), (Target(DEFAULT, "m"),), default="openai")
    assert planned(routing).steps == (Step("a", "claude-opus-5-5"), Step("openai", "B"), Step("openai", "m"))


def test_a_step_is_there_once() -> None:
    routing = only((Target("a", "m"),), (Target("b", "m"),), (Target("a", "m"),))
    assert planned(routing).steps == (Step("a", "m"), Step("b", "m"))


def test_an_upstream_of_several_models_is_named_once() -> None:
    routing = only((Target("a", "m"),), (Target("b", "m"),), (Target("a", "n"),))
    assert planned(routing).upstreams == ("a", "b")


def test_weights_share_the_load_of_sessions_and_of_single_requests() -> None:
    routing = only((Target("a", "m", 3), Target("b", "m", 1)), (Target("c", "m"),))
    by_session = [planned(routing, session=f"s{n}").steps for n in range(2000)]
    by_chance = [planned(routing, session="", pick=n / 2000).steps for n in range(2000)]
    for plans in (by_session, by_chance):
        assert 1400 < sum(steps[0].upstream == "a" for steps in plans) < 1600
        assert all({steps[0].upstream, steps[1].upstream} == {"a", "b"} for steps in plans)
        assert all(steps[2].upstream == "c" for steps in plans)


def test_two_models_of_one_upstream_are_balanced_too() -> None:
    routing = only((Target("a", "x", 1), Target("a", "y", 1)))
    assert {planned(routing, session=f"s{n}").steps[0].model for n in range(50)} == {"x", "y"}


def test_images_are_looked_for_only_where_a_rule_asks() -> None:
    asking = Rule(name="r", images=False, groups=(ANY,))
    assert routing_of((asking,), MODELS, None).look_for_images
    assert not only(ANY).look_for_images


def test_the_names_that_rules_say_in_full_are_listed_once() -> None:
    patterns = ("gpt-5", "claude-*", "Qwen/Qwen3", "a?b", "x[12]", "gpt-5")
    rule = Rule(name="r", models=patterns, groups=(ANY,))
    assert routing_of((rule, rule), MODELS, None).listed() == ("gpt-5", "Qwen/Qwen3")
