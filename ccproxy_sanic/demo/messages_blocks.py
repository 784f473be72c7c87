"""The ``messages`` of a Messages request as the messages that scenarios know, and Anthropic's words for faults.

Rule: each call of a turn is answered in the next one and nothing else is; thinking comes back as the demo gave it or
not at all (protocol.md 1.3, claude-code.md 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.request import Called, ChatMessage, ImageUrl, Part, ToolCall
from ccproxy_sanic.demo.seal import unseal
from ccproxy_sanic.demo.shapes import NAMES, Shape, misfit

THINKING_SEAL: Final = "messages thinking"
ROLES: Final = ("user", "assistant", "system")
MESSAGE: Final = Shape(
    required={"role": str}, optional={"content": (str, list), "output_config": dict, "clear_at": (str, dict)}
)
OPTIONS: Final[dict[str, type]] = {"cache_control": dict}
BLOCKS: Final = {
    "text": Shape(required={"type": str, "text": str}, optional={"citations": list, **OPTIONS}),
    "image": Shape(required={"type": str, "source": dict}, optional=OPTIONS),
    "document": Shape(
        required={"type": str, "source": dict}, optional={"title": str, "context": str, "citations": dict, **OPTIONS}
    ),
    "search_result": Shape(required={"type": str, "content": list, "source": str, "title": str}, loose=True),
    "thinking": Shape(required={"type": str, "thinking": str, "signature": str}),
    "redacted_thinking": Shape(required={"type": str, "data": str}),
    "tool_use": Shape(
        required={"type": str, "id": str, "name": str, "input": dict},
        optional={"caller": dict, "toolset_name": str, **OPTIONS},
    ),
    "tool_result": Shape(
        required={"type": str, "tool_use_id": str},
        optional={"content": (str, list), "is_error": bool, **OPTIONS},
    ),
    "tool_reference": Shape(required={"type": str, "tool_name": str}, optional=OPTIONS),
    "tool_addition": Shape(required={"type": str, "tool": dict}),
    "tool_removal": Shape(required={"type": str, "tool": dict}),
}
GIVEN: Final = ("text", "image", "document", "search_result")
BLOCKS_OF_ROLE: Final = {
    "user": (*GIVEN, "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use"),
    "system": ("text", "tool_addition", "tool_removal"),
}
BLOCKS_OF_RESULT: Final = (*GIVEN, "tool_reference")
TYPES: Final = {
    NAMES[str]: "string",
    NAMES[int]: "integer",
    NAMES[bool]: "boolean",
    NAMES[list]: "list",
    NAMES[dict]: "dictionary",
}


def take(value: Any, where: str, shape: Shape) -> dict[str, Any]:
    """``value``, if it has the shape; ``where`` is its path, with the dot after it."""
    if not isinstance(value, dict):
        raise Fault(400, f"{where.rstrip('.') or 'body'}: Input should be a valid dictionary")
    if (found := misfit(value, shape)) is None:
        return value
    words = {
        "missing": "Field required",
        "unknown": "Extra inputs are not permitted",
        "type": f"Input should be a valid {TYPES.get(found.expected, found.expected)}",
    }
    raise Fault(400, f"{where}{found.name}: {words[found.kind]}")


def unknown_tag(where: str, kind: object, allowed: Iterable[str]) -> Fault:
    tags = ", ".join(f"'{one}'" for one in allowed)
    message = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
    return Fault(400, f"{where}: {message}")


def conversation(system: str | list[Any] | None, given: list[Any]) -> tuple[list[ChatMessage], int]:
    """The messages, what one turn said in one; and how many thinking blocks of the demo's own came back."""
    turns = _turns(given)
    if not turns:
        raise Fault(400, "messages: at least one message is required")
    if turns[0][1] == "system":
        raise Fault(400, "messages.0: use the top-level 'system' parameter for the initial system prompt")
    if turns[0][1] != "user":
        raise Fault(400, 'messages: first message must use the "user" role')
    if [role for _, role, _ in turns if role != "system"][-1] == "assistant":
        message = "This model does not support assistant message prefill."
        raise Fault(400, f"{message} The conversation must end with a user message.")
    messages = [] if not system else [ChatMessage("system", _text(system, "system"))]
    returned = 0
    calls: list[str] = []
    for at, role, blocks in turns:
        if role == "system":
            messages.append(ChatMessage("system", _text(blocks, f"messages.{at}.content")))
        elif role == "assistant":
            returned += sum(_thinking(block, at, number) for number, block in enumerate(blocks))
            calls = _ids(blocks, at)
            messages.append(_said(blocks))
        else:
            messages += _results(blocks, at, calls)
            calls = []
    return messages, returned


def _turns(given: list[Any]) -> list[tuple[int, str, list[dict[str, Any]]]]:
    """(place, role, checked blocks); neighbours of one role are one turn (protocol.md 1.3 V5)."""
    turns: list[tuple[int, str, list[dict[str, Any]]]] = []
    for at, raw in enumerate(given):
        message = take(raw, f"messages.{at}.", MESSAGE)
        role = message["role"]
        if role not in ROLES:
            raise Fault(400, f"messages.{at}.role: Input should be 'user' or 'assistant'")
        blocks = _blocks(message.get("content") or [], f"messages.{at}.content", BLOCKS_OF_ROLE[role])
        if not blocks and role != "system":
            reason = "all messages must have non-empty content except for the optional final assistant message"
            raise Fault(400, f"messages.{at}: {reason}")
        if turns and turns[-1][1] == role:
            turns[-1][2].extend(blocks)
        else:
            turns.append((at, role, blocks))
    return turns


def _blocks(content: str | list[Any], where: str, allowed: tuple[str, ...]) -> list[dict[str, Any]]:
    """Checked blocks; a string is a text block."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for at, raw in enumerate(blocks):
        kind = raw.get("type") if isinstance(raw, dict) else None
        if not isinstance(kind, str) or kind not in allowed:
            raise unknown_tag(f"{where}.{at}", kind, allowed)
        block = take(raw, f"{where}.{at}.{kind}.", BLOCKS[kind])
        if kind == "text" and not block["text"].strip():
            raise Fault(400, f"{where.partition('.')[0]}: text content blocks must contain non-whitespace text")
        if kind == "tool_result":
            _blocks(block.get("content") or [], f"{where}.{at}.tool_result.content", BLOCKS_OF_RESULT)
    return blocks


def _text(content: str | list[Any], where: str) -> str:
    return "\n".join(block.get("text", "") for block in _blocks(content, where, BLOCKS_OF_ROLE["system"]))


def _parts(blocks: list[dict[str, Any]]) -> list[Part]:
    return [Part(block["type"], block.get("text", ""), _image(block)) for block in blocks]


def _image(block: dict[str, Any]) -> ImageUrl | None:
    source = block.get("source")
    if block["type"] != "image" or not isinstance(source, dict):
        return None
    if source.get("type") == "base64":
        return ImageUrl(f"data:{source.get('media_type')};base64,{source.get('data')}")
    return ImageUrl(str(source.get("url")))


def _thinking(block: dict[str, Any], at: int, number: int) -> bool:
    """Whether it is one of the demo's; raises Fault if it is somebody else's or was changed."""
    where = f"messages.{at}.content.{number}"
    if block["type"] == "redacted_thinking":
        raise Fault(400, f"{where}: Invalid `data` in `redacted_thinking` block")
    if block["type"] != "thinking":
        return False
    text = unseal(THINKING_SEAL, block["signature"])
    if text is None:
        raise Fault(400, f"{where}: Invalid `signature` in `thinking` block")
    if block["thinking"] not in ("", text):
        raise Fault(
            400,
            f"{where}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
            "These blocks must remain as they were in the original response.",
        )
    return True


def _ids(blocks: list[dict[str, Any]], at: int) -> list[str]:
    ids: list[str] = []
    for number, block in enumerate(blocks):
        if block["type"] != "tool_use":
            continue
        if block["id"] in ids:
            raise Fault(400, f"messages.{at}.content.{number}: `tool_use` ids must be unique")
        ids.append(block["id"])
    return ids


def _said(blocks: list[dict[str, Any]]) -> ChatMessage:
    """An assistant's turn."""
    calls = [
        ToolCall(Called(block["name"], msgspec.json.encode(block["input"]).decode()), block["id"])
        for block in blocks
        if block["type"] == "tool_use"
    ]
    text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
    return ChatMessage("assistant", text or None, calls or None)


def _results(blocks: list[dict[str, Any]], at: int, calls: list[str]) -> list[ChatMessage]:
    """A user's turn after one that made ``calls``: a message for each result, then what else was said."""
    waiting = list(calls)
    messages = []
    for number, block in enumerate(blocks):
        if block["type"] != "tool_result":
            continue
        name = block["tool_use_id"]
        if name not in waiting:
            raise Fault(
                400,
                f"messages.{at}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {name}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message.",
            )
        waiting.remove(name)
        content = block.get("content") or ""
        content = content if isinstance(content, str) else _parts(content)
        messages.append(ChatMessage("tool", content, tool_call_id=name))
    if waiting:
        raise Fault(
            400,
            f"messages.{at - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(waiting)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message.",
        )
    if said := _parts([block for block in blocks if block["type"] != "tool_result"]):
        messages.append(ChatMessage("user", said))
    return messages
