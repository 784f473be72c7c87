"""A request of the Responses API, read into the one that scenarios know.

Rule: what OpenAI refuses is refused here in OpenAI's words, down to unknown members of items and parts, so that a
translation fault shows on the first run without a key.  Pure: bytes in, one struct out (protocol.md 8).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.request import (
    TOOL_LIMIT,
    TOOL_NAME,
    Asked,
    ChatMessage,
    ChatRequest,
    Function,
    JsonSchema,
    ResponseFormat,
    Tool,
)
from ccproxy_sanic.demo.responses_items import conversation, take
from ccproxy_sanic.demo.shapes import NUMBER, Shape

LEAST_OUTPUT: Final = 16
INCLUDED: Final = "reasoning.encrypted_content"
REQUEST: Final = Shape(
    required={"model": str},
    optional={
        "input": (str, list),
        **dict.fromkeys(("instructions", "previous_response_id", "prompt_cache_key", "prompt_cache_retention"), str),
        **dict.fromkeys(("safety_identifier", "service_tier", "truncation", "user"), str),
        **dict.fromkeys(("max_output_tokens", "max_tool_calls", "top_logprobs"), int),
        **dict.fromkeys(("temperature", "top_p"), NUMBER),
        **dict.fromkeys(("background", "parallel_tool_calls", "store", "stream"), bool),
        **dict.fromkeys(("include", "tools", "context_management"), list),
        **dict.fromkeys(("metadata", "moderation", "prompt", "prompt_cache_options", "reasoning"), dict),
        **dict.fromkeys(("stream_options", "text", "access_programs", "background_options", "image"), dict),
        **dict.fromkeys(("conversation", "tool_choice"), (str, dict)),
    },
)
REASONING: Final = Shape(optional=dict.fromkeys(("effort", "summary", "generate_summary", "context", "mode"), str))
FORMAT: Final = Shape(
    required={"type": str}, optional={"name": str, "schema": dict, "strict": bool, "description": str}
)
TEXT: Final = Shape(optional={"format": dict, "verbosity": str})
FUNCTION: Final = Shape(
    required={"type": str, "name": str},
    optional={"description": str, "parameters": dict, "strict": bool, "defer_loading": bool},
)


class AskedResponse(Asked):
    """``given`` is the request as it came: a Response object repeats much of it."""

    given: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def encrypted(self) -> bool:
        """Whether reasoning is wanted in a form that can be given back."""
        return INCLUDED in (self.given.get("include") or ())

    @property
    def summarised(self) -> bool:
        reasoning = self.given.get("reasoning") or {}
        return any(reasoning.get(name) is not None for name in ("summary", "generate_summary"))


def decode(body: bytes) -> AskedResponse:
    """Raises :class:`Fault` 400, or 404 for what isn't stored, for anything OpenAI would refuse."""
    try:
        given = msgspec.json.decode(body)
    except msgspec.DecodeError:
        given = None
    if not isinstance(given, dict):
        raise Fault(400, "We could not parse the JSON body of your request.")
    take(given, "", REQUEST)
    _check(given)
    items = given["input"]
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    messages, returned = conversation(items)
    if given.get("instructions"):
        messages.insert(0, ChatMessage("system", given["instructions"]))
    reasoning, text = given.get("reasoning") or {}, given.get("text") or {}
    take(reasoning, "reasoning.", REASONING)
    take(text, "text.", TEXT)
    tools = _tools(given.get("tools") or [])
    request = ChatRequest(
        model=given["model"],
        messages=messages,
        stream=given.get("stream"),
        max_completion_tokens=given.get("max_output_tokens"),
        tools=tools,
        tool_choice=_choice(given.get("tool_choice"), tools),
        parallel_tool_calls=given.get("parallel_tool_calls"),
        reasoning_effort=reasoning.get("effort"),
        response_format=_format(text.get("format")),
    )
    return AskedResponse(request, returned, request.reasoning_effort == "none", given)


def _check(given: dict[str, Any]) -> None:
    if given.get("previous_response_id") is not None:
        name = given["previous_response_id"]
        message = f"Previous response with id '{name}' not found."
        raise Fault(400, message, code="previous_response_not_found", param="previous_response_id")
    if given.get("input") is None:
        raise Fault(400, "Missing required parameter: 'input'.", code="missing_required_parameter", param="input")
    if given["input"] == []:
        message = (
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise Fault(400, message, code="empty_array", param="input")
    limit = given.get("max_output_tokens")
    if limit is not None and limit < LEAST_OUTPUT:
        raise Fault(
            400,
            "Invalid 'max_output_tokens': integer below minimum value. "
            f"Expected a value >= {LEAST_OUTPUT}, but got {limit} instead.",
            code="integer_below_min_value",
            param="max_output_tokens",
        )


def _tools(given: list[Any]) -> list[Tool]:
    if len(given) > TOOL_LIMIT:
        raise Fault(400, f"Invalid 'tools': array too long. Expected {TOOL_LIMIT} at most.", param="tools")
    tools = []
    for at, raw in enumerate(given):
        where = f"tools[{at}]."
        if isinstance(raw, dict) and raw.get("type") not in ("function", None):
            continue  # a tool that the server runs
        tool = take(raw, where, FUNCTION)
        if not TOOL_NAME.fullmatch(tool["name"]):
            message = f"Invalid '{where}name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
            raise Fault(400, message, code="invalid_value", param=f"{where}name")
        parameters = tool.get("parameters")
        if tool.get("strict"):
            _check_strict(tool["name"], parameters or {}, where)
        tools.append(Tool(Function(tool["name"], tool.get("description"), parameters)))
    return tools


def _check_strict(name: str, parameters: dict[str, Any], where: str) -> None:
    """Strict schemas close their objects and require all they name (protocol.md 9.2); looked at for the root only."""
    problem = None
    required, properties = parameters.get("required"), parameters.get("properties")
    required = required if isinstance(required, list) else []
    properties = properties if isinstance(properties, dict) else {}
    if parameters.get("additionalProperties") is not False:
        problem = "'additionalProperties' is required to be supplied and to be false."
    elif missing := [key for key in properties if key not in required]:
        problem = (
            "'required' is required to be supplied and to be an array including every key in properties. "
            f"Missing '{missing[0]}'."
        )
    if problem is not None:
        message = f"Invalid schema for function '{name}': In context=(), {problem}"
        raise Fault(400, message, code="invalid_function_parameters", param=f"{where}parameters")


def _choice(given: str | dict[str, Any] | None, tools: list[Tool]) -> str | dict[str, Any] | None:
    """In the words of Chat Completions."""
    name = given.get("name") if isinstance(given, dict) else None
    if (given == "required" and not tools) or (name and name not in [tool.function.name for tool in tools]):
        raise Fault(400, f"Tool choice '{name or given}' not found in 'tools' parameter.", param="tool_choice")
    return {"type": "function", "function": {"name": name}} if name else given


def _format(given: dict[str, Any] | None) -> ResponseFormat | None:
    if given is None:
        return None
    shape = take(given, "text.format.", FORMAT)
    return ResponseFormat(shape["type"], JsonSchema(shape.get("schema")))
