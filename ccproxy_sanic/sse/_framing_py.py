"""Server-sent events: split, recognised, framed.

Rule: what comes out depends on the bytes that went in and never on where they were cut.  This file is the
specification; `_framing.pyx` is its fast twin, and a property test holds the two equal (protocol.md 4.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

# A JSON string as our own encoder would write it: nothing is escaped but what must be, and that in the short form.
# What needs \u (control characters, half a pair) is left to who decodes; so is what is no UTF-8.
STRING: Final = rb'"[^"\\\x00-\x1f]*+(?:\\["\\bfnrt][^"\\\x00-\x1f]*+)*+"'
NUMBER: Final = rb"[1-9][0-9]*+"
# Two line ends, each of them LF, CRLF or CR, where CRLF never counts for two.
BLANK_LINE: Final = re.compile(rb"\n\n|\n\r\n?|\r\n\n|\r\n\r\n?|\r\r\n?")
LIMIT: Final = 64 << 20  # bytes of one event; an upstream that never ends one must not fill the memory


class Splitter:
    """Bytes cut anywhere in, the data payloads of complete events out.

    Lines end in LF, CRLF or CR; several data lines are joined by LF; comments, other fields and events without data
    say nothing.  An event of more than ``limit`` bytes raises ``ValueError``: at once, or in the next call where
    events that were complete before it are still to be handed out.
    """

    __slots__ = ("_data", "_full", "_held", "_limit", "_parts", "_size", "_skip_lf")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._data: list[bytes] = []  # values of this event's data lines
        self._size = 0  # bytes of this event's data lines
        self._parts: list[bytes] = []  # the unfinished line, in pieces, so that many small reads stay linear
        self._held = 0  # bytes in _parts
        self._skip_lf = False  # the last byte was CR: an LF at the head of the next read belongs to it
        self._full = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads of the events that ``chunk`` completes."""
        if self._full:
            raise ValueError("an event is too long")
        if not chunk:
            return []
        if self._skip_lf:
            self._skip_lf = False
            if chunk[0] == 10:
                chunk = chunk[1:]
                if not chunk:
                    return []
        if b"\r" in chunk:
            self._skip_lf = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        out: list[bytes] = []
        if lines:
            if self._parts:
                lines[0] = b"".join((*self._parts, lines[0]))
                self._parts.clear()
                self._held = 0
            for line in lines:
                if not self._line(line, out):
                    return self._overflow(out)
        if rest:
            self._parts.append(rest)
            self._held += len(rest)
            if self._size + self._held > self._limit:
                return self._overflow(out)
        return out

    def flush(self) -> list[bytes]:
        """The payload of a last event that lacks its blank line, if there is one."""
        if self._full:
            raise ValueError("an event is too long")
        out: list[bytes] = []
        if self._parts:
            line = b"".join(self._parts)
            self._parts.clear()
            self._held = 0
            self._line(line, out)
        self._line(b"", out)
        self._skip_lf = False
        return out

    def _line(self, line: bytes, out: list[bytes]) -> bool:
        if not line:
            if self._data:
                out.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
            self._size = 0
            return True
        if self._size + len(line) > self._limit:
            return False
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
            self._size += len(line)
        elif line == b"data":
            self._data.append(b"")
            self._size += 4
        return True

    def _overflow(self, out: list[bytes]) -> list[bytes]:
        self._full = True
        self._data.clear()
        self._parts.clear()
        if not out:
            raise ValueError("an event is too long")
        return out


def frame(event: bytes, data: bytes) -> bytes:
    """One event; ``data`` must be one line (JSON is)."""
    return b"event: " + event + b"\ndata: " + data + b"\n\n"


@lru_cache
def _run_of(passed: bytes) -> Callable[[bytes, int], re.Match[bytes] | None]:
    """Takes as many events of that name as follow in the form that nearly all have."""
    return re.compile(rb"(?:event: %b[^\r\n]*+\ndata: [^\r\n]*+\n\n)++" % re.escape(passed)).match


def following(data: bytes, at: int, passed: bytes | None) -> tuple[int, int, bytes, bytes | None, int] | None:
    """The next event from ``at`` on, where a line begins; those whose name begins with ``passed`` are passed over.

    Gives where it begins (behind blank lines) and ends (behind its own), its name and its data as a client reads them
    (None: no data), and where that data begins if it is one line, else -1.  For an event that does not end, its end is
    -1 and nothing is said of it.  None: only blank lines are left.
    """
    run = None if passed is None else _run_of(passed)
    while True:
        if run is not None and (found := run(data, at)):
            at = found.end()
        while at < len(data) and data[at] in b"\r\n":
            at += 1
        if at >= len(data):
            return None
        blank = BLANK_LINE.search(data, at)
        if blank is None:
            return at, -1, b"", None, -1
        begin, at = at, blank.end()
        name, texts, place, line_at = b"", [], -1, begin
        for line in data[begin:at].splitlines(keepends=True):
            field, colon, value = line.rstrip(b"\r\n").partition(b":")
            if field == b"event":
                name = value.removeprefix(b" ")
            elif field == b"data":
                texts.append(value.removeprefix(b" "))
                place = line_at + len(field + colon) + value.startswith(b" ")
            line_at += len(line)
        if passed is None or not name.startswith(passed):
            return begin, at, name, b"\n".join(texts) if texts else None, place if len(texts) == 1 else -1


_MATCH: Final = {
    "t": re.compile(rb'(?!"")' + STRING).match,
    "s": re.compile(STRING).match,
    "n": re.compile(NUMBER).match,
}


class Shape:
    """Payloads that are equal but for some of their values, to be recognised and read without being decoded.

    ``parts`` are the bytes around the values, one more than there are ``values``; each of these is ``t`` (the text:
    a JSON string that is not empty), ``s`` (any JSON string) or ``n`` (a positive integer).  There is one ``t``.
    """

    __slots__ = ("_last", "_steps")

    def __init__(self, parts: Sequence[bytes], values: str) -> None:
        if len(parts) != len(values) + 1 or values.count("t") != 1 or set(values) - set("tsn"):
            raise ValueError("a shape has one text, and one part more than it has values")
        self._steps = [(part, len(part), _MATCH[value], value) for part, value in zip(parts, values, strict=False)]
        self._last = parts[-1]

    def texts(self, payloads: Sequence[bytes], at: int) -> list[bytes]:
        """The texts of the payloads from ``at`` on, up to the first that has another shape.

        Each is the JSON string as it stands there, quotes and escapes included.
        """
        found = []
        while at < len(payloads) and (text := self._text(payloads[at])) is not None:
            found.append(text)
            at += 1
        return found

    def _text(self, payload: bytes) -> bytes | None:
        if not payload.endswith(self._last):
            return None
        at, text = 0, None
        for part, size, match, value in self._steps:
            if not payload.startswith(part, at) or (found := match(payload, at + size)) is None:
                return None
            at = found.end()
            if value != "n":
                string = found[0]
                if not string.isascii() and not _is_utf8(string):
                    return None
                if value == "t":
                    text = string
        return text if len(payload) - at == len(self._last) else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
