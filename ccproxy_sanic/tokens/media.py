"""The size of an image and the pages of a document, from their own bytes.

Rule: a wrong or strange file is "not known" (None), never an error: what it is worth is for the model's server to say.
Only the head of an image is looked at.  Pure.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final

Size = tuple[int, int]  # width, height in pixels

HEAD: Final = 64 * 1024  # characters of base64 in which nearly every JPEG has said its size
BYTES_PER_PAGE: Final = 60_000  # of a PDF that does not show its pages
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_COUNT: Final = re.compile(rb"/Count\s+(\d{1,5})\b")
# SOF0 to SOF15, but for DHT (C4), JPG (C8) and DAC (CC), which are no frame headers
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def image_size(data: str) -> Size | None:
    """Width and height of a PNG, JPEG, GIF or WebP given as base64; None where the head does not say."""
    head = _decoded(data[:HEAD])
    for magic, read in _READERS:
        if head.startswith(magic):
            try:
                size = read(head)
            except IndexError:
                return None
            return size if size is not None and min(size) > 0 else None
    return None


def pdf_pages(data: str) -> int:
    """Pages of a PDF given as base64; a guess by its size where they lie in compressed parts."""
    content = _decoded(data)
    if found := len(_PAGE.findall(content)):
        return found
    counts = [int(count) for count in _COUNT.findall(content)]
    return max([*counts, 0]) or 1 + len(content) // BYTES_PER_PAGE


def _decoded(data: str) -> bytes:
    encoded = data.encode("ascii", "ignore")
    try:
        return binascii.a2b_base64(encoded[: len(encoded) // 4 * 4])
    except binascii.Error:
        return b""


def _big(head: bytes, at: int, size: int) -> int:
    if at + size > len(head):
        raise IndexError
    return int.from_bytes(head[at : at + size], "big")


def _little(head: bytes, at: int, size: int) -> int:
    if at + size > len(head):
        raise IndexError
    return int.from_bytes(head[at : at + size], "little")


def _png(head: bytes) -> Size | None:
    return _big(head, 16, 4), _big(head, 20, 4)


def _gif(head: bytes) -> Size | None:
    return _little(head, 6, 2), _little(head, 8, 2)


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while True:
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # a filler
            at += 1
        elif marker in _FRAMES:
            return _big(head, at + 7, 2), _big(head, at + 5, 2)
        elif marker in _BARE:
            at += 2
        else:
            at += 2 + max(2, _big(head, at + 2, 2))


def _webp(head: bytes) -> Size | None:
    if head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return _little(head, 24, 3) + 1, _little(head, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(head, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(head, 26, 2) & 0x3FFF, _little(head, 28, 2) & 0x3FFF
    return None


_READERS: Final[tuple[tuple[bytes, Callable[[bytes], Size | None]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
)
