"""Tool calls under construction: which call a delta belongs to, and what may be sent of it.

Rule: upstreams send ids, names, indices and arguments in any order, twice or never; this file decides (protocol.md
4.5), and :mod:`stream` only asks.  Late data of a finished call is dropped.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import msgspec

from ..wire.anthropic_reply import encode
from ..wire.openai_chat_reply import ToolCall
from .arguments import Automaton, whole
from .reasoning import thought_signature
from .reply_spec import ReplySpec

MAX_BLANKS: Final = (
    500  # whitespace outside strings, in a row: a model that does only this never comes back (peers.md 3 A17)
)


class End(Enum):
    """How the answer ended, as far as unfinished arguments are concerned (protocol.md 4.6.4)."""

    NORMAL = auto()  # what lacks its end gets it
    LENGTH = auto()  # nothing is appended: clients recognise a call that was cut at the limit
    CUT = auto()  # cut, but the stop_reason won't say so: it gets an end by which the tool can see it


class Slot:
    """One call."""

    __slots__ = (
        "_blanks",
        "_broken",
        "_custom",
        "_json",
        "_sent",
        "_unsent",
        "id",
        "index",
        "name",
        "started",
        "thought",
    )

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.started = False  # its block is open or was
        self.thought: str | None = None  # Gemini's signature
        self._json = Automaton()
        self._unsent: list[str] = []
        self._sent = False
        self._broken: list[str] | None = None  # pieces from the first bad one on
        self._blanks = 0
        self._custom = False

    @property
    def begun(self) -> bool:
        """Whether arguments have begun."""
        return self._json.begun or self._broken is not None

    @property
    def complete(self) -> bool:
        return self._broken is None and self._json.complete

    @property
    def endless(self) -> bool:
        return self._blanks > MAX_BLANKS

    @property
    def growing(self) -> bool:
        """Whether arguments have been sent and all that came was good."""
        return self._sent and self._broken is None

    def grow(self, piece: str) -> bool:
        """Takes a piece of a growing slot's arguments that is to be sent as it is; False, and nothing changes, if it
        is not that simple."""
        if (piece.isspace() and not self._json.in_string) or not self._json.feed(piece):
            return False
        self._blanks = 0
        return True

    def take_name(self, piece: str | None, declared: frozenset[str]) -> None:
        """A declared name is final at once; other pieces are joined; a repeat says nothing."""
        if not piece or not piece.strip() or self.started or self.name in declared or piece == self.name:
            return
        self.name = piece if piece in declared else self.name + piece

    def take_arguments(self, piece: str) -> None:
        if not piece or self.complete:
            return
        if piece.isspace() and not self._json.in_string:
            self._blanks += len(piece)
        else:
            self._blanks = 0
        if self._broken is not None:
            self._broken.append(piece)
        elif self._json.feed(piece):
            # whitespace before the object is not sent: if no object follows, another one takes its place
            self._unsent.append(piece)
        else:
            self._broken = [piece]

    def take_custom(self, piece: str) -> None:
        """Free text of a custom tool: becomes ``{"input": "..."}``, whose end comes at the finish."""
        if not self._custom:
            self._custom = True
            self.take_arguments('{"input":"')
        self.take_arguments(encode(piece).decode()[1:-1])

    def unsent(self) -> str:
        """Good pieces that wait to be sent; they count as sent now."""
        if not self._unsent or not self._json.begun:
            return ""
        pieces, self._unsent = self._unsent, []
        text = pieces[0] if len(pieces) == 1 else "".join(pieces)
        if not self._sent:
            text = text.lstrip()
            self._sent = True
        return text

    def ending(self, end: End) -> str:
        """The last delta, after all that was good has been sent."""
        if self.complete:
            return ""
        if not self._sent:  # no arguments at all, or none that could be sent as they came
            return whole("".join((*self._unsent, *(self._broken or ()))), cut=end is not End.NORMAL)
        if end is End.LENGTH:
            return ""
        return self._json.ending() if end is End.NORMAL else self._json.ending_of_cut()


class Slots:
    """The calls of one answer, in order of their appearance."""

    __slots__ = ("_by_id", "_by_index", "_ids", "_spec", "_turn", "all")

    def __init__(self, spec: ReplySpec) -> None:
        self._spec = spec
        self.all: list[Slot] = []
        self._turn = 0  # the first unfinished one: only this one streams
        self._by_index: dict[int, Slot] = {}  # the newest with that index
        self._by_id: dict[str, Slot] = {}
        self._ids: set[str] = set()  # given to the client beside those in the request's history

    def take(self, call: ToolCall) -> Slot:
        """Puts a delta where it belongs; returns the slot."""
        function, custom = call.function, call.custom
        name = (function.name if function is not None else None) or (custom.name if custom is not None else None)
        slot = self._slot_of(call.index, (call.id or "").strip(), name)
        slot.take_name(name, self._spec.tools)
        if slot.thought is None and call.extra_content is not None:
            slot.thought = thought_signature(call)
        if function is not None and function.arguments is not None:
            piece = function.arguments
            slot.take_arguments(piece if isinstance(piece, str) else msgspec.json.encode(piece).decode())
        if custom is not None and custom.input:
            slot.take_custom(custom.input)
        return slot

    def _slot_of(self, index: int | None, call_id: str, name: str | None) -> Slot:
        last = self.all[-1] if self.all else None
        slot: Slot | None
        if index is not None:
            slot = self._by_index.get(index)
            if slot is not None and call_id and name and call_id != slot.id:
                # an id that comes late is no different one, unless the call was whole without it
                fresh = slot.complete or (not slot.begun and slot.id != "")
                slot = None if fresh else slot
        elif call_id:
            slot = self._by_id.get(call_id)
            if slot is None and not name and last is not None and not last.id and not last.complete:
                slot = last  # an id that comes late: alone it can't begin a call
        else:
            slot = None if last is None or (name and last.complete) else last
        if slot is None:
            slot = Slot(index)
            self.all.append(slot)
            if index is not None:
                self._by_index[index] = slot
        if call_id and not slot.id:
            slot.id = call_id
            self._by_id.setdefault(call_id, slot)
        return slot

    def meant(self, index: int | None) -> Slot | None:
        """The slot of a piece of arguments without id, if it belongs to one that is not complete."""
        if index is not None:
            return self._by_index.get(index)
        return self.all[-1] if self.all else None

    def current(self) -> Slot | None:
        """The slot whose turn it is."""
        return self.all[self._turn] if self._turn < len(self.all) else None

    def next(self) -> None:
        self._turn += 1

    def may_start(self, slot: Slot) -> bool:
        """Whether the name of the slot whose turn it is can be trusted to be whole."""
        return slot.name != "" and (slot.name in self._spec.tools or slot.begun or slot is not self.all[-1])

    def must_start(self, slot: Slot) -> bool:
        """The same at the finish: only a call without a name can't start, unless there is only one tool it can mean."""
        if not slot.name and len(self._spec.tools) == 1:
            (slot.name,) = self._spec.tools
        return slot.name != ""

    def unique(self, call_id: str) -> str:
        """The id as the client gets it: never empty, never one it has seen (Claude Code would lose the call)."""
        if not call_id or call_id in self._ids or call_id in self._spec.used_tool_ids:
            call_id = self._spec.new_tool_id()
        self._ids.add(call_id)
        return call_id

    def client_name(self, name: str) -> str:
        return self._spec.names.get(name, name)
