"""One assistant turn as it is read: neighbouring assistant messages, block by block (protocol.md 1.3 V5, 2.1, 2.2).

Rule: what is legal in a turn is decided here once; what becomes of it is the upstream's API's matter (:class:`Draft`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate.adjustments import Path, dotted
from ccproxy_sanic.translate.blocks import parts_of
from ccproxy_sanic.translate.compact import compact
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.wire.anthropic import Block, Message
from ccproxy_sanic.wire.openai_chat import TextPart

M = TypeVar("M")  # what the upstream's history consists of: messages, or items

BREAK: Final = "\n\n"
_FOREIGN: Final[tuple[str, Any]] = ("", None)


class Turn(msgspec.Struct, Generic[M]):
    """``messages`` is empty where nothing of the turn is left; ``pending`` the client's call ids, in order."""

    messages: list[M]
    pending: dict[str, str]  # client id -> sent id
    index: int  # of the turn's last message in the request


class Draft(ABC, Generic[M]):
    """A turn in the making."""

    __slots__ = ("pending", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.pending: dict[str, str] = {}

    @staticmethod
    def at_once(message: Message, index: int, scope: Scope) -> Turn[M] | None:
        """The turn of a single message, where that is nothing out of the ordinary; None: see what it is.

        Up to then nothing was noted but what is noted again.
        """
        return None

    @abstractmethod
    def say(self, text: str, *, apart: bool = False) -> None:
        """``apart`` text, and text after a call, is set off by a blank line; neighbouring text blocks are one text."""

    @abstractmethod
    def call(self, sent_id: str, name: str, arguments: str) -> None:
        """A tool call, by the names that the upstream knows."""

    @abstractmethod
    def think(self, text: str, kind: str, data: Any, path: Path) -> None:
        """Thinking: what is visible, and what our own signature carries; kind "" where it is foreign, or none."""

    @abstractmethod
    def finished(self) -> list[M]:
        """The whole turn."""

    def take(self, block: Block, path: Path) -> None:
        """Any block but text and tool_use."""
        match block.type:
            case "thinking":
                self.think(block.thinking or "", *self._opened(block.signature), path)
            case "redacted_thinking":
                self.think("", *self._opened(block.data), path)
            case "image":
                self.scope.notes.add("block_dropped", path, "an image cannot be an assistant's")
            case "tool_result":
                raise InvalidRequest(f"{dotted(path)}: tool_result blocks can only be in user messages")
            case _:
                for part in parts_of(block, self.scope, path):
                    if isinstance(part, TextPart):
                        self.say(part.text, apart=True)
                    else:
                        self.scope.notes.add("block_dropped", path, "a file cannot be an assistant's")

    def use(self, block: Block, path: Path) -> None:
        client_id, scope = block.id, self.scope
        if not client_id:
            raise InvalidRequest(f"{dotted(path)}.id: String should have at least 1 character")
        if client_id in self.pending:
            raise InvalidRequest(f"{dotted(path)}: tool_use ids must be unique")
        sent_id = self.pending[client_id] = scope.sent_id(client_id, path)
        scope.tool_ids.add(client_id)
        self.call(sent_id, scope.names.sent(block.name or "", path), compact(block.input))

    def _opened(self, signature: str | None) -> tuple[str, Any]:
        """A foreign signature carries nothing and never travels (protocol.md 2.3)."""
        unsign = self.scope.unsign
        return (unsign(signature) if unsign is not None and signature else None) or _FOREIGN


def is_spoken(message: Message) -> bool:
    """Whether anything is certainly left of an assistant message: text, or a call."""
    content = message.content
    if message.role != "assistant" or content is None:
        return False
    if isinstance(content, str):
        return _says(content)
    return any(block.type == "tool_use" or (block.type == "text" and _says(block.text)) for block in content)


def _says(text: str | None) -> bool:
    return text is not None and text != "" and not text.isspace()


def read(messages: Sequence[tuple[int, Message]], scope: Scope, form: type[Draft[M]]) -> Turn[M]:
    """One or more neighbouring assistant messages.  Raises InvalidRequest (V11, a user's block)."""
    index, message = messages[0]
    if len(messages) == 1 and (turn := form.at_once(message, index, scope)) is not None:
        return turn
    draft = form(scope)
    for index, message in messages:
        content = message.content
        if isinstance(content, str):
            if _says(content):
                draft.say(content)
            continue
        for position, block in enumerate(content or ()):
            kind = block.type
            if kind == "text":
                text = block.text
                if text and not text.isspace():
                    draft.say(text)
            elif kind == "tool_use":
                draft.use(block, ("messages", index, "content", position))
            else:
                draft.take(block, ("messages", index, "content", position))
    finished = draft.finished()
    if not finished:
        scope.notes.add("message_dropped", ("messages", index))
    return Turn(finished, draft.pending, index)
