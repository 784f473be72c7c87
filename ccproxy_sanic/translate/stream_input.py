"""Tells an event stream from a plain JSON body.  Rule: the first byte that says something decides (protocol.md 4.1)."""

from __future__ import annotations

from typing import Final

from ..sse import LIMIT

_LEADING: Final = b"\xef\xbb\xbf \t\r\n"  # a byte order mark and whitespace may stand before anything


class Opening:
    """The bytes of an answer until it is known to be an event stream, or all of them if it is none."""

    __slots__ = ("_body", "_size")

    def __init__(self) -> None:
        self._body: list[bytes] | None = None
        self._size = 0

    @property
    def body(self) -> bytes | None:
        """The plain JSON that came instead of events."""
        return None if self._body is None else b"".join(self._body)

    def take(self, data: bytes) -> bytes:
        """The beginning of an event stream; b"" as long as there is none.  Raises ValueError for a body without end."""
        if self._body is None:
            data = data.lstrip(_LEADING)
            if not data:
                return b""
            if data[:1] not in (b"{", b"["):
                return data
            self._body = []
        self._size += len(data)
        if self._size > LIMIT:
            raise ValueError("a body is too long")
        self._body.append(data)
        return b""
