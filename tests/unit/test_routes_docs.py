"""docs/routes.md: every recipe works, every key is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ccproxy_sanic.profiles import BUILTIN
from ccproxy_sanic.routing import Facts, ModelMap, fields, routing_of
from ccproxy_sanic.routing.file import Routes, read

PAGE = (Path(__file__).parents[2] / "docs" / "routes.md").read_text("utf-8")
BLOCKS = re.findall(r"```(toml|json)\n(.*?)```", PAGE, re.DOTALL)


def example(folder: Path, part: str) -> Routes:
    """The routes of the only block that has ``part`` in it."""
    ((kind, text),) = [block for block in BLOCKS if part in block[1]]
    path = folder / f"routes.{kind}"
    path.write_text(text, "utf-8")
    return read(path, {name: f"key-of-{name}" for name in re.findall(r"\b[A-Z_]+_KEY(?:_[A-Z]+)?\b", text)})


def went(routes: Routes, facts: Facts) -> tuple[str, list[str]]:
    plan = routing_of(routes.rules, ModelMap("big", "small"), "default").plan(facts, session="s", pick=0)
    return plan.rule, [f"{step.upstream}:{step.model}" for step in plan.steps]


@pytest.mark.parametrize("text", [text for _, text in BLOCKS])
def test_every_example_is_good_and_names_profiles_that_exist(tmp_path: Path, text: str) -> None:
    routes = example(tmp_path, text)
    assert routes.warnings == ()
    assert {spec.profile for spec in routes.upstreams} - {None} <= set(BUILTIN.names())


def test_all_examples_are_there() -> None:
    assert [kind for kind, _ in BLOCKS].count("toml") == 7
    assert PAGE.count("```mermaid") == 1


def test_every_key_is_explained() -> None:
    example_of_upstreams = BLOCKS[0][1]
    assert set(re.findall(r"^(\w+) = ", example_of_upstreams.split("[[rule]]")[0], re.MULTILINE)) == set(
        fields.UPSTREAM
    )
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(fields.CONDITIONS)
    assert all(f"`{role}`" in PAGE for role in fields.ROLES)
    assert all(re.search(rf"\b{key}\b", PAGE) for key in (*fields.RULE, *fields.TARGET))


def test_the_recipe_of_a_fallback(tmp_path: Path) -> None:
    routes = example(tmp_path, "then OpenRouter is asked")
    assert went(routes, Facts("claude-opus-5-5", "main"))[1] == ["openai:gpt-5", "openrouter:openai/gpt-5"]
    assert went(routes, Facts("claude-haiku-5-5"))[1] == ["openai:gpt-5-mini", "openrouter:openai/gpt-5-mini"]


def test_the_recipe_of_a_local_model(tmp_path: Path) -> None:
    routes = example(tmp_path, "[upstream.cloud]")
    assert went(routes, Facts("claude-haiku-5-5", "title", 900)) == ("small", ["local:qwen3", "cloud:gpt-5-mini"])
    assert went(routes, Facts("claude-haiku-5-5", "small", 90_000))[0] == "work"
    assert went(routes, Facts("claude-opus-5-5", "main", 900)) == ("work", ["cloud:gpt-5"])


def test_the_recipe_of_long_conversations(tmp_path: Path) -> None:
    routes = example(tmp_path, "[upstream.gemini]")
    assert went(routes, Facts("x", tokens=100_001)) == ("long", ["gemini:gemini-3-pro"])
    assert went(routes, Facts("x", tokens=100_000))[1] == ["deepseek:deepseek-chat", "gemini:gemini-3-pro"]


def test_the_recipe_of_subagents(tmp_path: Path) -> None:
    routes = example(tmp_path, "[upstream.gpu1]")
    rule, steps = went(routes, Facts("claude-haiku-5-5", "subagent"))
    assert (rule, set(steps[:2]), steps[2:]) == (
        "subagents",
        {"gpu1:qwen3-coder", "gpu2:qwen3-coder"},
        ["default:small"],
    )
    assert went(routes, Facts("claude-opus-5-5", "main")) == ("default", ["default:big"])


def test_the_recipe_of_two_keys(tmp_path: Path) -> None:
    (spec,) = example(tmp_path, "OPENAI_KEY_SPARE").upstreams
    assert len(spec.keys) == 2


def test_the_recipe_of_anthropic(tmp_path: Path) -> None:
    routes = example(tmp_path, "[upstream.anthropic]")
    opus, haiku = "claude-opus-5-5", "claude-haiku-5-5"
    assert went(routes, Facts(haiku, images=True))[1] == [f"anthropic:{haiku}", "openrouter:openai/gpt-5"]
    assert went(routes, Facts(f"{opus}[1m]", thinking=True))[1][0] == f"anthropic:{opus}"
    assert went(routes, Facts(opus))[1] == ["openrouter:openai/gpt-5-mini", f"anthropic:{haiku}"]
