"""Readers, upstreams and a machine for shared streams, without sockets: everything moves when a test moves it.

Rule: the upstream answer is the real one (upstream.h1_answer) behind a connection that the test plays.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx

from actors.testing import ManualClock
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pump import Pump
from ccproxy_sanic.sharing.running import SharedStreams
from ccproxy_sanic.sharing.stream import SharedStream
from ccproxy_sanic.upstream import Deadlines
from ccproxy_sanic.upstream.exchange import Exchange
from ccproxy_sanic.upstream.h1_answer import Answer

END = b"end"
DEADLINES = Deadlines(connect=60, first_byte=60, idle=60, write=60)


class Machine:
    """Hands on what comes; a block that begins with ``c`` is content, :data:`END` is the last."""

    def __init__(self) -> None:
        self.spoken = self.done = self.finishing = False
        self.fault: errors.ProxyError | None = None

    def feed(self, data: bytes) -> bytes:
        self.spoken = self.spoken or data[:1] == b"c"
        self.done = data == END
        return data

    def close(self) -> bytes:
        if not self.done:
            self.fault = errors.Broken("not complete")
        return b""


class Call:
    """One upstream call: its answer, and whether it was aborted."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.answer = Answer(self)
        self.answer.status = 200
        self.exchange = Exchange(cast(Any, self.answer), "fake", DEADLINES)
        self.open, self.aborted = True, False

    def resume(self) -> None:
        pass

    def fail(self, fault: Exception) -> None:
        self.aborted, self.open = True, False
        self.answer.end(fault)

    def say(self, data: bytes) -> None:
        if self.open:
            self.answer.put(data)
            self.answer.wake()

    def end(self, fault: Exception | None = None) -> None:
        if self.open:
            self.open = False
            self.answer.end(fault)

    def cut(self) -> None:
        self.end(httpx.ReadError("cut"))


class Wire:
    """A client whose writing can be paused.  As with Sanic's, a write that waits is not begun; to a ``plain`` one,
    nothing can be written but by its own task."""

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain
        self.committed = self.spoken = self.ended = False
        self.headers: dict[str, str] = {}
        self.got: list[bytes] = []
        self.writable = asyncio.Event()
        self.writable.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.got)

    def offer(self, data: bytes, now: float) -> bool:
        assert not self.ended
        if self.plain or not self.committed or not self.writable.is_set():
            return False
        self.got.append(data)
        return True

    def speak(self) -> None:
        assert not self.spoken
        self.spoken = True

    async def send(self, data: bytes) -> None:
        assert data
        self.committed = True
        await self.writable.wait()
        assert not self.ended
        self.got.append(data)

    async def end(self, data: bytes = b"") -> None:
        self.committed = True
        await self.writable.wait()
        assert not self.ended
        self.got.append(data)
        self.ended = True


class Lead:
    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


class Noting(SharedStream):
    """Remembers all that it was to hand on."""

    def __init__(self, streams: SharedStreams) -> None:
        super().__init__(streams)
        self.history: list[bytes] = []

    def _take(self, block: bytes) -> bool:
        more = super()._take(block)
        self.history += [] if self._held else [block]  # the machine changes nothing
        return more

    async def send(self, data: bytes) -> None:
        self.history.append(data)
        await super().send(data)

    def _finish(self, data: bytes, fault: BaseException | None) -> None:
        self.history += [] if self.over else [data]
        super()._finish(data, fault)


class Place:
    """One request: its wire, and the task that reads."""

    def __init__(self, hall: Hall, stream: Noting, *, plain: bool) -> None:
        self.hall, self.stream, self.wire = hall, stream, Wire(plain=plain)
        self.ctx = RequestContext(f"req_{len(hall.places)}", "/", 0.0, 0.0, cast(Any, None), deadline=float("inf"))
        self.fault: BaseException | None = None
        self.joined = False
        self.task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        reader = self.stream.join(self.wire, self.ctx, self._drive)
        if reader is None:
            return
        self.joined = True
        try:
            await reader.read()
        except (errors.ProxyError, asyncio.CancelledError) as fault:
            self.fault = fault
        finally:
            self.stream.leave(reader)

    async def _drive(self, taker: Pump) -> None:
        call = Call()
        self.hall.calls.setdefault(self.stream, []).append(call)
        try:
            await taker.pump(call.exchange, Machine())
        except BaseException:
            call.exchange.abort()
            raise


class Hall:
    """All of them; a stream is found as long as its lead is held."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = ManualClock()
        self.streams = SharedStreams(lambda work, name: loop.create_task(work, name=name), self.clock, longest=3600.0)
        self.places: list[Place] = []
        self.calls: dict[Noting, list[Call]] = {}
        self.leads: dict[Noting, Lead] = {}

    def found(self) -> Noting:
        for stream, lead in self.leads.items():
            if not lead.released:
                return stream
        stream = Noting(self.streams)
        stream.lead = self.leads[stream] = Lead()
        return stream

    def join(self, *, plain: bool = False) -> Place:
        place = Place(self, self.found(), plain=plain)
        self.places.append(place)
        return place

    def call(self) -> Call:
        """The newest call of the newest stream."""
        return self.calls[list(self.leads)[-1]][-1]

    def whole(self, place: Place) -> bytes:
        return b"".join(place.stream.history)


async def turn(rounds: int = 12) -> None:
    """Let everything that is ready run."""
    for _ in range(rounds):
        await asyncio.sleep(0)
