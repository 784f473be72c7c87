"""Tool names on their way to the upstream, and the way back (protocol.md 1.5).

Rule: a name that the upstream takes is never touched; any other gets the same legal name every time.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ccproxy_sanic.translate.adjustments import Notes, Path

_SENT: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT: Final = 55  # characters; with "_" and the digest 64, OpenAI's limit
_DIGEST: Final = 8


class Names:
    """The names of one request; ``back`` leads from the sent name to the client's, where they differ."""

    __slots__ = ("back", "known", "notes")

    def __init__(self, notes: Notes) -> None:
        self.back: dict[str, str] = {}
        self.known: dict[str, str] = {}  # a conversation says few names many times
        self.notes = notes

    def sent(self, name: str, path: Path) -> str:
        sent = self.known.get(name)
        if sent is None:
            sent = self.known[name] = sent_name(name)
            if sent != name:
                self.back[sent] = name
                self.notes.add("tool_renamed", path)
        return sent

    def repeat(self, others: Names) -> None:
        """Takes over what was named there; the notes are not its matter."""
        self.known |= others.known
        self.back |= others.back


def sent_name(name: str) -> str:
    """The name itself, or a legal one where it is too long or has other characters."""
    if _SENT.match(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{_ILLEGAL.sub('_', name)[:_KEPT]}_{digest}"
