"""A small actor kernel for one asyncio loop.

Rule: ``handle`` is a plain ``def``.  Nothing inside an actor awaits, so every transition is atomic, there is no lock,
and a slow peer can never hold the mailbox.  Work that takes time is done by the asker, under a lease.

Delivery is at most once and FIFO per sender and actor; nothing is retried except what a crash interrupted: a restart
keeps the :class:`Ref`, its mailbox, its stats and every question not yet answered (actors.md C.2, C.5).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from actors.letters import INFINITY, Letters, Reply
from actors.messages import ActorError, Crashed, Expired, Overloaded, Query, Refused, Stopped, Tick

__all__ = [
    "Actor",
    "ActorError",
    "Clock",
    "Crashed",
    "Expired",
    "Mailbox",
    "Overloaded",
    "Query",
    "Ref",
    "Refused",
    "Reply",
    "Stats",
    "Stopped",
    "Supervisor",
    "Tick",
]

log = logging.getLogger("actors")

M = TypeVar("M")
R = TypeVar("R")
Clock = Callable[[], float]


@dataclass(slots=True)
class Stats:  # no Struct: setting a field of one costs twice as much
    """What one ref has seen, restarts included.  Waits are seconds spent in the mailbox."""

    handled: int = 0
    shed: int = 0  # refused at the door: full, or stopped
    dead: int = 0  # cancelled or expired before they were handled
    crashes: int = 0
    redelivered: int = 0  # questions given to a new instance after a crash
    high_water: int = 0
    wait_sum: float = 0.0
    wait_max: float = 0.0


class Mailbox(Protocol):
    """What an actor and its leases know of their ref."""

    def tell(self, message: Any, *, urgent: bool = False) -> bool: ...


class Actor(Generic[M]):
    """Subclass, own your state, match on messages in :meth:`handle`.

    A new instance is made after every crash, by the factory given to the :class:`Ref`; what has to survive (budgets,
    live leases) is an object that the factory hands to each instance.  Questions that the old instance kept are handled
    again by the new one, in their order.
    """

    ref: Mailbox

    def started(self) -> None:
        """Before the first message.  Raising here fails the boot, or counts as one more crash after a restart."""

    def handle(self, message: M, reply: Reply) -> None:
        raise NotImplementedError

    def stopped(self) -> None:
        """After the last message, and after a crash."""


class Ref(Generic[M]):
    """The address of an actor: outlives restarts, is all that others hold.  Needs the running loop."""

    def __init__(
        self,
        name: str,
        factory: Callable[[], Actor[M]],
        *,
        capacity: int = 1024,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.capacity, self.stats = name, capacity, Stats()
        self._loop = asyncio.get_running_loop()
        self.clock: Clock = clock or self._loop.time
        self._factory = factory
        self._queue: Letters[Reply | None] = Letters(self._loop)
        self._lying = self._queue.lying
        self._held: dict[Reply, None] = {}  # handled, not answered yet; insertion order is the order of asking
        self._tickers: list[_Ticker] = []
        self._open = True
        self._stopped = False

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "open" if self._open else "draining"
        return f"<Ref {self.name} {state} | mailbox {self.depth}/{self.capacity}, waiting {self.waiting}>"

    @property
    def depth(self) -> int:
        """Messages in the mailbox."""
        return len(self._lying)

    @property
    def waiting(self) -> int:
        """Questions the actor keeps and has not answered."""
        return len(self._held)

    def tell(self, message: M, *, urgent: bool = False) -> bool:
        """Leave a note.  Urgent notes (releases, ticks) are never shed; ``False``: shed, or the actor has stopped."""
        depth = len(self._lying)
        if self._stopped or (depth >= self.capacity and not urgent):
            self.stats.shed += 1
            return False
        self._queue.put_nowait(Reply(None, INFINITY, message, self.clock(), copy_context()))
        if depth >= self.stats.high_water:
            self.stats.high_water = depth + 1
        return True

    async def ask(self, query: Query[R], deadline: float = INFINITY) -> R:
        """Ask and wait; the message is typed by its answer.

        The *caller's* timeout scope ends the wait; the deadline (on the ref's clock) lets the actor skip, or refuse,
        work whose result nobody would take.  Cancelled after the grant but before waking: the grant is released.

        Raises :class:`Overloaded`, :class:`Expired`, :class:`Crashed`, :class:`Stopped`, or what the actor fails with.
        """
        if not self._open:
            raise Stopped(self.name)
        depth = len(self._lying)
        if depth >= self.capacity:
            self.stats.shed += 1
            raise Overloaded(self.name)
        future: asyncio.Future[R] = self._loop.create_future()
        reply = Reply(future, deadline, query, self.clock(), copy_context())
        self._queue.put_nowait(reply)
        if depth >= self.stats.high_water:
            self.stats.high_water = depth + 1
        try:
            return await future
        except asyncio.CancelledError:
            if reply._held is not None:
                reply._forget()
            if future.done() and not future.cancelled() and future.exception() is None:
                release = getattr(future.result(), "release", None)
                if release is not None:
                    release()
            raise
        finally:  # an error's traceback holds this frame, and the future the error: only the collector would free them
            del future, reply

    def every(self, seconds: float, message: M) -> None:
        """Tell ``message`` every so many seconds until the actor stops.

        Ticks are urgent and coalesced: none is sent while the one before it is still in the mailbox.
        """
        self._tickers.append(_Ticker(self, seconds, message))

    def close(self) -> None:
        """Shut the door: questions are refused with :class:`Stopped`; notes get in until the supervisor stops it."""
        self._open = False

    def _boot(self) -> Actor[M]:
        actor = self._factory()
        actor.ref = self
        actor.started()
        return actor

    async def _live(self, actor: Actor[M]) -> None:
        """One life of the actor: until the end mark is taken, or ``handle`` raises."""
        queue, lying, held, stats = self._queue, self._lying, self._held, self.stats
        clock, handle = self.clock, actor.handle
        try:
            self._put_back()
            while True:
                if not lying:
                    await queue.arrival()
                now = clock()  # one look is enough for all that lies there: nobody else runs meanwhile
                while lying:
                    letter = lying.popleft()
                    if letter is None:
                        return
                    wait = now - letter._queued_at
                    if wait > 0.0:
                        stats.wait_sum += wait
                        if wait > stats.wait_max:
                            stats.wait_max = wait
                    future = letter._future
                    if future is not None and (now >= letter.deadline or future.done()):
                        stats.dead += 1
                        letter.fail(Expired(self.name))
                        continue
                    try:
                        letter._context.run(handle, letter._message, letter)
                    except (Exception, asyncio.CancelledError) as exc:
                        stats.crashes += 1
                        letter.fail(Crashed(f"{self.name}: {type(exc).__name__}"))
                        if isinstance(exc, asyncio.CancelledError):
                            # Nobody can cancel a sync handle: it is the actor's own error, and must not end the task
                            # in silence.
                            raise RuntimeError("handle raised CancelledError") from exc
                        raise
                    stats.handled += 1
                    if future is not None and not future.done():
                        letter._held = held
                        held[letter] = None
                letter = future = None  # nothing of the last one is kept until the next comes
        finally:
            try:
                actor.stopped()
            except Exception:
                log.exception("actor %s: stopped() failed", self.name)

    def _put_back(self) -> None:
        """What the instance before has kept is the first that the new one finds in the mailbox."""
        kept, now = list(self._held), self.clock()
        for letter in kept:
            letter._held = None
            letter._queued_at = now  # its time in the mailbox has been counted
        self._held.clear()
        self._lying.extendleft(reversed(kept))
        self.stats.redelivered += len(kept)

    def _finish(self) -> None:
        """Take no more notes either; the mailbox is handled to its end, then the actor stops."""
        if not self._stopped:
            self._open, self._stopped = False, True
            for ticker in self._tickers:
                ticker.cancel()
            self._queue.put_nowait(None)

    def _refuse_rest(self) -> None:
        """Answer everything that is left with :class:`Stopped`, so that nobody hangs."""
        self._finish()
        while self._lying:
            letter = self._lying.popleft()
            if letter is not None:
                letter.fail(Stopped(self.name))
        for reply in list(self._held):
            reply.fail(Stopped(self.name))
        self._held.clear()


class _Ticker:
    """One repeating note.  Keeps to the loop's clock without drift; ticks missed by a busy loop are not made up for."""

    __slots__ = ("_due", "_handle", "_message", "_ref", "_seconds")

    def __init__(self, ref: Ref[Any], seconds: float, message: Any) -> None:
        self._ref, self._seconds, self._message = ref, seconds, message
        self._due = ref._loop.time() + seconds
        self._handle = ref._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        ref, now = self._ref, self._ref._loop.time()
        if all(letter is None or letter._message is not self._message for letter in ref._lying):
            ref.tell(self._message, urgent=True)
        self._due = max(self._due + self._seconds, now)
        self._handle = ref._loop.call_at(self._due, self._fire)

    def cancel(self) -> None:
        self._handle.cancel()


class Supervisor:
    """Owns the actors' tasks: one-for-one restarts, at most ``intensity`` of them within ``period`` seconds.

    Above that it escalates instead of looping: the failing ref closes, everything it holds is answered with
    :class:`Stopped`, and ``on_escalate`` is called with the last error.  Needs the running loop.
    """

    def __init__(
        self,
        *,
        intensity: float = 5,
        period: float = 30.0,
        clock: Clock | None = None,
        on_escalate: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.intensity, self.period, self.on_escalate = intensity, period, on_escalate
        self.clock: Clock = clock or asyncio.get_running_loop().time
        self._children: list[tuple[Ref[Any], asyncio.Task[None]]] = []

    def __repr__(self) -> str:
        return f"<Supervisor {' '.join(repr(ref) for ref in self.refs)}>"

    @property
    def refs(self) -> list[Ref[Any]]:
        """The actors that run, first started first."""
        return [ref for ref, _ in self._children]

    async def start(self, ref: Ref[M]) -> Ref[M]:
        """Make the actor and run it.  What its factory or ``started()`` raises is raised here: the boot fails."""
        actor = ref._boot()
        # An empty context: the actor belongs to the process, not to whoever happened to start it.
        task = asyncio.get_running_loop().create_task(
            self._keep(ref, actor), name=f"actor:{ref.name}", context=contextvars.Context()
        )
        self._children.append((ref, task))
        return ref

    async def stop(self, grace: float = 5.0) -> None:
        """Stop all, last started first, each after its mailbox is empty; after ``grace`` seconds in all, at once."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self._children:
            ref, task = self._children.pop()
            ref._finish()
            _, late = await asyncio.wait({task}, timeout=max(0.0, end - loop.time()))
            if late:
                log.error("actor %s did not stop in time", ref.name)
                task.cancel()
                await asyncio.wait({task})
            ref._refuse_rest()  # a task cancelled before its first step has not

    async def _keep(self, ref: Ref[Any], first: Actor[Any]) -> None:
        crashes: deque[float] = deque()
        actor: Actor[Any] | None = first
        try:
            while True:
                try:
                    return await ref._live(actor or ref._boot())
                except Exception as error:
                    actor = None
                    now = self.clock()
                    crashes.append(now)
                    while now - crashes[0] > self.period:
                        crashes.popleft()
                    log.exception("actor %s crashed (%d in %g s)", ref.name, len(crashes), self.period)
                    if len(crashes) > self.intensity:
                        self._give_up(ref, error)
                        return None
                    await asyncio.sleep(0)  # an actor that cannot start must not keep the loop for itself
        finally:  # however it ends, also by a foreign cancellation: nobody must hang
            ref._refuse_rest()

    def _give_up(self, ref: Ref[Any], error: BaseException) -> None:
        ref._refuse_rest()
        log.critical("actor %s: more than %g crashes in %g s, giving up", ref.name, self.intensity, self.period)
        try:
            self.on_escalate(error)
        except Exception:
            log.exception("on_escalate failed")
