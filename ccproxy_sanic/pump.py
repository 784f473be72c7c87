"""The way of an upstream's answer through a machine to whoever takes it.

Rule: all events of one socket read are handed on at once, where they arrive (ARCHITECTURE.md 1.6); the pump's task only
wakes for the first, when nobody can take any more, and for the end.  An answer that is all here is one read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from ccproxy_sanic.errors import Broken, ProxyError

AFTER_FINISH: Final = 5.0  # seconds an upstream may take from finish_reason to its end (protocol.md 4.4, row 10)


class Machine(Protocol):
    """What the pump needs of a stream translator."""

    @property
    def fault(self) -> ProxyError | None: ...
    @property
    def spoken(self) -> bool: ...
    @property
    def done(self) -> bool: ...
    @property
    def finishing(self) -> bool: ...
    def feed(self, data: bytes) -> bytes: ...
    def close(self) -> bytes: ...


class Upstream(Protocol):
    """What the pump needs of an upstream exchange: ``rest`` is what is left of an answer that is all here, None: more
    is to come; then ``flow`` hands each read to the sink where it arrives; True: the sink wanted no more, False: the
    answer has ended.  Raises ProxyError."""

    def rest(self) -> bytes | None: ...
    async def flow(self, sink: Callable[[bytes], bool]) -> bool: ...
    def abort(self) -> None: ...


class Pump:
    """Whoever takes an answer.  ``opened``: message_start was taken; ``spoken``: so was the first content; ``machine``
    reads the answer that came last."""

    __slots__ = ("_exchange", "_held", "_read_at", "machine", "opened", "spoken")

    def __init__(self, now: float) -> None:
        self.opened = self.spoken = False
        self._read_at = now
        self._held = b""  # translated, not yet handed on
        self._exchange: Upstream | None = None
        self.machine: Machine | None = None

    async def send(self, data: bytes) -> None:
        """Hand on ready SSE frames; waits until more may come (that is the back-pressure)."""
        raise NotImplementedError

    async def end(self, data: bytes = b"") -> None:
        """Hand on the last frames: the answer is complete."""
        raise NotImplementedError

    def _take(self, block: bytes) -> bool:
        """Translate what has just arrived, and hand it on if that needs no waiting; False: do it in the task, with
        what is in ``_held``."""
        raise NotImplementedError

    def speak(self) -> None:
        """The first content has come."""
        raise NotImplementedError

    def pump(self, exchange: Upstream, machine: Machine) -> Coroutine[Any, Any, None]:
        """Carry the upstream's answer through ``machine`` until it is complete; raises the fault if it never is."""
        self.machine, self._held = machine, b""
        body = exchange.rest()
        if body is None:
            return self._flow(exchange, machine)
        if body:
            self._take(body)
        data, self._held = self._held, b""
        return self.end(data) if machine.done else self._run_out(machine, data)

    async def _flow(self, exchange: Upstream, machine: Machine) -> None:
        self._exchange = exchange
        try:
            broken: ProxyError | None = None
            try:
                while await exchange.flow(self._take):
                    data, self._held = self._held, b""
                    if machine.done:
                        await self.end(data)
                        return
                    if data:
                        self.opened = True
                        await self.send(data)
                    if machine.fault is not None:
                        raise machine.fault
            except Broken as fault:  # the machine knows whether what came was complete
                broken = fault
            await self._run_out(machine, b"", broken)
        finally:
            self._exchange = None

    async def _run_out(self, machine: Machine, data: bytes, broken: ProxyError | None = None) -> None:
        """The upstream has said all it will, and ``data`` is the last of it."""
        if machine.fault is None:
            data += machine.close()
        if machine.fault is not None:
            if data:
                self.opened = True
                await self.send(data)
            raise broken or machine.fault
        if not self.spoken and machine.spoken:
            self.speak()
        await self.end(data)

    def end_the_late(self, now: float) -> bool:
        """For the ticker: whether the answer was all here but for its end, for so long that its upstream was ended.

        That wakes the pump, which finds the message complete.
        """
        exchange, machine = self._exchange, self.machine
        if exchange is None or machine is None or not machine.finishing or now - self._read_at < AFTER_FINISH:
            return False
        exchange.abort()
        return True
