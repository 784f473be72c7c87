"""One answer: its head, and its body as it arrives.

Rule: an answer belongs to nobody.  Whoever holds it may read it, one reader at a time, in whatever task; a cancelled
reader leaves it as it was, and only :meth:`Answer.abort` ends it for everybody (ARCHITECTURE.md, decision 9).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import httpx

HIGH_WATER: Final = 256 * 1024  # unread bytes at which the socket is no longer read (ARCHITECTURE.md, decision 4)
LOW_WATER: Final = 64 * 1024  # and from which it is read again


Sink = Callable[[bytes], bool]
"""Takes the payload of one socket read; False: no more now."""


class Source(Protocol):
    """The connection, as its answer sees it."""

    loop: asyncio.AbstractEventLoop

    def resume(self) -> None: ...
    def fail(self, fault: Exception, /) -> None: ...


class Answer(httpx.AsyncByteStream):
    """Each item of the iteration is all the payload of one socket read, never empty.

    What came before a fault is delivered before the fault is raised.  ``status`` is 0 until the final head is here;
    ``headers`` are as they came, in their order; ``complete``: the last byte is here (though perhaps not read).
    """

    # as all have them at first
    status = 0
    complete = False
    _unread = 0
    _waiter: asyncio.Future[None] | None = None
    _fault: Exception | None = None
    _sink: Sink | None = None
    _enough = False  # the sink wanted no more
    _raised: Exception | None = None  # by the sink

    def __init__(self, source: Source) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self._source: Source | None = source  # None as soon as nothing more can come
        self._chunks: deque[bytes] = deque()

    def __repr__(self) -> str:
        state = "failed" if self._fault is not None else "complete" if self.complete else "open"
        return f"<Answer {self.status or 'headless'} {state} | {self._unread} bytes unread>"

    # For the reader

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._fault is not None:
                raise self._fault
            if self.complete:
                raise StopAsyncIteration
            await self.change()
        return self._next()

    async def flow(self, sink: Sink) -> bool:
        """Hands each read to ``sink`` where it arrives, in the connection's own call: no task wakes for it.

        True: the sink returned False, it wants no more now; False: the answer has ended.  Raises the fault, after all
        that came before it, and whatever the sink raises.
        """
        while True:
            while self._chunks:
                if not sink(self._next()):
                    return True
            if self._fault is not None:
                raise self._fault
            if self.complete:
                return False
            self._sink, self._enough = sink, False
            try:
                await self.change()
            finally:
                self._sink = None
            if self._raised is not None:
                raise self._raised
            if self._enough:
                return True

    def _next(self) -> bytes:
        chunk = self._chunks.popleft()
        self._unread -= len(chunk)
        if self._source is not None and self._unread <= LOW_WATER:
            self._source.resume()
        return chunk

    def rest(self) -> bytes:
        """All that is unread, without waiting."""
        chunks = self._chunks
        rest = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._unread = 0
        return rest

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Drops what is left.  An unfinished answer costs its connection: that is what stops the upstream's work."""
        if self._source is not None:
            self._source.fail(httpx.ReadError("The exchange was aborted."))
        elif self._chunks and self._fault is None:
            self._fault = httpx.ReadError("The exchange was aborted.")
        self._chunks.clear()
        self._unread = 0

    def change(self) -> asyncio.Future[None]:
        """Done when more is here: the head, a payload, the end.  Raises the fault that it has ended with."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            raise RuntimeError("This answer is already being read.")
        if self._source is None:
            raise self._fault or RuntimeError("Nothing more can come.")
        self._waiter = waiter = self._source.loop.create_future()
        return waiter

    # For the connection

    def put(self, chunk: bytes) -> bool:
        """True when the reader is too far behind."""
        if self._sink is not None:
            try:
                if self._sink(chunk):
                    return False
                self._enough = True
            except Exception as error:
                self._raised = error
            self._sink = None
            return False
        self._chunks.append(chunk)
        self._unread += len(chunk)
        return self._unread > HIGH_WATER

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and self._sink is None and not waiter.done():
            waiter.set_result(None)

    def end(self, fault: Exception | None) -> None:
        """Nothing more comes: all is here, or a fault."""
        self._source = self._sink = None
        self._fault = fault
        self.complete = fault is None
        self.wake()
