"""The way of nearly all events of a Responses stream past the machine.

Rule: an event takes the short cut only if it is a further delta of the part that is being written, and all that the
rows of protocol.md 8 would do for it is one more frame; with it or without it, the same bytes leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..wire.anthropic_reply import DELTA_TAIL
from ..wire.openai_chat_reply import DECODE_ERRORS
from ..wire.openai_responses_reply import Event, decode_event
from .block_writer import BlockWriter
from .common_events import Common
from .responses_output import CALL, Item
from .responses_turns import Turns

_TEXTS: Final = (b"delta",)
_READ: Final = frozenset(name.encode() for name in Event.__struct_fields__)
_string: Final = msgspec.json.Decoder(str).decode


class ShortCut:
    """``look`` or ``forget`` for every event that took the long way; then ``copy`` and ``take`` until the next one."""

    __slots__ = ("_common", "_item", "_last", "_texts", "_turns", "_writer")

    def __init__(self, writer: BlockWriter, turns: Turns) -> None:
        self._writer, self._turns = writer, turns
        self._item: Item | None = None  # whose block is simply growing
        self._last: Event | None = None  # what the next delta must be like
        self._common: Common | None = None
        self._texts: Callable[[list[bytes], int], list[bytes]] | None = None  # of common events

    def forget(self) -> None:
        self._item = self._texts = None

    def look(self, event: Event, item: Item) -> None:
        """Finds out whether a further event like this delta of ``item`` is nothing but one more frame."""
        if not self._turns.is_growing(item):
            return
        if not self._is_like(event):
            self._last, self._common = event, None
        self._item = item
        self._recognise()

    def _recognise(self) -> None:
        if self._common is not None and self._common.shape is not None and self._writer.framed:
            self._texts = self._common.shape.texts

    def one(self, payloads: list[bytes]) -> bytes | None:
        """The frame of the only event in a read, if it is a common one and can't end a tool's arguments.

        A third of the cost of :meth:`copy`.
        """
        item = self._item
        if item is None or self._texts is None or not (texts := self._texts(payloads, 0)):
            return None
        text = texts[0]
        if item.kind == CALL and (b"}" in text or not item.grow(_string(text))):
            return None
        return self._writer.head + text + DELTA_TAIL

    def copy(self, payloads: list[bytes], at: int) -> int:
        """Copies the run of common events that begins at ``at``; returns the index of the first other one."""
        item = self._item
        if item is None or self._texts is None:
            return at
        texts = self._texts(payloads, at)
        if item.kind == CALL:
            texts = self._grown(item, texts)
        if texts:
            head = self._writer.head
            self._writer.ready(head + (DELTA_TAIL + head).join(texts) + DELTA_TAIL)
            self._close_if_whole(item)
        return at + len(texts)

    def take(self, payload: bytes, event: Event) -> bool:
        """The same for one event that had to be decoded; False if it must take the long way."""
        item, text = self._item, event.delta
        if item is None or not text or not self._is_like(event) or (item.kind == CALL and not item.grow(text)):
            return False
        self._writer.more(text)
        if self._common is None:
            self._common = Common(_TEXTS, _READ, self._says)
        if self._common.learn(payload):
            self._recognise()
        self._close_if_whole(item)
        return True

    def _close_if_whole(self, item: Item) -> None:
        if item.kind == CALL and item.slot.complete:
            self.forget()
            self._turns.let(item)

    @staticmethod
    def _grown(item: Item, texts: list[bytes]) -> list[bytes]:
        """The leading ones that are good; nothing is, after the object's end."""
        for count, text in enumerate(texts):
            if not item.grow(_string(text)):
                return texts[:count]
        return texts

    def _is_like(self, event: Event) -> bool:
        last = self._last
        return (
            last is not None
            and event.type == last.type
            and event.output_index == last.output_index
            and event.item_id == last.item_id
            and event.content_index == last.content_index
            and event.summary_index == last.summary_index
        )

    def _says(self, payload: bytes) -> str | None:
        try:
            event = decode_event(payload)
        except DECODE_ERRORS:
            return None
        return event.delta if self._is_like(event) else None
