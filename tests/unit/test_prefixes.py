"""Texts found again by longer ones: every byte counts, the longest wins, memory has a bound."""

from __future__ import annotations

import random

import pytest

from ccproxy_sanic.wire.prefixes import PLACES, SHORTEST, Entry, Prefixes

TEXT = random.Random(5).randbytes(300_000)
LIMIT = 1000
ALIKE = 3


@pytest.fixture
def known() -> Prefixes[str]:
    return Prefixes(LIMIT, ALIKE)


def add(known: Prefixes[str], text: bytes, size: int, value: str = "it", weight: int = 1) -> None:
    known.add(Entry(text, size, value, weight))


def found(known: Prefixes[str], text: bytes) -> str | None:
    entry = known.find(text)
    return None if entry is None else entry.value


def other(text: bytes, at: int) -> bytes:
    """The same but for one byte."""
    return text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]


@pytest.mark.parametrize("size", [SHORTEST, SHORTEST + 1, 50_000, 65_535, 65_536, 65_537, 200_000])
def test_a_text_is_found_by_all_that_begin_with_it(known: Prefixes[str], size: int) -> None:
    add(known, TEXT, size)
    entry = known.find(bytes(bytearray(TEXT[:size])))
    assert entry is not None
    assert (entry.start, entry.value) == (TEXT[:size], "it")
    assert known.find(TEXT) is entry
    assert known.find(TEXT[:size] + b"anything") is entry
    assert known.find(TEXT[: size - 1]) is None
    assert known.find(b"x" + TEXT) is None


@pytest.mark.parametrize("at", [0, 1, 30_000, 49_151, 49_152, 49_999])
def test_one_other_byte_is_another_text(known: Prefixes[str], at: int) -> None:
    add(known, TEXT, 50_000)
    assert known.find(other(TEXT, at)) is None
    assert known.find(other(TEXT, 50_000)) is not None


def test_the_longest_is_found(known: Prefixes[str]) -> None:
    for size in (100_000, 20_000, 60_000, 100_001):
        add(known, TEXT, size, str(size))
    assert found(known, TEXT) == "100001"
    assert found(known, TEXT[:100_000]) == "100000"
    assert found(known, TEXT[:99_999]) == "60000"


@pytest.mark.parametrize("size", [-1, 0, 63, SHORTEST - 1])
def test_a_short_text_is_not_kept(known: Prefixes[str], size: int) -> None:
    add(known, TEXT, size)
    assert known.find(TEXT) is None


def test_a_text_without_end_is_not_kept(known: Prefixes[str]) -> None:
    text = b"x" * PLACES[-1]
    add(known, text, len(text))
    assert known.find(text) is None
    add(known, text, len(text) - 1)
    assert known.find(text) is not None


def test_one_that_is_heavier_than_all_may_be_drives_nobody_out(known: Prefixes[str]) -> None:
    add(known, TEXT, 50_000, weight=LIMIT)
    add(known, TEXT[::-1], 50_000, weight=LIMIT + 1)
    assert found(known, TEXT) == "it"
    assert found(known, TEXT[::-1]) is None


def test_what_is_forgotten_is_not_found_and_makes_room(known: Prefixes[str]) -> None:
    add(known, TEXT, 20_000, "short", LIMIT)
    entry = known.find(TEXT)
    assert entry is not None
    known.forget(entry)
    known.forget(entry)
    assert known.find(TEXT) is None
    add(known, TEXT, 30_000, "one", LIMIT // 2)
    add(known, TEXT, 90_000, "two", LIMIT // 2)
    assert (found(known, TEXT[:40_000]), found(known, TEXT)) == ("one", "two")


def test_the_least_recently_found_goes_when_there_is_too_much(known: Prefixes[str]) -> None:
    texts = [random.Random(1000 + number).randbytes(30_000) for number in range(10)]
    for text in texts:
        add(known, text, 30_000, weight=100)
    assert known.find(texts[0]) is not None
    add(known, TEXT, 200_000, "new", 150)
    assert [known.find(text) is not None for text in texts] == [True, False, False, *[True] * 7]


def test_those_that_look_alike_are_told_apart(known: Prefixes[str]) -> None:
    alike = [other(TEXT, 1000 * number) for number in range(ALIKE)]
    for number, text in enumerate(alike):
        add(known, text, 60_000, str(number))
    assert [found(known, text) for text in alike] == ["0", "1", "2"]
    assert found(known, TEXT) is None


def test_of_those_that_look_alike_the_one_in_use_stays(known: Prefixes[str]) -> None:
    add(known, TEXT, 60_000, "in use")
    for number in range(1, 30):
        assert found(known, TEXT) == "in use"
        add(known, other(TEXT, number), 60_000, str(number))
    kept = [found(known, other(TEXT, number)) for number in range(1, 30)]
    assert kept == [None] * 27 + ["28", "29"]


def test_after_clearing_there_is_room_for_as_much(known: Prefixes[str]) -> None:
    add(known, TEXT, 50_000, weight=LIMIT)
    known.cache_clear()
    assert known.find(TEXT) is None
    add(known, TEXT, 50_000, "one", LIMIT // 2)
    add(known, TEXT, 90_000, "two", LIMIT // 2)
    assert (found(known, TEXT[:60_000]), found(known, TEXT)) == ("one", "two")
