"""Tool call ids that another provider gave, in a request for an upstream that speaks Messages itself.

Rule: an id that the Messages API takes is never touched; any other becomes the same legal one every time, in the call
and in its result, and nothing else changes (protocol.md 2.1.5).

The API takes ``^[a-zA-Z0-9_-]+$`` and refuses the whole request for one id with another character, as in Kimi's
``functions.Bash:0``, or for an empty one; it says nothing about how long an id may be.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ..wire import spans
from ..wire.anthropic_reply import encode
from ..wire.spans import Edit, Member
from .adjustments import Notes, Path

# A value of such a name that begins like none that is taken.  By the end of the names, which both have: a pattern that
# begins with letters, and not with a choice, is looked for twenty times as fast.
_foreign_in: Final = re.compile(
    rb'id"(?:(?<="id")|(?<="tool_use_id"))[ \t\r\n]*+:[ \t\r\n]*+"(?![a-zA-Z0-9_-]++")'
).search
_TAKEN: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NAMED: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
_ID_BYTES: Final = 18  # 24 characters


class _Block(msgspec.Struct):
    type: Any = None


_block: Final = msgspec.json.Decoder(_Block).decode
_value: Final = msgspec.json.Decoder().decode


def suspected(raw: bytes) -> bool:
    """Whether ``raw`` may hold ids that are refused; it may be something else that is written like one."""
    return _foreign_in(raw) is not None


def replaced(raw: bytes, found: Iterable[Member], notes: Notes) -> bytes:
    """``raw``, whose members are ``found``, with the ids of its messages as the API takes them.

    Raises ValueError or a decoder's error: what is looked into is not JSON.
    """
    return spans.edited(raw, _edits(raw, found, notes))


def _edits(raw: bytes, found: Iterable[Member], notes: Notes) -> Iterator[Edit]:
    for path, start, end in _blocks(raw, found):
        block = raw[start:end]
        kind = _block(block).type
        name = _NAMED.get(kind) if isinstance(kind, str) else None
        for key, first, last in spans.members(block) if name else ():
            said = _value(block[first:last]) if key == name else None
            if isinstance(said, str) and not _TAKEN.fullmatch(said):
                notes.add("id_replaced", path)
                yield Edit(start + first, start + last, encode(_legal(said)))


def _legal(said: str) -> str:
    """An id in the shape of Anthropic's own; base64 as in context.new_id."""
    return "toolu_" + b64encode(hashlib.sha256(said.encode()).digest()[:_ID_BYTES], b"Zz").decode("ascii")


def _blocks(raw: bytes, found: Iterable[Member]) -> Iterator[tuple[Path, int, int]]:
    """The content blocks of the messages that may hold such ids."""
    for key, start, end in found:
        for index, first, last in _items(raw, start, end) if key == "messages" else ():
            for name, begin, stop in spans.members(raw[first:last]):
                if name == "content":
                    for nth, one, other in _items(raw, first + begin, first + stop):
                        yield ("messages", index, "content", nth), one, other


def _items(raw: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The items of the array between the two that are objects and may hold such ids: which, and where in ``raw``."""
    if raw.startswith(b"[", start):
        for index, place in enumerate(spans.items(raw[start:end])):
            first, last = start + place.start, start + place.end
            if raw.startswith(b"{", first) and _foreign_in(raw, first, last):
                yield index, first, last
