"""One assistant turn as one assistant message (protocol.md 2.1.1, 2.2 thinking and tool_use, 2.3).

Rule: all text in one string, all calls in block order, and reasoning in the field that the profile names or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate.adjustments import Path, dotted
from ccproxy_sanic.translate.blocks import parts_of
from ccproxy_sanic.translate.compact import compact
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.wire.anthropic import Block, Message
from ccproxy_sanic.wire.openai_chat import Call, ChatMessage, TextPart, ToolCall

BREAK: Final = "\n\n"
_FOREIGN: Final[tuple[str, Any]] = ("", None)


class Turn(msgspec.Struct):
    """``message`` is None where nothing of the turn is left; ``pending`` the client's call ids, in order."""

    message: ChatMessage | None
    pending: dict[str, str]  # client id -> sent id
    index: int  # of the turn's last message in the request


class _Draft:
    __slots__ = ("broken", "calls", "details", "pending", "pieces", "scope", "signatures", "thoughts")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.pieces: list[str] = []
        self.broken = False
        self.calls: list[ToolCall] = []
        self.pending: dict[str, str] = {}
        self.thoughts: list[str] = []
        self.details: list[Any] = []
        self.signatures: dict[str, str] = {}  # client's call id -> thought signature

    def say(self, text: str, *, apart: bool = False) -> None:
        """``apart`` text, and text after a call, is set off by a blank line; neighbouring text blocks are one text."""
        if self.pieces and (apart or self.broken):
            self.pieces.append(BREAK)
        self.pieces.append(text)
        self.broken = apart

    def take(self, block: Block, path: Path) -> None:
        match block.type:
            case "tool_use":
                self._call(block, path)
            case "thinking":
                self._think(block.thinking or "", block.signature, path)
            case "redacted_thinking":
                self._think("", block.data, path)
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

    def _call(self, block: Block, path: Path) -> None:
        client_id, scope = block.id or "", self.scope
        if not client_id:
            raise InvalidRequest(f"{dotted(path)}.id: String should have at least 1 character")
        if client_id in self.pending:
            raise InvalidRequest(f"{dotted(path)}: tool_use ids must be unique")
        scope.tool_ids.add(client_id)
        sent_id = self.pending[client_id] = scope.sent_id(client_id, path)
        name = scope.names.sent(block.name or "", path)
        self.calls.append(ToolCall(sent_id, Call(name, compact(block.input))))
        self.broken = bool(self.pieces)

    def _think(self, text: str, signature: str | None, path: Path) -> None:
        """What our own signature carries, else the visible text; a foreign one never travels (protocol.md 2.3)."""
        unsign = self.scope.unsign
        kind, data = (unsign(signature) if unsign is not None and signature else None) or _FOREIGN
        if kind == "gem" and isinstance(data, dict):
            self.signatures.update(data)
        if kind == "plain" and isinstance(data, str):
            text = text or data  # display omitted: the client has never seen it
        profile = self.scope.profile
        if profile.reasoning_in == "reasoning_details":
            if kind == "or" and isinstance(data, list):
                self.details += data
                return
            self.details += [{"type": "reasoning.text", "text": text}] if text else []
        elif profile.reasoning_in != "none":
            self.thoughts += [text] if text else []
        if kind != "gem" and (profile.reasoning_in == "none" or not text):
            self.scope.notes.add("thinking_dropped", path)

    def finished(self) -> ChatMessage | None:
        profile, text = self.scope.profile, "".join(self.pieces)
        if not text and not self.calls:
            return None
        message = ChatMessage("assistant", text or ("" if not profile.null_content else None))
        if self.calls:
            message.tool_calls = self.calls
            self._sign_calls()
        if profile.reasoning_in != "none":
            self._reason(message, text)
        return message

    def _reason(self, message: ChatMessage, text: str) -> None:
        profile, thoughts = self.scope.profile, "\n".join(self.thoughts)
        needed = bool(self.calls) and profile.reasoning_required
        match profile.reasoning_in:
            case "reasoning_content" if thoughts or needed:
                message.reasoning_content = thoughts or profile.reasoning_placeholder
            case "reasoning" if thoughts or needed:
                message.reasoning = thoughts or profile.reasoning_placeholder
            case "reasoning_details" if self.details:
                message.reasoning_details = self.details
            case "think_tags" if thoughts:
                message.content = f"<think>\n{thoughts}\n</think>{BREAK}{text}"

    def _sign_calls(self) -> None:
        profile = self.scope.profile
        if not profile.thought_signatures:
            return
        for client_id, call in zip(self.pending, self.calls, strict=True):
            if signature := self.signatures.get(client_id):
                call.extra_content = _google(signature)
        if self.calls[0].extra_content is UNSET and profile.thought_signature_filler:
            self.calls[0].extra_content = _google(profile.thought_signature_filler)


def turn(messages: Iterable[tuple[int, Message]], scope: Scope) -> Turn:
    """One or more neighbouring assistant messages.  Raises InvalidRequest (V11, a user's block)."""
    draft = _Draft(scope)
    index = 0
    for index, message in messages:
        if isinstance(message.content, str):
            if message.content and not message.content.isspace():
                draft.say(message.content)
            continue
        for position, block in enumerate(message.content or ()):
            if block.type == "text":
                if block.text and not block.text.isspace():
                    draft.say(block.text)
            else:
                draft.take(block, ("messages", index, "content", position))
    finished = draft.finished()
    if finished is None:
        scope.notes.add("message_dropped", ("messages", index))
    return Turn(finished, draft.pending, index)


def _google(signature: str) -> dict[str, Any]:
    return {"google": {"thought_signature": signature}}
