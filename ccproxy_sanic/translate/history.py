"""The whole conversation, whose beginning is remembered: agents send it with every turn (wire.anthropic.Beginning).

Rule: a beginning that was read before adds what it added then, and nothing tells whether it was: the same bytes, names,
ids and notes, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Raw

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.adjustments import Notes
from ccproxy_sanic.translate.conversation import NO_CALLS, Conversation, SideWriter, begin, cut, write
from ccproxy_sanic.translate.scope import Scope, Unsign
from ccproxy_sanic.translate.tool_names import Names
from ccproxy_sanic.translate.turns import Draft, is_spoken
from ccproxy_sanic.wire.anthropic import Beginning, Message, MessagesRequest
from ccproxy_sanic.wire.openai_chat import TextPart

M = TypeVar("M")

_VARIANTS: Final = 4  # ways to read one beginning that are remembered


class _Read(NamedTuple):
    """What a beginning adds to the conversation, whatever the system prompt and the tools are; profile and opener, by
    whose identity it is found, live as long."""

    profile: Profile
    unsign: Unsign | None
    messages: Raw  # never none, with commas between them
    system: list[TextPart]
    names: Names
    ids: set[str]
    turns: Notes  # of the assistant turns, which are all read before anything else
    sides: Notes


def read(
    req: MessagesRequest, talk: Conversation[M], draft: type[Draft[M]], writer: type[SideWriter[M]]
) -> Conversation[M]:
    """The whole conversation into ``talk``.  Raises InvalidRequest (V1, V4, V7 and V8 where strict, V11)."""
    start, scope, messages = begin(req, talk), talk.scope, req.messages
    if start == len(messages) - 1 and (plain := writer.at_once(messages[start], NO_CALLS, scope)) is not None:
        talk.messages += plain  # a single question: half the time
        return talk
    beginning: Beginning | None = req.beginning
    known: _Read | None = None
    count = 0 if beginning is None else len(beginning.messages)
    if beginning is not None and start < count and not scope.marks and _divides(messages, count):
        known = _known(beginning, messages, start, scope, draft, writer)
    if known is None:
        return write(talk, cut(messages, start, len(messages), scope, draft), writer)
    scope.notes.repeat(known.turns)
    scope.names.repeat(known.names)
    scope.tool_ids |= known.ids
    rest = cut(messages, count, len(messages), scope, draft)
    scope.notes.repeat(known.sides)
    talk.system += known.system
    talk.messages.append(cast("M", known.messages))  # written as they are
    return write(talk, rest, writer)


def _divides(messages: Sequence[Message], at: int) -> bool:
    """Whether what is before ``at`` means the same whatever follows: a turn of which something is left begins there,
    behind a user's message (which is also what a system message with clear_at waits for)."""
    return messages[at - 1].role == "user" and is_spoken(messages[at])


def _known(
    beginning: Beginning,
    messages: Sequence[Message],
    start: int,
    scope: Scope,
    draft: type[Draft[M]],
    writer: type[SideWriter[M]],
) -> _Read | None:
    """What the beginning adds; None where it is refused, as there may be more to refuse."""
    how = draft, id(scope.profile), scope.strict, id(scope.unsign)
    known: _Read | None = beginning.made.get(how)
    if known is not None:
        return known
    turns, sides = Notes(), Notes()
    part: Conversation[M] = Conversation(scope.apart(turns))
    try:
        found = cut(messages, start, len(beginning.messages), part.scope, draft)
        part.scope.notes = sides
        write(part, found, writer)
    except InvalidRequest:
        return None
    written = Raw(msgspec.json.encode(part.messages)[1:-1])
    known = _Read(
        scope.profile, scope.unsign, written, part.system, part.scope.names, part.scope.tool_ids, turns, sides
    )
    if len(beginning.made) >= _VARIANTS:
        beginning.made.clear()
    beginning.made[how] = known
    return known
