"""Refusals of fields, limits and efforts as servers really word them, each with what it changes.

Rule: the words are those that the server's users quote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ccproxy_sanic.translate.repairs import Api


class Wording(NamedTuple):
    """A body of an answer of ``status``, or the message of one in OpenAI's shape; ``made`` is of the first cure."""

    server: str
    said: object
    made: Mapping[str, Any]
    given: Mapping[str, Any] = {}
    status: int = 400
    api: Api = "chat"
    lasts: bool = True


EFFORTS = {level: {"reasoning_effort": level} for level in ("none", "low", "medium", "high", "xhigh")}
NO_OFF = {level: row for level, row in EFFORTS.items() if level != "none"}
GIVEN = {"effort": EFFORTS}
REFUSED = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted", "input": {}}
UNKNOWN = "Invalid JSON payload received. Unknown name"
VLLM_LIST = (
    "[{'type': 'extra_forbidden', 'loc': ('body', '%s'), 'msg': 'Extra inputs are not permitted', 'input': {'a': 1}}]"
)

FIELDS = [
    # the name of the limit, and the limit
    Wording(
        "OpenAI",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        {"output_cap": "max_completion_tokens"},
    ),
    Wording(
        "Azure",
        "Unrecognized request argument supplied: max_completion_tokens",
        {"output_cap": "max_tokens"},
        {"output_cap": "max_completion_tokens"},
    ),
    Wording(
        "Mistral",
        {"object": "error", "message": {"detail": [{**REFUSED, "loc": ["body", "max_completion_tokens"]}]}},
        {"output_cap": "max_tokens"},
        {"output_cap": "max_completion_tokens"},
        422,
    ),
    Wording(
        "vLLM, old",
        {"object": "error", "message": VLLM_LIST % "max_completion_tokens", "type": "BadRequestError", "code": 400},
        {"output_cap": "max_tokens"},
        {"output_cap": "max_completion_tokens"},
    ),
    Wording(
        "OpenAI",
        "max_tokens is too large: 40000. This model supports at most 16384 completion tokens, whereas you provided "
        "40000.",
        {"max_output": 16384},
    ),
    Wording("DeepSeek", "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", {"max_output": 8192}),
    Wording(
        "Groq",
        "`max_completion_tokens` must be less than or equal to `8192`, the maximum value for `max_completion_tokens` "
        "is less than the `context_window` for this model",
        {"max_output": 8192},
    ),
    Wording(
        "Anthropic",
        "max_tokens: 40000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet",
        {"max_output": 8192},
    ),
    Wording(
        "vLLM",
        "'max_tokens' or 'max_completion_tokens' is too large: 40000. This model's maximum context length is 32768 "
        "tokens and your request has 2768 input tokens (40000 > 32768 - 2768).",
        {"max_output": 30000},
        lasts=False,
    ),
    # sampling
    Wording(
        "OpenAI",
        "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is "
        "supported.",
        {"temperature": False},
    ),
    Wording(
        "OpenAI Responses",
        "Unsupported parameter: 'top_p' is not supported with this model.",
        {"top_p": False},
        api="responses",
    ),
    Wording("Kimi", "invalid temperature: only 1 is allowed for this model", {"temperature": False}),
    Wording("Kimi", "invalid top_p: only 0.95 is allowed for this model", {"top_p": False}),
    Wording(
        "Bedrock",
        "The model returned the following errors: `temperature` and `top_p` cannot both be specified for this model. "
        "Please use only one.",
        {"top_p": False},
    ),
    Wording(
        "Anthropic",
        "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation",
        {"temperature": False},
        lasts=False,
    ),
    Wording(
        "TGI", "Input validation error: `temperature` must be strictly positive", {"temperature_min": 0.01}, {}, 422
    ),
    Wording("Groq", "property 'top_k' is unsupported, did you mean 'top_p'?", {"top_k": False}, {"top_k": True}),
    Wording(
        "Gemini",
        [{"error": {"code": 400, "message": f'{UNKNOWN} "top_k": Cannot find field.', "status": "INVALID_ARGUMENT"}}],
        {"top_k": False},
        {"top_k": True},
    ),
    # stop sequences
    Wording("OpenAI", "Unsupported parameter: 'stop' is not supported with this model.", {"stop": False}),
    Wording(
        "xAI", {"code": "invalid-argument", "error": "Argument not supported on this model: stop"}, {"stop": False}
    ),
    Wording(
        "OpenAI",
        "Invalid 'stop': array too long. Expected an array with maximum length 2, but got an array with length 4 "
        "instead.",
        {"max_stops": 2},
    ),
    # fields of the envelope
    Wording(
        "Azure",
        "Unrecognized request argument supplied: stream_options. Please contact us through an Azure support request.",
        {"stream_options": False},
    ),
    Wording("Azure", "Unknown parameter: 'stream_options'.", {"stream_options": False}),
    Wording("Fireworks", "Extra inputs are not permitted, field: 'stream_options'", {"stream_options": False}),
    Wording(
        "Gemini",
        f'{UNKNOWN} "stream_options": Cannot find field.\n{UNKNOWN} "user": Cannot find field.',
        {"stream_options": False, "user_id": "none"},
        {"user_id": "user"},
    ),
    Wording("Azure", "Unrecognized request argument supplied: parallel_tool_calls", {"parallel_tool_calls": False}),
    Wording(
        "Cerebras",
        {
            "message": "body.parallel_tool_calls: property 'parallel_tool_calls' is unsupported",
            "type": "invalid_request_error",
            "param": "validation_error",
            "code": "wrong_api_format",
        },
        {"parallel_tool_calls": False},
    ),
    Wording(
        "LiteLLM",
        "litellm.UnsupportedParamsError: x does not support parameters: ['parallel_tool_calls'], for model=m.",
        {"parallel_tool_calls": False},
    ),
    Wording(
        "serde",
        "unknown field `service_tier`, expected one of `model`, `messages`",
        {"service_tier": False},
        {"service_tier": True},
    ),
    Wording(
        "OpenAI-like", "Unknown parameter: 'prompt_cache_key'.", {"prompt_cache_key": False}, {"prompt_cache_key": True}
    ),
    Wording(
        "of the user's profile",
        "tool_stream: Extra inputs are not permitted",
        {"extra": {"other": 2}},
        {"extra": {"tool_stream": True, "other": 2}},
        422,
    ),
    # effort
    Wording(
        "OpenAI",
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: "
        "'minimal', 'low', 'medium', and 'high'.",
        {
            "effort": {
                "none": {"reasoning_effort": "minimal"},
                "low": {"reasoning_effort": "low"},
                "medium": {"reasoning_effort": "medium"},
                "high": {"reasoning_effort": "high"},
                "xhigh": {"reasoning_effort": "high"},
            }
        },
        GIVEN,
    ),
    Wording(
        "OpenAI Responses",
        "Unsupported value: 'reasoning.effort' does not support 'low' with this model. Supported values are: 'high'.",
        {"effort": {level: {"reasoning_effort": "high"} for level in NO_OFF}},
        GIVEN,
        api="responses",
    ),
    Wording(
        "OpenAI",
        "Invalid value: 'xhigh'. Supported values are: 'none', 'low', 'medium', and 'high'.",
        {"effort": {**EFFORTS, "xhigh": {"reasoning_effort": "high"}}},
        GIVEN,
    ),
    Wording(
        "Groq",
        "`reasoning_effort` must be one of `none` or `default`",
        {"effort": {"none": {"reasoning_effort": "none"}} | {x: {"reasoning_effort": "default"} for x in NO_OFF}},
        GIVEN,
    ),
    Wording(
        "vLLM",
        "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'reasoning_effort'), 'msg': \"Input should "
        "be 'low', 'medium' or 'high'\", 'input': 'none'}",
        {"effort": {**NO_OFF, "xhigh": {"reasoning_effort": "high"}}},
        GIVEN,
    ),
    Wording(
        "DeepSeek",
        "Failed to deserialize the JSON body into the target type: reasoning_effort: unknown variant `none`, expected "
        "one of `high`, `low`, `medium`, `max`, `xhigh` at line 1 column 9",
        {"effort": NO_OFF},
        GIVEN,
    ),
    Wording(
        "Ollama",
        'invalid reasoning value: \'xhigh\' (must be "high", "medium", "low", "max", or "none")',
        {"effort": {**EFFORTS, "xhigh": {"reasoning_effort": "high"}}},
        GIVEN,
    ),
    Wording(
        "Ollama",
        'think value "medium" is not supported for this model',
        {"effort": {level: row for level, row in EFFORTS.items() if level != "medium"}},
        GIVEN,
    ),
    Wording("Ollama", '"gemma3n:e4b" does not support thinking', {"effort": {}}, GIVEN),
    Wording("OpenAI", "Unrecognized request argument supplied: reasoning_effort", {"effort": {}}, GIVEN),
    Wording(
        "OpenAI Responses",
        "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
        {"effort": {}},
        GIVEN,
        api="responses",
    ),
    Wording(
        "xAI",
        {"code": "invalid-argument", "error": "Model grok-4-latest does not support parameter reasoningEffort."},
        {"effort": {}},
        GIVEN,
    ),
    Wording(
        "OpenRouter",
        "Reasoning is mandatory for this endpoint and cannot be disabled.",
        {"effort": {"high": {"reasoning": {"effort": "high"}}}},
        {"effort": {"none": {"reasoning": {"enabled": False}}, "high": {"reasoning": {"effort": "high"}}}},
    ),
    Wording(
        "Gemini",
        [{"error": {"code": 400, "message": "Budget 0 is invalid. This model only works in thinking mode."}}],
        {"effort": NO_OFF},
        GIVEN,
    ),
    Wording(
        "Kimi",
        "cannot specify both 'thinking' and 'reasoning_effort'",
        {"effort": {"high": {"thinking": {"type": "enabled"}}}},
        {"effort": {"high": {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}}},
    ),
    Wording(
        "DashScope",
        "parameter.enable_thinking must be set to false for non-streaming calls",
        {"extra": {"enable_thinking": False}, "effort": {}},
        {"effort": {"high": {"enable_thinking": True, "thinking_budget": 5}}},
        lasts=False,
    ),
]
