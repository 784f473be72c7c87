"""The one ticker: pings, streams that never end, clients that never read.

Rule: a tick never waits.  It calls synchronous methods of the clients that it watches, once a second for all of them,
so that no stream needs a timer of its own (ARCHITECTURE.md 1.7, 1.8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ccproxy_sanic.relay import Client

INTERVAL: Final = 1.0


class Watch:
    """All clients that are being answered by a stream, or told of a fault, and the task that looks at them."""

    def __init__(self, clock: Callable[[], float], also: Callable[[float], None] = lambda now: None) -> None:
        self.clients: set[Client] = set()
        self.lag = 0.0  # how late the last tick was: the loop's own delay, in seconds
        self._clock, self._also = clock, also
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Watch {len(self.clients)} clients, lag {self.lag * 1e3:.1f} ms>"

    def tick(self, now: float) -> None:
        """One look at everybody."""
        for client in list(self.clients):
            client.look(now)
        self._also(now)

    async def _run(self) -> None:
        while True:
            due = self._clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            now = self._clock()
            self.lag = max(0.0, now - due)
            self.tick(now)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ccproxy:watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
