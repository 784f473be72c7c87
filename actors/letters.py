"""The queue between askers and an actor.

Rule: unbounded, because urgent notes must always get in; it is bounded at the door (``Ref.ask``, ``Ref.tell``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

T = TypeVar("T")


class Letters(asyncio.Queue[T]):
    """asyncio's queue without the account of unfinished work, which nobody joins: a third of what a put costs."""

    _queue: deque[T]  # asyncio's own names
    _getters: deque[asyncio.Future[None]]

    def put_nowait(self, item: T) -> None:
        self._queue.append(item)
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
