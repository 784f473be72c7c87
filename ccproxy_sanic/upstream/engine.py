"""What every engine is: httpx's asynchronous transport, and a truthful account of its connections."""

from __future__ import annotations

from abc import abstractmethod

import httpx
import msgspec


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


class EngineTransport(httpx.AsyncBaseTransport):
    @abstractmethod
    def statistics(self) -> Statistics:
        """Cheap enough to be asked every second."""
