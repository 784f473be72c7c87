"""A worker's line to its parent, and through it to the other workers.

Rule: who asks the others always gets an answer, at the latest after :data:`PATIENCE`: that they are slow, or gone, or
never were, costs numbers and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, cast

from ccproxy_sanic.frames import Ask, Do, Done, Frame, Place, Ready, Told, Unpacker, packed

log = logging.getLogger("ccproxy")
PATIENCE: Final = 1.0  # seconds; the parent's own limit is a quarter of that

Errand = Callable[[], Awaitable[bytes]]  # what this worker does, and says to that
Spawn = Callable[[Coroutine[Any, Any, None], str], object]


class Siblings(asyncio.Protocol):
    """The other workers.  Alone, until :meth:`join`.

    ``errands`` are what another one may ask for, by verb; ``orphaned`` is called when the parent has gone.
    """

    def __init__(self, place: Place, spawn: Spawn) -> None:
        self.place = place
        self.errands: dict[str, Errand] = {}
        self.orphaned: Callable[[], object] = lambda: None
        self._spawn = spawn
        self._frames = Unpacker()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Told]] = {}
        self._transport: asyncio.Transport | None = None

    def __repr__(self) -> str:
        return f"<Siblings of {self.place.number}/{self.place.count} | asked {len(self._asked)}>"

    async def join(self, line: socket.socket) -> None:
        """Use ``line`` from now on, which leads to the parent."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=line)

    def ready(self) -> None:
        """Tell the parent that this worker serves."""
        self._say(Ready())

    async def ask(self, verb: str, own: bytes = b"") -> Told:
        """What the others answer to ``verb``; ``own`` is this worker's answer, for the parent to keep.  Never fails."""
        number = next(self._numbers)
        if self._transport is None:
            return Told(number, expected=self.place.count)
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._say(Ask(number, verb, own))
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return Told(number, expected=self.place.count)
        finally:
            del self._asked[number]

    def leave(self) -> None:
        """Hang up."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except ValueError:
            log.error("the parent said what no worker understands")
            self.leave()
            self.orphaned()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self.orphaned()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Told():
                if (future := self._asked.get(frame.number)) is not None and not future.done():
                    future.set_result(frame)
            case Do(number, verb):
                self._spawn(self._do(number, verb), "ccproxy:sibling")
            case _:
                raise ValueError("not for a worker")

    async def _do(self, number: int, verb: str) -> None:
        try:
            body: bytes | None = await self.errands[verb]()
        except Exception:
            log.exception("another worker asked for %s, and got nothing", verb)
            body = None
        self._say(Done(number, verb, body))

    def _say(self, frame: Frame) -> None:
        if self._transport is not None:
            self._transport.write(packed(frame))
