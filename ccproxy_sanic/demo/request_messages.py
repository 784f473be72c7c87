"""A request of Anthropic's Messages API, read into the one that scenarios know.

Rule: what Anthropic refuses is refused here in Anthropic's words (protocol.md 1.3), so that a pass-through that changed
something shows on the first run without a key.  Pure: bytes in, one struct out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.messages_blocks import conversation, take, unknown_tag
from ccproxy_sanic.demo.request import Asked, ChatRequest, Function, JsonSchema, ResponseFormat, Tool
from ccproxy_sanic.demo.shapes import NUMBER, Shape

TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
LEAST_BUDGET: Final = 1024
REQUEST: Final = Shape(
    required={"model": str, "messages": list},
    optional={
        "max_tokens": int,
        "system": (str, list),
        **dict.fromkeys(("temperature", "top_p"), NUMBER),
        "top_k": int,
        "stream": bool,
        **dict.fromkeys(("tools", "stop_sequences", "mcp_servers", "fallbacks"), list),
        **dict.fromkeys(("tool_choice", "thinking", "metadata", "output_config", "context_management"), dict),
        **dict.fromkeys(("cache_control", "output_format", "diagnostics", "compaction", "thread"), dict),
        **dict.fromkeys(("service_tier", "inference_geo", "speed", "user_profile_id", "workspace_id"), str),
        **dict.fromkeys(("billing_policy", "fallback_credit_token"), str),
        "container": (str, dict),
    },
)
TOOL: Final = Shape(
    required={"name": str, "input_schema": dict},
    optional={
        **dict.fromkeys(("type", "description"), str),
        **dict.fromkeys(("strict", "defer_loading", "eager_input_streaming"), bool),
        "cache_control": dict,
        **dict.fromkeys(("allowed_callers", "input_examples"), list),
    },
)
THINKING: Final = Shape(required={"type": str}, optional={"budget_tokens": int, "display": str, "block_binding": dict})
CONFIG: Final = Shape(optional={"effort": str, "format": dict, "task_budget": dict})
FORMAT: Final = Shape(required={"type": str, "schema": dict})
CHOICE: Final = Shape(required={"type": str}, optional={"name": str, "disable_parallel_tool_use": bool})
CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


class AskedMessage(Asked):
    omitted: bool = False  # thinking is given without its text


def decode(body: bytes, headers: Mapping[str, str], *, counting: bool = False) -> AskedMessage:
    """Raises :class:`Fault` 400 for anything Anthropic would refuse; ``counting``: there is no ``max_tokens``."""
    if "anthropic-version" not in headers:
        raise Fault(400, "anthropic-version: header is required")
    try:
        given = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Fault(400, f"The request body is not valid JSON: {error}") from None
    take(given, "", REQUEST)
    if not all(isinstance(stop, str) for stop in given.get("stop_sequences") or ()):
        raise Fault(400, "stop_sequences: Input should be a valid string")
    if not counting:
        _check_limit(given)
    tools = _tools(given.get("tools") or [])
    messages, returned = conversation(given.get("system"), given["messages"])
    choice = _member(given, "tool_choice", CHOICE)
    thinking = _member(given, "thinking", THINKING)
    config = _member(given, "output_config", CONFIG)
    shape = _member(config, "format", FORMAT) or _member(given, "output_format", FORMAT)
    request = ChatRequest(
        model=given["model"],
        messages=messages,
        stream=given.get("stream"),
        max_completion_tokens=given.get("max_tokens"),
        stop=given.get("stop_sequences"),
        tools=tools,
        tool_choice=_choice(choice, tools),
        parallel_tool_calls=not choice.get("disable_parallel_tool_use"),
        reasoning_effort=_effort(thinking, config),
        response_format=ResponseFormat("json_schema", JsonSchema(shape["schema"])) if shape else None,
    )
    return AskedMessage(request, returned, thinking.get("type") == "disabled", thinking.get("display") == "omitted")


def _member(given: dict[str, Any], name: str, shape: Shape) -> dict[str, Any]:
    """An optional object; empty if it isn't there."""
    return take(given[name], f"{name}.", shape) if given.get(name) is not None else {}


def _check_limit(given: dict[str, Any]) -> None:
    limit = given.get("max_tokens")
    if limit is None:
        raise Fault(400, "max_tokens: Field required")
    if limit < 1:
        raise Fault(400, "max_tokens: Input should be greater than or equal to 1")
    thinking = _member(given, "thinking", THINKING)
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if budget is None:
        raise Fault(400, "thinking.enabled.budget_tokens: Field required")
    if budget < LEAST_BUDGET:
        raise Fault(400, f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}")
    if budget >= limit:
        raise Fault(400, "`max_tokens` must be greater than `thinking.budget_tokens`")


def _effort(thinking: dict[str, Any], config: dict[str, Any]) -> str | None:
    """Anthropic's default is high (protocol.md 1.6); without a word about thinking there is none."""
    if thinking.get("type") not in ("enabled", "adaptive"):
        return "none" if thinking else None
    return config.get("effort") or "high"


def _tools(given: list[Any]) -> list[Tool]:
    tools = []
    for at, raw in enumerate(given):
        if isinstance(raw, dict) and raw.get("type") not in ("custom", None):
            continue  # a tool that the server runs
        tool = take(raw, f"tools.{at}.custom.", TOOL)
        if not TOOL_NAME.fullmatch(tool["name"]):
            raise Fault(400, f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if "type" not in tool["input_schema"]:
            raise Fault(400, f"tools.{at}.custom.input_schema.type: Field required")
        tools.append(Tool(Function(tool["name"], tool.get("description"), tool["input_schema"])))
    if len({tool.function.name for tool in tools}) < len(tools):
        raise Fault(400, "tools: Tool names must be unique.")
    return tools


def _choice(choice: dict[str, Any], tools: list[Tool]) -> str | dict[str, Any] | None:
    """In the words of Chat Completions."""
    kind = choice.get("type")
    if kind is None or kind in CHOICES:
        if kind == "any" and not tools:
            raise Fault(400, "tool_choice may only be specified while providing tools.")
        return CHOICES[kind] if kind else None
    if kind != "tool":
        raise unknown_tag("tool_choice", kind, (*CHOICES, "tool"))
    if choice.get("name") not in [tool.function.name for tool in tools]:
        raise Fault(400, f"Tool '{choice.get('name')}' not found in provided tools")
    return {"type": "function", "function": {"name": choice["name"]}}
