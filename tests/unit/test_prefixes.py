"""Texts found again by longer ones: every byte counts, the longest wins, memory has a bound."""

from __future__ import annotations

import random

import pytest

from ccproxy_sanic.wire.prefixes import PLACES, SHORTEST, Prefixes

TEXT = random.Random(5).randbytes(300_000)
LIMIT = 1000


@pytest.fixture
def known() -> Prefixes[str]:
    return Prefixes(LIMIT)


@pytest.mark.parametrize("size", [SHORTEST, SHORTEST + 1, 50_000, 65_535, 65_536, 65_537, 200_000])
def test_a_text_is_found_by_all_that_begin_with_it(known: Prefixes[str], size: int) -> None:
    known.add(TEXT[:size], "it", 1)
    assert known.find(TEXT[:size]) == (TEXT[:size], "it")
    assert known.find(TEXT) == (TEXT[:size], "it")
    assert known.find(TEXT[: size - 1]) is None
    assert known.find(b"x" + TEXT) is None


@pytest.mark.parametrize("at", [0, 1, 30_000, 49_151, 49_152, 49_999])
def test_one_other_byte_is_another_text(known: Prefixes[str], at: int) -> None:
    known.add(TEXT[:50_000], "it", 1)
    other = bytearray(TEXT)
    other[at] ^= 1
    assert known.find(bytes(other)) is None


def test_the_longest_is_found(known: Prefixes[str]) -> None:
    for size in (100_000, 20_000, 60_000):
        known.add(TEXT[:size], str(size), 1)
    assert known.find(TEXT) == (TEXT[:100_000], "100000")
    assert known.find(TEXT[:99_999]) == (TEXT[:60_000], "60000")


@pytest.mark.parametrize("size", [0, 63, SHORTEST - 1])
def test_a_short_text_is_not_kept(known: Prefixes[str], size: int) -> None:
    known.add(TEXT[:size], "it", 1)
    assert known.find(TEXT) is None
    assert known.find(TEXT[:size]) is None


def test_a_text_without_end_is_not_kept() -> None:
    known: Prefixes[str] = Prefixes(LIMIT)
    text = b"x" * PLACES[-1]
    known.add(text, "it", 1)
    assert known.find(text) is None
    known.add(text[:-1], "it", 1)
    assert known.find(text) == (text[:-1], "it")


def test_a_text_that_has_grown_takes_the_place_of_what_it_was(known: Prefixes[str]) -> None:
    known.add(TEXT[:20_000], "short", 1)
    known.add(TEXT[:100_000], "long", 1, TEXT[:20_000])
    assert known.find(TEXT[:20_000]) is None
    assert known.find(TEXT) == (TEXT[:100_000], "long")


def test_the_least_recently_found_goes_when_there_is_too_much(known: Prefixes[str]) -> None:
    texts = [random.Random(1000 + number).randbytes(30_000) for number in range(10)]
    for text in texts:
        known.add(text, "it", 100)
    assert known.find(texts[0]) is not None
    known.add(TEXT, "new", 150)
    assert [known.find(text) is not None for text in texts] == [True, False, False, *[True] * 7]


def test_what_is_kept_again_and_again_counts_once(known: Prefixes[str]) -> None:
    for number in range(100):
        known.add(TEXT[:100_000], str(number), 400)
    known.add(TEXT[-200_000:], "other", 600)
    assert known.find(TEXT) == (TEXT[:100_000], "99")
    known.cache_clear()
    assert known.find(TEXT) is None
    known.add(TEXT[:100_000], "it", 1)
    assert known.find(TEXT) == (TEXT[:100_000], "it")


def test_a_beginning_that_came_before_is_told_from_one_that_did_not(known: Prefixes[str]) -> None:
    assert not known.again(TEXT[:100_000], 90_000)
    assert known.again(TEXT[:120_000], 110_000)
    assert not known.again(TEXT[::-1], 90_000)
    assert known.again(TEXT[::-1], 90_000)
    known.cache_clear()
    assert not known.again(TEXT[:120_000], 110_000)


def test_only_so_many_beginnings_that_came_once_are_noted(known: Prefixes[str]) -> None:
    assert not known.again(TEXT, 20_000)
    for number in range(2000):
        assert not known.again(random.Random(1000 + number).randbytes(SHORTEST), SHORTEST)
    assert not known.again(TEXT, 20_000)
