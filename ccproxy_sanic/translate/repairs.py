"""Wordings of refusals, and the switches by which the request becomes what the server takes (protocol.md 5.6).  Pure.

Rule: a row names a wording that users of that server quote, and nothing that might also mean something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate import effort_repairs

Api = Literal["chat", "responses", "messages"]
Change = Callable[[re.Match[str], Profile], Mapping[str, Any]]

ROOM: Final = 1024  # tokens: with less left for the answer the conversation is too long, and the client should know
STATUSES: Final = (400, 404)


class Repair(NamedTuple):
    """``kind`` is what was refused, in a word; ``lasts``: it is about the model, not about one request."""

    kind: str
    apis: tuple[Api, ...]
    wording: re.Pattern[str]
    switches: Mapping[str, Any] | Change
    lasts: bool = True
    statuses: tuple[int, ...] = STATUSES


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


CHAT: Final[tuple[Api, ...]] = ("chat",)
RESPONSES: Final[tuple[Api, ...]] = ("responses",)
BOTH: Final[tuple[Api, ...]] = ("chat", "responses")
_EFFORT: Final = r"none|minimal|low|medium|high|xhigh|max|default"
_ALLOWED: Final = rf"(?P<allowed>(?:[\s,|()'\"`]|\b(?:and|or|{_EFFORT})\b){{4,200}})"


def _cap(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    return {"max_output": int(match["cap"].replace(",", ""))}


def _room(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    left = int(match["limit"]) - int(match["prompt"])
    return {"max_output": left} if left >= ROOM else {}


def _levels(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    allowed = effort_repairs.named_in(match["allowed"])
    return {"effort": effort_repairs.narrowed(profile.effort, allowed)} if allowed else {}


def _one_level_less(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    return {"effort": effort_repairs.without_word(profile.effort, match["word"].lower())}


def _always_on(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    return {"effort": effort_repairs.without_off(profile.effort)}


def _no_effort(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    return {"effort": {}}


def _one_of_two(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    return {"effort": effort_repairs.without_field(profile.effort, "reasoning_effort")}


def _none_with_tools(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    level = {"none": {"reasoning_effort": "none"}}
    return {"effort_with_tools": "none", "effort": {**profile.effort, **level}}


def _unforced(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    """A choice can be forced while the model does not think; who can't be told so is asked in words."""
    if "none" in profile.effort and profile.forced_choice_level != "none":
        return {"forced_choice_level": "none"}
    return {"tool_choice": "auto"}


def _weaker_format(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    return {"json_schema": "object" if profile.json_schema == "schema" else "prompt"}


def _reasoning_back(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    back: dict[str, Any] = {"reasoning_in": "reasoning_content", "reasoning_required": True}
    if not profile.reasoning_placeholder:
        back["reasoning_placeholder"] = " "  # an empty string counts as missing at some (peers.md part 4)
    return back


def _calm(match: re.Match[str], profile: Profile) -> Mapping[str, Any]:
    rest = effort_repairs.without_field(profile.effort, "enable_thinking", "thinking_budget")
    return {"effort": rest, "extra": {**profile.extra, "enable_thinking": False}}


REPAIRS: Final = (
    # which API
    Repair("api", CHAT, _words(r"function tools .{0,80}not supported .{0,200}/v1/responses"), {"api": "responses"}),
    Repair("api", CHAT, _words(r"only supported in v1/responses"), {"api": "responses"}),
    # the same words, where the user forces Chat Completions
    Repair(
        "effort_with_tools", CHAT, _words(r"function tools .{0,300}set reasoning_effort to 'none'"), _none_with_tools
    ),
    # how long the answer may be, in our words (overflow.py) and Anthropic's own
    Repair("max_output", BOTH, _words(r"max_tokens: \d+ > (?P<cap>\d+), which is the maximum"), _cap),
    Repair(
        "context",
        BOTH,
        _words(r"input length and .max_tokens. exceed context limit: (?P<prompt>\d+) \+ \d+ > (?P<limit>\d+)"),
        _room,
        False,
    ),
    # how much to reason: OpenAI, Groq, DeepSeek, Mistral, vLLM, OpenRouter
    Repair(
        "effort",
        BOTH,
        _words(
            r"reasoning(?:_|\.)effort.{0,60}?(?:supported values are|must be one of|input should be|expected one of)"
            rf"\W{{0,4}}{_ALLOWED}"
        ),
        _levels,
    ),
    Repair("effort", BOTH, _words(rf"invalid value: '(?:{_EFFORT})'\. supported values are: {_ALLOWED}"), _levels),
    Repair("effort", BOTH, _words(rf"invalid reasoning value: '\w+' \(must be {_ALLOWED}"), _levels),  # Ollama
    Repair("effort", BOTH, _words(r"think value \W?(?P<word>\w+)\W? is not supported for this model"), _one_level_less),
    Repair("effort", BOTH, _words(r"\"[^\"]{1,200}\" does not support thinking"), _no_effort),  # Ollama
    Repair("effort_none", BOTH, _words(r"reasoning is mandatory for this endpoint"), _always_on),  # OpenRouter
    Repair("effort_none", BOTH, _words(r"this model only works in thinking mode"), _always_on),  # Gemini
    Repair("thinking", CHAT, _words(r"cannot specify both 'thinking' and 'reasoning_effort'"), _one_of_two),  # Kimi
    Repair(
        "enable_thinking", CHAT, _words(r"enable_thinking must be set to false for non-streaming"), _calm, False
    ),  # DashScope
    # which tool: Kimi, DashScope, DeepSeek; OpenRouter; OpenAI's older models; serde
    Repair("tool_choice", CHAT, _words(r"tool_choice.{0,20} is incompatible with thinking"), _unforced),
    Repair("tool_choice", CHAT, _words(r"tool_choice parameter does not support .{0,60}thinking mode"), _unforced),
    Repair("tool_choice", CHAT, _words(r"thinking mode does not support this tool_choice"), _unforced),
    Repair("tool_choice", BOTH, _words(r"support the provided 'tool_choice' value"), {"tool_choice": "auto"}),
    Repair(
        "tool_choice",
        BOTH,
        _words(r"invalid value: 'required'\. supported values are: 'none'(?:,| and) 'auto'"),
        {"tool_choice": "auto"},
    ),
    Repair(
        "tool_choice", CHAT, _words(r"tool_choice: invalid type: map, expected a string"), {"tool_choice": "required"}
    ),
    # what the answer is to look like: DeepSeek, OpenAI, Groq, Azure; LM Studio takes only schemas
    Repair("response_format", CHAT, _words(r"this response_format type is unavailable"), _weaker_format),
    Repair(
        "response_format",
        BOTH,
        _words(r"(?:response.format|text\.format).{0,40}json_(?:schema|object).{0,3} (?:is )?not supported"),
        _weaker_format,
    ),
    Repair(
        "response_format",
        CHAT,
        _words(
            r"does not support response format .?json_(?:schema|object)"
            r"|json_schema is enabled only for api versions"
        ),
        _weaker_format,
    ),
    Repair(
        "response_format",
        CHAT,
        _words(r"'response_format\.type' must be 'json_schema' or 'text'"),
        {"json_schema": "schema"},
    ),
    # images: OpenRouter, OpenAI, DeepSeek, vLLM, llama.cpp, xAI and others
    Repair(
        "images",
        BOTH,
        _words(
            r"no endpoints found that support image input|image_url is only supported by certain models"
            r"|unknown variant `image_url`, expected `text`|at most 0 image\(s\) may be provided"
            r"|is not a multimodal model|image inputs? (?:is|are) not supported"
            r"|model (?:\S{1,100} )?(?:does not|doesn't) support images?\b"
        ),
        {"vision": False},
    ),
    Repair(
        "image_urls",
        CHAT,
        _words(r"image urls are not (?:currently )?supported|'url' field must be a base64 encoded image"),
        {"image_urls": False},
    ),
    Repair(
        "tool_images",
        CHAT,
        _words(r"image urls are only allowed for messages with role 'user', but this message with role 'tool'"),
        {"tool_images": "user"},
    ),
    # roles: DeepSeek and others in Rust, OpenAI, pydantic; chat templates; Mistral, MiniMax
    Repair(
        "developer",
        CHAT,
        _words(
            r"unknown variant .developer.|\.role' does not support 'developer'|input tag 'developer' found|"
            r"'developer' is not one of \["
        ),
        {"system_role": "system"},
    ),
    Repair(
        "mid_system",
        CHAT,
        _words(
            r"system message must be at the beginning|unexpected role 'system' after role"
            r"|invalid message role: system"
        ),
        {"mid_system": "user"},
        statuses=(*STATUSES, 500),  # llama.cpp: what a chat template raises
    ),
    Repair("bridge", CHAT, _words(r"unexpected role 'user' after role 'tool'"), {"bridge_after_tool": True}),
    Repair(
        "prefill",
        CHAT,
        _words(r"expected last role user or tool \(or assistant with prefix true\)"),
        {"prefill": "prefix"},
    ),
    # contents
    Repair(
        "null_content",
        CHAT,
        _words(
            r"content.{0,30}(?:invalid type: null|expected a string, (?:but )?got null)"
            r"|messages\.\d+\.(?:assistant\.)?content: input should be a valid string"
        ),
        {"null_content": False},
    ),
    Repair(
        "parts",
        CHAT,
        _words(
            r"content.{0,20}(?:invalid type: sequence|must be a string|expected a string, (?:but )?got an array)"
            r"|messages\.\d+\.(?:\w+\.)?content: input should be a valid string"
        ),
        {"parts": False},
    ),
    # reasoning that has to come back: DeepSeek, Kimi; Gemini's signatures
    Repair(
        "reasoning_content",
        CHAT,
        _words(
            r"reasoning_content.{0,40}must be passed back|missing .?reasoning_content.? field in the assistant message"
            r"|reasoning_content is missing in assistant tool call message"
        ),
        _reasoning_back,
    ),
    Repair(
        "thought_signature",
        CHAT,
        _words(r"function call is missing a thought_signature"),
        {"thought_signatures": True, "thought_signature_filler": "skip_thought_signature_validator"},
    ),
    # sampling: Anthropic's models behind others, TGI
    Repair("top_p", BOTH, _words(r"temperature\W{1,4} ?and .?top_p.? cannot both be specified"), {"top_p": False}),
    Repair(
        "temperature",
        BOTH,
        _words(r"temperature.? may only be set to 1 when thinking is enabled"),
        {"temperature": False},
        False,
    ),
    Repair("temperature_min", CHAT, _words(r"temperature.? must be strictly positive"), {"temperature_min": 0.01}),
    Repair(
        "max_stops",
        CHAT,
        _words(
            r"stop\W{1,3}(?:array too long\. expected an array with maximum length|list should have at most)"
            r" (?P<most>\d{1,3})"
        ),
        lambda match, profile: {"max_stops": int(match["most"])},
    ),
    # tools: Mistral, OpenAI; Gemini, vLLM, llama.cpp, Ollama
    Repair(
        "tool_ids",
        CHAT,
        _words(r"tool call id was .{0,200}but must be a-z, a-z, 0-9, with a length of 9"),
        {"tool_ids": "mistral9"},
    ),
    Repair(
        "tool_ids",
        CHAT,
        _words(r"(?:tool_calls\[\d+\]\.id|tool_call_id)'?: string too long\. .{0,60}maximum length 40"),
        {"tool_ids": "max40"},
    ),
    Repair(
        "schema",
        BOTH,
        _words(r"unknown name \"[^\"]{1,80}\" at '(?:request\.)?tools\["),
        {"schema": "gemini"},
    ),
    Repair(
        "schema",
        BOTH,
        _words(
            r"features not supported by xgrammar|failed to (?:transform json schema into a|parse) grammar"
            r"|json schema conversion failed"
        ),
        {"schema": "grammar"},
        statuses=(*STATUSES, 500),  # llama.cpp
    ),
    Repair("schema", CHAT, _words(r"cannot unmarshal .{1,60}go struct field \S{0,80}tools\."), {"schema": "ollama"}),
    # OpenAI shows summaries to verified organisations only
    Repair(
        "reasoning_summary",
        RESPONSES,
        _words(r"must be verified to generate reasoning summaries"),
        {"reasoning_summary": False},
    ),
    Repair(
        "encrypted_reasoning",
        RESPONSES,
        _words(r"encrypted content is not supported"),
        {"encrypted_reasoning": False},
    ),
    # it was made for another organisation, or another key: this history has to go on without it
    Repair(
        "encrypted_reasoning",
        RESPONSES,
        _words(r"encrypted content .{0,200}could not be"),
        {"encrypted_reasoning": False},
        False,
    ),
    # ids of another provider, from before this one was asked
    Repair(
        "tool_ids",
        ("messages",),
        _words(r"tool_use(?:_id|\.id).{0,80}should match pattern"),
        {"tool_ids": "anthropic"},
    ),
)
