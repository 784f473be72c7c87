"""The conversation, cut into assistant turns and *sides*: what is between two turns, system messages included.

Rule: a side begins with the answers to the calls before it, each call answered once; what the client put there moves
behind them (protocol.md 1.3, 1.4, 2.1).  How turns, answers and texts are written is each API's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import results, turns
from ccproxy_sanic.translate.adjustments import Notes, Path, dotted
from ccproxy_sanic.translate.blocks import parts_of
from ccproxy_sanic.translate.scope import Scope, is_marked
from ccproxy_sanic.translate.turns import Draft, M, Turn
from ccproxy_sanic.wire.anthropic import Block, Message, MessagesRequest, Shared
from ccproxy_sanic.wire.openai_chat import FilePart, ImagePart, Part, TextPart

Side: TypeAlias = list[tuple[int, Message]]

BILLING: Final = "x-anthropic-billing-header:"  # Claude Code's attribution block (protocol.md 1.2, system)
EMPTY: Final = "(empty)"
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
NO_CALLS: Final[Mapping[str, str]] = {}
_PARTS: Final = (TextPart, ImagePart, FilePart)


class Conversation(Generic[M]):
    """The messages (or items) so far, and the leading system parts that go before them."""

    __slots__ = ("known", "messages", "scope", "system")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.known: _Known | None = None  # what ``system`` begins with
        self.system: list[TextPart] = []
        self.messages: list[M] = []


def begin(req: MessagesRequest, talk: Conversation[M]) -> int:
    """The system prompt into ``talk``.  Returns the index of the first turn.  Raises InvalidRequest (V1, V4)."""
    _begin(req.system, talk)
    return _hoist_leading(req, talk)


def write(
    talk: Conversation[M], found: Iterable[tuple[Side, Turn[M] | None]], writer: type[SideWriter[M]]
) -> Conversation[M]:
    """Turns and sides, as :func:`cut` gives them, into ``talk``.  Raises InvalidRequest (V7 and V8 where strict)."""
    scope, messages = talk.scope, talk.messages
    for side, turn in found:
        if turn is not None:
            messages += turn.messages
        if len(side) == 1 and side[0][1].role == "user":
            plain = writer.at_once(side[0][1], turn.pending if turn is not None else NO_CALLS, scope)
            if plain is not None:
                messages += plain
                continue
        written = writer(talk, turn)
        for index, message in side:
            written.take(index, message)
        messages += written.finished()
    return talk


class _Known(NamedTuple):
    """A client's system prompt without marks; ``content`` is all of it as JSON."""

    parts: list[TextPart]
    content: Raw
    notes: Notes


def _begin(system: str | Shared[Block] | None, talk: Conversation[M]) -> None:
    """The client's system prompt into ``talk``; agents send the same with every turn."""
    if system is None:
        return
    scope, path = talk.scope, ("system",)
    if scope.marks or not isinstance(system, Shared):
        talk.system = system_parts(system, scope, path)
        return
    known: _Known | None = system.made.get(_Known)
    if known is None:
        theirs, scope.notes = scope.notes, Notes()
        parts = system_parts(system, scope, path)
        content = Raw(msgspec.json.encode(JOIN.join(part.text for part in parts)))
        known = system.made[_Known] = _Known(parts, content, scope.notes)
        scope.notes = theirs
    scope.notes.repeat(known.notes)
    talk.system = [*known.parts]
    talk.known = known


def leading(talk: Conversation[M]) -> str | list[Part] | Raw:
    """What is told before all messages: :func:`joined`, or the JSON of it."""
    known = talk.known
    return known.content if known and len(known.parts) == len(talk.system) else joined(talk.system, talk.scope)


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


def _hoist_leading(req: MessagesRequest, talk: Conversation[M]) -> int:
    """Rule V3, lenient: leading system messages go into the system prompt.  Returns the index of the first turn."""
    for index, message in enumerate(req.messages):
        if message.role != "system":
            if message.role == "assistant":
                raise InvalidRequest('messages: first message must use the "user" role')
            return index
        talk.system += system_parts(message.content, talk.scope, ("messages", index, "content"))
        talk.scope.notes.add("system_hoisted", ("messages", index))
    raise InvalidRequest("messages: at least one message is required")


def cut(
    messages: Sequence[Message], start: int, end: int, scope: Scope, draft: type[Draft[M]]
) -> list[tuple[Side, Turn[M] | None]]:
    """Sides, each with the assistant turn before it; assistant turns of which nothing is left do not divide sides.

    Raises InvalidRequest (V11, a user's block in a turn).
    """
    last_user = len(messages) - 1
    while last_user > start and messages[last_user].role != "user":
        last_user -= 1
    side: Side = []
    found: list[tuple[Side, Turn[M] | None]] = [(side, None)]
    spoken: Side = []
    for index in range(start, end):
        message = messages[index]
        if message.role == "assistant":
            spoken.append((index, message))
        elif message.role == "system" and message.clear_at == "next_user_message" and index < last_user:
            scope.notes.add("system_cleared", ("messages", index))
        else:
            if spoken:
                turn = turns.read(spoken, scope, draft)
                spoken = []
                if turn.messages:
                    side = []
                    found.append((side, turn))
            side.append((index, message))
    if spoken and (turn := turns.read(spoken, scope, draft)).messages:
        found.append(([], turn))
    return found


class SideWriter(ABC, Generic[M]):
    """Sorts one side into answers first, then user and system messages in their order (protocol.md 2.1.2)."""

    __slots__ = ("_answered", "_has_user", "_items", "answers", "attachments", "pending", "scope", "talk", "turn")

    def __init__(self, talk: Conversation[M], turn: Turn[M] | None) -> None:
        self.talk, self.scope, self.turn = talk, talk.scope, turn
        self.pending = turn.pending if turn is not None else {}
        self.answers: list[M] = []
        self.attachments: list[Part] = []  # of the answers, where an answer cannot hold them
        self._answered: set[str] = set()
        self._items: list[Part | M] = []  # an M is a system message that keeps its place
        self._has_user = False

    @staticmethod
    def at_once(message: Message, pending: Mapping[str, str], scope: Scope) -> list[M] | None:
        """A side of one user message, where that is nothing out of the ordinary; None, and nothing was noted: see what
        it is."""
        return None

    @abstractmethod
    def answer(self, block: Block, client_id: str, path: Path) -> M:
        """The answer to a pending call."""

    @abstractmethod
    def no_answer(self, sent_id: str) -> M:
        """The answer to a call that the client left without one."""

    @abstractmethod
    def told(self, parts: list[TextPart]) -> M:
        """A system message in its place."""

    @abstractmethod
    def said(self, parts: list[Part], before: list[M]) -> list[M]:
        """What a user's parts add to the messages of this side ``before`` them."""

    def take(self, index: int, message: Message) -> None:
        content = message.content
        if message.role == "system":
            self._system(message, ("messages", index, "content"))
            return
        self._has_user = True
        if isinstance(content, str):
            if content and not content.isspace():
                self._items.append(TextPart(content))
            return
        for position, block in enumerate(content or ()):
            path: Path = ("messages", index, "content", position)
            if block.type == "tool_result":
                self._result(block, path)
            elif block.type == "tool_use":
                raise InvalidRequest(f"{dotted(path)}: tool_use blocks can only be in assistant messages")
            else:
                self._items += parts_of(block, self.scope, path)

    def _system(self, message: Message, path: Path) -> None:
        parts = system_parts(message.content, self.scope, path)
        if not parts:
            return
        match self.scope.profile.mid_system:
            case "stay":
                self._items.append(self.told(parts))
            case "hoist":
                self.talk.system += parts
                self.scope.notes.add("system_hoisted", path)
            case "user":
                last = parts[-1]  # it keeps its cache mark
                last.text = WRAPPED.format(text=JOIN.join(part.text for part in parts))
                self._items.append(last)
                self.scope.notes.add("system_wrapped", path)

    def _result(self, block: Block, path: Path) -> None:
        client_id = block.tool_use_id or ""
        if client_id not in self.pending or client_id in self._answered:
            self._orphan(block, client_id, path)
            return
        self._answered.add(client_id)
        self.answers.append(self.answer(block, client_id, path))

    def _orphan(self, block: Block, client_id: str, path: Path) -> None:
        if self.scope.strict:
            raise InvalidRequest(f"{dotted(path)}: {UNASKED.format(id=client_id)}")
        self.scope.notes.add("result_orphaned", path)
        self._items += results.as_user(block, self.scope, path)

    def finished(self) -> list[M]:
        if len(self._answered) < len(self.pending):
            self._answer_missing()
        messages, parts = self.answers, self.attachments
        spoken = bool(messages)
        for item in self._items:
            if isinstance(item, _PARTS):
                parts.append(item)
                continue
            if parts:
                messages += self.said(parts, messages)
                parts, spoken = [], True
            messages.append(item)
        if parts:
            messages += self.said(parts, messages)
        elif self._has_user and not spoken:
            messages[:0] = self.said([TextPart(EMPTY)], [])
            self.scope.notes.add("content_filled", ("messages",))
        return messages

    def _answer_missing(self) -> None:
        missing = [client_id for client_id in self.pending if client_id not in self._answered]
        index = self.turn.index if self.turn is not None else 0
        if self.scope.strict:
            raise InvalidRequest(f"messages.{index}: {UNANSWERED.format(ids=', '.join(missing))}")
        self.scope.notes.add("result_missing", ("messages", index))
        self.answers += [self.no_answer(self.pending[client_id]) for client_id in missing]
