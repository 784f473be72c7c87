"""Carried JSON, made compact.

Rule: the value never changes, only its spelling: no white space, no escapes where a character will do.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw


def compact(raw: Raw) -> str:
    """JSON text without white space, non-ASCII characters as themselves (protocol.md 2.2, tool_use)."""
    data = bytes(raw)
    if b"\\u" in data:
        try:
            return msgspec.json.encode(msgspec.json.decode(data)).decode()
        except msgspec.ValidationError:
            pass  # a number that no float holds: legal JSON, and not ours to judge
    return msgspec.json.format(data, indent=-1).decode()
