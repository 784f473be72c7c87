"""The conversation as Chat Completions messages (protocol.md 1.3, 1.4, 2.1).

Rule: nothing comes between an assistant's calls and their results: what the client put there moves behind them.

A conversation is cut into assistant turns and *sides*: what is between two assistant turns, system messages included.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import assistant, results
from ccproxy_sanic.translate.adjustments import Path, dotted
from ccproxy_sanic.translate.assistant import Turn
from ccproxy_sanic.translate.blocks import parts_of
from ccproxy_sanic.translate.scope import Scope, is_marked
from ccproxy_sanic.wire.anthropic import Block, Message, MessagesRequest
from ccproxy_sanic.wire.openai_chat import ChatMessage, Part, TextPart

Side: TypeAlias = list[tuple[int, Message]]

BILLING: Final = "x-anthropic-billing-header:"  # Claude Code's attribution block (protocol.md 1.2, system)
EMPTY: Final = "(empty)"
BRIDGE: Final = "Continuing."
JOIN: Final = "\n\n"
WRAPPED: Final = "<system-reminder>\n{text}\n</system-reminder>"
NO_PREFILL: Final = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)
UNANSWERED: Final = (
    "`tool_use` ids were found without `tool_result` blocks immediately after: {ids}. "
    "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
)
UNASKED: Final = (
    "unexpected `tool_use_id` found in `tool_result` blocks: {id}. "
    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
)


class Conversation:
    """The messages so far, and the leading system parts that go before them."""

    __slots__ = ("messages", "scope", "system")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.system: list[TextPart] = []
        self.messages: list[ChatMessage] = []

    def finished(self) -> list[ChatMessage]:
        if self.system:
            content = joined(self.system, self.scope)
            self.messages.insert(0, ChatMessage(self.scope.profile.system_role, content))
        return self.messages


def translate(req: MessagesRequest, scope: Scope) -> Conversation:
    """The whole conversation.  Raises InvalidRequest (V1, V4, V7 and V8 where strict, V9, V11)."""
    talk = Conversation(scope)
    talk.system = system_parts(req.system, scope, ("system",))
    start = _hoist_leading(req, talk)
    for side, turn in _turns(req, start, scope):
        _add_side(talk, side, turn)
    _check_end(talk)
    return talk


def system_parts(content: str | list[Block] | None, scope: Scope, path: Path) -> list[TextPart]:
    """The text of a system prompt or system message, without Claude Code's attribution block."""
    if isinstance(content, str):
        if content.startswith(BILLING):
            scope.notes.add("billing_header_dropped", path)
            content = content.partition("\n")[2]
        return [TextPart(content)] if content and not content.isspace() else []
    parts: list[TextPart] = []
    for index, block in enumerate(content or ()):
        if block.type == "text" and block.text and block.text.startswith(BILLING):
            scope.notes.add("billing_header_dropped", (*path, index))
        elif block.type == "text":
            parts += [part for part in parts_of(block, scope, (*path, index)) if isinstance(part, TextPart)]
        elif block.type not in ("tool_addition", "tool_removal"):
            scope.notes.add("block_dropped", (*path, index), "a system prompt holds text only")
    return parts


def joined(parts: list[TextPart], scope: Scope) -> str | list[Part]:
    """One string, or parts where the profile has cache marks and there is more than a plain one (protocol.md 1.2)."""
    if scope.marks and (len(parts) > 1 or is_marked(parts[0])):
        return [*parts]
    return JOIN.join(part.text for part in parts)


def _hoist_leading(req: MessagesRequest, talk: Conversation) -> int:
    """Rule V3, lenient: leading system messages go into the system prompt.  Returns the index of the first turn."""
    for index, message in enumerate(req.messages):
        if message.role != "system":
            if message.role == "assistant":
                raise InvalidRequest('messages: first message must use the "user" role')
            return index
        talk.system += system_parts(message.content, talk.scope, ("messages", index, "content"))
        talk.scope.notes.add("system_hoisted", ("messages", index))
    raise InvalidRequest("messages: at least one message is required")


def _turns(req: MessagesRequest, start: int, scope: Scope) -> list[tuple[Side, Turn | None]]:
    """Sides, each with the assistant turn before it; assistant turns of which nothing is left do not divide sides."""
    last_user = len(req.messages) - 1
    while last_user > start and req.messages[last_user].role != "user":
        last_user -= 1
    found: list[tuple[Side, Turn | None]] = [([], None)]
    spoken: Side = []

    def close() -> None:
        if spoken:
            turn = assistant.turn(spoken, scope)
            spoken.clear()
            if turn.message is not None:
                found.append(([], turn))

    for index in range(start, len(req.messages)):
        message = req.messages[index]
        if message.role == "assistant":
            spoken.append((index, message))
        elif message.role == "system" and message.clear_at == "next_user_message" and index < last_user:
            scope.notes.add("system_cleared", ("messages", index))
        else:
            close()
            found[-1][0].append((index, message))
    close()
    return found


def _add_side(talk: Conversation, side: Side, turn: Turn | None) -> None:
    if turn is not None and turn.message is not None:
        talk.messages.append(turn.message)
    writer = _SideWriter(talk, turn)
    for index, message in side:
        writer.take(index, message)
    writer.finish()


class _SideWriter:
    """Sorts one side into tool messages first, then user and system messages in their order (protocol.md 2.1.2)."""

    __slots__ = ("answered", "attachments", "has_user", "items", "pending", "plain", "scope", "talk", "tools", "turn")

    def __init__(self, talk: Conversation, turn: Turn | None) -> None:
        self.talk, self.scope, self.turn = talk, talk.scope, turn
        self.pending = turn.pending if turn is not None else {}
        self.answered: set[str] = set()
        self.tools: list[ChatMessage] = []
        self.attachments: list[Part] = []
        self.items: list[Part | ChatMessage] = []  # a ChatMessage is a system message that keeps its place
        self.plain = True  # no such message among them
        self.has_user = False

    def take(self, index: int, message: Message) -> None:
        content = message.content
        if message.role == "system":
            self._system(message, ("messages", index, "content"))
            return
        self.has_user = True
        if isinstance(content, str):
            if content and not content.isspace():
                self.items.append(TextPart(content))
            return
        for position, block in enumerate(content or ()):
            path: Path = ("messages", index, "content", position)
            if block.type == "tool_result":
                self._result(block, path)
            elif block.type == "tool_use":
                raise InvalidRequest(f"{dotted(path)}: tool_use blocks can only be in assistant messages")
            else:
                self.items += parts_of(block, self.scope, path)

    def _system(self, message: Message, path: Path) -> None:
        parts = system_parts(message.content, self.scope, path)
        if not parts:
            return
        match self.scope.profile.mid_system:
            case "stay":
                self.items.append(ChatMessage("system", joined(parts, self.scope)))
                self.plain = False
            case "hoist":
                self.talk.system += parts
                self.scope.notes.add("system_hoisted", path)
            case "user":
                last = parts[-1]  # it keeps its cache mark
                last.text = WRAPPED.format(text=JOIN.join(part.text for part in parts))
                self.items.append(last)
                self.scope.notes.add("system_wrapped", path)

    def _result(self, block: Block, path: Path) -> None:
        client_id = block.tool_use_id or ""
        if client_id not in self.pending or client_id in self.answered:
            self._orphan(block, client_id, path)
            return
        self.answered.add(client_id)
        result = results.read(block, self.scope, path)
        self.tools.append(results.message(result, self.pending[client_id], self.scope))
        if result.attachments:
            self.attachments += results.attached(result, client_id, self.scope)

    def _orphan(self, block: Block, client_id: str, path: Path) -> None:
        if self.scope.strict:
            raise InvalidRequest(f"{dotted(path)}: {UNASKED.format(id=client_id)}")
        self.scope.notes.add("result_orphaned", path)
        self.items += results.as_user(block, self.scope, path)

    def finish(self) -> None:
        if len(self.answered) < len(self.pending):
            self._answer_missing()
        messages = self.tools
        parts = self.attachments
        if self.plain:
            parts += self.items  # type: ignore[arg-type]  # parts only, see `plain`
        else:
            for item in self.items:
                if isinstance(item, ChatMessage):
                    self._flush(parts, messages)
                    messages.append(item)
                    parts = []
                else:
                    parts.append(item)
        self._flush(parts, messages)
        if self.has_user and not any(message.role in ("user", "tool") for message in messages):
            messages.insert(0, ChatMessage("user", EMPTY))
            self.scope.notes.add("content_filled", ("messages",))
        self.talk.messages += messages

    def _answer_missing(self) -> None:
        missing = [client_id for client_id in self.pending if client_id not in self.answered]
        index = self.turn.index if self.turn is not None else 0
        if self.scope.strict:
            raise InvalidRequest(f"messages.{index}: {UNANSWERED.format(ids=', '.join(missing))}")
        self.scope.notes.add("result_missing", ("messages", index))
        self.tools += [
            ChatMessage("tool", results.NO_RESULT, tool_call_id=self.pending[client_id]) for client_id in missing
        ]

    def _flush(self, parts: list[Part], messages: list[ChatMessage]) -> None:
        if not parts:
            return
        if messages and self.scope.profile.bridge_after_tool and messages[-1].role == "tool":
            messages.append(ChatMessage("assistant", BRIDGE))
            self.scope.notes.add("bridge_inserted", ("messages",))
        messages.append(ChatMessage("user", _content(parts, self.scope)))


def _content(parts: list[Part], scope: Scope) -> str | list[Part]:
    """A single plain text is a string, several parts stay an array, or one text where the server has no arrays."""
    if len(parts) == 1:
        only = parts[0]
        if isinstance(only, TextPart) and not is_marked(only):
            return only.text
    if scope.profile.parts:
        return parts
    return JOIN.join(part.text for part in parts if isinstance(part, TextPart))


def _check_end(talk: Conversation) -> None:
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
