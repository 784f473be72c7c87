"""Profiles: the platform by URL, the family by model, everything else data (issue 3 item 2; vectors' README)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ccproxy_sanic.profiles import BUILTIN, CatalogError, Profile, builtin, from_switches, load, resolve
from ccproxy_sanic.profiles.resolver import plain_model

PLATFORMS = {
    "openai": "https://api.openai.com/v1",
    "azure": "https://me.openai.azure.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "deepseek": "https://api.deepseek.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai/",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "xai": "https://api.x.ai/v1",
    "moonshot": "https://api.moonshot.ai/v1",
    "zai": "https://api.z.ai/api/coding/paas/v4",
    "dashscope": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    "minimax": "https://api.minimax.io/v1",
    "siliconflow": "https://api.siliconflow.cn/v1",
}
LOCAL = ("generic", "flat", "demo", "vllm", "sglang", "ollama", "lmstudio", "llamacpp")


@pytest.mark.parametrize(("name", "url"), PLATFORMS.items())
def test_the_url_decides_the_platform(name: str, url: str) -> None:
    assert resolve(url, "some-model").name == name
    assert resolve(url.upper(), "some-model").name == name


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000/v1", "http://localhost:11434/v1", "http://[::1]:1234", "https://llm.example.com/v1"),
        *("https://api.openai.com.evil.example/v1", "https://notopenrouter.ai/v1", "", "nonsense", "localhost:8000"),
    ],
)
def test_an_unknown_host_is_generic(url: str) -> None:
    assert resolve(url, "gpt-5").name == "generic"


def test_a_trailing_dot_and_a_port_do_not_hide_a_host() -> None:
    assert resolve("https://api.openai.com.:443/v1", "m").name == "openai"
    assert resolve("api.openai.com", "m").name == "openai"


@pytest.mark.parametrize("name", [*PLATFORMS, *LOCAL, "openai-breakpoints", "openai-reasoning"])
def test_every_profile_is_built_in(name: str) -> None:
    assert builtin(name).name == name
    assert name in BUILTIN.names()


def test_a_profile_can_be_forced() -> None:
    assert resolve("http://127.0.0.1:8000", "m", "vllm").name == "vllm"
    assert resolve("https://api.openai.com/v1", "m", "generic").obfuscation is None
    with pytest.raises(CatalogError, match=r"no profile 'opnai'; did you mean 'openai'\?"):
        resolve("https://api.openai.com/v1", "m", "opnai")


# what the golden cases presume: tests/data/vectors/README.md, the table
PRESUMED: dict[str, dict[str, Any]] = {
    "openai": {
        "output_cap": "max_completion_tokens",
        "mid_system": "stay",
        "reasoning_in": "none",
        "cache": "none",
        "user_id": "safety_identifier",
        "top_k": False,
        "parts": True,
        "prefill": "none",
    },
    "openai-breakpoints": {"output_cap": "max_completion_tokens", "cache": "breakpoint"},
    "openai-reasoning": {"temperature": False, "top_p": False, "stop": False},
    "generic": {
        "output_cap": "max_tokens",
        "mid_system": "user",
        "reasoning_in": "none",
        "effort": {},
        "cache": "none",
        "user_id": "none",
        "top_k": False,
        "parts": True,
        "prefill": "none",
    },
    "flat": {"output_cap": "max_tokens", "parts": False},
    "vllm": {
        "output_cap": "max_tokens",
        "mid_system": "user",
        "reasoning_in": "reasoning",
        "top_k": True,
        "prefill": "continue_final_message",
        "user_id": "none",
    },
    "deepseek": {
        "mid_system": "user",
        "reasoning_in": "reasoning_content",
        "reasoning_required": True,
        "top_k": False,
        "prefill": "prefix",
    },
    "openrouter": {
        "output_cap": "max_tokens",
        "mid_system": "stay",
        "reasoning_in": "reasoning_details",
        "cache": "cache_control",
        "user_id": "user",
        "top_k": True,
        "prefill": "none",
    },
}


@pytest.mark.parametrize(("name", "switches"), PRESUMED.items())
def test_what_the_golden_cases_presume(name: str, switches: dict[str, Any]) -> None:
    profile = builtin(name)
    assert {switch: getattr(profile, switch) for switch in switches} == switches


# where a platform's dialect is one switch, and a wrong letter in a file would go unseen
DIALECT: list[tuple[str, dict[str, Any]]] = [
    ("mistral", {"tool_ids": "mistral9", "bridge_after_tool": True, "prefill": "prefix", "stream_options": False}),
    ("gemini", {"schema": "gemini", "thought_signatures": True, "reasoning_in": "none"}),
    ("ollama", {"schema": "ollama", "image_urls": False, "tool_choice": "auto"}),
    ("lmstudio", {"image_urls": False}),
    ("vllm", {"schema": "grammar", "think_tags": True}),
    ("sglang", {"schema": "grammar"}),
    ("llamacpp", {"schema": "grammar"}),
    ("cerebras", {"parallel_tool_calls": False, "tool_choice": "auto", "schema": "grammar"}),
    ("zai", {"tool_choice": "auto", "stream_options": False, "json_schema": "object", "reasoning_required": True}),
    ("moonshot", {"prefill": "partial", "reasoning_required": True}),
    ("deepseek", {"json_schema": "object"}),
    ("dashscope", {"json_schema": "object", "forced_choice_level": "none"}),
    ("minimax", {"json_schema": "object", "mid_system": "user"}),
    ("openai", {"pdf": True, "pdf_urls": False, "service_tier": True, "prompt_cache_key": True, "think_tags": False}),
    ("openrouter", {"pdf": True, "pdf_urls": True, "service_tier": False}),
    ("groq", {"temperature_min": 1e-8, "mid_system": "stay"}),
    ("generic", {"stream_options": True, "json_schema": "schema", "pdf": False, "think_tags": True}),
    ("demo", {"reasoning_in": "reasoning_content"}),
]


@pytest.mark.parametrize(("name", "switches"), DIALECT)
def test_dialects(name: str, switches: dict[str, Any]) -> None:
    profile = builtin(name)
    assert {switch: getattr(profile, switch) for switch in switches} == switches


# models


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        ("OpenAI/GPT-5:free", "gpt-5"),
        ("accounts/fireworks/models/x", "x"),
        ("llama3:8b", "llama3"),
        ("m", "m"),
        ("", ""),
    ],
)
def test_model_names_are_compared_without_vendor_and_variant(model: str, plain: str) -> None:
    assert plain_model(model) == plain


@pytest.mark.parametrize(
    ("model", "limits"),
    [
        ("o3", (200_000, 100_000)),
        ("o3-2025-04-16", (200_000, 100_000)),
        ("o4-mini", (200_000, 100_000)),
        ("o4-mini-2025-04-16", (200_000, 100_000)),
        ("openai/gpt-5-mini", (400_000, 128_000)),
        ("openrouter/polaris-alpha", (256_000, 128_000)),
        ("deepseek-chat", (131_072, 8_192)),
        ("deepseek-reasoner", (131_072, 65_536)),
        ("x-ai/grok-code-fast-1", (256_000, 10_000)),
        ("x-ai/grok-4-fast", (2_000_000, 30_720)),
        ("qwen/qwen3-coder:free", (262_144, 66_560)),
        ("kwaipilot/kat-coder-pro:free", (256_000, 32_000)),
        ("unheard-of", (None, None)),
    ],
)
def test_limits_are_known_wherever_a_model_is_served(model: str, limits: tuple[int | None, int | None]) -> None:
    for url in (PLATFORMS["openrouter"], "http://127.0.0.1:1"):
        profile = resolve(url, model)
        assert (profile.max_input, profile.max_output) == limits


@pytest.mark.parametrize(
    ("model", "takes_temperature"),
    [("deepseek/deepseek-v3.2-exp", False), ("qwen/qwen3-235b-a22b-thinking-2507", False), ("qwen/qwen3-coder", True)],
)
def test_models_that_refuse_a_temperature(model: str, takes_temperature: bool) -> None:
    assert resolve(PLATFORMS["openrouter"], model).temperature is takes_temperature


@pytest.mark.parametrize(
    ("url", "model", "switch", "value"),
    [
        ("openai", "gpt-5.1-codex", "temperature", False),
        ("openai", "gpt-4o", "temperature", True),
        ("openai", "gpt-5-chat-latest", "stop", True),
        ("openai", "o1", "top_p", False),
        ("openai", "gpt-5.3", "effort_with_tools", ""),
        ("openai", "gpt-5.4", "effort_with_tools", "none"),
        ("azure", "gpt-5.4", "effort_with_tools", "none"),
        ("openrouter", "openai/gpt-5.4", "effort_with_tools", ""),
        ("gemini", "gemini-3-pro", "thought_signature_filler", "skip_thought_signature_validator"),
        ("gemini", "gemini-2.5-pro", "thought_signature_filler", ""),
        ("deepseek", "deepseek-chat", "vision", False),
        ("deepseek", "deepseek-v4", "vision", True),
        ("moonshot", "kimi-k2.6", "forced_choice_level", "none"),
        ("moonshot", "kimi-k3", "forced_choice_level", ""),
        ("moonshot", "kimi-k3", "output_cap", "max_completion_tokens"),
        ("cerebras", "gemma-3", "reasoning_in", "none"),
        ("xai", "grok-4.3", "stop", False),
    ],
)
def test_families_on_their_platform(url: str, model: str, switch: str, value: Any) -> None:
    assert getattr(resolve(PLATFORMS[url], model), switch) == value


def test_families_of_a_local_server() -> None:
    profile = resolve("http://127.0.0.1:8000", "mistralai/Mistral-Small", "vllm")
    assert (profile.tool_ids, profile.bridge_after_tool) == ("mistral9", True)


# switches of a golden case


def test_switches_lie_over_generic_or_over_what_they_name() -> None:
    profile = from_switches({"parts": False})
    assert (profile.output_cap, profile.parts) == ("max_tokens", False)
    profile = from_switches({"based_on": "openai", "mid_system": "user", "effort": "reasoning"})
    assert (profile.output_cap, profile.mid_system) == ("max_completion_tokens", "user")
    assert profile.effort == builtin("openrouter").effort


# the user's file

MINE = """
[profile.mine]
based_on = "vllm"
hosts = ["llm.example.com", "api.openai.com"]
top_k = false
effort = "mine"
[[profile.mine.family]]
match = ["big-*"]
set = { max_output = 99 }

[profile.deepseek]
vision = false

[effort.mine]
high = { reasoning_effort = "much" }

[[limits]]
models = ["unheard-of"]
set = { max_output = 5 }
"""


def test_a_file_adds_and_corrects_profiles() -> None:
    catalog = load(MINE, "mine.toml", BUILTIN)
    mine = resolve("https://llm.example.com/v1", "vendor/Big-7", catalog=catalog)
    assert (mine.name, mine.top_k, mine.prefill, mine.max_output) == ("mine", False, "continue_final_message", 99)
    assert mine.effort == {"high": {"reasoning_effort": "much"}}
    assert resolve("https://api.openai.com/v1", "m", catalog=catalog).name == "mine"
    corrected = resolve(PLATFORMS["deepseek"], "m", catalog=catalog)
    assert (corrected.name, corrected.vision, corrected.prefill) == ("deepseek", False, "prefix")
    assert resolve("http://127.0.0.1:1", "unheard-of", catalog=catalog).max_output == 5
    assert resolve("https://api.openai.com/v1", "m").name == "openai"


FAULTS = [
    ("[profile.x", "mine.toml: Expected ']'"),
    ("[profiles.x]", "no section 'profiles'; did you mean 'profile'?"),
    ("[profile.x]\nvison = true", "profile 'x': there is no switch 'vison'; did you mean 'vision'?"),
    ("[profile.x]\nvision = 5", "profile 'x': Expected `bool`, got `int`"),
    ('[profile.x]\nmid_system = "away"', "profile 'x': Invalid enum value 'away'"),
    ('[profile.x]\neffort = "resoning"', "effort 'resoning' is no dialect; did you mean 'reasoning'?"),
    ('[profile.x]\nbased_on = "y"', "profile 'x' is based on 'y', which does not exist"),
    ('[profile.x]\nbased_on = "x"', "profile 'x' is based on itself"),
    ('[profile.x]\nhosts = "h"', "Expected `array`, got `str`"),
    ("[profile.x]\nat_host = { vison = true }", "there is no switch 'vison'"),
    ('[[profile.x.family]]\nmatch = ["a"]\nset = { vison = true }', "there is no switch 'vison'"),
    ('[[profile.x.family]]\nmatch = ["a"]', "missing required field `set`"),
    ("[profile]\nx = 5", "Expected `object`, got `int`"),
    ('[[limits]]\nmodels = ["a"]\nset = { max_outputs = 1 }', "there is no switch 'max_outputs'"),
    ('[profile.x]\nname = "y"', "there is no switch 'name'"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS, ids=[text for text, _ in FAULTS])
def test_a_fault_in_the_file_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(text, "mine.toml", BUILTIN)
    said = str(caught.value)
    assert said.startswith("mine.toml: ")
    assert message in said
    assert "\n" not in said


def test_the_built_in_files_name_only_switches_that_exist() -> None:
    switches = {field.name for field in msgspec.structs.fields(Profile)}
    for entry in BUILTIN.entries.values():
        layers = (*entry.switches, *entry.at_host, *(family.layer for family in entry.families))
        assert all(set(layer.set) <= switches for layer in layers)


def test_no_host_is_claimed_twice() -> None:
    hosts = [host for entry in BUILTIN.entries.values() for host in entry.hosts]
    assert len(hosts) == len(set(hosts))
