"""The queue behind a mailbox: still one of asyncio's."""

from __future__ import annotations

import asyncio

from actors.letters import Letters


def letters() -> Letters[str]:
    return Letters(asyncio.get_running_loop())


async def test_who_waits_for_a_letter_gets_the_first() -> None:
    queue = letters()
    taker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    for letter in "ab":
        queue.put_nowait(letter)
    assert await taker == "a"
    assert (queue.get_nowait(), queue.empty()) == ("b", True)


async def test_an_arrival_tells_of_all_that_lies_there_and_takes_nothing() -> None:
    queue = letters()
    arrival = queue.arrival()
    for letter in "ab":
        assert arrival.done() == (letter == "b")
        queue.put_nowait(letter)
    assert list(queue.lying) == ["a", "b"]
    assert queue.qsize() == 2


async def test_a_letter_wakes_the_next_in_place_of_who_has_gone() -> None:
    queue = letters()
    gone, next_one = queue.arrival(), queue.arrival()
    gone.cancel()
    queue.put_nowait("a")
    assert next_one.done()
