"""Thinking and effort (protocol.md 1.6): the table, target by target."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.profiles import resolve
from tests.support.translation import WEATHER, assistant, body, codes, sent, system, translate, user

BASE = set(sent(body(), "openai"))
DISABLED = {"thinking": {"type": "disabled"}}
ADAPTIVE = {"thinking": {"type": "adaptive"}}
URLS = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "deepseek": "https://api.deepseek.com",
    "moonshot": "https://api.moonshot.ai/v1",
    "zai": "https://api.z.ai/api/paas/v4",
    "dashscope": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "groq": "https://api.groq.com/openai/v1",
    "xai": "https://api.x.ai/v1",
    "minimax": "https://api.minimax.io/v1",
    "cerebras": "https://api.cerebras.ai/v1",
}


def effort(level: str, **more: Any) -> dict[str, Any]:
    return {"output_config": {"effort": level}, **more}


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}, "max_tokens": 64_000}


def said(fields: dict[str, Any], profile: str, model: str = "") -> dict[str, Any]:
    """The fields of the body that speak of reasoning."""
    if model:
        chosen = resolve(URLS.get(profile, "http://127.0.0.1:1"), model, None if profile in URLS else profile)
    request = sent(body(**fields), chosen if model else profile)
    spoken = {
        *("reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget", "chat_template_kwargs"),
    }
    return {key: value for key, value in request.items() if key in spoken}


def level(name: str) -> dict[str, Any]:
    return {"reasoning_effort": name}


def deepseek(name: str) -> dict[str, Any]:
    return {"thinking": {"type": "enabled"}, "reasoning_effort": name}


KIMI = {"thinking": {"type": "enabled", "keep": "all"}}
GLM = {"thinking": {"type": "enabled", "clear_thinking": False}}
OFF = {"thinking": {"type": "disabled"}}
TEMPLATE = {"chat_template_kwargs": {"enable_thinking": True}}
NO_TEMPLATE = {"chat_template_kwargs": {"enable_thinking": False}}

TABLE: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("openai", "", {}, {}),
    ("openai", "", DISABLED, level("none")),
    ("openai", "", {"thinking": {"type": "between_tools"}}, level("none")),
    ("openai", "", ADAPTIVE, {}),
    ("openai", "", effort("low"), level("low")),
    ("openai", "", effort("medium"), level("medium")),
    ("openai", "", effort("high"), level("high")),
    ("openai", "", effort("xhigh"), level("high")),
    ("openai", "", effort("max"), level("high")),
    ("openai", "", budget(4095), level("low")),
    ("openai", "", budget(4096), level("medium")),
    ("openai", "", budget(16383), level("medium")),
    ("openai", "", budget(16384), level("high")),
    ("openai", "", effort("low") | budget(31999), level("low")),
    ("openai", "", effort("high") | DISABLED, level("none")),
    ("openai", "gpt-4.1", effort("high"), {}),
    ("openai", "gpt-4o-mini", DISABLED, {}),
    ("openai", "gpt-5-chat-latest", effort("high"), {}),
    ("openai", "o3", DISABLED, {}),
    ("openai", "o4-mini", effort("xhigh"), level("high")),
    ("openai", "gpt-5", DISABLED, level("minimal")),
    ("openai", "gpt-5-mini-2025-08-07", DISABLED, level("minimal")),
    ("openai", "gpt-5.1", DISABLED, level("none")),
    ("openai", "gpt-5.1", effort("max"), level("high")),
    ("openai", "gpt-5.2", effort("xhigh"), level("xhigh")),
    ("openai", "gpt-5.6", effort("max"), level("xhigh")),
    ("openai", "gpt-6", effort("xhigh"), level("xhigh")),
    ("openrouter", "", DISABLED, {"reasoning": {"enabled": False}}),
    ("openrouter", "", effort("low"), {"reasoning": {"effort": "low"}}),
    ("openrouter", "", effort("xhigh"), {"reasoning": {"effort": "xhigh"}}),
    ("openrouter", "", effort("max"), {"reasoning": {"effort": "xhigh"}}),
    ("openrouter", "", ADAPTIVE, {"reasoning": {"enabled": True}}),
    ("openrouter", "", budget(4096), {"reasoning": {"max_tokens": 4096}}),
    ("openrouter", "", budget(4096) | effort("high"), {"reasoning": {"effort": "high"}}),
    (
        "openrouter",
        "",
        {"thinking": {"type": "adaptive", "display": "omitted"}},
        {"reasoning": {"enabled": True, "exclude": True}},
    ),
    (
        "openrouter",
        "",
        {"thinking": {"type": "adaptive", "display": "omitted"}} | effort("low"),
        {"reasoning": {"effort": "low", "exclude": True}},
    ),
    (
        "openrouter",
        "",
        {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}, "max_tokens": 4096},
        {"reasoning": {"max_tokens": 2048, "exclude": True}},
    ),
    ("deepseek", "", {}, {}),
    ("deepseek", "", ADAPTIVE, {}),
    ("deepseek", "", DISABLED, OFF),
    ("deepseek", "", DISABLED | effort("high"), OFF),
    ("deepseek", "", effort("low"), deepseek("low")),
    ("deepseek", "", effort("medium"), deepseek("high")),
    ("deepseek", "", effort("high"), deepseek("high")),
    ("deepseek", "", effort("xhigh"), deepseek("high")),
    ("deepseek", "", effort("max"), deepseek("max")),
    ("deepseek", "", budget(2048), deepseek("low")),
    ("moonshot", "kimi-k2.5", DISABLED, OFF),
    ("moonshot", "kimi-k2.6", effort("low"), KIMI),
    ("moonshot", "kimi-k2.6", effort("max"), KIMI),
    ("moonshot", "kimi-k2.6", ADAPTIVE, KIMI),
    ("moonshot", "kimi-k3", effort("max"), level("max")),
    ("moonshot", "kimi-k2-0905", effort("high"), {}),
    ("zai", "glm-4.7", DISABLED, OFF),
    ("zai", "glm-4.7", effort("high"), GLM),
    ("dashscope", "qwen3-max", DISABLED, {"enable_thinking": False}),
    ("dashscope", "qwen3-max", effort("high"), {"enable_thinking": True}),
    ("dashscope", "qwen3-max", budget(4096), {"enable_thinking": True, "thinking_budget": 4096}),
    ("vllm", "", DISABLED, {}),
    ("vllm", "", effort("medium"), level("medium")),
    ("vllm", "qwen/Qwen3-32B", DISABLED, NO_TEMPLATE),
    ("vllm", "qwen/Qwen3-32B", effort("low"), TEMPLATE),
    ("sglang", "Qwen3-8B", DISABLED, NO_TEMPLATE),
    ("ollama", "", DISABLED, level("none")),
    ("ollama", "", effort("low"), level("low")),
    ("ollama", "", effort("max"), level("max")),
    ("llamacpp", "", DISABLED, NO_TEMPLATE),
    ("llamacpp", "", effort("high"), {}),
    ("gemini", "gemini-2.5-pro", DISABLED, level("none")),
    ("gemini", "gemini-2.5-pro", effort("high"), level("high")),
    ("gemini", "gemini-3-pro", DISABLED, {}),
    ("gemini", "gemini-2.0-flash", effort("high"), {}),
    ("groq", "openai/gpt-oss-120b", effort("low"), level("low")),
    ("groq", "llama-3.3-70b", effort("low"), {}),
    ("cerebras", "gpt-oss-120b", effort("low"), level("low")),
    ("xai", "grok-4.3", effort("high"), level("high")),
    ("xai", "grok-4", effort("high"), {}),
    ("minimax", "MiniMax-M3", DISABLED, OFF),
    ("minimax", "MiniMax-M2.5", DISABLED, {}),
    ("generic", "", DISABLED, {}),
    ("generic", "", effort("high"), {}),
    ("flat", "", budget(4096), {}),
]


@pytest.mark.parametrize(("profile", "model", "fields", "expected"), TABLE, ids=str)
def test_what_is_said_of_reasoning(profile: str, model: str, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert said(fields, profile, model) == expected


@pytest.mark.parametrize(
    ("fields", "show"),
    [
        ({}, "show"),
        (ADAPTIVE, "show"),
        (budget(2048), "show"),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, "show"),
        ({"thinking": {"type": "adaptive", "display": "updates"}}, "show"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "omit"),
        (DISABLED, "drop"),
        ({"thinking": {"type": "between_tools"}}, "drop"),
        ({"thinking": {"type": "disabled", "display": "omitted"}}, "drop"),
    ],
    ids=str,
)
def test_what_the_client_sees_of_it(fields: dict[str, Any], show: str) -> None:
    assert translate(body(**fields)).thinking == show


@pytest.mark.parametrize(
    ("fields", "profile", "noted"),
    [
        (effort("high"), "openai", {}),
        (effort("xhigh"), "openai", {"effort_clamped": "output_config.effort"}),
        (effort("max"), "openrouter", {"effort_clamped": "output_config.effort"}),
        (effort("medium"), "deepseek", {"effort_clamped": "output_config.effort"}),
        (DISABLED, "vllm", {"effort_dropped": "thinking.type"}),
        (effort("high"), "generic", {"effort_dropped": "output_config.effort"}),
        (budget(4096), "generic", {"effort_dropped": "thinking.budget_tokens"}),
        (ADAPTIVE, "generic", {}),
        (effort("colossal"), "openai", {"effort_dropped": "output_config.effort"}),
        ({"thinking": {"type": "sometimes"}}, "openai", {"field_ignored": "thinking.type"}),
    ],
    ids=str,
)
def test_what_is_noted(fields: dict[str, Any], profile: str, noted: dict[str, str]) -> None:
    assert codes(translate(body(**fields), profile)) == noted


def test_an_unknown_effort_leaves_the_budget_to_decide() -> None:
    assert said(effort("colossal") | budget(2048), "openai") == level("low")


# tools


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.5-mini", "gpt-5.6-2026-09-01", "gpt-6"])
def test_tools_beside_new_openai_models_need_effort_none(model: str) -> None:
    profile = resolve(URLS["openai"], model)
    done = translate(body(tools=[WEATHER], **effort("high")), profile)
    assert done.request.extra == level("none")
    assert codes(done) == {"effort_forced": "output_config.effort"}
    assert translate(body(tools=[WEATHER]), profile).request.extra == level("none")
    assert translate(body(**effort("high")), profile).request.extra == level("high")


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5.1", "gpt-5.2"])
def test_tools_beside_older_openai_models_keep_their_effort(model: str) -> None:
    assert translate(body(tools=[WEATHER], **effort("high")), resolve(URLS["openai"], model)).request.extra == level(
        "high"
    )


@pytest.mark.parametrize(
    ("platform", "model", "off"),
    [("moonshot", "kimi-k2.6", OFF), ("dashscope", "qwen3-max", {"enable_thinking": False})],
)
def test_a_forced_choice_turns_thinking_off_where_both_are_refused(
    platform: str, model: str, off: dict[str, Any]
) -> None:
    forced = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    assert said(forced | ADAPTIVE, platform, model) == off
    free = {"tools": [WEATHER], "tool_choice": {"type": "auto"}}
    assert said(free | ADAPTIVE, platform, model) != off


# the effort of system messages


def test_the_last_system_messages_effort_wins() -> None:
    first = system("a", output_config={"effort": "low"})
    last = system("b", output_config={"effort": "high"})
    conversation = [user("x"), first, assistant("y"), user("z"), last]
    assert said({"messages": conversation} | effort("medium"), "openai") == level("high")
    assert said({"messages": [user("x"), first]}, "openai") == level("low")
    bare = {"role": "system", "output_config": {"effort": "low"}}
    assert said({"messages": [user("x"), bare]}, "openai") == level("low")


def test_the_effort_of_a_cleared_system_message_is_gone() -> None:
    once = system("a", output_config={"effort": "low"}, clear_at="next_user_message")
    assert said({"messages": [user("x"), once]}, "openai") == level("low")
    assert said({"messages": [user("x"), once, assistant("y"), user("z")]}, "openai") == {}


def test_a_budget_stays_below_a_clamped_max_tokens() -> None:
    request = sent(body(**budget(32_000)), {"based_on": "openrouter", "max_output": 10_000})
    assert request["max_tokens"] == 10_000
    assert request["reasoning"] == {"max_tokens": 5_000}
