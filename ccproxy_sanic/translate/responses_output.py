"""The output items of one Responses answer: which item an event belongs to, and what of it has not been written yet.

Rule: what came in pieces is not taken again when it comes whole (``.done`` events, the item at its end, the finished
response), and what came in no pieces is taken from the first place that has it whole (protocol.md 8).

Servers number and name items as they like: the same ``output_index`` for items of different types, a new id with each
event, deltas of items that were never announced.  So an item is known by its kind and its id, else by its kind and its
index, and those of a finished response by their order among their kind.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Literal

from ..wire.anthropic_reply import encode
from ..wire.openai_responses_reply import OutputItem, texts
from .tool_slots import Slot

Kind = Literal["message", "reasoning", "call"]
MESSAGE: Final = "message"
REASONING: Final = "reasoning"
CALL: Final = "call"
_KINDS: Final[tuple[Kind, ...]] = (MESSAGE, REASONING, CALL)

# An item's type -> what it is to us; the others (searches, images, MCP calls) are the server's own business.
KINDS: Final[dict[str, Kind]] = {
    "message": MESSAGE,
    "reasoning": REASONING,
    "function_call": CALL,
    "custom_tool_call": CALL,
}


class Item:
    """One item; only a call has a ``slot``.

    ``pending`` holds the pieces that are not written yet, each with whether it is a refusal.
    """

    __slots__ = (
        "_heard",
        "_last",
        "_received",
        "_sort",
        "announced",
        "carried",
        "custom",
        "cut",
        "ended",
        "id",
        "kind",
        "over",
        "pending",
        "phase",
        "refused",
        "slot",
        "turned",
        "waiting",
    )

    def __init__(self, kind: Kind, index: int | None, item_id: str | None) -> None:
        self.kind, self.id = kind, item_id
        self.announced = False
        self.ended = False  # the upstream said that it is whole
        self.cut = False  # but that it is not complete
        self.waiting = False  # for the open call
        self.turned = False  # something of it was written
        self.pending: list[tuple[str, bool]] = []
        self.refused: list[str] = []
        self.phase: str | None = None  # of a message
        self.carried: dict[str, str] = {}  # of a reasoning item, for the signature
        if kind == CALL:
            self.slot = Slot(index)
        self.custom = False
        self.over = False  # the call's block is closed
        self._heard: set[tuple[str, int]] = set()  # parts of which something came
        self._sort = ""  # where the reasoning stands: summary or content
        self._last: int | None = None  # the newest part
        self._received = 0  # characters of arguments

    def hear(self, sort: str, part: int, text: str | None, *, whole: bool) -> bool:
        """A piece of a message (``text``, ``refusal``) or of reasoning (``summary``, ``content``), or a whole part.

        Returns whether it is one that had not come before.
        """
        if not text or (whole and (sort, part) in self._heard):
            return False
        if self.kind == REASONING:
            if self._sort not in ("", sort):
                return False  # the same thoughts in their other form
            self._sort = sort
            if self._last not in (None, part):
                text = "\n\n" + text
        self._heard.add((sort, part))
        self._last = part
        self.pending.append((text, sort == "refusal"))
        if sort == "refusal":
            self.refused.append(text)
        return True

    def take(self, sort: str, text: str | dict[str, Any] | None, *, whole: bool) -> None:
        """A piece of a call's ``arguments`` or of a custom tool's ``input``, or all of it."""
        if isinstance(text, dict):
            text = encode(text).decode() if whole and not self._received else None
        if text and whole:
            text = text[self._received :]
        if not text:
            return
        self._received += len(text)
        if sort == "input":
            self.custom = True
            self.slot.take_custom(text)
        else:
            self.slot.take_arguments(text)

    def grow(self, text: str) -> bool:
        """Takes a piece of a growing call's arguments; False, and nothing changes, if it is not that simple."""
        if not self.slot.grow(text):
            return False
        self._received += len(text)
        return True

    def announce(self, item: OutputItem, declared: frozenset[str]) -> None:
        """What an item says about itself at its beginning and at its end."""
        self.announced = True
        self.id = self.id or item.id
        self.phase = item.phase or self.phase
        self.custom = self.custom or item.type == "custom_tool_call"
        if self.kind == CALL:
            self.slot.id = self.slot.id or (item.call_id or item.id or "").strip()
            self.slot.take_name(item.name, declared)

    def finish(self, item: OutputItem, declared: frozenset[str]) -> None:
        """The item as it is at its end."""
        self.announce(item, declared)
        if self.kind == CALL:
            self.cut = item.status == "incomplete"
            self.take(*(("input", item.input) if self.custom else ("arguments", item.arguments)), whole=True)
            if self.custom:
                self.slot.take_custom("")
        elif not self._heard:
            for sort, parts in (("text", item.content),) if self.kind == MESSAGE else _thoughts(item):
                for part, (text, refused) in enumerate(texts(parts)):
                    self.hear("refusal" if refused else sort, part, text, whole=True)
        if self.kind == REASONING and item.encrypted_content and not self.ended:
            self.carried = {"id": item.id or "", "encrypted_content": item.encrypted_content}
        self.ended = True


def _thoughts(item: OutputItem) -> tuple[tuple[str, Any], ...]:
    """The summary is what the upstream wants to be seen; reasoning text is all that open models have."""
    return ("summary", item.summary), ("content", item.content)


class Items:
    """The items of one answer, in order of their appearance."""

    __slots__ = ("_any", "_by_id", "_by_index", "_of")

    def __init__(self) -> None:
        self._any = False  # whether there is an item
        self._of: dict[Kind, list[Item]] = {MESSAGE: [], REASONING: [], CALL: []}
        self._by_id: dict[tuple[Kind, str], Item] = {}
        self._by_index: dict[tuple[Kind, int], Item] = {}  # the newest with that index

    def announced(self, kind: Kind, index: int | None, item_id: str | None) -> Item:
        """The item that ``output_item.added`` speaks of: a new one, unless it repeats itself or comes late."""
        item = None if index is None else self._by_index.get((kind, index))
        if item is None or item.ended or (item.announced and item.id != item_id):
            item = self._new(kind, index, item_id)
        return item

    def of(self, kind: Kind, index: int | None, item_id: str | None) -> Item:
        """The item that any other event belongs to."""
        item = self._by_id.get((kind, item_id)) if item_id else None
        if item is None:
            if index is not None:
                item = self._by_index.get((kind, index))
            elif self._of[kind]:
                item = self._of[kind][-1]
        return item or self._new(kind, index, item_id)

    def final(self, output: list[OutputItem]) -> list[tuple[Item, OutputItem]]:
        """The items of a finished response, each with what it is there."""
        found = [(kind, item) for item in output if (kind := KINDS.get(item.type or "")) is not None]
        if not self._any:
            return [(self._new(kind, None, item.id), item) for kind, item in found]
        named = {id(known): known for kind, item in found if (known := self._by_id.get((kind, item.id or "")))}
        others = {kind: deque(known for known in self._of[kind] if id(known) not in named) for kind in _KINDS}
        final = []
        for kind, item in found:
            known = self._by_id.get((kind, item.id or ""))
            if known is None or named.pop(id(known), None) is None:
                known = others[kind].popleft() if others[kind] else self._new(kind, None, item.id)
            final.append((known, item))
        return final

    @property
    def calls(self) -> list[Item]:
        return self._of[CALL]

    @property
    def whole(self) -> bool:
        """Whether every item has come to its end."""
        return all(item.ended for items in self._of.values() for item in items)

    def refusal(self) -> str:
        return "".join([text for item in self._of[MESSAGE] for text in item.refused])

    def _new(self, kind: Kind, index: int | None, item_id: str | None) -> Item:
        item = Item(kind, index, item_id)
        self._any = True
        self._of[kind].append(item)
        if item_id:
            self._by_id.setdefault((kind, item_id), item)
        if index is not None:
            self._by_index[kind, index] = item
        return item
