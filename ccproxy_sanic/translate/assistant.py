"""One assistant turn as one Chat Completions message (protocol.md 2.1.1, 2.2 thinking and tool_use, 2.3).

Rule: all text in one string, all calls in block order, and reasoning in the field that the profile names or nowhere.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from ccproxy_sanic.translate.adjustments import Path
from ccproxy_sanic.translate.compact import compact
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.translate.turns import BREAK, Draft, Turn
from ccproxy_sanic.wire.anthropic import Message
from ccproxy_sanic.wire.openai_chat import Call, ChatMessage, ToolCall


class _Reasoning(msgspec.Struct):
    """What the turn's thinking comes to; ``signatures`` lead from a client's call id to its thought signature."""

    thoughts: list[str] = []
    details: list[Any] = []
    signatures: dict[str, str] = {}


_NO_REASONING: Final = _Reasoning()


class ChatDraft(Draft[ChatMessage]):
    __slots__ = ("broken", "calls", "pieces", "reasoning")

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.pieces: list[str] = []
        self.broken = False
        self.calls: list[ToolCall] = []
        self.reasoning: _Reasoning | None = None

    @staticmethod
    def at_once(message: Message, index: int, scope: Scope) -> Turn[ChatMessage] | None:
        """Text, and calls behind it: in a third of the time."""
        content, profile = message.content, scope.profile
        if not isinstance(content, list) or profile.thought_signatures or profile.reasoning_required:
            return None
        text = ""
        calls: list[ToolCall] = []
        pending: dict[str, str] = {}
        for position, block in enumerate(content):
            if block.type == "tool_use":
                client_id, name = block.id, block.name or ""
                if not client_id or len(client_id) > scope.kept_ids or client_id in pending:
                    return None
                pending[client_id] = client_id
                sent = scope.names.known.get(name) or scope.names.sent(name, ("messages", index, "content", position))
                calls.append(ToolCall(client_id, Call(sent, compact(block.input))))
            elif block.type == "text" and not calls:
                said = block.text
                if said and not said.isspace():
                    text = text + said if text else said
            else:
                return None
        if not (text or calls):
            return None
        scope.tool_ids.update(pending)
        spoken = text or (None if profile.null_content else "")
        return Turn([ChatMessage("assistant", spoken, calls or UNSET)], pending, index)

    def say(self, text: str, *, apart: bool = False) -> None:
        if self.pieces and (apart or self.broken):
            self.pieces.append(BREAK)
        self.pieces.append(text)
        self.broken = apart

    def call(self, sent_id: str, name: str, arguments: str) -> None:
        self.calls.append(ToolCall(sent_id, Call(name, arguments)))
        self.broken = bool(self.pieces)

    def think(self, text: str, kind: str, data: Any, path: Path) -> None:
        """What our own signature carries, else the visible text."""
        found = self.reasoning = self.reasoning or _Reasoning()
        if kind == "gem" and isinstance(data, dict):
            found.signatures.update(data)
        if kind == "plain" and isinstance(data, str):
            text = text or data  # display omitted: the client has never seen it
        profile = self.scope.profile
        if profile.reasoning_in == "reasoning_details":
            if kind == "or" and isinstance(data, list):
                found.details += data
                return
            found.details += [{"type": "reasoning.text", "text": text}] if text else []
        elif profile.reasoning_in != "none":
            found.thoughts += [text] if text else []
        if kind != "gem" and (profile.reasoning_in == "none" or not text):
            self.scope.notes.add("thinking_dropped", path)

    def finished(self) -> list[ChatMessage]:
        profile, text = self.scope.profile, "".join(self.pieces)
        if not text and not self.calls:
            return []
        message = ChatMessage("assistant", text or ("" if not profile.null_content else None))
        found = self.reasoning or _NO_REASONING
        if self.calls:
            message.tool_calls = self.calls
            if profile.thought_signatures:
                self._sign_calls(found.signatures)
        if profile.reasoning_in != "none":
            self._reason(message, text, found)
        return [message]

    def _reason(self, message: ChatMessage, text: str, found: _Reasoning) -> None:
        profile, thoughts = self.scope.profile, "\n".join(found.thoughts)
        needed = bool(self.calls) and profile.reasoning_required
        match profile.reasoning_in:
            case "reasoning_content" if thoughts or needed:
                message.reasoning_content = thoughts or profile.reasoning_placeholder
            case "reasoning" if thoughts or needed:
                message.reasoning = thoughts or profile.reasoning_placeholder
            case "reasoning_details" if found.details:
                message.reasoning_details = found.details
            case "think_tags" if thoughts:
                message.content = f"<think>\n{thoughts}\n</think>{BREAK}{text}"

    def _sign_calls(self, signatures: dict[str, str]) -> None:
        for client_id, call in zip(self.pending, self.calls, strict=True):
            if signature := signatures.get(client_id):
                call.extra_content = _google(signature)
        filler = self.scope.profile.thought_signature_filler
        if self.calls[0].extra_content is UNSET and filler:
            self.calls[0].extra_content = _google(filler)


def _google(signature: str) -> dict[str, Any]:
    return {"google": {"thought_signature": signature}}
