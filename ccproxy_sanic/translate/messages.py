"""The conversation as Chat Completions messages (protocol.md 1.4, 2.1).

Rule: nothing comes between an assistant's calls and their results; a single plain text is a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import UNSET

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import history, results
from ccproxy_sanic.translate.adjustments import Path
from ccproxy_sanic.translate.assistant import ChatDraft
from ccproxy_sanic.translate.conversation import JOIN, NO_PREFILL, Conversation, SideWriter, joined, leading
from ccproxy_sanic.translate.scope import Scope, is_marked
from ccproxy_sanic.wire.anthropic import Block, Message, MessagesRequest
from ccproxy_sanic.wire.openai_chat import ChatMessage, Part, TextPart

Talk: TypeAlias = Conversation[ChatMessage]

BRIDGE: Final = "Continuing."


def translate(req: MessagesRequest, scope: Scope) -> Talk:
    """The whole conversation.  Raises InvalidRequest (as history.read; V9)."""
    talk: Talk = history.read(req, Conversation(scope), ChatDraft, ChatSide)
    _check_end(talk)
    return talk


def finished(talk: Talk) -> list[ChatMessage]:
    """All messages, the system prompt first."""
    if talk.system:
        talk.messages.insert(0, ChatMessage(talk.scope.profile.system_role, leading(talk)))
    return talk.messages


class ChatSide(SideWriter[ChatMessage]):
    """Tool messages; attachments in the next user message; a bridge where the server wants one between the two."""

    __slots__ = ()

    @staticmethod
    def at_once(message: Message, pending: Mapping[str, str], scope: Scope) -> list[ChatMessage] | None:
        """Results, texts, or both: in a third of the time."""
        content = message.content
        if isinstance(content, str):
            return None if pending or not content or content.isspace() else [ChatMessage("user", content)]
        found: list[ChatMessage] = []
        parts: list[Part] = []
        answered = set()
        for block in content or ():
            if block.cache_control is not None and scope.marks:
                return None
            if block.type == "tool_result" and isinstance(block.content, str):
                client_id = block.tool_use_id or ""
                if client_id not in pending or client_id in answered:
                    return None
                answered.add(client_id)
                said = block.content
                if block.is_error or not said or said.isspace():
                    said = results.words(block)
                found.append(ChatMessage("tool", said, UNSET, pending[client_id]))
            elif block.type == "text":
                text = block.text
                if text and not text.isspace():
                    parts.append(TextPart(text))
            else:
                return None
        if len(answered) < len(pending) or (not parts and not found):
            return None
        if parts:
            if found and scope.profile.bridge_after_tool:
                return None
            found.append(ChatMessage("user", _content(parts, scope)))
        return found

    def answer(self, block: Block, client_id: str, path: Path) -> ChatMessage:
        scope, mark = self.scope, block.cache_control
        if isinstance(block.content, str) and (mark is None or not scope.marks):  # most are
            return ChatMessage("tool", results.words(block), tool_call_id=self.pending[client_id])
        result = results.read(block, scope, path)
        if result.attachments:
            self.attachments += results.attached(result, client_id, scope)
        return results.message(result, self.pending[client_id], scope)

    def no_answer(self, sent_id: str) -> ChatMessage:
        return ChatMessage("tool", results.NO_RESULT, tool_call_id=sent_id)

    def told(self, parts: list[TextPart]) -> ChatMessage:
        return ChatMessage("system", joined(parts, self.scope))

    def said(self, parts: list[Part], before: list[ChatMessage]) -> list[ChatMessage]:
        message = ChatMessage("user", _content(parts, self.scope))
        if before and self.scope.profile.bridge_after_tool and before[-1].role == "tool":
            self.scope.notes.add("bridge_inserted", ("messages",))
            return [ChatMessage("assistant", BRIDGE), message]
        return [message]


def _content(parts: list[Part], scope: Scope) -> str | list[Part]:
    """A single plain text is a string, several parts stay an array, or one text where the server has no arrays."""
    if len(parts) == 1:
        only = parts[0]
        if isinstance(only, TextPart) and not is_marked(only):
            return only.text
    if scope.profile.parts:
        return parts
    return JOIN.join(part.text for part in parts if isinstance(part, TextPart))


def _check_end(talk: Talk) -> None:
    """Rule V9: an assistant message at the end is a prefill, which few servers have.

    What continue_final_message adds to the body itself is said by :func:`continues`.
    """
    last = talk.messages[-1]
    if last.role != "assistant":
        return
    match talk.scope.profile.prefill:
        case "none":
            raise InvalidRequest(NO_PREFILL)
        case "prefix":
            last.prefix = True
        case "partial":
            last.partial = True


def continues(messages: list[ChatMessage]) -> bool:
    """Whether the answer has to continue the last message."""
    return bool(messages) and messages[-1].role == "assistant"
