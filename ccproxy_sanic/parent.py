"""The parent of several workers: starts them, starts them again, and carries what they tell each other.

Rule: it serves nobody and looks into nothing that a worker says, so nothing but a signal ends it; a worker that is gone
is replaced, and a signal to stop is one for all.  Sanic's own manager promises neither (docs/adr/0004).

The address is bound here, and kept so, and listened to by the workers: it refuses connections until the first of them
is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
from typing import Final, cast

from ccproxy_sanic import listening
from ccproxy_sanic.frames import DUMP, RESET, Ask, Do, Done, Frame, Place, Ready, Told, Unpacker, new_secret, packed
from ccproxy_sanic.ops.logging import LogWriter
from ccproxy_sanic.settings import Settings

log = logging.getLogger("ccproxy")

IN_TIME: Final = 0.25  # seconds that workers have to answer another one
KEPT_EVERY: Final = 5.0  # seconds: what a worker that is killed has counted since the last look is lost
SHORT_LIFE: Final = 10.0  # seconds of serving; who ends sooner did not really start
MOST_SHORT: Final = 5  # short lives of one worker in a row, then the proxy gives up
FIRST_PAUSE: Final = 0.25  # seconds before a worker is started again; doubles with each short life in a row
REAP_EVERY: Final = 0.02  # seconds between looks whether a process that has hung up has ended
OVERTIME: Final = 5.0  # seconds beyond the grace after which a worker is killed
MODULE: Final = "ccproxy_sanic.worker"
KEPT: Final = (DUMP, RESET)
WELL: Final = (0, -signal.SIGTERM)  # how a worker ends that was told to; the second, before it served


class Worker(asyncio.Protocol):
    """One process, and the parent's end of the line to it."""

    def __init__(self, parent: Parent, number: int, process: subprocess.Popen[bytes]) -> None:
        self.number, self.process = number, process
        self.ready_at: float | None = None  # on the loop's clock
        self._parent, self._frames = parent, Unpacker()
        self._transport: asyncio.Transport | None = None
        self._hung_up = False

    def __repr__(self) -> str:
        state = "starting" if self.ready_at is None else "ready"
        return f"<Worker {self.number} {state}, process {self.process.pid}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._parent.take(self, frame)
        except ValueError:
            log.error("worker %d said what no parent understands", self.number)
            self.process.kill()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._reap()

    def _reap(self) -> None:
        """It has hung up, so it is about to end."""
        if self.process.poll() is None:
            asyncio.get_running_loop().call_later(REAP_EVERY, self._reap)
        else:
            self._parent.ended(self)

    def say(self, frame: Frame) -> None:
        if self._transport is not None:
            self._transport.write(packed(frame))

    def serves(self, now: float) -> None:
        self.ready_at = now
        if self._hung_up:
            self.process.send_signal(signal.SIGHUP)

    def hang_up(self) -> None:
        """Have it read its routes again; a process that starts would end of the signal, and gets it afterwards."""
        self._hung_up = self.ready_at is None
        if not self._hung_up:
            self.process.send_signal(signal.SIGHUP)


class _Round:
    """One question that was put to several workers: whom it is for (None: the parent), and who has not answered yet."""

    def __init__(self, asker: Worker | None, number: int, verb: str, open_: set[int]) -> None:
        self.asker, self.number, self.verb, self.open = asker, number, verb, open_
        self.bodies: dict[int, bytes] = {}


class Parent:
    """``count`` workers on the bound socket.  ``grace`` is what they have to drain, in seconds."""

    def __init__(self, sock: socket.socket, count: int, grace: float, *, reloads: bool) -> None:
        self._sock, self._count, self._grace, self._reloads = sock, count, grace, reloads
        self._secret = new_secret()
        self._workers: dict[int, Worker] = {}
        self._last: dict[int, bytes] = {}  # by worker: its numbers, as it told them last
        self._short: dict[int, int] = {}  # by worker: short lives in a row
        self._rounds: dict[int, _Round] = {}
        self._round = 0
        self._was_ready = False
        self._events: asyncio.Queue[signal.Signals | Worker | int] = asyncio.Queue()  # int: a worker that is due

    def __repr__(self) -> str:
        return f"<Parent | {len(self._up())} of {self._count} workers ready, {len(self._rounds)} questions>"

    def _up(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.ready_at is not None]

    # -- life

    async def run(self) -> int:
        """Until SIGTERM or SIGINT, or until it gives up; the exit code."""
        loop = asyncio.get_running_loop()
        obeyed = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if self._reloads else [])]
        for number in obeyed:
            loop.add_signal_handler(number, self._events.put_nowait, number)
        on_terminal = sys.stdin is not None and sys.stdin.isatty()
        for index in range(self._count):
            await self._start(index + 1)
        self._keep()
        while True:
            match await self._events.get():
                case signal.SIGHUP if not (on_terminal and not sys.stdin.isatty()):  # else the terminal was closed
                    for serving in self._workers.values():
                        serving.hang_up()
                case signal.Signals():
                    return await self._drain()
                case Worker() as worker:
                    if not self._replace(worker):
                        await self._drain()
                        return 1
                case int(due):
                    await self._start(due)

    async def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        address = self._sock.fileno()
        with theirs:
            process = subprocess.Popen(  # noqa: S603, ASYNC220 (takes a few milliseconds, and the parent serves nobody)
                [sys.executable, "-m", MODULE, str(number), str(address), str(theirs.fileno())],
                pass_fds=(address, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                # Signals of a terminal, and those that a process manager sends to a group, come by way of the parent.
                start_new_session=True,
            )
        worker = self._workers[number] = Worker(self, number, process)
        await asyncio.get_running_loop().create_connection(lambda: worker, sock=ours)
        worker.say(Place(number, self._count, self._secret, self._last.get(number, b"")))

    def ended(self, worker: Worker) -> None:
        """Its process is gone."""
        del self._workers[worker.number]
        for round_number in list(self._rounds):
            self._answered(round_number, worker.number, None)
        self._events.put_nowait(worker)

    def _replace(self, worker: Worker) -> bool:
        """Have it started again, after a pause; False where that has no sense."""
        loop, number, code = asyncio.get_running_loop(), worker.number, worker.process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if not self._was_ready:
            log.critical("worker %d %s before it served", number, how)
            return False
        served = 0.0 if worker.ready_at is None else loop.time() - worker.ready_at
        self._short[number] = self._short.get(number, 0) + 1 if served < SHORT_LIFE else 0
        if self._short[number] >= MOST_SHORT:
            log.critical("worker %d %s, the %d. time soon after its start: giving up", number, how, MOST_SHORT)
            return False
        pause = FIRST_PAUSE * 2 ** max(0, self._short[number] - 1)
        log.error("worker %d %s; it is started again in %g s", number, how, pause)
        loop.call_later(pause, self._events.put_nowait, number)
        return True

    async def _drain(self) -> int:
        """Tell all to end, and wait for them; 0 where all of them ended well."""
        self._sock.close()  # the last to listen are the workers: once they stop, connections are refused
        for worker in self._workers.values():
            worker.process.send_signal(signal.SIGTERM)
        code = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace + OVERTIME):
                while self._workers or not self._events.empty():
                    event = await self._events.get()
                    if isinstance(event, Worker) and event.process.returncode not in WELL:
                        code = 1
        for worker in self._workers.values():
            log.error("worker %d did not end in time", worker.number)
            worker.process.kill()
            code = 1
        return code

    # -- what workers say

    def take(self, worker: Worker, frame: Frame) -> None:
        match frame:
            case Ready():
                self._was_ready = True
                worker.serves(asyncio.get_running_loop().time())
            case Ask(number, verb, own):
                if verb == RESET:
                    self._last.clear()
                if verb in KEPT:
                    self._last[worker.number] = own
                self._ask(worker, number, verb)
            case Done(number, verb, body):
                if body is not None and verb in KEPT:
                    self._last[worker.number] = body
                self._answered(number, worker.number, body)
            case _:
                raise ValueError("not for the parent")

    def _ask(self, asker: Worker | None, number: int, verb: str) -> None:
        """Put ``verb`` to all workers that serve but ``asker``."""
        asked = [worker for worker in self._up() if worker is not asker]
        self._round += 1
        self._rounds[self._round] = _Round(asker, number, verb, {worker.number for worker in asked})
        for worker in asked:
            worker.say(Do(self._round, verb))
        asyncio.get_running_loop().call_later(IN_TIME if asked else 0.0, self._finish, self._round)

    def _answered(self, round_number: int, number: int, body: bytes | None) -> None:
        current = self._rounds.get(round_number)
        if current is None or number not in current.open:
            return
        current.open.discard(number)
        if body is not None:
            current.bodies[number] = body
        if not current.open:
            self._finish(round_number)

    def _finish(self, round_number: int) -> None:
        current = self._rounds.pop(round_number, None)
        if current is None or current.asker is None:
            return
        up, bodies = {worker.number for worker in self._up()}, current.bodies
        departed: tuple[bytes, ...] = ()
        if current.verb == DUMP:
            own = current.asker.number
            bodies = {number: body for number, body in self._last.items() if number in up - {own}} | bodies
            departed = tuple(body for number, body in self._last.items() if number not in up | {own})
        current.asker.say(Told(current.number, tuple(bodies.values()), departed, len(up), self._count))

    def _keep(self) -> None:
        """Have all workers tell their numbers, for the case that one of them does not live to tell them again."""
        self._ask(None, 0, DUMP)
        asyncio.get_running_loop().call_later(KEPT_EVERY, self._keep)


def run(settings: Settings, sock: socket.socket) -> int:
    """Serve with WEB_CONCURRENCY workers on the bound socket until SIGTERM or SIGINT; the exit code."""
    listening.open_to_workers(sock)
    writer = LogWriter(settings)
    writer.start()
    try:
        parent = Parent(sock, settings.web_concurrency, settings.grace, reloads=settings.routes is not None)
        return asyncio.run(parent.run())
    finally:
        writer.stop()
