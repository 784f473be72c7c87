"""The counter: where it counts, what it remembers (protocol.md 6; original.md 1.8, 1.9)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.tokens import Memory, Prompt, TokenCounter, pool_size
from ccproxy_sanic.tokens.counter import INLINE, WORTH_KEEPING, digest
from ccproxy_sanic.tokens.prompt import Piece

LONG = "word " * WORTH_KEEPING


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """An encoder of one token a character; notes what it is asked, and in which thread."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.texts: list[str] = []
        self.threads: list[threading.Thread] = []
        self.gate = threading.Event()
        self.gate.set()

    def load(self, encoding: str) -> Scripted:
        self.gate.wait(10)
        self.loaded.append(encoding)
        self.threads.append(threading.current_thread())
        return self

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.texts += texts
        self.threads.append(threading.current_thread())
        return [len(text) for text in texts]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def encoder() -> Scripted:
    return Scripted()


@pytest.fixture
async def counter(encoder: Scripted, clock: Clock) -> AsyncIterator[TokenCounter]:
    counter = TokenCounter(4, Memory(100, 300, clock), encoder.load)
    yield counter
    counter.close()


def talk(*texts: str, factor: float = 1.0, encoding: str = "o200k_base") -> Prompt:
    return Prompt([Piece([text]) for text in texts], encoding, factor)


async def test_texts_are_scaled_and_fixed_tokens_are_not(counter: TokenCounter) -> None:
    assert await counter.count(Prompt([Piece(["ab", "c"], 10), Piece(["d"], 1)], "o200k_base", 1.5)) == 6 + 11


async def test_an_empty_prompt_is_one_token(counter: TokenCounter) -> None:
    assert await counter.count(Prompt([], "o200k_base", 1.0)) == 1


async def test_a_vocabulary_is_loaded_on_first_use_and_off_the_loop(counter: TokenCounter, encoder: Scripted) -> None:
    assert encoder.loaded == []
    await counter.count(talk("a"))
    assert encoder.loaded == ["o200k_base"]
    assert threading.main_thread() not in encoder.threads


async def test_many_first_requests_load_it_once(counter: TokenCounter, encoder: Scripted) -> None:
    encoder.gate.clear()
    counts = [asyncio.ensure_future(counter.count(talk("a" * size))) for size in range(1, 26)]
    await asyncio.sleep(0)
    encoder.gate.set()
    assert await asyncio.gather(*counts) == list(range(1, 26))
    assert encoder.loaded == ["o200k_base"]


async def test_a_short_text_is_counted_where_it_is_and_a_long_one_in_the_pool(
    counter: TokenCounter, encoder: Scripted
) -> None:
    await counter.count(talk("a"))
    for text, inline in (("b" * INLINE, True), ("c" * (INLINE + 1), False)):
        encoder.threads.clear()
        await counter.count(talk(text))
        assert [thread is threading.main_thread() for thread in encoder.threads] == [inline]


async def test_work_goes_where_its_size_sends_it(counter: TokenCounter) -> None:
    assert await counter.run(INLINE, threading.current_thread) is threading.main_thread()
    assert await counter.run(INLINE + 1, threading.current_thread) is not threading.main_thread()


async def test_a_longer_conversation_costs_only_its_new_part(counter: TokenCounter, encoder: Scripted) -> None:
    first, second = LONG + "1", LONG + "2"
    once = await counter.count(talk(first))
    encoder.texts.clear()
    both = await counter.count(talk(first, second))
    assert encoder.texts == [second]
    assert both == once + len(second)
    encoder.texts.clear()
    assert await counter.count(talk(first, second)) == both
    assert encoder.texts == []


async def test_short_texts_are_not_worth_remembering(counter: TokenCounter) -> None:
    await counter.count(talk("a" * (WORTH_KEEPING - 1), "b" * WORTH_KEEPING))
    assert counter.memory is not None
    assert len(counter.memory) == 1


async def test_each_vocabulary_remembers_for_itself(counter: TokenCounter, encoder: Scripted) -> None:
    await counter.count(talk(LONG))
    encoder.texts.clear()
    await counter.count(talk(LONG, encoding="cl100k_base"))
    assert encoder.texts == [LONG]


async def test_a_count_is_forgotten_when_nobody_has_asked_for_it(
    counter: TokenCounter, encoder: Scripted, clock: Clock
) -> None:
    await counter.count(talk(LONG))
    for _ in range(3):  # each use keeps it for the whole time again
        clock.now += 299
        await counter.count(talk(LONG))
    assert encoder.texts == [LONG]
    clock.now += 301
    await counter.count(talk(LONG))
    assert encoder.texts == [LONG, LONG]


async def test_without_a_memory_everything_is_counted(encoder: Scripted) -> None:
    counter = TokenCounter(1, None, encoder.load)
    for _ in range(2):
        assert await counter.count(talk(LONG)) == len(LONG)
    assert encoder.texts == [LONG, LONG]
    counter.close()


def test_a_full_memory_forgets_what_was_used_longest_ago(clock: Clock) -> None:
    memory = Memory(2, 300, clock)
    one, two, three = ((("e", bytes([number])), number) for number in (1, 2, 3))
    memory.store([one, two])
    assert memory.find([one[0]]) == [1]
    memory.store([three])
    assert memory.find([one[0], two[0], three[0]]) == [1, None, 3]
    assert len(memory) == 2


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_a_digest_tells_texts_and_their_borders_apart(one: list[str], other: list[str]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_a_digest_of_a_lone_surrogate_is_no_error() -> None:
    assert digest(["\ud800"]) != digest(["?"])


@pytest.mark.parametrize(
    ("cpus", "processes", "threads"),
    [(1, 1, 5), (2, 1, 10), (8, 1, 40), (64, 1, 40), (1, 2, 4), (8, 2, 20), (8, 4, 10), (64, 2, 20), (2, 16, 4)],
)
def test_the_pool_has_the_size_of_the_first_ccproxy(cpus: int, processes: int, threads: int) -> None:
    assert pool_size(cpus, processes) == threads
