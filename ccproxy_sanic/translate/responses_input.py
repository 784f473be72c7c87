"""The conversation as the input items of a Responses request (protocol.md 8).

Rule: blocks keep their order; reasoning stands directly before what it led to, and reasoning that led to nothing is
left out, because the server refuses a reasoning item "without its required following item".
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from msgspec import UNSET, UnsetType

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import effort, history, results
from ccproxy_sanic.translate.adjustments import Path
from ccproxy_sanic.translate.conversation import NO_PREFILL, Conversation, SideWriter, joined
from ccproxy_sanic.translate.responses_parts import output_of, sent
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.translate.turns import BREAK, Draft
from ccproxy_sanic.wire.anthropic import Block, MessagesRequest
from ccproxy_sanic.wire.openai_chat import Part, TextPart
from ccproxy_sanic.wire.openai_responses import (
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Item,
    Message,
    Reasoning,
    SummaryText,
)

Talk: TypeAlias = Conversation[Item]

PHASES: Final = ("commentary", "final_answer")


def translate(req: MessagesRequest, scope: Scope) -> Talk:
    """The whole conversation.  Raises InvalidRequest (as history.read; V9: there is no prefill here)."""
    talk: Talk = history.read(req, Conversation(scope), ItemDraft, ItemSide)
    last = talk.messages[-1]
    if isinstance(last, Message) and last.role == "assistant":
        raise InvalidRequest(NO_PREFILL)
    return talk


def developer(parts: list[TextPart], scope: Scope) -> Message:
    """A system message, or a system prompt whose parts have cache marks."""
    content = joined(parts, scope)
    return Message("developer", [InputText(content)] if isinstance(content, str) else [sent(part) for part in content])


class ItemDraft(Draft[Item]):
    """An assistant turn as items."""

    __slots__ = ("_broken", "_items", "_phase", "_reasons", "_text", "_waiting")

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self._reasons = scope.profile.encrypted_reasoning and effort.in_openais_words(scope.profile)
        self._items: list[Item] = []
        self._text: list[str] = []  # of the message that is still open
        self._broken = False
        self._waiting: list[tuple[Reasoning, Path]] = []  # nothing has followed it yet
        self._phase: str | UnsetType = UNSET  # of the next message

    def say(self, text: str, *, apart: bool = False) -> None:
        if not self._text:
            self._follow()
        elif apart or self._broken:
            self._text.append(BREAK)
        self._text.append(text)
        self._broken = apart

    def call(self, sent_id: str, name: str, arguments: str) -> None:
        self._close()
        self._follow()
        self._items.append(FunctionCall(sent_id, name, arguments))

    def think(self, text: str, kind: str, data: Any, path: Path) -> None:
        """Only the server's own encrypted reasoning travels: with ``store: false`` an id alone is not found.

        A model that does not reason refuses reasoning items.
        """
        carried = data if kind == "oai" and isinstance(data, dict) and self._reasons else {}
        encrypted, phase = _word(carried, "encrypted_content"), carried.get("phase")
        if phase in PHASES:
            self._close()
            self._phase = phase
        if encrypted:
            self._close()
            summary = [SummaryText(text)] if text else []
            self._waiting.append((Reasoning(_word(carried, "id") or UNSET, summary, encrypted), path))
        elif text or phase not in PHASES:
            self.scope.notes.add("thinking_dropped", path)

    def finished(self) -> list[Item]:
        self._close()
        for _, path in self._waiting[:1]:
            self.scope.notes.add("thinking_dropped", path, "nothing that it led to is left")
        return self._items

    def _follow(self) -> None:
        self._items += [item for item, _ in self._waiting]
        self._waiting.clear()

    def _close(self) -> None:
        if self._text:
            self._items.append(Message("assistant", "".join(self._text), self._phase))
            self._text, self._phase = [], UNSET


class ItemSide(SideWriter[Item]):
    """Outputs with what they hold in its place, then user and developer messages."""

    __slots__ = ()

    def answer(self, block: Block, client_id: str, path: Path) -> FunctionCallOutput:
        return FunctionCallOutput(self.pending[client_id], output_of(block, self.scope, path))

    def no_answer(self, sent_id: str) -> FunctionCallOutput:
        return FunctionCallOutput(sent_id, results.NO_RESULT)

    def told(self, parts: list[TextPart]) -> Message:
        return developer(parts, self.scope)

    def said(self, parts: list[Part], before: list[Item]) -> list[Item]:
        return [Message("user", [sent(part) for part in parts])]


def _word(carried: dict[Any, Any], key: str) -> str | None:
    value = carried.get(key)
    return value if isinstance(value, str) else None
