"""The way of nearly all chunks past the machine.

Rule: a chunk takes the short cut only if all that the rows of protocol.md 4.4 would do for it is one more frame of the
open block; with it or without it, the same bytes leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..wire.anthropic_reply import DELTA_TAIL, encode
from ..wire.openai_chat_reply import DECODE_ERRORS, Chunk, PieceKind, decode_chunk, index_of_piece, only_piece
from ..wire.openai_chat_reply import READ_MEMBERS as READ
from .block_writer import BlockWriter
from .common_events import Common
from .text_flow import TextFlow
from .tool_slots import Slot, Slots

# kind of the open block -> the members that can hold its text; where several do, the first counts (reasoning.read)
TEXTS: Final[dict[PieceKind, tuple[bytes, ...]]] = {
    "text": (b"content",),
    "thinking": (b"reasoning_content", b"reasoning", b"reasoning_text"),
    "tool": (b"arguments",),
}
_string: Final = msgspec.json.Decoder(str).decode


class Learned:
    """What is known of a kind of chunks."""

    __slots__ = ("common", "index", "kind", "tier")

    def __init__(self, kind: PieceKind) -> None:
        self.kind = kind
        self.common = Common(TEXTS[kind], READ, self._says)
        self.tier: str | None = None  # the service tier that chunks of this shape name
        self.index: int | None = None  # and the index of their tool call

    def _says(self, payload: bytes) -> str | None:
        try:
            piece = only_piece(decode_chunk(payload))
        except DECODE_ERRORS:
            return None
        return None if piece is None or piece[0] != self.kind else piece[1]


class ShortCut:
    """``look`` after every chunk that took the long way; then ``copy`` and ``take`` until the next one that does."""

    __slots__ = ("_flow", "_known", "_now", "_slot", "_slots", "_texts", "_writer", "filled", "tier")

    def __init__(self, writer: BlockWriter, flow: TextFlow, slots: Slots) -> None:
        self._writer, self._flow, self._slots = writer, flow, slots
        self._known: dict[PieceKind, Learned] = {}
        self._now: Learned | None = None  # of the open block's kind, if the block is simply growing
        self._slot: Slot | None = None  # whose arguments the open block holds
        self._texts: Callable[[list[bytes], int], list[bytes]] | None = None  # of common events that need no more
        self.tier: str | None = None  # the service tier that the last chunk on this way named
        self.filled = False  # whether it was the last piece of a tool block

    def look(self) -> None:
        """Finds out whether the next piece of the open block is nothing but one more frame."""
        self._now = self._slot = self._texts = None
        kind = self._writer.growing
        if kind is None or (kind == "text" and not self._flow.plain) or (kind == "thinking" and not self._flow.empty):
            return
        if kind == "tool":
            self._slot = self._slots.current()
            if self._slot is None or not self._slot.growing:
                return
        known = self._known.get(kind)
        if known is None or (kind == "tool" and self._slots.meant(known.index) is not self._slot):
            known = self._known[kind] = Learned(kind)
        self._now, self.tier = known, known.tier
        self._simplify(known)

    def _simplify(self, now: Learned) -> None:
        shape = now.common.shape
        if shape is not None and self._writer.spoken:
            self._texts = shape.texts

    def one(self, payloads: list[bytes]) -> bytes | None:
        """The frame of the only event in a read, if it is a common one and can't end a tool's arguments.

        Half the cost of :meth:`copy`.
        """
        if self._texts is None or not (texts := self._texts(payloads, 0)):
            return None
        text = texts[0]
        if self._slot is not None and (b"}" in text or not self._slot.grow(_string(text))):
            return None
        return self._writer.head + text + DELTA_TAIL

    def copy(self, payloads: list[bytes], at: int) -> int:
        """Copies the run of common events that begins at ``at``; returns the index of the first other one."""
        now = self._now
        if now is None or (shape := now.common.shape) is None:
            return at
        texts = shape.texts(payloads, at)
        if self._slot is not None:
            texts = self._grown(self._slot, texts)
        if texts:
            head = self._writer.head
            self._writer.ready(head + (DELTA_TAIL + head).join(texts) + DELTA_TAIL)
            self.tier = now.tier
            self.filled = self._slot is not None and self._slot.complete
        return at + len(texts)

    @staticmethod
    def _grown(slot: Slot, texts: list[bytes]) -> list[bytes]:
        """The leading ones that are good; nothing is, after the object's end."""
        for count, text in enumerate(texts):
            if not slot.grow(_string(text)):
                return texts[:count]
        return texts

    def take(self, payload: bytes, chunk: Chunk) -> bool:
        """The same for one event that had to be decoded; False if it must take the long way."""
        now = self._now
        if now is None or (piece := only_piece(chunk)) is None or piece[0] != now.kind:
            return False
        index = None
        if self._slot is not None:
            index = index_of_piece(chunk)
            if self._slots.meant(index) is not self._slot or not self._slot.grow(piece[1]):
                return False
        self._writer.ready(self._writer.head + encode(piece[1]) + DELTA_TAIL)
        self.tier, self._texts = chunk.service_tier, None
        self.filled = self._slot is not None and self._slot.complete
        if now.common.learn(payload):
            now.tier, now.index = chunk.service_tier, index
        if now.tier == chunk.service_tier:
            self._simplify(now)
        return True
