"""Refusals that name a field, in the words of many servers, and what to do without that field.  Pure.

Rule: a field is known by its whole path.  ``temperature`` inside a tool's schema is not the request's.

Sources of the wordings: OpenAI, Azure, Mistral, vLLM, Fireworks, Groq, Cerebras, Gemini, xAI, LiteLLM, NIM, and servers
in Rust (serde) and Python, as their users quote them; protocol.md 5.6, peers.md part 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.effort_repairs import without_field

Switches = Mapping[str, Any]
Change = Callable[[Profile], Switches]

_FIELD: Final = r"[`'\"]?(?P<field>[A-Za-z_][\w.\[\]]{0,100})[`'\"]?"

PHRASES: Final = tuple(
    re.compile(template.replace("FIELD", _FIELD), re.IGNORECASE)
    for template in (
        r"unsupported parameter(?:s|\(s\))?:? FIELD",  # OpenAI, NIM
        r"unsupported value: FIELD does not support (?!'(?:none|minimal|low|medium|high|xhigh|max|developer|system)')",
        r"unrecognized request arguments? supplied: FIELD",  # OpenAI, Azure
        r"unknown parameter: FIELD",  # OpenAI, Azure
        r"unknown name FIELD: cannot find field",  # Gemini; "... at 'tools[0]...'" is about a schema
        r"unknown field:? FIELD",  # serde
        r"property FIELD is (?:unsupported|not supported|not allowed)",  # Groq, Cerebras
        r"(?<![\w.\[\]'\"`])FIELD: extra (?:inputs are|fields) not permitted",  # pydantic: Mistral, Anthropic
        r"extra inputs are not permitted, field: FIELD",  # Fireworks
        # pydantic's list as Python prints it: vLLM
        r"'loc': \('body', (?:'messages', \d+, (?:'assistant', )?)?FIELD\), 'msg': 'extra (?:inputs|fields) ",
        r"(?<![\w.\[\]'\"`])FIELD (?:parameter )?is not supported (?:with|by|for|on) (?:this|the) model",  # Groq
        r"parameter:? FIELD is not (?:currently )?supported",
        r"does not support parameter FIELD",  # xAI
        r"argument not supported on this model: FIELD",  # xAI
        r"does not support parameters: \[FIELD",  # LiteLLM
        r"unexpected keyword argument FIELD",  # Python
        r"additional properties are not allowed \(FIELD",  # JSON Schema
        r"invalid FIELD: only [\d.]+ is allowed for this model",  # Kimi
    )
)

_THINKING: Final = (
    *("reasoning_effort", "thinking", "enable_thinking", "thinking_budget", "chat_template_kwargs"),
    *("thinking_config", "include_reasoning"),
)
_NO_REASONING_IN: Final[Switches] = {"reasoning_in": "none", "reasoning_required": False}


def _reasoning(profile: Profile) -> Switches:
    """``reasoning`` is a field of the body, and at some servers one of the assistant's messages."""
    if profile.reasoning_in == "reasoning" and not any("reasoning" in row for row in profile.effort.values()):
        return _NO_REASONING_IN
    return {"effort": without_field(profile.effort, "reasoning")}


def _without(name: str) -> Change:
    return lambda profile: {"effort": without_field(profile.effort, name)}


FIELDS: Final[Mapping[str, Switches | Change]] = {
    "temperature": {"temperature": False},
    "top_p": {"top_p": False},
    "top_k": {"top_k": False},
    "stop": {"stop": False},
    "stream_options": {"stream_options": False},
    "stream_options.include_usage": {"stream_options": False},
    "stream_options.include_obfuscation": {"obfuscation": None},
    "parallel_tool_calls": {"parallel_tool_calls": False},
    "tool_choice": {"tool_choice": "auto"},
    "service_tier": {"service_tier": False},
    "user": {"user_id": "none"},
    "safety_identifier": {"user_id": "none"},
    "prompt_cache_key": {"prompt_cache_key": False},
    "max_tokens": {"output_cap": "max_completion_tokens"},
    "max_completion_tokens": {"output_cap": "max_tokens"},
    "response_format": {"json_schema": "prompt"},
    "response_format.json_schema": {"json_schema": "object"},
    "text.format": {"json_schema": "prompt"},
    "reasoning": _reasoning,
    "reasoning.effort": lambda profile: {"effort": without_field(profile.effort, "reasoning", "reasoning_effort")},
    "reasoning.summary": {"reasoning_summary": False},
    "include": {"encrypted_reasoning": False},
    "continue_final_message": {"prefill": "none"},
    "add_generation_prompt": {"prefill": "none"},
    **{name: _without(name) for name in _THINKING},
}
# of a message, by their last name
MESSAGE_FIELDS: Final[Mapping[str, Switches]] = {
    "reasoning_content": _NO_REASONING_IN,
    "reasoning_details": _NO_REASONING_IN,
    "reasoning": _NO_REASONING_IN,
    "extra_content": {"thought_signatures": False},
    "cache_control": {"cache": "none"},
    "prompt_cache_breakpoint": {"cache": "none"},
    "prefix": {"prefill": "none"},
    "partial": {"prefill": "none"},
}
_ENVELOPES: Final = frozenset({"body", "request", "chatcompletionrequest"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_STEPS: Final = re.compile(r"[.\[\]]+")


def refused_fields(text: str) -> Iterator[str]:
    """The fields that ``text`` refuses, as :data:`FIELDS` and :data:`MESSAGE_FIELDS` would call them."""
    for phrase in PHRASES:
        for found in phrase.finditer(text):
            yield _plain(found["field"])


def without(field: str, profile: Profile) -> Switches:
    """Switches by which ``field`` is not sent any more; none where nobody knows."""
    known = _known(field)
    if known is None:
        if field in profile.extra:
            return {"extra": {name: value for name, value in profile.extra.items() if name != field}}
        return {}
    return known(profile) if callable(known) else known


def _known(field: str) -> Switches | Change | None:
    if field.startswith(("messages.", "input.")):
        return MESSAGE_FIELDS.get(field.rpartition(".")[2])
    return FIELDS.get(field) or MESSAGE_FIELDS.get(field)


def _plain(path: str) -> str:
    """``body.messages[3].reasoningContent`` as ``messages.reasoning_content``."""
    steps = [_CAMEL.sub("_", step).lower() for step in _STEPS.split(path) if step and not step.isdigit()]
    return ".".join(steps[1:] if steps and steps[0].replace("_", "") in _ENVELOPES else steps)
