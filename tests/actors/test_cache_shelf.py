"""Kept values: never too old, never too many, never more bytes than allowed, and the bytes always add up."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.cache_shelf import NEVER, OVERHEAD, SWEPT, Kept, Shelf, ShelfCounts, ShelfLimits

MUCH = 1_000_000


def shelf_of(entries: int = 100, size: int = MUCH, ttl: float = 60.0) -> Shelf:
    return Shelf(ShelfLimits(entries, size, ttl), ShelfCounts())


def value_of(kept: Kept | None) -> Any:
    return None if kept is None else kept.value


def test_what_was_put_is_found_with_its_size_and_age() -> None:
    shelf = shelf_of()
    assert shelf.put(b"k", "value", 100, now=5.0)
    kept = shelf.find(b"k", now=8.0)
    assert kept is not None
    assert (kept.value, kept.size, kept.stored_at, kept.uses) == ("value", 100 + OVERHEAD, 5.0, 1)
    assert (len(shelf), shelf.bytes, shelf.counts.hits, shelf.counts.stored) == (1, 100 + OVERHEAD, 1, 1)
    assert shelf.find(b"other", now=8.0) is None


def test_nothing_is_given_from_the_moment_its_time_is_over() -> None:
    shelf = shelf_of(ttl=60.0)
    shelf.put(b"k", "value", 1, now=0.0)
    assert value_of(shelf.find(b"k", now=59.9)) == "value"
    assert shelf.find(b"k", now=60.0) is None
    assert (len(shelf), shelf.bytes, shelf.counts.expired) == (0, 0, 1)


def test_what_was_old_when_it_came_goes_earlier() -> None:
    shelf = shelf_of(ttl=60.0)
    assert shelf.put(b"k", "value", 1, now=100.0, age=50.0)
    assert value_of(shelf.find(b"k", now=109.0)) == "value"
    assert shelf.find(b"k", now=110.0) is None
    assert not shelf.put(b"k", "value", 1, now=200.0, age=60.0)


def test_the_least_recently_used_makes_room() -> None:
    shelf = shelf_of(entries=2)
    shelf.put(b"a", 1, 1, now=0.0)
    shelf.put(b"b", 2, 1, now=1.0)
    shelf.find(b"a", now=2.0)
    shelf.put(b"c", 3, 1, now=3.0)
    assert [value_of(shelf.find(key, now=4.0)) for key in (b"a", b"b", b"c")] == [1, None, 3]
    assert (shelf.counts.evicted, len(shelf)) == (1, 2)


def test_bytes_make_room_too() -> None:
    shelf = shelf_of(size=20_000)
    for number in range(9):
        assert shelf.put(bytes([number]), number, 2000 - OVERHEAD, now=0.0)
    assert (len(shelf), shelf.bytes) == (9, 18_000)
    shelf.put(b"x", "x", 1000 - OVERHEAD, now=0.0)
    shelf.put(b"y", "y", 2000 - OVERHEAD, now=0.0)
    assert (len(shelf), shelf.bytes, shelf.counts.evicted) == (10, 19_000, 1)


def test_one_entry_may_have_a_tenth_of_all_bytes() -> None:
    shelf = shelf_of(size=100_000)
    assert shelf.put(b"k", "fits", 10_000 - OVERHEAD, now=0.0)
    assert not shelf.put(b"k", "does not", 10_000 - OVERHEAD + 1, now=0.0)
    assert value_of(shelf.find(b"k", now=0.0)) == "fits"
    assert (shelf.counts.too_large, shelf.bytes) == (1, 10_000)


def test_a_new_value_takes_the_place_of_the_old_one_and_keeps_its_popularity() -> None:
    shelf = shelf_of()
    shelf.put(b"k", "old", 10, now=0.0)
    shelf.find(b"k", now=0.0)
    shelf.put(b"k", "new", 30, now=1.0)
    kept = shelf.find(b"k", now=1.0)
    assert kept is not None
    assert (kept.value, kept.uses, shelf.bytes) == ("new", 2, 30 + OVERHEAD)


def test_who_was_popular_before_its_time_was_over_still_is_when_it_comes_back() -> None:
    shelf = shelf_of(ttl=10.0)
    shelf.put(b"k", "value", 1, now=0.0)
    for _ in range(3):
        shelf.find(b"k", now=1.0)
    assert shelf.find(b"k", now=20.0) is None
    shelf.put(b"k", "again", 1, now=20.0)
    assert shelf.popular(uses=3, most=5) == ["again"]


def test_the_popular_ones_are_the_most_used_first_and_no_more_than_wanted() -> None:
    shelf = shelf_of()
    for key, uses in ((b"a", 2), (b"b", 5), (b"c", 3), (b"d", 4)):
        shelf.put(key, key, 1, now=0.0)
        for _ in range(uses):
            shelf.find(key, now=0.0)
    assert shelf.popular(uses=3, most=2) == [b"b", b"d"]


def test_a_handle_gives_the_value_for_as_long_as_it_is_kept() -> None:
    shelf = shelf_of(entries=1)
    shelf.put(b"k", "value", 1, now=0.0)
    kept = shelf.find(b"k", now=0.0)
    assert kept is not None
    assert kept.use(now=59.0)
    assert (kept.uses, shelf.counts.hits) == (2, 2)
    assert not kept.use(now=60.0)
    shelf.put(b"other", "value", 1, now=1.0)
    assert not kept.use(now=1.0)
    assert kept.value is None


@pytest.mark.parametrize("end", ["clear", "replace", "expire"])
def test_a_handle_of_what_is_gone_gives_nothing(end: str) -> None:
    shelf = shelf_of()
    shelf.put(b"k", "value", 1, now=0.0)
    kept = shelf.find(b"k", now=0.0)
    assert kept is not None
    if end == "clear":
        shelf.clear()
    elif end == "replace":
        shelf.put(b"k", "new", 1, now=0.0)
    else:
        shelf.find(b"k", now=60.0)
    assert not kept.use(now=1.0)
    assert shelf.counts.hits == 1


def test_a_sweep_drops_what_nobody_asked_for_a_bounded_number_at_a_time() -> None:
    shelf = shelf_of(entries=1000, ttl=10.0)
    for number in range(SWEPT + 10):
        shelf.put(number.to_bytes(2), number, 1, now=0.0)
    shelf.put(b"young", 0, 1, now=5.0)
    shelf.sweep(now=9.0)
    assert len(shelf) == SWEPT + 11
    shelf.sweep(now=10.0)
    assert len(shelf) == 11
    shelf.sweep(now=10.0)
    assert len(shelf) == 1


def test_a_shut_shelf_gives_and_takes_nothing() -> None:
    shelf = shelf_of()
    shelf.put(b"k", "value", 1, now=0.0)
    shelf.shut_until = 10.0
    assert shelf.find(b"k", now=9.0) is None
    assert not shelf.put(b"other", "value", 1, now=9.0)
    assert value_of(shelf.find(b"k", now=10.0)) == "value"
    assert (shelf.counts.hits, shelf.counts.expired) == (1, 0)


class ShelfMachine(RuleBasedStateMachine):
    """Against a model that is slow and plain: a list in the order of use."""

    keys = st.sampled_from([bytes([number]) for number in range(6)])

    @initialize(entries=st.integers(1, 4), size=st.integers(8_000, 30_000))
    def begin(self, entries: int, size: int) -> None:
        self.now, self.limits = 0.0, ShelfLimits(entries, size, ttl=10.0)
        self.shelf = Shelf(self.limits, ShelfCounts())
        self.model: OrderedDict[bytes, tuple[int, int, float]] = OrderedDict()  # value, size, end; next to go first
        self.handles: list[tuple[Kept, int]] = []
        self.values = 0

    def expected(self, key: bytes) -> int | None:
        value, _, end = self.model.get(key, (None, 0, NEVER))
        if self.now >= end or value is None:
            self.model.pop(key, None)
            return None
        self.model.move_to_end(key)
        return value

    @rule(key=keys, size=st.integers(0, 4_000), age=st.sampled_from([0.0, 4.0, 10.0]))
    def put(self, key: bytes, size: int, age: float) -> None:
        self.values += 1
        full = size + OVERHEAD
        taken = full <= self.limits.max_bytes // 10 and age < 10.0
        assert self.shelf.put(key, self.values, size, self.now, age) is taken
        if taken:
            self.model.pop(key, None)
            self.model[key] = (self.values, full, self.now - age + 10.0)
            while len(self.model) > self.limits.max_entries or self.sizes() > self.limits.max_bytes:
                self.model.popitem(last=False)

    @rule(key=keys)
    def find(self, key: bytes) -> None:
        kept = self.shelf.find(key, self.now)
        assert value_of(kept) == self.expected(key)
        if kept is not None:
            self.handles.append((kept, kept.value))

    @rule(data=st.data())
    @precondition(lambda self: self.handles)
    def use(self, data: st.DataObject) -> None:
        kept, value = data.draw(st.sampled_from(self.handles))
        there = self.model.get(kept.key, (None, 0, NEVER))[0] == value
        assert kept.use(self.now) is (there and self.expected(kept.key) == value)

    @rule(seconds=st.floats(0, 8))
    def later(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        self.shelf.sweep(self.now)
        for key, (_, _, end) in list(self.model.items()):
            if key not in self.shelf._by_use:
                assert self.now >= end
                del self.model[key]

    @rule()
    def clear(self) -> None:
        self.shelf.clear()
        self.model.clear()

    def sizes(self) -> int:
        return sum(size for _, size, _ in self.model.values())

    @invariant()
    def bytes_add_up_and_limits_hold(self) -> None:
        shelf = self.shelf
        assert shelf.bytes == sum(kept.size for kept in shelf._by_use.values()) <= self.limits.max_bytes
        assert len(shelf) == len(shelf._by_age) <= self.limits.max_entries
        assert shelf._by_use.keys() == shelf._by_age.keys()
        living = {key: value for key, (value, _, end) in self.model.items() if self.now < end}
        there = {key: kept.value for key, kept in shelf._by_use.items() if self.now < kept.expires_at}
        assert there == living


TestShelfMachine = ShelfMachine.TestCase
