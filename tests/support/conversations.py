"""Conversations as agents send them, in the orders in which clients write the fields of a request."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.support.translation import WEATHER, assistant, result, text, use, user

LONG: Final = "A long system prompt. " * 1000
# The fields that stand first; all others follow in the order in which they are given, the messages where they are not
# named here.  Captured from Claude Code 2.1.328, and from Anthropic's Python SDK, which sorts the others.
ORDERS: Final = {
    "claude-code": ("model", "messages", "system", "tools", "metadata", "max_tokens"),
    "sdk": ("max_tokens", "messages", "model", "metadata", "stream", "system", "thinking", "tools"),
    "last": ("model", "max_tokens", "system", "tools"),
}


def turns(count: int, start: int = 0, size: int = 0) -> list[Any]:
    """``count`` calls with their results, which hold ``size`` characters more, from the ``start``-th on."""
    found: list[Any] = [] if start else [user("begin")]
    for number in range(start, start + count):
        call = f"toolu_{number}"
        said = assistant(text("so"), use(call, "get_weather", at=number))
        found += [said, user(result(call, f"{number} \\ é" + "x" * size))]
    return found


def raw(messages: list[Any], order: str = "last", **fields: Any) -> bytes:
    """A request, compact; of the fields None is left out."""
    asked = {"model": "m", "max_tokens": 64, "system": LONG, "tools": [WEATHER], **fields, "messages": messages}
    names = sorted(asked, key=lambda name: ORDERS[order].index(name) if name in ORDERS[order] else 100)
    given = {name: asked[name] for name in names if asked[name] is not None}
    return json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode()
