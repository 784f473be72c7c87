"""One client's place in an answer that several read.

Rule: it writes in its own client's task and at its client's pace, from the first frame on; when it has written all that
is there, it is *direct*: what arrives is written at once by whoever brings it, until the client takes no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Protocol

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pump import Pump

Drive = Callable[[Pump], Coroutine[Any, Any, None]]
"""Asks the upstream, and pumps its answer into what it is given.  Raises ProxyError."""


class Client(Protocol):
    """What is needed of a reader's wire (relay.Client)."""

    committed: bool
    spoken: bool
    headers: dict[str, str]

    def offer(self, data: bytes, now: float) -> bool: ...
    def speak(self) -> None: ...
    async def send(self, data: bytes) -> None: ...
    async def end(self, data: bytes = b"") -> None: ...


class Answer(Protocol):
    """What is read (sharing.SharedStream).  ``piece`` is what comes next for a reader, b"" when there is nothing;
    ``is_at_end``: nothing more will come; ``introduce`` is called before the client's head leaves.  ``machine`` reads
    the upstream, ``told`` is for whoever accounts for what it has used, ``over``: nothing will be added."""

    told: Any
    over: bool

    @property
    def machine(self) -> Any: ...
    @property
    def spoken(self) -> bool: ...
    @property
    def fault(self) -> BaseException | None: ...
    def piece(self, reader: Reader) -> bytes: ...
    def is_at_end(self, reader: Reader) -> bool: ...
    def introduce(self, reader: Reader) -> None: ...
    def caught_up(self, reader: Reader) -> None: ...
    async def driven(self, reader: Reader) -> None: ...
    def accounts(self, reader: Reader) -> bool: ...
    def leave(self, reader: Reader) -> None: ...


class Reader:
    """``at`` is the next frame of one that is not direct, and ``sent`` the bytes before that; ``limit``: so many bytes
    may there be behind it; ``drive`` makes the answer, where it is this client's turn to have it made."""

    __slots__ = (
        "_cut",
        "_task",
        "at",
        "client",
        "context",
        "ctx",
        "direct",
        "drive",
        "limit",
        "news",
        "sent",
        "stream",
    )

    def __init__(self, stream: Answer, client: Client, ctx: RequestContext, drive: Drive, limit: int) -> None:
        self.stream, self.client, self.ctx, self.drive, self.limit = stream, client, ctx, drive, limit
        self.direct = False
        self.at = self.sent = 0
        self.news: asyncio.Future[None] | None = None
        self._cut: BaseException | None = None
        self._task = asyncio.current_task()
        self.context = copy_context()  # what logs tell of the request, for a drive that begins elsewhere

    def cut(self, fault: BaseException) -> None:
        """Interrupt it wherever it waits: its client may not read for long."""
        self._cut = fault
        if self._task is not None:
            self._task.cancel()

    async def read(self) -> None:
        """Write the answer to its end, in the task that has joined.  Raises its fault."""
        try:
            await self._read()
        except asyncio.CancelledError:
            if self._cut is None:
                raise
            if self._task is not None:
                self._task.uncancel()
            raise self._cut from None

    async def _read(self) -> None:
        stream, client = self.stream, self.client
        while True:
            data, last = stream.piece(self), stream.is_at_end(self)
            if not client.committed:
                stream.introduce(self)
            if last and stream.fault is None:
                if stream.spoken and not client.spoken:
                    client.speak()
                await client.end(data)
                return
            if data:
                await client.send(data)
                if stream.spoken and not client.spoken:
                    client.speak()
            elif last and stream.fault is not None:
                raise stream.fault.with_traceback(None)
            else:
                stream.caught_up(self)
                self.news = asyncio.get_running_loop().create_future()
                await self.news


def wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
