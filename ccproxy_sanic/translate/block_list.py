"""The blocks of a whole Message, by the same calls that write the frames of a stream.

Rule: a machine does not know whether its answer is streamed, so that both ways of asking give the same blocks.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..wire.anthropic_reply import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock
from .arguments import whole
from .block_writer import BlockWriter
from .reply_spec import ReplySpec
from .stop import Stop
from .usage import Usage


class BlockList(BlockWriter):
    framed = False
    __slots__ = ("_call", "_pieces", "blocks")

    def __init__(self, spec: ReplySpec) -> None:
        super().__init__(spec)
        self.blocks: list[ContentBlock] = []
        self._pieces: list[str] = []  # of the open block
        self._call = ("", "")

    def begin(self) -> None:
        pass

    def end(self, why: Stop, totals: Usage) -> None:
        self.close()

    def more(self, text: str) -> None:
        self._pieces.append(text)
        self.spoken = True

    def tool(self, tool_id: str, name: str) -> None:
        super().tool(tool_id, name)
        self._call = tool_id, name

    def close(self) -> None:
        if self._kind is None:
            return
        text = "".join(self._pieces)
        if self._kind == "text":
            self.blocks.append(TextBlock(text))
        elif self._kind == "thinking":
            self.blocks.append(ThinkingBlock(text, self._signature()))
        else:  # only an answer cut at the limit left its arguments open
            self.blocks.append(ToolUseBlock(*self._call, msgspec.Raw(whole(text, cut=True).encode())))
        self._kind = None

    def _open(self, kind: Literal["text", "thinking", "tool"], start: Any) -> None:
        self.index += 1
        self._kind, self._pieces = kind, []
