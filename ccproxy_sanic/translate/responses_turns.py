"""Which item of a Responses answer writes, and what becomes of it in the message.

Rule: an item writes as soon as it has something to say; only a tool call whose arguments are not whole makes the others
wait, in the order in which they spoke up (protocol.md 4.4, 8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .block_writer import BlockWriter
from .reply_spec import ReplySpec
from .responses_output import MESSAGE, REASONING, Item
from .text_flow import TextFlow
from .tool_slots import End, Slots

COMMENTARY: Final = "commentary"  # what a model says between its tool calls


class Turns:
    __slots__ = (
        "_call",
        "_drop",
        "_end",
        "_flow",
        "_last",
        "_open",
        "_slots",
        "_waiting",
        "_writer",
        "endless",
        "tools",
    )

    def __init__(self, spec: ReplySpec, writer: BlockWriter) -> None:
        self._writer = writer
        self._flow = TextFlow(spec, writer)
        self._slots = Slots(spec)
        self._drop = spec.thinking == "drop"
        self._open: Item | None = None  # whose turn it is; a reasoning item keeps it behind its end
        self._last: Item | None = None  # whose turn was the last one
        self._call: Item | None = None  # whose arguments are not whole
        self._waiting: deque[Item] = deque()
        self._end: End | None = None  # what becomes of unfinished arguments, once that is known
        self.tools = 0  # tool_use blocks started
        self.endless = False  # arguments go on in whitespace: nothing more can be written

    @property
    def matched(self) -> str | None:
        """The stop string that was met: nothing more is written."""
        return self._flow.matched

    def is_growing(self, item: Item) -> bool:
        """Whether a further piece of this item is nothing but one more delta of the open block."""
        kind = self._writer.growing
        if self._open is not item or kind is None:
            return False
        if kind == "tool":
            return item.slot.growing
        return self._flow.plain if kind == "text" else item.kind == REASONING

    def let(self, item: Item) -> None:
        """Writes what an item has: now, or behind the tool block whose arguments are not whole yet."""
        if self._call is not None and self._call is not item:
            if not item.waiting:
                item.waiting = True
                self._waiting.append(item)
            return
        self._write(item)
        while self._waiting and self._call is None:
            item = self._waiting.popleft()
            item.waiting = False
            self._write(item)

    def finish(self, calls: Sequence[Item], final: Sequence[Item], end: End) -> None:
        """Writes what is left: of the open call, of the finished response's items in order, of calls without a name."""
        self._end = end
        if self._call is not None:
            self.let(self._call)
        for item in final:
            self.let(item)
        for item in calls:
            if not item.over and self._slots.must_start(item.slot):
                self._write(item)
        if not self.endless:
            self._leave()

    def _write(self, item: Item) -> None:
        if self.matched is not None or self.endless:
            return
        if item.kind == MESSAGE:
            self._message(item)
        elif item.kind == REASONING:
            self._reasoning(item)
        else:
            self._tool(item)

    def _message(self, item: Item) -> None:
        if item.pending and self._turn_to(item):
            pending, item.pending = item.pending, []
            for text, refused in pending:
                (self._flow.refusal if refused else self._flow.text)(text)
                if self.matched is not None:
                    return
        if item.ended and self._open is item:
            self._leave()

    def _reasoning(self, item: Item) -> None:
        """The block stays open behind the item's end: its signature also carries the phase of the message to come."""
        if self._drop or not (item.pending or item.carried) or not self._turn_to(item):
            return
        pending, item.pending = item.pending, []
        for text, _ in pending:
            self._writer.thinking(text, [])
        if item.carried:
            self._writer.carry(item.carried)
            item.carried = {}

    def _tool(self, item: Item) -> None:
        slot = item.slot
        if item.over:
            return
        if slot.endless:
            self.endless = True
            return
        if not slot.started:
            if not slot.name or not self._turn_to(item):
                return
            self._writer.tool(self._slots.unique(slot.id), self._slots.client_name(slot.name))
            slot.started = True
            self.tools += 1
            self._call = item
        self._writer.arguments(slot.unsent())
        if not slot.complete:
            if not self._ends(item):
                return
            self._writer.arguments(slot.ending(self._end or End.NORMAL))
        item.over = True
        self._call = None
        self._leave()

    def _ends(self, item: Item) -> bool:
        """Whether a call ends here although its arguments are not whole.

        At its item's end it does if nothing is missing but what we add; broken arguments wait for the response's end,
        which says whether they were cut.
        """
        return self._end is not None or (item.ended and not item.cut and (item.custom or not item.slot.begun))

    def _turn_to(self, item: Item) -> bool:
        """Ends what another item was saying; False if that brought a stop string to light."""
        if self._open is item:
            return True
        marked = self._open is not None and self._open.kind == REASONING
        if item.phase and marked:
            self._writer.carry({"phase": item.phase})
        self._leave()
        if self.matched is not None:
            return False
        if not (marked or item.turned or self._drop) and self._needs_mark(item):
            self._writer.carry({"phase": item.phase or ""})
        self._open, self._last, item.turned = item, item, True
        return True

    def _needs_mark(self, item: Item) -> bool:
        """Whether the phase of a message without reasoning before it needs a (thinking) block of its own.

        A final answer is what a message is anyway, unless it follows one of another phase.
        """
        before = self._last.phase if self._last is not None else None
        return item.phase == COMMENTARY or (item.phase is not None and before == COMMENTARY)

    def _leave(self) -> None:
        if self._open is None:
            return
        self._flow.leave()
        self._writer.close()
        self._open = None
