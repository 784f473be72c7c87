"""The mailbox: order, pressure, deadlines, cancellation, drain."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

import pytest

from actors import Expired, Overloaded, Ref, Stopped, Supervisor
from actors.testing import ManualClock
from tests.actors.support import (
    LOOPS,
    WHO,
    Back,
    Boom,
    Echo,
    Flush,
    Later,
    Pool,
    Take,
    Token,
    Whoami,
    World,
    run,
    running,
    settle,
)

Loop = Callable[[], asyncio.AbstractEventLoop]


async def test_an_ask_is_answered() -> None:
    async with running() as (ref, _):
        assert await ref.ask(Echo(7)) == 7
        assert ref.stats.handled == 1


async def test_messages_of_one_sender_are_handled_in_their_order() -> None:
    world = World()
    async with running(world) as (ref, _):
        for number in range(50):
            assert ref.tell(number)
        await ref.ask(Echo("end"))
    assert world.seen == [*range(50), "end"]


async def test_a_full_mailbox_sheds_asks_and_notes_but_never_urgent_notes() -> None:
    world = World()
    async with running(world, capacity=3) as (ref, _):
        assert [ref.tell(number) for number in range(5)] == [True, True, True, False, False]
        with pytest.raises(Overloaded):
            await ref.ask(Echo())
        assert ref.tell("urgent", urgent=True)
        assert ref.stats.shed == 3
        assert ref.stats.high_water == 4
        assert ref.depth == 4
        await settle()
        assert await ref.ask(Echo("again")) == "again"
    assert world.seen == [0, 1, 2, "urgent", "again"]


async def test_a_question_whose_deadline_passed_in_the_mailbox_is_not_handled() -> None:
    world, clock = World(), ManualClock(100.0)
    async with running(world, clock=clock) as (ref, _):
        asks = asyncio.gather(ref.ask(Echo("late"), 100.5), ref.ask(Echo("in time"), 103.0), return_exceptions=True)
        await asyncio.sleep(0)  # both are in the mailbox
        clock.advance(2.0)
        late, in_time = await asks
    assert isinstance(late, Expired)
    assert in_time == "in time"
    assert world.seen == ["in time"]
    assert ref.stats.dead == 1


async def test_a_question_cancelled_in_the_mailbox_is_not_handled() -> None:
    world = World()
    async with running(world) as (ref, _):
        ask = asyncio.ensure_future(ref.ask(Echo("gone")))
        ref.tell("first")
        await asyncio.sleep(0)
        ask.cancel()
        await ref.ask(Echo("next"))
    assert "gone" not in world.seen
    assert ref.stats.dead == 1


async def test_time_in_the_mailbox_is_counted() -> None:
    clock = ManualClock()
    async with running(clock=clock) as (ref, _):
        ref.tell(1)
        clock.advance(2.0)
        ref.tell(2)
        clock.advance(1.0)
        await settle()
        assert (ref.stats.wait_sum, ref.stats.wait_max) == (4.0, 3.0)


@LOOPS
@pytest.mark.parametrize("steps", range(12))
def test_cancelling_at_any_step_after_an_ask_leaks_no_grant(loop_factory: Loop, steps: int) -> None:
    async def main() -> None:
        world = World(size=1)
        async with running(world) as (ref, _):
            ask = asyncio.ensure_future(ref.ask(Take()))
            await settle(steps)
            ask.cancel()
            try:
                token = await ask
            except asyncio.CancelledError:
                pass
            else:
                token.release()
            await settle()
            assert world.free == world.size
            assert ref.waiting == 0

    run(loop_factory, main())


@LOOPS
@pytest.mark.parametrize("steps", range(12))
def test_cancelling_a_waiting_asker_at_any_step_of_its_grant_leaks_nothing(loop_factory: Loop, steps: int) -> None:
    async def main() -> None:
        world = World(size=1)
        async with running(world) as (ref, _):
            first = await ref.ask(Take())
            asks = [asyncio.ensure_future(ref.ask(Take())) for _ in range(10)]
            await settle()
            assert ref.waiting == 10
            first.release()
            await settle(steps)
            for ask in asks[:9]:
                ask.cancel()
            granted = await asyncio.gather(*asks[:9], return_exceptions=True)
            for token in granted:
                if isinstance(token, Token):
                    token.release()
            (await asyncio.wait_for(asks[9], 5.0)).release()
            await settle()
            assert world.free == world.size
            assert ref.waiting == 0

    run(loop_factory, main())


@pytest.mark.parametrize("seed", range(15))
async def test_nothing_leaks_when_askers_leave_and_the_actor_crashes_at_random(seed: int) -> None:
    chance = random.Random(seed)
    world = World(size=3)
    async with running(world, intensity=math.inf) as (ref, _):

        async def asker() -> None:
            token = await ref.ask(Take())
            try:
                await settle(chance.randrange(4))
            finally:
                token.release()

        tasks = []
        for _ in range(80):
            tasks.append(asyncio.ensure_future(asker()))
            await settle(chance.randrange(3))
            if chance.random() < 0.4:
                chance.choice(tasks).cancel()
            if chance.random() < 0.2:
                ref.tell(Boom())
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10.0)
        await settle()
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert world.free == world.size
        assert ref.waiting == 0
        assert ref.stats.crashes == world.lives - 1


async def test_handle_runs_in_the_context_of_the_sender() -> None:
    async with running() as (ref, _):
        WHO.set("request 1")
        first = ref.ask(Whoami())
        task = asyncio.ensure_future(first)
        await asyncio.sleep(0)
        WHO.set("request 2")
        assert await ref.ask(Whoami()) == "request 2"
        assert await task == "request 1"


async def test_a_closed_door_refuses_questions_and_takes_notes_until_the_stop() -> None:
    world = World(size=1)
    async with running(world) as (ref, supervisor):
        token = await ref.ask(Take())
        waiting = asyncio.ensure_future(ref.ask(Take()))
        queued = asyncio.ensure_future(ref.ask(Echo("queued")))
        await asyncio.sleep(0)
        ref.close()
        with pytest.raises(Stopped):
            await ref.ask(Echo("too late"))
        assert await queued == "queued"
        assert ref.tell("note")
        token.release()  # the one who waited still gets the slot
        (await waiting).release()
        await settle()
        assert world.free == 1
        stuck = await asyncio.gather(supervisor.stop(grace=5.0), return_exceptions=True)
        assert stuck == [None]
        assert not ref.tell("after the stop", urgent=True)
    assert world.seen == ["queued", "note"]
    assert world.ended == 1


async def test_stopping_answers_who_waits_and_empties_the_mailbox_first() -> None:
    world = World(size=0)
    async with running(world) as (ref, supervisor):
        waiting = asyncio.ensure_future(ref.ask(Take()))
        await settle()
        for number in range(20):
            ref.tell(number)
        await supervisor.stop(grace=5.0)
        with pytest.raises(Stopped):
            await waiting
        with pytest.raises(Stopped):
            await ref.ask(Echo())
    assert world.seen == list(range(20))
    assert ref.waiting == 0


async def test_actors_stop_last_started_first() -> None:
    order: list[str] = []

    class Named(Pool):
        def __init__(self, name: str) -> None:
            super().__init__(World())
            self.name = name

        def stopped(self) -> None:
            order.append(self.name)

    supervisor = Supervisor()
    for name in "abc":
        await supervisor.start(Ref(name, lambda name=name: Named(name)))
    assert [ref.name for ref in supervisor.refs] == ["a", "b", "c"]
    await supervisor.stop()
    assert order == ["c", "b", "a"]
    assert supervisor.refs == []


async def test_nobody_hangs_when_the_actors_task_is_cancelled_from_outside() -> None:
    async with running(World(size=0)) as (ref, _):
        waiting = asyncio.ensure_future(ref.ask(Take()))
        await settle()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "actor:pool"]
        task.cancel()
        with pytest.raises(Stopped):
            await waiting
        with pytest.raises(Stopped):
            await ref.ask(Echo())


async def test_ticks_come_and_stop_with_the_actor() -> None:
    world = World()
    async with running(world) as (ref, supervisor):
        ref.every(0.001, "tick")
        while world.seen.count("tick") < 3:
            await asyncio.sleep(0.001)
        await supervisor.stop()
        seen = len(world.seen)
        await asyncio.sleep(0.01)
        assert len(world.seen) == seen
        assert ref.stats.shed == 0  # not even tried


async def test_ticks_are_coalesced_while_one_lies_in_the_mailbox() -> None:
    supervisor, world = Supervisor(), World()
    ref: Ref[object] = Ref("pool", lambda: Pool(world))
    ref.every(0.001, "tick")
    await asyncio.sleep(0.02)  # nobody takes them yet
    assert ref.depth == 1
    await supervisor.start(ref)
    while world.seen.count("tick") < 2:
        await asyncio.sleep(0.001)
    await supervisor.stop()


async def test_a_kept_question_is_forgotten_when_it_is_answered() -> None:
    async with running() as (ref, _):
        asks = [asyncio.ensure_future(ref.ask(Later(name))) for name in "ab"]
        await settle()
        assert ref.waiting == 2
        asks[0].cancel()
        await settle()
        assert ref.waiting == 1
        ref.tell(Flush())
        assert await asks[1] == "b"
        assert ref.waiting == 0


async def test_a_note_back_from_a_stopped_pool_is_refused_and_counted() -> None:
    async with running() as (ref, supervisor):
        await supervisor.stop()
        assert not ref.tell(Back(), urgent=True)
        assert ref.stats.shed == 1
        assert "stopped" in repr(ref)
