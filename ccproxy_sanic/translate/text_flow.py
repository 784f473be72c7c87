"""What an answer says aloud, on its way into text blocks.

Rule: no block is opened for whitespace, nothing is shown that could be the beginning of a stop string or a think tag,
and nothing is shown after a stop string (protocol.md 4.4 rows 6 and 7).
"""

from __future__ import annotations

from .block_writer import BlockWriter
from .reasoning import ThinkTags
from .reply_spec import ReplySpec
from .stop import Cutter


class TextFlow:
    __slots__ = ("_blank", "_cutter", "_drop", "_tags", "_writer", "matched", "plain")

    def __init__(self, spec: ReplySpec, writer: BlockWriter) -> None:
        self._writer = writer
        self._blank: list[str] = []  # leading whitespace that waits for something visible
        self._tags = ThinkTags() if spec.think_tags else None
        self._cutter = Cutter(spec.enforce_stops) if spec.enforce_stops else None
        self._drop = spec.thinking == "drop"
        self.plain = self._tags is None and self._cutter is None  # text in an open text block is shown as it is
        self.matched: str | None = None  # the stop string that was met: nothing more may be written

    @property
    def empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._blank and self._cutter is None and (self._tags is None or not self._tags.held)

    def text(self, text: str) -> None:
        if self._tags is not None:
            thought, text = self._tags.feed(text)
            self._think(thought)
            if self._tags.over:
                self._tags, self.plain = None, self._cutter is None
        if text:
            self._content(text)

    def refusal(self, text: str) -> None:
        """Text that no stop string cuts."""
        self._release()
        if self.matched is None:
            self._visible(text)

    def leave(self) -> None:
        """Something else than text comes next: what was held back is either shown now or dropped."""
        self._release()
        self._blank.clear()

    def _release(self) -> None:
        if self._tags is not None:
            thought, text = self._tags.flush()
            self._think(thought)
            if text:
                self._content(text)
        if self._cutter is not None and (text := self._cutter.flush()):
            self._visible(text)

    def _think(self, thought: str) -> None:
        """Reasoning that stood in the text."""
        if thought and not self._drop:
            self._blank.clear()
            self._writer.thinking(thought, [])

    def _content(self, text: str) -> None:
        if self._cutter is not None:
            text, self.matched = self._cutter.feed(text)
        if text:
            self._visible(text)

    def _visible(self, text: str) -> None:
        if not self._writer.in_text:
            if text.isspace():
                self._blank.append(text)
                return
            if self._blank:
                text = "".join((*self._blank, text))
                self._blank.clear()
        self._writer.text(text)
