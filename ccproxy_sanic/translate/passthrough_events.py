"""Events of a stream as the bytes they are written with: where they stand, what they say, how one is changed.

Rule: line ends are LF, CRLF or CR, mixed as the upstream likes, and those of an event stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

EOL: Final = b"\r\n"
# Two line ends, each of them LF, CRLF or CR, where CRLF never counts for two.
BLANK_LINE: Final = re.compile(rb"\n\n|\n\r\n?|\r\n\n|\r\n\r\n?|\r\r\n?")
_DATA_LINE: Final = re.compile(rb"(?:\A|(?<=[\r\n]))data(?=[:\r\n])")
_CONTENT: Final = b"event: content_block_"


def unmarked(data: bytes) -> bool:
    """Whether none of these events can be of the kinds that are looked at.  rfind takes half the time of ``in``."""
    return data.rfind(b"message_") < 0 and data.rfind(b"error") < 0


def marked(data: bytes, at: int) -> Iterable[tuple[int, int]]:
    """Where the events behind ``at``, all of them whole, stand that may be of the kinds that are looked at.

    Found from the end, because rfind takes half the time of find; each stretch is searched once for each mark, so that
    a text full of them takes linear time.
    """
    message, error = data.rfind(b"message_", at), data.rfind(b"error", at)
    if message < 0 and error < 0:
        return ()
    found: list[tuple[int, int]] = []
    returns = b"\r" in data
    while (mark := max(message, error)) >= 0:
        start = last_blank(data, at, mark)
        end = first_blank(data, mark) if returns else data.find(b"\n\n", mark) + 2
        if not data.startswith(_CONTENT, start) or data.find(b"event", start + len(_CONTENT), end) >= 0:
            found.append((start, end))  # and not content with a mark in its text
        if message >= start:
            message = data.rfind(b"message_", at, start)
        if error >= start:
            error = data.rfind(b"error", at, start)
    return reversed(found)


def last_blank(data: bytes, start: int, end: int) -> int:
    """Behind the last blank line between the two; ``start`` where there is none."""
    at = data.rfind(b"\n\n", start, end)
    if data.find(b"\r", start, end) >= 0:
        at = max(at, data.rfind(b"\n\r", start, end), data.rfind(b"\r\r", start, end))
        if data[at + 1 : min(at + 3, end)] == b"\r\n" and at >= 0:
            at += 1
    return at + 2 if at >= 0 else start


def first_blank(data: bytes, at: int) -> int:
    """Behind the first blank line behind ``at``; the end where there is none."""
    end = data.find(b"\n\n", at)
    if end >= 0 and data.find(b"\r", at, end) < 0:  # a tenth of the time of the pattern
        return end + 2
    blank = BLANK_LINE.search(data, at)
    return blank.end() if blank else len(data)


def fields(event: bytes) -> tuple[bytes, bytes | None]:
    """An event's name and data, read as a client reads them; None where it has no data."""
    name, data = b"", []
    for line in event.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return name, b"\n".join(data) if data else None


def with_data(event: bytes, payload: bytes) -> bytes:
    """The event with other data, in one line."""
    out: list[bytes] = []
    payload = payload.replace(b"\n", b" ")
    for line in event.splitlines(keepends=True):
        bare = line.rstrip(EOL)
        field, _, value = bare.partition(b":")
        if field != b"data":
            out.append(line)
        elif payload:
            out += (b"data: " if value.startswith(b" ") else b"data:", payload, line[len(bare) :])
            payload = b""
    return b"".join(out)


def with_name(event: bytes, name: bytes) -> bytes:
    """The event with a name before its data; one without data stays."""
    data = _DATA_LINE.search(event)
    return event[: data.start()] + b"event: " + name + b"\n" + event[data.start() :] if data else event
