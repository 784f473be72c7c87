"""Conversations that came before: only what is new in them is read.

Rule: a request is what it would be if nothing was known; whatever is in doubt is left to who reads all of it.

Agents send the whole conversation with every turn, seldom at the end of the body: Claude Code 2.1 writes model,
messages, system, tools and then the others; Anthropic's Python SDK max_tokens, messages, model and then the others by
their names; requests written by hand often end in the messages.  Known are the fields before the messages, all of those
but the last two turns, in which clients move their cache marks on, and the fields behind the system prompt, which may
change.  Without these a small body is left, which is read instead.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire import reading, spans
from ccproxy_sanic.wire.blocks import NO_RAW
from ccproxy_sanic.wire.messages import Beginning, Message, MessagesRequest
from ccproxy_sanic.wire.prefixes import LONGEST, Entry, Prefixes
from ccproxy_sanic.wire.reading import FAULTS, Received


class ConversationStatistics(msgspec.Struct, frozen=True):
    """``bytes``: about what they take, with bodies that came once; ``hits``: requests that went on with one."""

    conversations: int
    bytes: int
    hits: int


class _Rest(Received, gc=False, kw_only=True):
    """What is left of a body.  ``messages`` are given only where a body has them once more."""

    model: str | UnsetType = UNSET  # type: ignore[assignment]
    max_tokens: int | UnsetType = UNSET  # type: ignore[assignment]
    messages: Raw = NO_RAW  # type: ignore[assignment]
    rest: Raw = NO_RAW


# Bytes of memory, about: of what is remembered (Claude Code's conversations take 300 kB to 4 MB each), and of bodies
# that came once; of those that look alike (Prefixes) so many are compared with each body.
KNOWN: Final = 12 << 20
ONCE: Final = 4 << 20
ALIKE: Final = 4
ONCE_ALIKE: Final = 2
GROWTH: Final = 10  # messages more that are read each time before a longer beginning is remembered
LATEST: Final = 2  # assistant messages that do not belong to the beginning
_FRONT: Final = 2048  # bytes; longer is what stands before the messages only if system or tools do
_MESSAGES: Final = b'"messages":['
_TURN: Final = b'{"role":"assistant"'
_REST: Final = b'"rest":['
_SHARED: Final = ("system", "tools")
_FIELDS: Final = frozenset(MessagesRequest.__struct_fields__) - {"repaired", "special", "rare", "beginning"}
_left: Final = msgspec.json.Decoder(_Rest).decode
_list: Final = msgspec.json.Decoder(list[Message]).decode
known: Final[Prefixes[Beginning]] = Prefixes(KNOWN, ALIKE)
once: Final[Prefixes[None]] = Prefixes(ONCE, ONCE_ALIKE)


def statistics() -> ConversationStatistics:
    return ConversationStatistics(len(known), known.weight + once.weight, known.found)


def read(body: bytes) -> MessagesRequest | None:
    """The request; None where there is any doubt.  Raises InvalidRequest for what is missing in one that is new."""
    entry = known.find(body)
    if entry is not None:
        return _found(body, entry)
    try:
        request = reading.at_once(reading.messages, body)
    except FAULTS:
        return None
    reading.complete(request)
    _note(body, request)
    return request


def _found(body: bytes, entry: Entry[Beginning]) -> MessagesRequest | None:
    beginning = entry.value
    request = _continued(body, beginning)
    if request is not None and len(request.messages) - len(beginning.messages) > GROWTH:
        _remember(body, request, entry)
    return request


def _note(body: bytes, request: MessagesRequest) -> None:
    """What never comes again is not worth to be remembered, nor to be looked at closely: the first time only the body
    is kept, up to where its latest turns seem to begin, and compared with those that come later."""
    if len(request.messages) <= 2 * LATEST:
        return
    before = once.find(body)
    if before is not None:
        once.forget(before)
        _remember(body, request, None)
        return
    at = len(body)
    for _ in range(LATEST):
        at = body.rfind(_TURN, 0, max(at, 0))
    if at > len(body) // 2 or body.find(_MESSAGES, 0, _FRONT) >= 0:
        once.add(Entry(body, at, None, len(body)))


def _remember(body: bytes, request: MessagesRequest, shorter: Entry[Beginning] | None) -> None:
    """Keeps what the conversation begins with and how it ends, ``shorter`` no longer.

    Not where half of the body would have to be read nevertheless, nor where keys come twice, nor of a body that is too
    long: then the shorter one stays.
    """
    messages = request.messages
    count = _settled(messages)
    if count <= (0 if shorter is None else len(shorter.value.messages)) or len(body) >= LONGEST:
        return
    try:
        members = spans.members(body)
    except ValueError:  # nested just as deep as the stack allowed where the body was decoded
        return
    places = {member.key: nth for nth, member in enumerate(members)}
    if len(places) < len(members):
        return
    nth = places["messages"]
    _, start, end = members[nth]
    items = spans.items(body[start:end])
    first, size = start + items[0].start, start + items[count].start
    last = max(nth, places.get("system", 0))
    cut = members[last].end
    front, back = members[:nth], members[last + 1 :]
    kept = [member for member in front if member.key in _FIELDS and member.key not in _SHARED]
    head = b"{%b%b" % (b"".join([b'"%b":%b,' % (key.encode(), body[at:to]) for key, at, to in kept]), _REST)
    if len(head) + cut - size > len(body) // 2:
        return
    beginning = Beginning(
        body,
        size,
        memoryview(body)[cut:],
        messages[:count],
        reading.complete_messages(messages[:count], 0),
        head,
        {member.key: getattr(request, member.key) for member in front if member.key in _SHARED},
        {member.key: getattr(request, member.key) for member in back if member.key in _FIELDS},
        {},
    )
    if shorter is not None:
        known.forget(shorter)
    known.add(Entry(body, size, beginning, len(body) + 3 * (size - first) + 1024 * count))
    request.beginning = beginning


def _settled(messages: list[Message]) -> int:
    """How many messages there are before the latest assistant messages; 0 where there are too few of those."""
    left = LATEST
    for index in range(len(messages) - 1, -1, -1):
        left -= messages[index].role == "assistant"
        if not left:
            return index
    return 0


def _continued(body: bytes, beginning: Beginning) -> MessagesRequest | None:
    """The request that goes on with what is known.

    What was cut out before stands between two tokens, and what was cut out behind follows a member: so what is left,
    closed, is JSON if and only if the body is.
    """
    end, head = beginning.end(body), beginning.head
    closed = end < len(body)
    text = b"".join((head, memoryview(body)[beginning.size : end], b"}" if closed else b""))
    known_messages = beginning.messages
    try:
        reading.encoded(text)
        request = _left(text)
        # The last of equal keys counts: so there may be no other messages, and these must be those that stand here.
        if request.messages is not NO_RAW or not text.startswith(request.rest, len(head) - 1):
            return None
        rest = _list(bytes(request.rest))  # of a copy: messages hold on to all that they were read from
        if not rest:  # behind a comma the array must not end
            return None
        request.messages, request.rest = known_messages + rest, NO_RAW  # type: ignore[assignment]
        reading.take_shared(request, beginning.front)
        if closed:
            for name, value in beginning.back.items():
                setattr(request, name, value)
        if request.model is UNSET or request.max_tokens is UNSET:
            return None
        reading.complete_system(request)
        request.special = reading.complete_messages(rest, len(known_messages)) or beginning.special
        reading.complete_formats(request)
    except (*FAULTS, InvalidRequest):
        return None
    request.repaired, request.beginning = False, beginning
    request.rare = reading.has_rare(request)
    return request
