"""The frames of one message, block by block.

Rule: at most one content block is open, indexes have no gap, a thinking block ends with its signature, and what was
opened is closed (protocol.md 4.2).  What is written and when is decided in :mod:`stream`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ..wire import anthropic_reply as wire
from ..wire.anthropic_reply import DELTA_TAIL, encode
from .carrier import MAX_BYTES
from .reasoning import joined
from .reply_spec import ReplySpec
from .stop import Stop
from .usage import Usage


class BlockWriter:
    framed: ClassVar[bool] = True  # whether it takes frames made elsewhere
    __slots__ = (
        "_carried",
        "_details",
        "_gem",
        "_kind",
        "_omitted",
        "_omitted_size",
        "_out",
        "_spec",
        "head",
        "index",
        "spoken",
    )

    def __init__(self, spec: ReplySpec) -> None:
        self._spec = spec
        self._out: list[bytes] = []
        self._kind: Literal["text", "thinking", "tool"] | None = None  # of the open block
        self.head = b""  # of the open block's deltas
        self.index = -1  # of the newest block
        self.spoken = False

    def take(self) -> bytes:
        """The frames since the last call."""
        if not self._out:
            return b""
        out = b"".join(self._out) if len(self._out) > 1 else self._out[0]
        self._out.clear()
        return out

    def raw(self, frame: bytes) -> None:
        self._out.append(frame)

    def begin(self) -> None:
        """The head of the message, unless it has left already."""
        if not self._spec.opened:
            self.raw(wire.message_start(self._spec.message_id, self._spec.model))

    def end(self, why: Stop, totals: Usage) -> None:
        """The last block's end, and the message's."""
        self.close()
        self.raw(wire.message_delta(why.reason, why.sequence, why.details, totals.reply(tier=False)))
        self.raw(wire.MESSAGE_STOP)

    @property
    def in_text(self) -> bool:
        return self._kind == "text"

    @property
    def in_tool(self) -> bool:
        return self._kind == "tool"

    def text(self, text: str) -> None:
        """A piece of text, in a new block if none of text is open."""
        if self._kind != "text":
            self.close()
            self._open("text", wire.text_start(self.index + 1))
        self.more(text)

    @property
    def growing(self) -> Literal["text", "thinking", "tool"] | None:
        """The kind of the open block, if its next piece is nothing but one more frame."""
        return None if self._kind == "thinking" and self._spec.thinking != "show" else self._kind

    def more(self, text: str) -> None:
        """A piece of the open block."""
        self._out.append(self.head + encode(text) + DELTA_TAIL)
        self.spoken = True

    def ready(self, frames: bytes) -> None:
        """The same, made elsewhere with :attr:`head`."""
        self._out.append(frames)
        self.spoken = True

    def thinking(self, text: str, details: list[dict[str, Any]]) -> None:
        """A piece of reasoning; ``text`` may be empty, ``details`` are kept for the carrier."""
        if self._kind != "thinking" or self._gem:
            self._think()
        self._details += details
        if not text:
            return
        if self._spec.thinking == "show":
            self.more(text)
        elif self._omitted_size <= MAX_BYTES:  # beyond that the carrier can't take it anyway
            self._omitted.append(text)
            self._omitted_size += len(text)

    def thought(self, tool_id: str, signature: str) -> None:
        """Gemini's signature of a call, in a thinking block of its own if the open one carries something else."""
        if self._kind != "thinking" or self._details:
            self._think()
        self._gem[tool_id] = signature

    def carry(self, data: dict[str, str]) -> None:
        """What the signature of the open thinking block carries for a Responses upstream, beside what it has already.

        Opens an empty block where none is open.
        """
        if self._kind != "thinking":
            self.thinking("", [])
        self._carried |= data

    def tool(self, tool_id: str, name: str) -> None:
        self.close()
        self._open("tool", wire.tool_start(self.index + 1, tool_id, name))

    def arguments(self, piece: str) -> None:
        if piece:
            self.more(piece)

    def close(self) -> None:
        """Closes the open block, if there is one."""
        if self._kind is None:
            return
        if self._kind == "thinking":
            self._out.append(wire.delta_head(self.index, "signature") + encode(self._signature()) + DELTA_TAIL)
            self.spoken = True
        self._out.append(wire.block_stop(self.index))
        self._kind = None

    def _open(self, kind: Literal["text", "thinking", "tool"], start: bytes) -> None:
        self.index += 1
        self._kind, self.head = kind, wire.delta_head(self.index, kind)
        self._out.append(start)

    def _think(self) -> None:
        """A thinking block, and what its signature is going to carry."""
        self.close()
        self._details: list[dict[str, Any]] = []
        self._gem: dict[str, str] = {}
        self._carried: dict[str, str] = {}  # what a Responses item needs
        self._omitted: list[str] = []  # the text, where the client does not get to see it
        self._omitted_size = 0
        self._open("thinking", wire.thinking_start(self.index + 1))

    def _signature(self) -> str:
        sign = self._spec.sign
        if self._gem:
            return sign("gem", self._gem)
        if self._details:
            return sign("or", joined(self._details))
        if self._carried:
            return sign("oai", self._carried)
        return sign("plain", "".join(self._omitted))
