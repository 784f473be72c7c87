"""What the cache actor keeps: for whom it is looked up, what replaces it, when nothing is kept at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import Bad, CacheActor, CacheBooks, Clear, Hit, Keep, Lead, Lookup, Miss, Popular, ShelfLimits, Tick
from actors.cache_shelf import OVERHEAD
from actors.testing import FakeReply, ManualClock, Rig

LIMITS = ShelfLimits(max_entries=3, max_bytes=50_000, ttl=60.0)


class House:
    def __init__(self, limits: ShelfLimits = LIMITS) -> None:
        self.clock, self.books = ManualClock(100.0), CacheBooks(limits, since=100.0)
        self.rig: Rig[Any] = Rig(lambda: CacheActor(self.books, self.clock), self.clock)

    def ask(self, query: Any) -> Any:
        reply = self.rig.ask(query)
        self.rig.drain()
        return reply.value if reply.answered else None

    def look(self, key: bytes = b"k", *, join: bool = True) -> Any:
        return self.ask(Lookup(key, look=True, join=join))

    def tell(self, *notes: Any) -> None:
        for note in notes:
            self.rig.tell(note)
        self.rig.drain()

    def make(self, value: Any = "answer", size: int | None = 10, key: bytes = b"k") -> None:
        lead = self.look(key)
        assert isinstance(lead, Lead)
        lead.store(value, size)
        self.rig.drain()


def test_an_answer_that_is_kept_is_given_with_its_age() -> None:
    house = House()
    house.make()
    house.clock.advance(7.0)
    hit = house.look()
    assert isinstance(hit, Hit)
    assert (hit.value, hit.shared, hit.age) == ("answer", False, 7.0)
    numbers = house.books.statistics(house.clock())
    assert (numbers.hits, numbers.misses, numbers.led, numbers.in_flight) == (1, 1, 1, 0)


def test_who_does_not_look_gets_no_kept_answer() -> None:
    house = House()
    house.make()
    assert isinstance(house.ask(Lookup(b"k", look=False)), Lead)


def test_who_does_not_join_is_told_to_go_on_though_a_call_is_under_way() -> None:
    house = House()
    assert isinstance(house.look(), Lead)
    assert house.look(join=False) == Miss()
    assert house.books.statistics(house.clock()).misses == 2


def test_followers_are_answered_when_the_answer_is_kept_and_count_neither_as_hits_nor_as_misses() -> None:
    house = House()
    lead = house.look()
    follower = house.rig.ask(Lookup(b"k", look=True))
    house.rig.drain()
    lead.store("answer", 10)
    house.rig.drain()
    assert follower.value == Hit("answer", shared=True)
    numbers = house.books.statistics(house.clock())
    assert (numbers.hits, numbers.misses, numbers.shared) == (0, 1, 1)


def test_an_answer_made_alone_replaces_the_one_that_is_there() -> None:
    house = House()
    house.make("old")
    house.tell(Keep(b"k", "new", 10))
    assert house.look().value == "new"


def test_a_call_that_began_before_does_not_undo_what_came_meanwhile() -> None:
    house = House()
    lead = house.look()
    house.clock.advance(1.0)
    house.tell(Keep(b"k", "refreshed", 10))
    lead.store("older", 10)
    house.rig.drain()
    assert house.look().value == "refreshed"


def test_an_answer_from_elsewhere_is_as_old_here_as_it_was_there() -> None:
    house = House()
    lead = house.look()
    lead.store("answer", 10, 50.0)
    house.rig.drain()
    assert house.look().age == 50.0
    house.clock.advance(10.0)
    assert isinstance(house.look(), Lead)


def test_a_crash_forgets_what_was_kept_and_keeps_the_totals() -> None:
    house = House()
    house.make()
    kept = house.look().kept
    house.rig.crash()
    assert not kept.use(house.clock())
    assert isinstance(house.look(), Lead)
    numbers = house.books.statistics(house.clock())
    assert (numbers.entries, numbers.bytes, numbers.hits, numbers.stored) == (0, 0, 1, 1)


def test_clearing_forgets_values_and_counts_and_leaves_calls_alone() -> None:
    house = House()
    house.make()
    kept = house.look().kept
    lead = house.look(b"other")
    house.clock.advance(5.0)
    follower = house.rig.ask(Lookup(b"other", look=True))
    house.ask(Clear())
    assert not kept.use(house.clock())
    numbers = house.books.statistics(house.clock())
    assert (numbers.entries, numbers.bytes, numbers.hits, numbers.misses, numbers.stored) == (0, 0, 0, 0, 0)
    assert (numbers.since, numbers.in_flight) == (105.0, 1)
    lead.store("of before", 10)
    house.rig.drain()
    assert follower.value == Hit("of before")
    assert isinstance(house.look(b"other"), Lead)  # not kept: it was asked for before


def test_too_many_bad_answers_shut_the_shelf_for_a_while() -> None:
    house = House()
    house.make()
    house.tell(*[Bad()] * 25)
    lead = house.look()
    assert isinstance(lead, Lead)
    assert not lead.open
    assert house.look(b"other", join=False) == Miss(open=False)
    lead.store("answer", 10)
    house.rig.drain()
    numbers = house.books.statistics(house.clock())
    assert (numbers.bad, numbers.breaker.open_for, numbers.misses, numbers.stored) == (25, 300.0, 1, 1)
    house.clock.advance(300.0)
    house.make("later", key=b"new")
    assert house.look(b"new").value == "later"


def test_while_it_is_shut_calls_are_still_shared() -> None:
    house = House()
    house.tell(*[Bad()] * 25)
    lead = house.look()
    follower = house.rig.ask(Lookup(b"k", look=True))
    house.rig.drain()
    lead.store("answer", 10)
    house.rig.drain()
    assert follower.value == Hit("answer")


def test_every_answer_kept_takes_back_a_bad_one_and_clearing_all_of_them() -> None:
    house = House()
    house.tell(*[Bad()] * 24)
    house.make()
    house.tell(Bad())
    assert house.books.statistics(house.clock()).breaker.failures == 24
    house.ask(Clear())
    assert house.books.statistics(house.clock()).breaker.failures == 0


def test_what_is_popular_can_be_asked() -> None:
    house = House()
    house.make("often", key=b"a")
    house.make("seldom", key=b"b")
    for _ in range(3):
        house.look(b"a")
    house.look(b"b")
    assert house.ask(Popular(uses=2, most=10)) == ["often"]


def test_a_tick_sweeps_what_nobody_asks_for() -> None:
    house = House()
    house.make()
    house.clock.advance(60.0)
    house.tell(Tick())
    assert house.books.statistics(house.clock()).entries == 0


@pytest.mark.parametrize("size", [5_000 - OVERHEAD, 5_000 - OVERHEAD + 1])
def test_an_answer_that_is_too_large_still_reaches_the_followers(size: int) -> None:
    house = House()
    lead = house.look()
    follower = house.rig.ask(Lookup(b"k", look=True))
    house.rig.drain()
    lead.store("large", size)
    house.rig.drain()
    assert follower.value == Hit("large")
    assert isinstance(house.look(), Hit if size + OVERHEAD <= 5_000 else Lead)


class KeptMachine(RuleBasedStateMachine):
    """Anything in any order: an answer is of its key and never too old; bytes add up; a key has one lead."""

    keys = st.sampled_from([b"a", b"b", b"c", b"d"])

    @initialize()
    def begin(self) -> None:
        self.house = House()
        self.asked: list[FakeReply] = []
        self.leads: list[Lead] = []
        self.made = 0

    def value(self, key: bytes) -> tuple[bytes, int, float]:
        self.made += 1
        return key, self.made, self.house.clock()

    @rule(key=keys, look=st.booleans(), join=st.booleans())
    def lookup(self, key: bytes, look: bool, join: bool) -> None:
        self.asked.append(self.house.rig.ask(Lookup(key, look, join)))

    @rule(key=keys, size=st.integers(0, 6_000))
    def keep(self, key: bytes, size: int) -> None:
        self.house.rig.tell(Keep(key, self.value(key), size))

    @rule(data=st.data(), size=st.none() | st.integers(0, 6_000))
    @precondition(lambda self: self.leads)
    def store(self, data: st.DataObject, size: int | None) -> None:
        lead = data.draw(st.sampled_from(self.leads))
        self.leads.remove(lead)
        lead.store(self.value(lead.key), size)

    @rule(data=st.data())
    @precondition(lambda self: self.leads)
    def abandon(self, data: st.DataObject) -> None:
        lead = data.draw(st.sampled_from(self.leads))
        self.leads.remove(lead)
        lead.abandon()

    @rule(note=st.sampled_from([Bad(), Tick()]), times=st.sampled_from([1, 30]))
    def tell(self, note: Any, times: int) -> None:
        for _ in range(times):
            self.house.rig.tell(note)

    @rule()
    def clear(self) -> None:
        self.asked.append(self.house.rig.ask(Clear()))

    @rule(seconds=st.sampled_from([0.5, 20.0, 400.0]))
    def later(self, seconds: float) -> None:
        self.house.rig.drain()
        self.house.clock.advance(seconds)

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.house.rig.crash(losing=losing)

    @invariant()
    def what_is_given_is_right(self) -> None:
        house = self.house
        house.rig.drain()
        for reply in [reply for reply in self.asked if not reply.open]:
            self.asked.remove(reply)
            match reply.value:
                case Lead():
                    assert reply._message.join
                    self.leads.append(reply.value)
                case Hit(value, shared, age):
                    assert value[0] == reply._message.key
                    assert reply._message.join if shared else reply._message.look
                    assert 0 <= age < LIMITS.ttl
                case Miss():
                    assert not reply._message.join
        shelf = house.books.shelf
        assert shelf.bytes == sum(kept.size for kept in shelf._by_use.values()) <= LIMITS.max_bytes
        assert len(shelf) <= LIMITS.max_entries
        living = [lead.key for lead in house.books.leads]
        assert len(living) == len(set(living))
        numbers = house.books.statistics(house.clock())
        assert numbers.stored >= numbers.entries
        assert numbers.breaker.failures <= numbers.breaker.threshold

    def teardown(self) -> None:
        for lead in self.leads:
            lead.release()
        self.house.rig.drain()
        while any(reply.open for reply in self.asked):
            for reply in self.asked:
                if isinstance(reply.value, Lead):
                    reply.value.release()
            self.house.rig.drain()
        assert all(not reply.open for reply in self.asked)


TestKeptMachine = KeptMachine.TestCase
