"""One upstream answer for all equal requests that run at the same time.

Rule: whoever reads gets the same frames, from the first to the last, at a pace of its own, and nobody waits for anybody
else.  An answer is driven by a task of its own and belongs to no reader: each may leave at any time and the others read
on; when all have left it runs on for a short grace, in which a resend takes it over.

All frames are kept for those who still come, up to ``REPLAY`` bytes; nobody may join above that, or when the answer
has ended.  A reader that is caught up is written to where frames arrive; one that is not catches up in its own task.
The upstream is read as long as anybody is caught up, so a single reader's pace is the upstream's.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.errors import Broken, Overloaded, ProxyError
from ccproxy_sanic.pump import Pump
from ccproxy_sanic.sharing.reader import Client, Drive, Reader, wake
from ccproxy_sanic.sharing.running import GRANT, SharedStreams

log = logging.getLogger("ccproxy")
SHARED: Final = "x-ccproxy-shared"


class Lead(Protocol):
    """The entry by which an answer is found."""

    def release(self) -> None: ...


class SharedStream(Pump):
    """One answer.  ``lead`` is released as soon as nobody may join any more; ``fault`` is the one that it ended with.

    ``told`` is for those who account for it.
    """

    __slots__ = (
        "_alone",
        "_clock",
        "_ctx",
        "_cut",
        "_flowing",
        "_frames",
        "_grace",
        "_granted",
        "_left",
        "_relief",
        "_start",
        "_streams",
        "_task",
        "deadline",
        "fault",
        "joinable",
        "lead",
        "over",
        "readers",
        "told",
    )

    def __init__(self, streams: SharedStreams) -> None:
        super().__init__(streams.clock())
        self._streams, self._clock = streams, streams.clock
        self.lead: Lead | None = None
        self.readers: dict[Reader, None] = {}
        self.joinable, self.over = True, False
        self.fault: BaseException | None = None
        self.deadline = float("inf")
        self.told: Any = None
        self._frames: list[bytes] = []
        self._start = 0  # frames that are no longer kept
        self._granted = self._left = 0  # bytes of the memory, and how many of them are free
        self._alone: Client | None = None  # of the only reader there is, as long as it is caught up
        self._flowing = True  # somebody is caught up, or nobody is there
        self._relief: asyncio.Future[None] | None = None
        self._ctx: RequestContext | None = None  # of the request that drives
        self._task: asyncio.Task[None] | None = None
        self._cut: BaseException | None = None
        self._grace: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "over" if self.over else "spoken" if self.spoken else "waiting"
        return f"<SharedStream {state} | {len(self.readers)} readers, {self._total} bytes>"

    # -- who reads

    def join(self, client: Client, ctx: RequestContext, drive: Drive) -> Reader | None:
        """A place for the running task, which has to :meth:`leave` it; None: it came too late.

        The first one's ``drive`` makes the answer.  Another's does when that one fails before the first content.
        """
        if not self.joinable:
            return None
        reader = Reader(self, client, ctx, drive, self._streams.lag + self._total)
        self.readers[reader] = None
        if self._task is None:
            self._begin(reader)
        else:
            if self._grace is not None:
                self._grace.cancel()
                self._streams.resumed += len(self.readers) == 1
            self._streams.joined += 1
            ctx.shared = True
            client.headers[SHARED] = "true"
        self._weigh()
        return reader

    def leave(self, reader: Reader) -> None:
        """Idempotent."""
        if reader not in self.readers:
            return
        del self.readers[reader]
        self._trim()
        self._weigh()
        if self.readers or self.over:
            return
        if self._streams.grace and self.joinable:
            self._grace = asyncio.get_running_loop().call_later(self._streams.grace, self.abandon)
        else:
            self.abandon()

    def abandon(self) -> None:
        """End what nobody reads."""
        if not self.readers and not self.over and self._cut is None:
            self._streams.abandoned += 1
            self._close()
            self.stop(Broken("nobody reads this answer any more"))

    def stop(self, fault: BaseException) -> None:
        """End the drive, with ``fault`` for whoever reads; the first one counts."""
        if self._cut is None and not self.over and self._task is not None:
            self._cut = fault
            self._task.cancel()

    async def driven(self, reader: Reader) -> None:
        """Returns when the upstream call that this reader's request has made is over: soon after the answer is."""
        if reader.ctx is self._ctx and self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    def accounts(self, reader: Reader) -> bool:
        """Whether it is for this one, which has left, to account for the answer: the one that drives, if it reads."""
        return reader.ctx is self._ctx or all(other.ctx is not self._ctx for other in self.readers)

    def introduce(self, reader: Reader) -> None:
        """Before a follower's head leaves: it names the upstream that answers, as the leader's does."""
        ctx, leading = reader.ctx, self._ctx
        if leading is None or ctx is leading:
            return
        ctx.endpoint, ctx.upstream_model = leading.endpoint, leading.upstream_model
        reader.client.headers |= leading.account(dict(leading.upstream_headers))

    # -- who drives

    def _begin(self, reader: Reader) -> None:
        self._ctx, self._cut, self.deadline = reader.ctx, None, reader.ctx.deadline
        reader.ctx.shared = False
        reader.client.headers.pop(SHARED, None)
        self._streams.running.add(self)
        self._task = self._streams.spawn(reader.drive(self), f"answer to {reader.ctx.request_id}")
        self._task.add_done_callback(partial(self._drove, reader))  # also of one that was cancelled before it began

    def _drove(self, reader: Reader, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, ProxyError) and (self.over or not self.readers):
            log.error("bug while an answer was made that nobody waits for", exc_info=fault)  # else: its readers' affair
        if not self.over:
            fault = fault or self._cut or Broken("the answer was ended")
            heir = next((other for other in self.readers if other is not reader), None)
            if heir is not None and not self.spoken:
                self._streams.promoted += 1
                self._drop(reader, fault)
                heir.context.run(self._begin, heir)
                return
            self._finish(b"", fault)
        self._streams.running.discard(self)

    async def send(self, data: bytes) -> None:
        self._put(data)
        while self._clogged:
            self._relief = asyncio.get_running_loop().create_future()
            await self._relief

    async def end(self, data: bytes = b"") -> None:
        self._finish(data, None)

    def speak(self) -> None:
        self.spoken = True
        if self._ctx is not None:
            self.deadline = self._ctx.started + self._streams.longest
        for reader in self.readers:
            if reader.direct:
                reader.client.speak()

    def _take(self, block: bytes) -> bool:
        machine = self.machine
        assert machine is not None  # noqa: S101 (only the pump's exchange calls this)
        now = self._read_at = self._clock()
        data = machine.feed(block)
        if not self.spoken and machine.spoken:
            self.speak()
        if machine.done or machine.fault is not None:
            self._held = data
            return False
        if not data:
            return True
        only = self._alone
        if only is not None and only.offer(data, now):  # as _put does, at half of its cost
            self.opened = True
            self._frames.append(data)
            self._left -= len(data)
            if self._left < 0:
                self._account()
            return True
        if self._clogged:
            self._held = data
            return False
        self._put(data)
        return True

    def _put(self, data: bytes) -> None:
        """Hand on ``data``: at once to those who are caught up, and for later to all others."""
        self.opened = True
        now, all_took, late = self._read_at, True, None
        flowing = not self.readers
        for reader in self.readers:
            if reader.direct:
                if reader.client.offer(data, now):
                    flowing = True
                    continue
                self._fall_behind(reader)
            elif self._total - reader.sent > reader.limit and len(self.readers) > 1:
                late = reader
            all_took = False
        self._flowing = flowing
        self._left -= len(data)
        if self.joinable:
            self._frames.append(data)
            if self._left < 0:
                self._account()
        elif not all_took:
            self._frames.append(data)
        if late is not None:  # at most one with each write: enough, because none is added so fast
            self._streams.cut += 1
            self._drop(late, Overloaded("the answer was read too slowly: the others are far ahead"))

    def _finish(self, data: bytes, fault: BaseException | None) -> None:
        """There is nothing more: everybody is woken to write what is left, and the end or the fault."""
        if self.over:
            return
        for reader in self.readers:
            if reader.direct:
                self._fall_behind(reader)
        self._close()
        if data:
            self._frames.append(data)
        self.over, self.fault = True, fault

    def _account(self) -> None:
        """Take the next part of the memory; without one, nothing is kept and nobody may join any more."""
        streams, total = self._streams, self._total
        room = streams.replay - total
        if room >= 0:
            self._left = min(GRANT, room)
            streams.kept += total + self._left - self._granted
            self._granted = total + self._left
        if room < 0 or streams.kept > streams.memory:
            self._close()
            self.abandon()  # if nobody is there, nobody comes any more

    def _close(self) -> None:
        """Nobody may join any more."""
        if not self.joinable:
            return
        self.joinable = False
        self._alone = None
        self._streams.kept -= self._granted
        self._trim()
        if self.lead is not None:
            self.lead.release()
            self.lead = None  # it knows this stream: a cycle would outlive both

    # -- who is where

    @property
    def _total(self) -> int:
        """Bytes so far."""
        return self._granted - self._left

    @property
    def _clogged(self) -> bool:
        """Nobody is caught up, and even the first one has enough to write."""
        return not self._flowing and self._total - max(reader.sent for reader in self.readers) > self._streams.piece

    @property
    def _end(self) -> int:
        return self._start + len(self._frames)

    def piece(self, reader: Reader) -> bytes:
        """The next frames for one who is behind; b"": it is caught up."""
        at, size = reader.at - self._start, 0
        if at == len(self._frames):
            return b""
        to = at
        for frame in islice(self._frames, at, None):
            to, size = to + 1, size + len(frame)
            if size >= self._streams.piece:
                break
        data = b"".join(self._frames[at:to])
        reader.at, reader.sent = self._start + to, reader.sent + size
        self._trim()
        return data

    def is_at_end(self, reader: Reader) -> bool:
        return self.over and reader.at == self._end

    def caught_up(self, reader: Reader) -> None:
        reader.direct, reader.limit = True, self._streams.lag
        self._weigh()

    def _fall_behind(self, reader: Reader) -> None:
        self._alone = None
        reader.direct, reader.at, reader.sent = False, self._end, self._total
        if reader.news is not None:
            wake(reader.news)

    def _drop(self, reader: Reader, fault: BaseException) -> None:
        """It gets ``fault`` instead of the rest, if it is still there."""
        if reader in self.readers:
            self.leave(reader)
            reader.cut(fault)

    def _trim(self) -> None:
        """Forget what nobody needs."""
        if self.joinable or not self._frames:
            return
        low = min((reader.at for reader in self.readers if not reader.direct), default=self._end)
        del self._frames[: low - self._start]
        self._start = low

    def _weigh(self) -> None:
        direct = [reader for reader in self.readers if reader.direct]
        self._flowing = not self.readers or bool(direct)
        self._alone = direct[0].client if direct and len(self.readers) == 1 and self.joinable else None
        if self._relief is not None and not self._clogged:
            wake(self._relief)
