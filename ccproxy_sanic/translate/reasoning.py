"""Reasoning, from every field in which an upstream may show it (protocol.md 3.1, 4.4).

Rule: the same text in two fields is shown once: the first field that is not empty wins.  What is opaque (signatures,
encrypted data) is kept beside it and travels in the carrier.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..wire.openai_chat_reply import Delta, ToolCall
from .stop import overlap

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_TEXT_PARTS: Final = frozenset({"text", "output_text"})
_TEXT_MEMBERS: Final = frozenset({"text", "summary"})
_OPAQUE: Final = ("signature", "data")  # members of a reasoning detail that only its maker can read


class Said(msgspec.Struct):
    """What one delta or message says, without its tool calls."""

    reasoning: str = ""
    details: list[dict[str, Any]] = msgspec.field(default_factory=list)  # as the upstream sent them
    text: str = ""
    refusal: str = ""


def read(delta: Delta) -> Said:
    said = Said()
    content = delta.content
    thought = ""
    if isinstance(content, str):
        said.text = content
    elif content is not None:
        thought = _parts(content, said)
    said.refusal += delta.refusal or ""
    shown = ""
    if delta.reasoning_details:
        said.details = delta.reasoning_details
        shown = "".join([_visible(detail) for detail in said.details])
    said.reasoning = delta.reasoning_content or delta.reasoning or shown or thought or delta.reasoning_text or ""
    return said


def _parts(content: list[Any], said: Said) -> str:
    """Sorts a list of parts into ``said``; returns the text of thinking parts (Mistral)."""
    thought, text, refusal = [], [], []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            kind = part.get("type")
            if kind == "thinking":
                thought.append(_flat(part.get("thinking")))
            elif kind == "refusal":
                refusal.append(_flat(part.get("refusal")))
            elif kind in _TEXT_PARTS or kind is None:
                text.append(_flat(part.get("text")))
    said.text, said.refusal = "".join(text), "".join(refusal)
    return "".join(thought)


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join([_flat(item) for item in value])
    return _flat(value.get("text")) if isinstance(value, dict) else ""


def _visible(detail: dict[str, Any]) -> str:
    return _flat(detail.get("text")) or _flat(detail.get("summary"))


def is_opaque(details: list[dict[str, Any]]) -> bool:
    """Whether there is anything that only the carrier can keep."""
    return any(detail.get(name) for detail in details for name in _OPAQUE)


def joined(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The details of a block, each whole again, as the upstream wants them back.

    A piece continues the last detail if type and index are the same and neither is encrypted; a signature belongs to
    the text before it.
    """
    details: list[dict[str, Any]] = []
    texts: list[dict[str, list[str]]] = []  # of each detail: the pieces of its text members
    for piece in pieces:
        last = details[-1] if details else None
        if (
            last is None
            or piece.get("type") != last.get("type")
            or piece.get("index") != last.get("index")
            or piece.get("data")
            or last.get("data")
        ):
            last = {}
            details.append(last)
            texts.append({})
        for name, value in piece.items():
            if name in _TEXT_MEMBERS and isinstance(value, str):
                texts[-1].setdefault(name, []).append(value)
                last.setdefault(name, "")
            elif value is not None:
                last[name] = value
    for detail, members in zip(details, texts, strict=True):
        detail.update({name: "".join(found) for name, found in members.items()})
    return details


def thought_signature(call: ToolCall) -> str | None:
    """Gemini's signature of a tool call; it must be replayed with that call."""
    google = call.extra_content.get("google") if isinstance(call.extra_content, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) and found else None


class ThinkTags:
    """Takes ``<think>...</think>`` at the very start of content apart, however it is cut.

    Whitespace around the tags belongs to them; what is thought whitespace only is nothing.
    """

    __slots__ = ("_state", "held")

    def __init__(self) -> None:
        self._state = "start"  # -> lead -> inside -> behind -> text
        self.held = ""  # what could be the beginning of a tag

    @property
    def over(self) -> bool:
        """Whether all that follows is text."""
        return self._state == "text"

    def feed(self, text: str) -> tuple[str, str]:
        """(reasoning, text) of one piece."""
        if self._state == "text":
            return "", text
        text = self.held + text
        self.held = ""
        if self._state == "start":
            stripped = text.lstrip()
            if len(stripped) < len(_OPEN) and _OPEN.startswith(stripped):
                self.held = text
                return "", ""
            if not stripped.startswith(_OPEN):
                self._state = "text"
                return "", text
            self._state, text = "lead", stripped[len(_OPEN) :]
        if self._state == "lead":
            text = text.lstrip()
            if not text:
                return "", ""
            self._state = "inside"
        if self._state == "behind":
            return "", self._behind(text)
        reasoning, tag, rest = text.partition(_CLOSE)
        if not tag:
            keep = overlap(text, _CLOSE)
            self.held = text[len(text) - keep :]
            return text[: len(text) - keep], ""
        self._state = "behind"
        return reasoning, self._behind(rest)

    def _behind(self, text: str) -> str:
        text = text.lstrip()
        if text:
            self._state = "text"
        return text

    def flush(self) -> tuple[str, str]:
        """What was held back because a tag could have come."""
        held, self.held = self.held, ""
        return ("", held) if self._state in ("start", "text") else (held, "")
