"""What the events of a stream have in common, so that nearly all of them need not be decoded.

Rule: an event is copied unread only if it is, byte for byte, one that was decoded before, but for its text and for
values that nobody reads (``created``, OpenAI's ``obfuscation``).  So nothing has to be known about any server's order
of members, spacing or extras, and whatever is unusual differs and is decoded (performance.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from ..sse import NUMBER, STRING, Shape

LONGEST: Final = 8 << 10  # bytes of an event that is worth to be remembered
# Every string of a JSON text, and if it is the name of a member with a value that a shape can leave open, that too.
_MEMBER: Final = re.compile(
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(?:\s*+:\s*+(' + STRING + rb"|" + NUMBER + rb")(?=\s*+[,}\]]))?", re.DOTALL
)
_PROBE: Final = "probe"  # put in the place of a text, to see where it comes out
_PROBES: Final = {"t": b'"%b"' % _PROBE.encode(), "s": b'"other"', "n": b"7"}


@cache
def _text_of(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"' + name + rb'"\s*+:\s*+(' + STRING + rb")(?=\s*+[,}\]])")


class Common:
    """The shape of a stream's events of one kind, learned from those that had to be decoded.

    ``texts`` are the members that can hold the text; where an event has several, the first counts.  ``read`` are the
    members that somebody reads.  ``says`` tells the text of an event of this kind, None if it is none or says more.
    """

    __slots__ = ("_decoded", "_differing", "_first", "_names", "_read", "_says", "_texts", "_values", "shape")

    def __init__(self, texts: Sequence[bytes], read: frozenset[bytes], says: Callable[[bytes], str | None]) -> None:
        self._texts, self._read, self._says = texts, read, says
        self.shape: Shape | None = None
        self._decoded = 0
        self._first = b""  # the first event: looked at closely only if not all are like it
        self._names: list[bytes] = []  # of the last event's members, and their values
        self._values: list[bytes] = []
        self._differing: set[int] = set()  # the members whose values were seen to differ

    def learn(self, payload: bytes) -> bool:
        """Takes an event of this kind that was decoded as the pattern; returns whether ``shape`` is a new one.

        Looks at the first, second, fourth, eighth ... one only: the events of some streams have nothing in common.
        """
        self._decoded += 1
        if self._decoded & (self._decoded - 1) or len(payload) > LONGEST:
            return False
        if self._decoded == 1:
            self._first = payload
            return self._same_but_for_the_text(payload)
        if self._first:
            self._compare(self._first)
            self._first = b""
        members = self._compare(payload)
        text = next((name for name in self._texts if name in self._names), b"")
        parts, marks, end = [], "", 0
        for i, found in enumerate(members):
            mark = "t" if found[1] == text else self._mark(i, found)
            if mark:
                parts.append(payload[end : found.start(2)])
                end = found.end(2)
                marks += mark
        parts.append(payload[end:])
        return marks.count("t") == 1 and self._proven(parts, marks)

    def _same_but_for_the_text(self, payload: bytes) -> bool:
        """The simplest shape, in a quarter of the time: in many streams nothing but the text differs."""
        for name in self._texts:
            found = _text_of(name).search(payload)
            if found is not None:
                return self._proven([payload[: found.start(1)], payload[found.end(1) :]], "t")
        return False

    def _compare(self, payload: bytes) -> list[re.Match[bytes]]:
        """The members of an event, after a look at which of them have other values than in the last one."""
        members = [found for found in _MEMBER.finditer(payload) if found[2]]
        names, values = [found[1] for found in members], [found[2] for found in members]
        if names == self._names:
            self._differing.update(i for i, value in enumerate(values) if value != self._values[i])
        self._names, self._values = names, values
        return members

    def _mark(self, i: int, found: re.Match[bytes]) -> str:
        """How a shape says that this member may have another value; "" if it may not."""
        name, value = found[1], found[2]
        # of two members that hold the same text only the first is read, but the second differs as well
        if name not in self._texts and (i not in self._differing or name in self._read or b"\\" in name):
            return ""
        return "s" if value.startswith(b'"') else "n"

    def _proven(self, parts: list[bytes], marks: str) -> bool:
        """Takes a shape if what stands at the text's place is what a decoder finds: a name may stand there twice, or
        deeper."""
        payload = b"".join([part + _PROBES[mark] for part, mark in zip(parts, marks, strict=False)]) + parts[-1]
        if self._says(payload) != _PROBE:
            return False
        self.shape = Shape(parts, marks)
        return True
