"""What every engine is: httpx's asynchronous transport that also sends :class:`Head` and bytes without httpx's objects,
and gives a truthful account of its connections.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import httpx
import msgspec

from ccproxy_sanic.upstream.head import Head, Headers

Closer = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine to its end, some time: the runtime's, which owns the tasks."""


class Deadlines(msgspec.Struct, frozen=True):
    """Seconds; None switches one off.  ``connect``: DNS, TCP and TLS.  ``first_byte``: from the request to the answer's
    complete head.  ``idle``: between two reads of the body.  ``write``: while the upstream takes nothing of the request
    (at most twice as long)."""

    connect: float | None = 10.0
    first_byte: float | None = 600.0
    idle: float | None = 300.0
    write: float | None = 30.0


class Statistics(msgspec.Struct, frozen=True):
    """``connecting``, ``busy`` and ``idle`` are connections now; the others count since the start, None where the
    engine does not count them."""

    connecting: int
    busy: int
    idle: int
    opened: int | None = None
    reused: int | None = None
    retried_stale: int | None = None
    failed_connects: int | None = None
    closed: int | None = None

    def plus(self, other: Statistics) -> Statistics:
        """Those of both."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in self.__struct_fields__}
        sums: dict[str, Any] = {name: None if None in pair else sum(pair) for name, pair in pairs.items()}
        return Statistics(**sums)


class Reply(Protocol):
    """An answer whose head is here.  ``headers`` are as they came, in their order; ``complete`` means that reading what
    is left waits for nothing."""

    status: int
    headers: Headers
    complete: bool

    async def __anext__(self) -> bytes:
        """The payload of one socket read, never empty.  Raises httpx's TransportErrors."""

    async def flow(self, sink: Callable[[bytes], bool]) -> bool:
        """Hands each payload to ``sink`` until that returns False (True) or the answer ends (False)."""

    def rest(self) -> bytes:
        """All that is unread of a complete answer."""

    def abort(self) -> None:
        """Ends it for everybody, whoever reads; costs the connection of one that is not complete."""


class EngineTransport(httpx.AsyncBaseTransport):
    @abstractmethod
    async def send(self, head: Head, body: bytes, deadlines: Deadlines, closer: Closer | None) -> Reply:
        """Returns when the answer's head is here; cancelled, it leaves nothing behind.

        ``closer`` is needed by engines that close asynchronously (TypeError without it).  Raises httpx's
        TransportErrors and InvalidURL.
        """

    @abstractmethod
    def statistics(self) -> Statistics:
        """Cheap enough to be asked every second."""
