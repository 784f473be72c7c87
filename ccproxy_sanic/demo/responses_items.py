"""The ``input`` of a Responses request: its items as the messages that scenarios know, and OpenAI's words for faults.

Rule: an item, a part or a member that OpenAI doesn't know is refused by its path, and so is what has no counterpart:
an output without its call, a call without its output, reasoning without what it was for (protocol.md 8).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.request import Called, ChatMessage, ImageUrl, Part, ToolCall
from ccproxy_sanic.demo.seal import unseal
from ccproxy_sanic.demo.shapes import NAMES, Shape, misfit

REASONING_SEAL: Final = "responses reasoning"
CALL_ID_LENGTH: Final = 64
MOVED: Final = {  # members of Chat Completions that have another name or place here
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
ITEMS: Final = {
    "message": Shape(
        required={"role": str, "content": (str, list)}, optional={"type": str, "id": str, "status": str, "phase": str}
    ),
    "function_call": Shape(
        required={"type": str, "call_id": str, "name": str, "arguments": str},
        optional={"id": str, "status": str, "namespace": str},
    ),
    "function_call_output": Shape(
        required={"type": str, "call_id": str, "output": (str, list)}, optional={"id": str, "status": str}
    ),
    "reasoning": Shape(
        required={"type": str, "summary": list}, optional={"id": str, "encrypted_content": str, "content": list}
    ),
    "item_reference": Shape(required={"id": str}, optional={"type": str}),
}
SUMMARY: Final = Shape(required={"type": str, "text": str})
ID_BEGINS: Final = {"message": "msg", "function_call": "fc", "function_call_output": "fc", "reasoning": "rs"}
CACHED: Final[dict[str, type]] = {"prompt_cache_breakpoint": dict}
PARTS: Final = {
    "input_text": Shape(required={"type": str, "text": str}, optional=CACHED),
    "input_image": Shape(required={"type": str}, optional={"image_url": str, "file_id": str, "detail": str, **CACHED}),
    "input_file": Shape(
        required={"type": str},
        optional={**dict.fromkeys(("file_data", "file_id", "file_url", "filename", "detail"), str), **CACHED},
    ),
    "output_text": Shape(required={"type": str, "text": str}, optional={"annotations": list, "logprobs": list}),
    "refusal": Shape(required={"type": str, "refusal": str}),
}
GIVEN: Final = ("input_text", "input_image", "input_file")
SAID: Final = ("output_text", "refusal")
PARTS_OF_ROLE: Final = {"user": GIVEN, "system": GIVEN, "developer": GIVEN, "assistant": SAID}


def conversation(items: list[Any]) -> tuple[list[ChatMessage], int]:
    """The items as messages, what one turn of the assistant said in one; and the count of known reasoning."""
    messages: list[ChatMessage] = []
    unanswered: dict[str, None] = {}
    returned = 0
    for at, raw in enumerate(items):
        where = f"input[{at}]."
        kind = raw.get("type", "message" if "role" in raw else None) if isinstance(raw, dict) else None
        if not isinstance(kind, str) or kind not in ITEMS:
            raise invalid_value(f"input[{at}]", str(kind), ITEMS)
        item = take(raw, where, ITEMS[kind])
        _check_id(item.get("id"), kind, where)
        match kind:
            case "message":
                messages.append(_message(item, where))
            case "function_call":
                unanswered[item["call_id"]] = None
                call = ToolCall(Called(item["name"], item["arguments"]), _call_id(item, where))
                messages.append(ChatMessage("assistant", tool_calls=[call]))
            case "function_call_output":
                messages.append(_output(item, where, unanswered))
            case "reasoning":
                returned += _reasoning(item, where, items[at + 1 :])
            case _:
                raise _not_stored(item["id"])
    if unanswered:
        raise Fault(400, f"No tool output found for function call {next(iter(unanswered))}.", code="", param="input")
    return _joined(messages), returned


def _joined(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Neighbouring assistant messages as one: in Chat Completions a turn's text and calls stand in one message."""
    kept: list[ChatMessage] = []
    for message in messages:
        last = kept[-1] if kept else None
        if last is None or last.role != "assistant" or message.role != "assistant":
            kept.append(message)
            continue
        last.content = "\n".join(filter(None, (last.text(), message.text()))) or None
        last.tool_calls = [*(last.tool_calls or ()), *(message.tool_calls or ())] or None
    return kept


def _check_id(given: str | None, kind: str, where: str) -> None:
    begins = ID_BEGINS.get(kind, "")
    if given is not None and not given.startswith(begins):
        message = f"Invalid '{where}id': '{given}'. Expected an ID that begins with '{begins}'."
        raise Fault(400, message, code="invalid_value", param=f"{where}id")


def _call_id(item: dict[str, Any], where: str) -> str:
    name: str = item["call_id"]
    if len(name) > CALL_ID_LENGTH:
        raise Fault(
            400,
            f"Invalid '{where}call_id': string too long. Expected a string with maximum length {CALL_ID_LENGTH}, "
            f"but got a string with length {len(name)} instead.",
            code="string_above_max_length",
            param=f"{where}call_id",
        )
    return name


def _message(item: dict[str, Any], where: str) -> ChatMessage:
    role = item["role"]
    if role not in PARTS_OF_ROLE:
        raise invalid_value(where.rstrip("."), role, PARTS_OF_ROLE)
    return ChatMessage(role, _content(item["content"], f"{where}content", PARTS_OF_ROLE[role]))


def _content(content: str | list[Any], where: str, allowed: tuple[str, ...]) -> str | list[Part]:
    if isinstance(content, str):
        return content
    parts = []
    for at, raw in enumerate(content):
        kind = raw.get("type") if isinstance(raw, dict) else None
        if not isinstance(kind, str) or kind not in allowed:
            raise invalid_value(f"{where}[{at}]", str(kind), allowed)
        part = take(raw, f"{where}[{at}].", PARTS[kind])
        image = ImageUrl(part["image_url"]) if part.get("image_url") else None
        parts.append(Part(kind, part.get("text") or part.get("refusal") or "", image))
    return parts


def _output(item: dict[str, Any], where: str, unanswered: dict[str, None]) -> ChatMessage:
    name = item["call_id"]
    if name not in unanswered:
        raise Fault(400, f"No tool call found for function call output with call_id {name}.", code="", param="input")
    del unanswered[name]
    return ChatMessage("tool", _content(item["output"], f"{where}output", GIVEN), tool_call_id=name)


def _reasoning(item: dict[str, Any], where: str, following: list[Any]) -> bool:
    """Whether it is exactly what the demo gave.  Raises Fault if it isn't the demo's or stands alone."""
    name, sealed = item.get("id"), item.get("encrypted_content")
    if sealed is None:
        raise _not_stored(name or "")
    opened = unseal(REASONING_SEAL, sealed)
    owner, _, text = (opened or "").partition("\n")
    if opened is None or name not in (None, owner):
        shown = f"{sealed[:4]}...{sealed[-4:]}"
        message = f"The encrypted content {shown} could not be verified."
        raise Fault(400, message, code="invalid_encrypted_content")
    if not any(_answers(one) for one in following[:1]):
        message = f"Item '{owner}' of type 'reasoning' was provided without its required following item."
        raise Fault(400, message, code="", param="input")
    parts = [take(part, f"{where}summary[{at}].", SUMMARY) for at, part in enumerate(item["summary"])]
    summary = "\n\n".join(part["text"] for part in parts)
    return name == owner and summary in ("", text)


def _answers(item: Any) -> bool:
    kind = item.get("type", "message") if isinstance(item, dict) else None
    return kind in ("reasoning", "function_call") or (kind == "message" and item.get("role") == "assistant")


def _not_stored(name: str) -> Fault:
    message = (
        f"Item with id '{name}' not found. Items are not persisted when `store` is set to false. "
        "Try again with `store` set to true, or remove this item from your input."
    )
    return Fault(404, message, code="", param="input")


def take(value: Any, where: str, shape: Shape) -> dict[str, Any]:
    """``value``, if it has the shape; ``where`` is its path, with the dot after it."""
    if not isinstance(value, dict):
        raise _invalid_type(where.rstrip("."), NAMES[dict], NAMES[type(value)])
    if (found := misfit(value, shape)) is None:
        return value
    path = f"{where}{found.name}"
    if found.kind == "missing":
        raise Fault(400, f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)
    if found.kind == "type":
        raise _invalid_type(path, found.expected, found.got)
    if path in MOVED:
        message = f"Unsupported parameter: '{path}'. In the Responses API, this parameter has moved to '{MOVED[path]}'."
        raise Fault(400, message, code="unsupported_parameter", param=path)
    raise Fault(400, f"Unknown parameter: '{path}'.", code="unknown_parameter", param=path)


def _invalid_type(path: str, expected: str, got: str) -> Fault:
    message = f"Invalid type for '{path}': expected {_one(expected)}, but got {_one(got)} instead."
    return Fault(400, message, code="invalid_type", param=path)


def invalid_value(path: str, value: str, supported: Iterable[str]) -> Fault:
    listed = ", ".join(f"'{one}'" for one in supported)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return Fault(400, message, code="invalid_value", param=path)


def _one(name: str) -> str:
    return f"an {name}" if name[0] in "aio" else f"a {name}"
