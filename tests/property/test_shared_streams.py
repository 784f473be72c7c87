"""Whatever readers, upstream and ticker do: who stays gets every byte, who is left behind is told, and nobody hangs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic import errors
from ccproxy_sanic.context import NOBODY, RequestContext
from ccproxy_sanic.sharing import running
from ccproxy_sanic.sharing import stream as sharing
from tests.support.readers import END, Hall, Place, Wire, turn

PLACE = st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("join"), st.integers(0, 1)),
    st.tuples(st.sampled_from(["leave", "block", "unblock"]), PLACE),
    st.tuples(st.sampled_from(["say", "hint"]), st.integers(1, 40)),
    st.tuples(st.sampled_from(["cut", "end", "grace", "late"]), st.just(0)),
    st.tuples(st.just("turn"), st.integers(1, 6)),
)


async def play(steps: list[tuple[str, int]]) -> Hall:
    hall = Hall()
    hall.streams.lag, hall.streams.replay, hall.streams.piece, hall.streams.grace = 60, 200, 30, 3600.0
    hall.join()
    await turn(1)
    for what, number in steps:
        place = hall.places[number % len(hall.places)]
        calls = [call for calls in hall.calls.values() for call in calls if call.open][-1:]
        match what:
            case "join":
                hall.join(plain=bool(number))
                await turn(1)  # from here its place is its own to give back
            case "leave":
                place.task.cancel()
            case "block":
                place.wire.writable.clear()
            case "unblock":
                place.wire.writable.set()
            case "turn":
                await turn(number)
            case "grace":
                for stream in list(hall.streams.running):
                    stream.abandon()
            case "late":
                for stream in list(hall.streams.running):
                    stream.stop(errors.TimedOut("late"))
            case "cut":
                for call in calls:
                    call.cut()
            case _:
                for call in calls:
                    call.say({"say": b"c" + b"x" * number, "hint": b"h" * number, "end": END}[what])
    return hall


async def finish(hall: Hall) -> None:
    """Everybody reads, every upstream ends: nobody may be left waiting."""
    for place in hall.places:
        place.wire.writable.set()
    async with asyncio.timeout(20):
        while not all(place.task.done() for place in hall.places):
            for calls in hall.calls.values():
                calls[-1].say(END)
            await turn()
    for stream in list(hall.streams.running):
        stream.abandon()
    await turn()


def check(hall: Hall, place: Place) -> None:
    whole, got = hall.whole(place), place.wire.body
    if not place.joined:
        return
    assert whole.startswith(got)
    if place.fault is None:
        assert (place.wire.ended, got) == (True, whole)
    else:
        assert not place.wire.ended
    if isinstance(place.fault, errors.Broken | errors.TimedOut) and place.stream.fault is place.fault:
        assert got == whole  # after all that came before it


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_every_reader_that_stays_gets_every_byte_and_nobody_hangs(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        hall = await play(steps)
        await finish(hall)
        for place in hall.places:
            check(hall, place)
        assert hall.streams.running == set()
        assert hall.streams.kept == 0
        assert {lead.released for lead in hall.leads.values()} == {1}
        for stream, calls in hall.calls.items():
            assert len(calls) <= 1 + sum(what in ("cut", "late") for what, _ in steps)
            assert not any(call.open and not call.answer.complete and not stream.over for call in calls)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(run())


async def test_the_pace_of_a_single_reader_is_the_upstreams() -> None:
    hall = Hall()
    hall.streams.piece = 4
    place = hall.join()
    await turn()
    hall.call().say(b"c1")
    await turn()
    place.wire.writable.clear()
    for number in range(100):
        hall.call().say(b"c%d" % number)
        await turn(2)
    assert len(hall.whole(place)) < 20  # the rest lies in the connection, which stops reading
    place.wire.writable.set()
    await finish(hall)
    check(hall, place)
    assert place.fault is None


async def test_a_slow_reader_is_cut_and_the_other_one_finishes() -> None:
    hall = Hall()
    hall.streams.lag = 1000
    slow, fast = hall.join(), hall.join()
    await turn()
    hall.call().say(b"c1")
    await turn()
    slow.wire.writable.clear()
    for _ in range(12):
        hall.call().say(b"c" + b"x" * 100)
        await turn(2)
    assert isinstance(slow.fault, errors.Overloaded)
    hall.call().say(END)
    await turn()
    assert fast.fault is None
    assert fast.wire.body == hall.whole(fast)
    assert slow.wire.body == b"c1"


async def test_what_is_replayed_is_no_lag() -> None:
    hall = Hall()
    hall.streams.lag = 100
    first = hall.join()
    await turn()
    for _ in range(20):
        hall.call().say(b"c" + b"x" * 99)
        await turn(2)
    late = hall.join()
    late.wire.writable.clear()
    await turn()
    hall.call().say(b"cc")
    await turn()
    assert late.fault is None
    late.wire.writable.set()
    await finish(hall)
    assert late.wire.body == first.wire.body == hall.whole(first)


async def test_above_the_replay_limit_nobody_joins_and_nothing_is_kept() -> None:
    hall = Hall()
    hall.streams.replay = 1000
    first = hall.join()
    await turn()
    for _ in range(12):
        hall.call().say(b"c" + b"x" * 99)
        await turn(2)
    assert hall.streams.kept == 0
    assert first.stream._frames == []
    second = hall.join()
    assert second.stream is not first.stream
    await turn()
    hall.calls[first.stream][0].say(END)
    await finish(hall)
    assert first.wire.body == hall.whole(first)


async def test_above_the_replay_limit_one_who_falls_behind_still_gets_everything() -> None:
    hall = Hall()
    hall.streams.replay = 100
    both = [hall.join(), hall.join()]
    await turn()
    for number in range(12):
        hall.call().say(b"c%d" % number + b"x" * 99)
        await turn(2)
        (both[1].wire.writable.clear if number % 4 == 1 else both[1].wire.writable.set)()
    await finish(hall)
    for place in both:
        check(hall, place)
        assert place.fault is None


async def test_what_arrives_between_two_looks_of_a_reader_keeps_its_order() -> None:
    hall = Hall()
    place = hall.join()
    await turn()
    hall.call().say(b"c1")
    await turn()
    place.wire.writable.clear()
    hall.call().say(b"c2")
    place.wire.writable.set()
    hall.call().say(b"c3")  # it could be written now, but not before what waits
    await finish(hall)
    assert place.wire.body == b"c1c2c3" + END


async def test_all_answers_together_keep_no_more_than_the_memory() -> None:
    hall = Hall()
    hall.streams.memory = running.GRANT + 150
    for _ in range(2):
        place = hall.join()
        await turn()
        hall.call().say(b"c" + b"x" * 99)
        await turn()
        hall.leads[place.stream].released += not hall.leads[place.stream].released  # the next one is another stream
    assert [place.stream.joinable for place in hall.places] == [True, False]
    hall.places[0].stream.lead = None
    await finish(hall)


async def test_all_readers_leave_and_one_comes_back_in_time() -> None:
    hall = Hall()
    first = hall.join()
    await turn()
    hall.call().say(b"c1")
    first.task.cancel()
    await turn()
    assert (hall.streams.parked, hall.call().aborted) == (1, False)
    hall.call().say(b"c2")
    again = hall.join()
    await turn()
    hall.call().say(END)
    await turn()
    assert again.wire.body == b"c1c2" + END
    assert len(hall.calls) == len(hall.calls[again.stream]) == 1


async def test_when_nobody_comes_back_the_upstream_is_aborted() -> None:
    hall = Hall()
    hall.streams.grace = 0.01
    first = hall.join()
    await turn()
    hall.call().say(b"c1")
    first.task.cancel()
    await turn()
    assert not hall.call().aborted
    await asyncio.sleep(0.03)
    assert hall.call().aborted
    assert hall.streams.running == set()


async def test_a_drain_ends_what_nobody_reads_and_waits_for_nobody_else() -> None:
    hall = Hall()
    first = hall.join()
    await turn()
    first.task.cancel()
    await turn()
    hall.streams.close()
    await turn()
    assert hall.call().aborted
    second = hall.join()
    await turn()
    second.task.cancel()
    await turn()
    assert hall.call().aborted
    assert hall.streams.running == set()


async def test_before_content_a_fault_is_the_leaders_and_the_next_one_asks_itself() -> None:
    hall = Hall()
    leader, second, third = hall.join(), hall.join(), hall.join()
    await turn()
    assert (second.ctx.shared, second.wire.headers) == (True, {sharing.SHARED: "true"})
    hall.call().say(b"h")
    await turn()
    hall.call().cut()
    await turn()
    assert isinstance(leader.fault, errors.Broken)
    assert (second.ctx.shared, second.wire.headers, third.ctx.shared) == (False, {}, True)
    hall.call().say(b"c")
    hall.call().say(END)
    await turn()
    assert second.wire.body == third.wire.body == b"hc" + END
    assert len(hall.calls[second.stream]) == 2


@pytest.mark.parametrize("who_left", [0, 1])
async def test_after_content_a_fault_is_everybodys(who_left: int) -> None:
    hall = Hall()
    places = [hall.join() for _ in range(3)]
    await turn()
    hall.call().say(b"c")
    await turn()
    places.pop(who_left).task.cancel()
    hall.call().cut()
    await turn()
    assert {type(place.fault) for place in places} == {errors.Broken}
    assert {place.wire.body for place in places} == {b"c"}


async def test_a_drive_that_returns_without_an_end_is_a_fault_and_no_silence() -> None:
    async def nothing(taker: Any) -> None:
        return None

    hall = Hall()
    stream, wire = hall.found(), Wire()
    ctx = RequestContext("req_1", "/", 0.0, 0.0, NOBODY, deadline=float("inf"))
    reader = stream.join(wire, ctx, nothing)
    assert reader is not None
    with pytest.raises(errors.Broken):
        await reader.read()


async def test_a_bug_in_a_drive_is_its_readers_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    hall = Hall()
    place = hall.join()
    await turn()
    place.task.cancel()
    await turn()
    place.stream.machine.feed = None  # type: ignore[union-attr, method-assign, assignment]
    hall.call().say(b"c")
    await turn()
    assert place.stream.over
    assert [record.message for record in caplog.records] == ["bug while an answer was made that nobody waits for"]


async def test_the_end_of_a_drive_that_takes_too_long_is_told_to_all() -> None:
    hall = Hall()
    places = [hall.join() for _ in range(2)]
    await turn()
    hall.call().say(b"c")
    await turn()
    hall.streams.look(3599.0)
    await turn()
    assert not any(place.task.done() for place in places)
    hall.streams.look(3600.0)
    await turn()
    assert {type(place.fault) for place in places} == {errors.TimedOut}
    assert hall.call().aborted


async def test_an_answer_that_lacks_only_its_end_is_ended_by_the_ticker() -> None:
    hall = Hall()
    place = hall.join()
    await turn()
    hall.call().say(b"c")
    await turn()
    machine: Any = place.stream.machine
    machine.finishing = machine.done = True  # as after a finish reason: close() finds it complete
    hall.streams.look(4.0)
    await turn()
    assert not hall.call().aborted
    hall.streams.look(5.5)
    await turn()
    assert hall.call().aborted
    assert (place.wire.body, place.wire.ended, place.fault) == (b"c", True, None)
