"""A context overflow of any server, said in Anthropic's words, so that a client compacts or lowers max_tokens.  Pure.

Rule: :data:`WORDINGS` decides whether it is an overflow, :data:`NUMBERS` only fills in the figures; an unknown wording
is never turned into one.  Sources: protocol.md 5.3 and 5.4, peers.md 4, real-upstream.md quirk 7.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_SCAN: Final = 20_000  # characters of a message that are looked at
_N: Final = r"\d[\d,]{0,14}"  # a count, perhaps with thousands commas


class Limits(NamedTuple):
    """The figures of a refusal, in tokens; None where the server didn't say."""

    prompt: int | None = None
    output: int | None = None  # what was asked for as max_tokens
    limit: int | None = None  # the context window
    cap: int | None = None  # the model's greatest max_tokens


UNKNOWN: Final = Limits()

# Lower-case parts by which an overflow is known (Claude Code's own list, protocol.md 5.3, and three more servers).
WORDINGS: Final = (
    "prompt is too long",
    "input is too long for requested model",
    "capability_rejected: prompt_too_long",
    "maximum context length",
    "context_length_exceeded",
    "exceeds the context window",
    "contextwindowexceedederror",
    "longer than the maximum model length",
    "longer than the model's context length",
    "exceeds the available context size",
    "exceed_context_size_error",
    "exceeds the maximum number of tokens allowed",
    "exceeded model token limit",
    "input token length too long",
    "input tokens exceed the configured limit",
    "maximum context limit",
    "maximum prompt length",
    "prompt exceeds max length",
    "tokens in request more than max tokens allowed",
    "range of input length should be",
    "context window exceeds limit",
    "but model only supports up to",
    "reduce the length of the messages",
    "`inputs` tokens + `max_new_tokens` must be",
    "context exceeds your deployment",
    "prompt token count of",  # GitHub Copilot, with "exceeds the limit of"
    "number of tokens to keep from the initial prompt",  # LM Studio
    "tokens when context the overflows",  # LM Studio
)

# Texts that hold one of the parts above and are something else (protocol.md 5.3; vector error/20).
NOT_OVERFLOW: Final = (
    "policy_blocked",
    "string too long. expected a string with maximum length",
    "expected maxlength",
)


def _pattern(template: str) -> re.Pattern[str]:
    """``<prompt>`` stands for a count to be read, ``<n>`` for any other, ``...`` for up to 80 characters."""
    text = template.replace("...", ".{0,80}?").replace("<n>", _N)
    return re.compile(
        re.sub(r"<(prompt|tools|output|limit|cap|end)>", lambda name: f"(?P<{name[1]}>{_N})", text), re.DOTALL
    )


# Looked for in the lower-case text; `tools` is added to `prompt`, `end` is a cap plus one.  The first fit counts.
NUMBERS: Final = tuple(
    _pattern(template)
    for template in (
        # Anthropic, and gateways that already speak its language
        r"prompt is too long[^0-9]{0,80}<prompt>\s*tokens?\s*>\s*<limit>",
        # vLLM: max_tokens alone is too large
        r"is too large: <output>\. ...context length is <limit> tokens and your request has <prompt>",
        # vLLM, newer: the output first, then the prompt
        r"context length is <limit> tokens...requested <output> output tokens...contains (?:at least )?<prompt>",
        # OpenAI and Azure, vLLM older
        r"context length is <limit> tokens...\(<prompt> in the messages, "
        r"(?:<tools> in the functions, )?(?:and )?<output> in the completion",
        # OpenRouter
        r"context length is <limit> tokens...\(<prompt> of text input(?:, <tools> of tool input)?"
        r"(?:, <output> in the output)?",
        # OpenAI "your messages resulted in N tokens", vLLM "your request has N input tokens"
        r"context length is <limit> tokens...(?:resulted in|request has|requested(?: about)?) <prompt>",
        # SGLang
        r"context length of <limit> tokens...total of <n> tokens: <prompt> tokens from the input messages and <output>",
        r"input \(<prompt> tokens\) is longer than the model's context length \(<limit>",
        r"input length \(<prompt>\) exceeds (?:the )?model's maximum context length \(<limit>",
        # vLLM: the engine's own check
        r"\(length <prompt>\) is longer than the maximum model length of <limit>",
        # llama.cpp
        r"request \(<prompt> tokens\) exceeds the available context size \(<limit>",
        # Gemini, Vertex
        r"input token count \(<prompt>\) exceeds the maximum number of tokens allowed \(<limit>",
        r"input token count is <prompt> but model only supports up to <limit>",
        # Kimi
        r"exceeded model token limit: <limit> \(requested: <prompt>",
        # xAI
        r"maximum prompt length is <limit> but the request contains <prompt>",
        # Mistral
        r"contains <prompt> tokens...too large for model with <limit> maximum context length",
        # Cerebras
        r"current length is <prompt> while limit is <limit>",
        # GitHub Copilot
        r"prompt token count of <prompt> exceeds the limit of <limit>",
        # LM Studio
        r"keep the first <prompt> tokens when context the overflows...context length of only <limit>",
        # OpenAI Responses
        r"configured limit of <limit> tokens...resulted in <prompt>",
        # Text Generation Inference, Together
        r"must be <= <limit>\. given: <prompt> `inputs` tokens and <output> `max_new_tokens`",
        # Fireworks
        r"prompt is too long: <prompt>, model maximum context length: <limit>",
    )
)
CAPS: Final = tuple(
    _pattern(template)
    for template in (
        # OpenAI
        r"max_(?:completion_)?tokens is too large: <output>\. this model supports at most <cap>",
        # OpenAI, Ark: a number out of its range
        r"max_(?:completion_|output_)?tokens...expected a value <= <cap>, but got <output>",
        # DeepSeek, DashScope: the range only
        r"range of max_(?:completion_)?tokens (?:is|should be) \[<n>, ?<cap>\]",
        # Groq
        r"max_(?:completion_)?tokens`? must be less than or equal to `?<cap>",
        # Vertex: an excluded end
        r"maxoutputtokens value of <output> but the supported range is from <n> \(inclusive\) to <end> \(exclusive\)",
    )
)
_MISTRAL: Final = re.compile(rf"too large for model with {_N} maximum context length")


def is_overflow(message: str, code: str = "") -> bool:
    """Whether ``message`` or the machine-readable ``code`` says that the prompt doesn't fit (protocol.md 5.3)."""
    text = f"{code} {message[:_SCAN]}".lower()
    if any(part in text for part in NOT_OVERFLOW):
        return False
    return any(part in text for part in WORDINGS) or _MISTRAL.search(text) is not None


def _figures(match: re.Match[str]) -> Limits:
    found = {name: int(value.replace(",", "")) for name, value in match.groupdict().items() if value is not None}
    prompt = found.get("prompt")
    if prompt is not None:
        prompt += found.get("tools", 0)
    cap = found.get("cap", found["end"] - 1 if "end" in found else None)
    return Limits(prompt, found.get("output"), found.get("limit"), cap)


def read_numbers(message: str) -> Limits:
    """The figures of an overflow text; all None where no pattern of :data:`NUMBERS` fits."""
    text = message[:_SCAN].lower()
    for pattern in NUMBERS:
        if match := pattern.search(text):
            return _figures(match)
    return UNKNOWN


def rewrite(message: str, code: str = "", *, known: Limits = UNKNOWN, asked: int | None = None) -> str | None:
    """What to tell the client, or None when this is neither an overflow nor a max_tokens over the limit.

    ``known`` are figures that the error carried as fields (llama.cpp's ``n_prompt_tokens`` and ``n_ctx``); ``asked`` is
    the max_tokens that was sent upstream, for servers that name only the range.  Three forms (protocol.md 5.3, 5.4):
    ``max_tokens: A > L, which ...``, ``input length and `max_tokens` exceed context limit: A + B > C ...`` (the prompt
    alone fits) and ``prompt is too long: X tokens > Y maximum``.
    """
    text = message[:_SCAN].lower()
    for pattern in CAPS:
        if match := pattern.search(text):
            figures = _figures(match)
            output = figures.output or asked
            if output is not None and figures.cap is not None and output > figures.cap:
                return (
                    f"max_tokens: {output} > {figures.cap}, which is the maximum allowed number of output tokens "
                    "for this model"
                )
            return None
    if not is_overflow(message, code):
        return None
    found = read_numbers(message)
    prompt = known.prompt if known.prompt is not None else found.prompt
    limit = known.limit if known.limit is not None else found.limit
    if prompt is not None and limit is not None:
        if prompt >= limit:
            return f"prompt is too long: {prompt} tokens > {limit} maximum"
        if found.output is not None and prompt + found.output > limit:
            return (
                f"input length and `max_tokens` exceed context limit: {prompt} + {found.output} > {limit}, "
                "decrease input length or `max_tokens` and try again"
            )
    return f"prompt is too long ({message})"
