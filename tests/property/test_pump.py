"""However much of an answer is here before anybody reads it, whoever takes it gets the same."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic.errors import Broken, ProxyError
from ccproxy_sanic.pump import Pump
from ccproxy_sanic.translate.passthrough import PassThrough
from tests.support.messages_stream import ASKED, golden, run, stream
from tests.support.readers import Call, turn

ANSWERS = [stream(events) for _, events in golden()]


class Taker(Pump):
    """``ready``: it takes frames where they arrive, else only in its own task."""

    def __init__(self, *, ready: bool) -> None:
        super().__init__(0.0)
        self.ready, self.ended = ready, False
        self.got: list[bytes] = []

    async def send(self, data: bytes) -> None:
        assert data
        assert not self.ended
        await asyncio.sleep(0)
        self.got.append(data)

    async def end(self, data: bytes = b"") -> None:
        await self.send(data) if data else None
        self.ended = True

    def speak(self) -> None:
        assert not self.spoken
        self.spoken = True

    def _take(self, block: bytes) -> bool:
        machine: Any = self.machine
        data = machine.feed(block)
        if not self.spoken and machine.spoken:
            self.speak()
        if machine.done or machine.fault is not None or (data and not self.ready):
            self._held = data
            return False
        if data:
            self.got.append(data)
        return True


async def taken(reads: list[bytes], before: int, *, ready: bool, cut: bool) -> tuple[Taker, ProxyError | None, Call]:
    """Who took the answer, whose first reads came before; ``cut``: its connection breaks instead of its end."""
    call, taker = Call(), Taker(ready=ready)

    def end() -> None:
        call.cut() if cut else call.end()

    for data in reads[:before]:
        call.say(data)
    if before > len(reads):
        end()
    fault: ProxyError | None = None

    async def pump() -> None:
        nonlocal fault
        try:
            await taker.pump(call.exchange, PassThrough(ASKED))
        except ProxyError as error:
            fault = error

    task = asyncio.get_running_loop().create_task(pump())
    for data in reads[before:]:
        await turn(3)
        call.say(data)
    await turn(3)
    end()
    await task
    return taker, fault, call


@settings(max_examples=200, deadline=None)
@given(
    data=st.sampled_from(ANSWERS),
    length=st.one_of(st.none(), st.integers(0, 3000)),
    cuts=st.lists(st.integers(0, 3000), max_size=5),
    before=st.integers(0, 8),
    ready=st.booleans(),
    cut=st.booleans(),
)
def test_what_is_taken_does_not_depend_on_when_it_came(
    data: bytes, length: int | None, cuts: list[int], before: int, ready: bool, cut: bool
) -> None:
    data = data[:length]
    machine, wanted = run(data, cuts)
    edges = [0, *sorted({at % (len(data) + 1) for at in cuts}), len(data)]
    reads = [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
    taker, fault, call = asyncio.run(taken(reads, before, ready=ready, cut=cut))
    assert b"".join(taker.got) == wanted
    assert taker.ended == machine.done == (fault is None)
    assert taker.spoken == machine.spoken
    if machine.fault is not None:
        assert type(fault) is type(machine.fault) or (cut and isinstance(fault, Broken))
    if before > len(reads) and not cut:
        assert call.exchange.finished
