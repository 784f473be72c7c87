"""A small actor with every behaviour the kernel has to cope with, and ways to run a test on both event loops."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvloop

from actors import Actor, Query, Ref, Reply, Supervisor

LOOPS = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["stdlib", "uvloop"]
)
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Token:
    """A granted thing; releasing it is a note to the pool."""

    def __init__(self, owner: Any) -> None:
        self._owner, self.released = owner, False

    def release(self) -> None:
        if not self.released:
            self.released = True
            self._owner.tell(Back(), urgent=True)


class Take(Query[Token], frozen=True):
    pass


class Back(msgspec.Struct, frozen=True):
    pass


class Boom(Query[None], frozen=True):
    """Crashes the actor."""

    error: type[BaseException] = ZeroDivisionError


class Echo(Query[Any], frozen=True):
    value: Any = None


class Whoami(Query[str], frozen=True):
    pass


class Later(Query[str], frozen=True):
    """Kept until a :class:`Flush`; ``poison`` crashes every instance but the first."""

    name: str
    poison: bool = False


class Flush(msgspec.Struct, frozen=True):
    pass


class World:
    """What survives a restart, and what a test looks at."""

    def __init__(self, size: int = 1) -> None:
        self.free = size
        self.size = size
        self.lives = 0
        self.ended = 0
        self.seen: list[Any] = []
        self.refuse_to_start = 0


class Pool(Actor[Any]):
    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: deque[Reply] = deque()
        self.kept: list[tuple[Later, Reply]] = []

    def started(self) -> None:
        if self.world.refuse_to_start:
            self.world.refuse_to_start -= 1
            raise OSError("cannot start")
        self.world.lives += 1

    def stopped(self) -> None:
        self.world.ended += 1

    def handle(self, message: Any, reply: Reply) -> None:
        world = self.world
        match message:
            case Take():
                self.waiting.append(reply)
                self._grant()
            case Back():
                world.free += 1
                self._grant()
            case Boom(error):
                raise error("boom")
            case Echo(value):
                world.seen.append(value)
                reply.ok(value)
            case Whoami():
                reply.ok(WHO.get())
            case Later(name, poison):
                world.seen.append((world.lives, name, WHO.get()))
                if poison and world.lives > 1:
                    raise ValueError(name)
                self.kept.append((message, reply))
            case Flush():
                for later, kept in self.kept:
                    kept.ok(later.name)
                self.kept.clear()
            case _:
                world.seen.append(message)

    def _grant(self) -> None:
        while self.world.free and self.waiting:
            self.world.free -= 1
            if not self.waiting.popleft().ok(Token(self.ref)):
                self.world.free += 1


@asynccontextmanager
async def running(
    world: World | None = None,
    *,
    capacity: int = 1024,
    intensity: float = 5,
    clock: Callable[[], float] | None = None,
    on_escalate: Callable[[BaseException], None] = lambda error: None,
) -> AsyncIterator[tuple[Ref[Any], Supervisor]]:
    world = world or World()
    supervisor = Supervisor(intensity=intensity, clock=clock, on_escalate=on_escalate)
    ref: Ref[Any] = await supervisor.start(Ref("pool", lambda: Pool(world), capacity=capacity, clock=clock))
    try:
        yield ref, supervisor
    finally:
        await supervisor.stop(grace=5.0)


async def settle(rounds: int = 10) -> None:
    """Let everything that is ready run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)
