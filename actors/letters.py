"""The queue between askers and an actor, and what lies in it.

Rule: unbounded, because urgent notes must always get in; it is bounded at the door (``Ref.ask``, ``Ref.tell``).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")
INFINITY: Final = float("inf")


class Reply(msgspec.Struct, eq=False):
    """The asker's end of a message.  The actor may answer now, or keep it and answer much later."""

    _future: asyncio.Future[Any] | None
    deadline: float  # on the ref's clock
    _message: Any
    _queued_at: float
    _context: contextvars.Context
    _held: dict[Reply, None] | None = None  # the ref's open questions, once this is one of them

    def wanted(self, now: float) -> bool:
        """Whether anybody would still take an answer."""
        future = self._future
        return future is None or (not future.done() and now < self.deadline)

    def ok(self, value: Any = None) -> bool:
        """Answer.  ``False``: nobody is there to take it, so a granted resource has to be taken back."""
        future = self._future
        if future is None or future.done():
            return False
        if self._held is not None:
            self._forget()
        future.set_result(value)
        return True

    def fail(self, error: BaseException) -> bool:
        """Answer with an error, raised at the asker.  ``False`` as for :meth:`ok`."""
        future = self._future
        if future is None or future.done():
            return False
        if self._held is not None:
            self._forget()
        future.set_exception(error)
        return True

    def _forget(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.pop(self, None)


class Letters(asyncio.Queue[T]):
    """asyncio's queue, for a taker who takes all that lies there whenever he wakes: no coroutine per letter.

    Without the account of unfinished work, which nobody joins: a third of what a put costs.
    """

    _queue: deque[T]  # asyncio's own names
    _getters: deque[asyncio.Future[None]]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.lying = self._queue  # the first is the next
        self._promise = loop.create_future

    def put_nowait(self, item: T) -> None:
        self.lying.append(item)
        getters = self._getters
        while getters:
            getter = getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def arrival(self) -> asyncio.Future[None]:
        """To be awaited by the taker where nothing lies there."""
        getter = self._promise()
        self._getters.append(getter)
        return getter
