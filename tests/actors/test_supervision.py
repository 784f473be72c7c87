"""Crashes: who is told, what is kept, when it is given up."""

from __future__ import annotations

import asyncio
import math

import pytest

from actors import Crashed, Ref, Stopped, Supervisor
from actors.testing import ManualClock
from tests.actors.support import WHO, Boom, Echo, Flush, Later, Pool, Take, World, running, settle


async def test_a_crash_answers_the_culprit_and_keeps_ref_mailbox_and_stats() -> None:
    world = World()
    async with running(world) as (ref, _):
        before, culprit, after = await asyncio.gather(
            ref.ask(Echo(1)), ref.ask(Boom()), ref.ask(Echo(2)), return_exceptions=True
        )
        assert (before, after) == (1, 2)
        assert isinstance(culprit, Crashed)
        assert str(culprit) == "pool: ZeroDivisionError"
        assert (world.lives, world.ended) == (2, 1)
        assert (ref.stats.handled, ref.stats.crashes) == (2, 1)


async def test_questions_that_wait_are_delivered_again_in_their_order() -> None:
    world = World()
    async with running(world) as (ref, _):
        asks = []
        for name in "abc":
            WHO.set(f"asker of {name}")
            asks.append(asyncio.ensure_future(ref.ask(Later(name))))
        await settle()
        ref.tell(Boom())  # a note crashes it: no asker is to blame
        await settle()
        ref.tell(Flush())
        assert await asyncio.gather(*asks) == ["a", "b", "c"]
        assert world.seen == [(life, name, f"asker of {name}") for life in (1, 2) for name in "abc"]
        assert ref.stats.redelivered == 3
        assert ref.waiting == 0


async def test_who_waits_is_delivered_again_before_what_lies_in_the_mailbox() -> None:
    world = World()
    async with running(world) as (ref, _):
        asks = [asyncio.ensure_future(ref.ask(Later(name))) for name in "ab"]
        await settle()
        for note in (Boom(), "first", Boom(), "second"):
            ref.tell(note)
        await settle()
        ref.tell(Flush())
        assert await asyncio.gather(*asks) == ["a", "b"]
        seen = [entry if isinstance(entry, str) else entry[:2] for entry in world.seen]
        assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b"), "first", (3, "a"), (3, "b"), "second"]
        assert (ref.stats.redelivered, ref.stats.crashes, ref.waiting) == (4, 2, 0)


async def test_time_in_the_mailbox_is_counted_once_of_who_is_delivered_again() -> None:
    clock = ManualClock()
    async with running(clock=clock) as (ref, _):
        ask = asyncio.ensure_future(ref.ask(Later("a")))
        await asyncio.sleep(0)
        clock.advance(1.0)
        await settle()
        clock.advance(5.0)
        ref.tell(Boom())
        await settle()
        ref.tell(Flush())
        await ask
        assert (ref.stats.wait_sum, ref.stats.wait_max) == (1.0, 1.0)


async def test_a_question_that_crashes_when_delivered_again_is_the_culprit_and_the_rest_keep_their_order() -> None:
    world = World()
    async with running(world) as (ref, _):
        names = ["a", "poison", "b", "c"]
        asks = [asyncio.ensure_future(ref.ask(Later(name, poison=name == "poison"))) for name in names]
        await settle()
        ref.tell(Boom())
        await settle()
        ref.tell(Flush())
        results = await asyncio.gather(*asks, return_exceptions=True)
        assert [str(result) for result in results] == ["a", "pool: ValueError", "b", "c"]
        assert [name for life, name, _ in world.seen if life == 3] == ["a", "b", "c"]


async def test_who_left_before_the_crash_is_not_delivered_again() -> None:
    world = World()
    async with running(world) as (ref, _):
        asks = [asyncio.ensure_future(ref.ask(Later(name))) for name in "ab"]
        await settle()
        asks[0].cancel()
        await settle()
        ref.tell(Boom())
        await settle()
        assert [name for life, name, _ in world.seen if life == 2] == ["b"]
        asks[1].cancel()


async def test_who_is_too_late_at_the_restart_is_told_so() -> None:
    world, clock = World(), ManualClock()
    async with running(world, clock=clock) as (ref, _):
        ask = asyncio.ensure_future(ref.ask(Later("a"), deadline=1.0))
        await settle()
        clock.advance(2.0)
        ref.tell(Boom())
        with pytest.raises(Exception, match="pool"):
            await ask
        assert [life for life, _, _ in world.seen] == [1]


async def test_what_survives_stays_exact_over_a_crash() -> None:
    world = World(size=2)
    async with running(world) as (ref, _):
        tokens = [await ref.ask(Take()) for _ in range(2)]
        waiting = asyncio.ensure_future(ref.ask(Take()))
        await settle()
        ref.tell(Boom())
        await settle()
        assert world.free == 0
        tokens[0].release()
        (await waiting).release()
        tokens[1].release()
        await settle()
        assert world.free == 2


async def test_cancelled_error_out_of_handle_is_a_crash_like_any_other() -> None:
    world = World()
    async with running(world) as (ref, _):
        with pytest.raises(Crashed):
            await ref.ask(Boom(asyncio.CancelledError))
        assert await ref.ask(Echo("alive")) == "alive"
        assert world.lives == 2


async def test_the_boot_fails_when_started_raises() -> None:
    world = World()
    world.refuse_to_start = 1
    supervisor = Supervisor()
    with pytest.raises(OSError, match="cannot start"):
        await supervisor.start(Ref("pool", lambda: Pool(world)))
    assert supervisor.refs == []


async def test_failing_to_start_again_is_one_more_crash() -> None:
    world = World()
    async with running(world) as (ref, _):
        world.refuse_to_start = 3
        ref.tell(Boom())
        assert await ref.ask(Echo("alive")) == "alive"
        assert world.lives == 2


async def test_an_actor_that_cannot_start_again_is_given_up() -> None:
    world, escalated = World(), []
    async with running(world, on_escalate=escalated.append) as (ref, _):
        world.refuse_to_start = 100
        ref.tell(Boom())
        with pytest.raises(Stopped):
            await ref.ask(Echo())
        assert [type(error) for error in escalated] == [OSError]


async def test_above_the_intensity_it_escalates_and_everybody_is_answered() -> None:
    world, escalated = World(size=0), []
    async with running(world, intensity=2, on_escalate=escalated.append) as (ref, _):
        waiting = asyncio.ensure_future(ref.ask(Take()))
        await settle()
        crashes = [asyncio.ensure_future(ref.ask(Boom())) for _ in range(3)]
        queued = asyncio.ensure_future(ref.ask(Echo("queued")))
        for crash in crashes:
            with pytest.raises(Crashed):
                await crash
        for ask in (waiting, queued, asyncio.ensure_future(ref.ask(Echo("later")))):
            with pytest.raises(Stopped):
                await ask
        assert not ref.tell("note", urgent=True)
        assert [type(error) for error in escalated] == [ZeroDivisionError]
        assert world.seen == []


async def test_crashes_further_apart_than_the_period_never_escalate() -> None:
    clock, escalated = ManualClock(), []
    async with running(clock=clock, intensity=2, on_escalate=escalated.append) as (ref, _):
        for _ in range(10):
            with pytest.raises(Crashed):
                await ref.ask(Boom())
            clock.advance(16.0)  # two in any 30 s
        assert await ref.ask(Echo("alive")) == "alive"
    assert escalated == []


async def test_with_infinite_intensity_it_is_never_given_up() -> None:
    async with running(intensity=math.inf) as (ref, _):
        for _ in range(50):
            ref.tell(Boom())
        assert await ref.ask(Echo("alive")) == "alive"
        assert ref.stats.crashes == 50


async def test_a_raising_on_escalate_or_stopped_hangs_nobody() -> None:
    class Untidy(Pool):
        def stopped(self) -> None:
            raise RuntimeError("untidy")

    def raising(error: BaseException) -> None:
        raise RuntimeError("no time")

    supervisor = Supervisor(intensity=0, on_escalate=raising)
    ref = await supervisor.start(Ref("untidy", lambda: Untidy(World())))
    with pytest.raises(Crashed):
        await ref.ask(Boom())
    with pytest.raises(Stopped):
        await ref.ask(Echo())
    await supervisor.stop()
    ref = await supervisor.start(Ref("untidy", lambda: Untidy(World())))
    await asyncio.wait_for(supervisor.stop(), 5.0)
