"""The requests: small, as large as an agent's, and their marks, which tell the upstream what to answer.

Rule: every body holds a mark whose number the load generator makes unique; nothing else in it changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MODEL: Final = "claude-sonnet-4-5"
MAX_TOKENS: Final = 1024
AGENT_TOOLS: Final = 20
AGENT_TURNS: Final = 40
AGENT_BYTES: Final = 105_000
PROSE: Final = (
    "The handler reads the request once, translates it and waits for the upstream; when the client leaves, the call is "
    'given up and its connection closed. "Nothing" is dropped in silence:\n\n- adjustments are counted\n- and named.\n'
)


def mark(kind: str = "text", n: int = 20, pace: int = 0) -> str:
    """``n`` chunks (tool: characters), ``pace`` ms apart; read by the upstream (src/upstream.c)."""
    return f"@@bench kind={kind} n={n} pace={pace} id=0000000000@@"


def _text(size: int) -> str:
    return (PROSE * (size // len(PROSE) + 1))[:size]


def _tool(number: int) -> dict[str, Any]:
    names = ("file_path", "pattern", "limit", "include_hidden", "context_before", "output_mode")
    properties: dict[str, Any] = {
        name: {"type": "string", "description": f"{name} of the call. {_text(120)}"} for name in names
    }
    properties["output_mode"]["enum"] = ["content", "files_with_matches", "count"]
    properties["edits"] = {
        "type": "array",
        "items": {"type": "object", "properties": {"old": {"type": "string"}, "new": {"type": "string"}}},
    }
    schema = {"type": "object", "properties": properties, "required": ["file_path"], "additionalProperties": False}
    return {"name": f"tool_{number:02d}", "description": _text(700), "input_schema": schema}


def _turns(size: int, marked: str, fresh: bool) -> list[dict[str, Any]]:
    """User, assistant with a tool call, user with its result, ...: ``AGENT_TURNS`` messages; the mark is last, or first
    where the conversation is to be ``fresh``."""
    turns: list[dict[str, Any]] = []
    each = size // (AGENT_TURNS - 1)
    for number in range(0, AGENT_TURNS - 2, 2):
        call = f"toolu_{number:024d}"
        said = [{"type": "text", "text": _text(each // 4)}]
        use = {"type": "tool_use", "id": call, "name": f"tool_{number % AGENT_TOOLS:02d}"}
        result = {"type": "tool_result", "tool_use_id": call, "content": _text(each)}
        turns.append({"role": "assistant", "content": [*said, {**use, "input": {"file_path": _text(each // 2)}}]})
        turns.append({"role": "user", "content": [result]})
    first, last = (f"{marked} {_text(each)}", _text(80)) if fresh else (_text(each), marked)
    return [{"role": "user", "content": first}, *turns, {"role": "user", "content": last}][-AGENT_TURNS:]


def small(marked: str, **fields: Any) -> bytes:
    """A question of a few words."""
    question = f"What does this proxy do? {marked}"
    body = {"model": MODEL, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": question}], **fields}
    return json.dumps(body, separators=(",", ":")).encode()


def agent(marked: str, *, fresh: bool = False, **fields: Any) -> bytes:
    """About 105 kB: a system prompt, 20 tools, 40 messages with tool calls and their results.

    ``fresh``: each request is of a conversation of its own; else only the last message is new, as in a session.
    """
    tools = [_tool(number) for number in range(AGENT_TOOLS)]
    body = {  # in Claude Code's order
        "model": MODEL,
        "messages": _turns(1000, marked, fresh),
        "system": [{"type": "text", "text": _text(8000)}],
        "tools": tools,
        "max_tokens": MAX_TOKENS,
        **fields,
    }
    rest = AGENT_BYTES - len(json.dumps(body, separators=(",", ":")))
    body["messages"] = _turns(1000 + rest * 11 // 10, marked, fresh)
    return json.dumps(body, separators=(",", ":")).encode()


def chat(marked: str, **fields: Any) -> bytes:
    """The small question as OpenAI's clients ask it, for peers that speak no Messages."""
    return small(marked, **fields)


def write(folder: Path, name: str, body: bytes) -> Path:
    path = folder / f"{name}.json"
    path.write_bytes(body)
    return path
