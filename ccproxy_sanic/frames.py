"""What the parent and its workers say to each other, over one socket pair each.

Rule: a frame is four bytes of length and one message; what is no frame ends the connection, and with it the worker.
The parent looks into no body: what is asked and answered is the workers' own affair.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from typing import Final

import msgspec

HEAD: Final = 4  # bytes, big-endian
LARGEST: Final = 64 << 20  # bytes of a frame: a snapshot has some 100 KB
# The two verbs that the parent knows: what a worker answers to them, its numbers, outlives the worker.
DUMP: Final = "dump"
RESET: Final = "reset"  # ... and what those have left that are gone is forgotten


class Place(msgspec.Struct, frozen=True, tag="place"):
    """Who a worker is: the first frame that it gets.

    ``number`` counts from 1.  ``secret`` is the same in all workers for as long as the parent lives, also in one that
    was started again; ``inherited`` is what the worker that had this number before answered last to :data:`DUMP`.
    """

    number: int
    count: int
    secret: bytes
    inherited: bytes = b""

    @property
    def label(self) -> int | None:
        """The number, for log lines; None where there is nothing to tell apart."""
        return self.number if self.count > 1 else None

    def derived(self, purpose: bytes) -> bytes:
        """32 bytes that all workers have for one purpose."""
        return hmac.digest(self.secret, purpose, "sha256")

    def share(self, limit: int) -> int:
        """This worker's part of a limit that all have together.  The parts add up to the limit, but each is 1 at least:
        a worker that admits nobody would refuse callers that another one has room for."""
        return max(1, (limit + self.number - 1) // self.count)


def new_secret() -> bytes:
    return secrets.token_bytes(32)


def alone() -> Place:
    """A process that is the whole proxy."""
    return Place(1, 1, new_secret())


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker serves."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A worker wants ``verb`` done by all others; ``own`` is what it answers to that itself."""

    number: int
    verb: str
    own: bytes


class Do(msgspec.Struct, frozen=True, tag="do"):
    """To every worker but the one that asked."""

    number: int
    verb: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Its answer; None where it could not."""

    number: int
    verb: str
    body: bytes | None


class Told(msgspec.Struct, frozen=True, tag="told"):
    """To the one that asked.

    ``answers`` are those of the others that answered in time; to :data:`DUMP`, a slow one's last answer stands for it,
    and ``departed`` are the last ones of workers that are not there just now.  ``up`` of ``expected`` workers serve.
    """

    number: int
    answers: tuple[bytes, ...] = ()
    departed: tuple[bytes, ...] = ()
    up: int = 1
    expected: int = 1


Frame = Place | Ready | Ask | Do | Done | Told

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Frame).decode


def packed(frame: Frame) -> bytes:
    body = _encode(frame)
    return len(body).to_bytes(HEAD, "big") + body


class Unpacker:
    """Bytes as they arrive -> frames.  Raises ValueError for what is none."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEAD:
            end = HEAD + int.from_bytes(buffer[:HEAD], "big")
            if end > LARGEST:
                raise ValueError("the frame is too large")
            if len(buffer) < end:
                break
            body = bytes(buffer[HEAD:end])
            del buffer[:end]
            yield _decode(body)  # a DecodeError is a ValueError
