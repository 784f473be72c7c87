"""Single flight: one call, one answer for all who may share it, and nobody left behind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import CacheActor, CacheBooks, Crashed, Expired, Hit, Lead, Lookup, Miss, Tick
from actors.testing import FakeReply, ManualClock, Rig


def rig_of(books: CacheBooks, clock: ManualClock) -> Rig[Any]:
    return Rig(lambda: CacheActor(books, clock), clock)


def asks(rig: Rig[Any], *keys: bytes, deadline: float = float("inf")) -> list[FakeReply]:
    replies = [rig.ask(Lookup(key), deadline) for key in keys]
    rig.drain()
    return replies


def test_the_first_asker_leads_and_the_others_wait_for_its_value() -> None:
    books = CacheBooks()
    rig = rig_of(books, ManualClock())
    lead, *followers = asks(rig, b"k", b"k", b"k")
    assert isinstance(lead.value, Lead)
    assert not any(follower.answered for follower in followers)
    lead.value.store("answer")
    rig.drain()
    assert [follower.value for follower in followers] == [Hit("answer", shared=True)] * 2
    assert (books.led, books.shared, len(books.leads)) == (1, 2, 0)


def test_what_has_no_size_is_not_kept() -> None:
    rig = rig_of(CacheBooks(), ManualClock())
    [first] = asks(rig, b"k")
    first.value.store("answer")
    rig.drain()
    [second] = asks(rig, b"k")
    assert isinstance(second.value, Lead)


def test_keys_do_not_share() -> None:
    rig = rig_of(CacheBooks(), ManualClock())
    assert all(isinstance(reply.value, Lead) for reply in asks(rig, b"a", b"b"))


def test_an_abandoned_lead_goes_to_the_next_follower_who_is_still_there() -> None:
    books = CacheBooks()
    rig = rig_of(books, ManualClock())
    lead, gone, second, third = asks(rig, *[b"k"] * 4)
    gone.leave()
    lead.value.release()
    lead.value.abandon()
    rig.drain()
    assert isinstance(second.value, Lead)
    assert not third.answered
    second.value.store(7)
    rig.drain()
    assert third.value == Hit(7)
    assert (books.promoted, books.shared) == (1, 1)


def test_after_a_store_an_abandon_means_nothing_and_the_other_way_round() -> None:
    rig = rig_of(CacheBooks(), ManualClock())
    lead, follower = asks(rig, b"k", b"k")
    lead.value.store(1)
    lead.value.abandon()
    lead.value.store(2)
    rig.drain()
    assert follower.value == Hit(1)
    lead, follower = asks(rig, b"k", b"k")
    lead.value.abandon()
    lead.value.store(3)
    rig.drain()
    assert isinstance(follower.value, Lead)


def test_a_follower_is_sent_on_alone_at_its_deadline() -> None:
    clock, books = ManualClock(), CacheBooks()
    rig = rig_of(books, clock)
    asks(rig, b"k")
    [patient, hurried] = [*asks(rig, b"k"), *asks(rig, b"k", deadline=5.0)]
    clock.advance(5.0)
    rig.tell(Tick())
    rig.drain()
    assert hurried.value == Miss()
    assert not patient.answered
    assert books.alone == 1


def test_a_follower_who_is_late_when_the_lead_gives_up_is_sent_on_alone_and_the_next_one_leads() -> None:
    clock = ManualClock()
    rig = rig_of(CacheBooks(), clock)
    [lead] = asks(rig, b"k")
    [late, patient] = [*asks(rig, b"k", deadline=5.0), *asks(rig, b"k")]
    lead.value.abandon()
    clock.advance(5.0)
    rig.drain()
    assert late.value == Miss()
    assert isinstance(patient.value, Lead)


def test_too_many_followers_or_keys_go_on_alone() -> None:
    rig = rig_of(CacheBooks(keys=2, followers=1), ManualClock())
    replies = asks(rig, b"a", b"a", b"a", b"b", b"c")
    assert [reply.value if reply.answered and not isinstance(reply.value, Lead) else None for reply in replies] == [
        None,
        None,
        Miss(),
        None,
        Miss(),
    ]


def test_a_lead_in_flight_survives_a_crash_and_answers_those_delivered_again() -> None:
    books = CacheBooks()
    rig = rig_of(books, ManualClock())
    lead, *followers = asks(rig, b"k", b"k", b"k")
    rig.crash()
    assert not any(follower.answered for follower in followers)
    lead.value.store("answer")
    rig.drain()
    assert [follower.value for follower in followers] == [Hit("answer")] * 2


def test_when_the_note_of_the_lead_crashes_it_exactly_one_follower_leads() -> None:
    rig = rig_of(CacheBooks(), ManualClock())
    lead, *followers = asks(rig, b"k", b"k", b"k")
    lead.value.store("lost")
    rig.crash(losing=True)
    assert [isinstance(follower.value, Lead) for follower in followers] == [True, False]
    followers[0].value.store("again")
    rig.drain()
    assert followers[1].value == Hit("again")


def test_a_value_stored_before_a_crash_still_serves_the_followers_of_the_next_lead() -> None:
    rig = rig_of(CacheBooks(), ManualClock())
    lead, first, second = asks(rig, b"k", b"k", b"k")
    lead.value.store("early")  # lies in the mailbox while something else crashes the actor
    rig.crash()
    assert isinstance(first.value, Lead)
    rig.drain()
    assert second.value == Hit("early")
    first.value.store("late")
    rig.drain()
    assert len(asks(rig, b"k")) == 1


def test_an_abandon_that_a_restart_overtook_makes_no_second_lead() -> None:
    rig = rig_of(CacheBooks(), ManualClock())
    lead, first, second = asks(rig, b"k", b"k", b"k")
    lead.value.abandon()  # lies in the mailbox while something else crashes the actor
    rig.crash()
    rig.drain()
    assert isinstance(first.value, Lead)
    assert not second.answered


def test_a_lost_lead_is_found_aborted_and_followed() -> None:
    class Work:
        aborts = 0

        def abort(self) -> None:
            self.aborts += 1

    clock, books, work = ManualClock(), CacheBooks(ttl=10.0), Work()
    rig = rig_of(books, clock)
    lead, follower = asks(rig, b"k", b"k")
    lead.value.attach(work)
    clock.advance(10.0)
    rig.tell(Tick())
    rig.drain()
    assert work.aborts == 1
    assert books.statistics(clock()).leads_lost == 1
    assert isinstance(follower.value, Lead)


class CacheMachine(RuleBasedStateMachine):
    """Anything may happen in any order; a key in flight has one lead, and followers are never stranded."""

    @initialize(followers=st.integers(1, 3))
    def begin(self, followers: int) -> None:
        self.clock, self.books = ManualClock(), CacheBooks(keys=2, followers=followers, ttl=1_000.0)
        self.rig = rig_of(self.books, self.clock)
        self.asked: list[FakeReply] = []
        self.leads: list[Lead] = []
        self.stored = 0

    def collect(self) -> None:
        for reply in [reply for reply in self.asked if not reply.open]:
            self.asked.remove(reply)
            match reply.value:
                case Lead():
                    assert reply.value.key == reply._message.key
                    self.leads.append(reply.value)
                case Hit(value):
                    assert value[0] == reply._message.key
                case Miss():
                    pass
                case None:
                    assert reply.left or isinstance(reply.error, Crashed | Expired)

    @rule(key=st.sampled_from([b"a", b"b", b"c"]), patience=st.sampled_from([1.0, 4.0, float("inf")]))
    def lookup(self, key: bytes, patience: float) -> None:
        self.asked.append(self.rig.ask(Lookup(key), self.clock() + patience))

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).leave()

    @rule(data=st.data(), how=st.sampled_from(["store", "abandon", "release"]))
    @precondition(lambda self: self.leads)
    def end(self, data: st.DataObject, how: str) -> None:
        lead = data.draw(st.sampled_from(self.leads))
        self.leads.remove(lead)
        self.stored += 1
        if how == "store":
            lead.store((lead.key, self.stored))
        else:
            getattr(lead, how)()
        lead.release()

    @rule()
    @precondition(lambda self: self.rig.mail)
    def turn(self) -> None:
        self.rig.turn()
        self.collect()

    @rule(seconds=st.floats(0, 3))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.rig.tell(Tick())
        self.rig.drain()
        self.collect()
        now = self.clock()
        assert all(now < reply.deadline for reply in self.asked)

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.rig.crash(losing=losing)
        self.collect()

    @invariant()
    def a_key_has_one_lead_and_who_waits_has_somebody_to_wait_for(self) -> None:
        living = [lead.key for lead in self.books.leads]
        assert len(living) == len(set(living)) <= self.books.max_keys
        held = [lead for lead in self.books.leads if not lead.released]
        assert set(held) == set(self.leads)
        delivered = [reply for reply in self.asked if reply not in self.rig.mail]
        for reply in delivered:
            assert self.books.leads.count(reply._message.key) == 1
        for key in (b"a", b"b", b"c"):
            assert sum(reply._message.key == key for reply in delivered) <= self.books.max_followers

    def teardown(self) -> None:
        self.rig.drain()
        self.collect()
        while self.leads:
            self.leads.pop().abandon()
            self.rig.drain()
            self.collect()
        assert self.asked == []
        assert len(self.books.leads) == 0
        assert self.rig.actor._followers == {}
        assert self.books.leads.lost == 0


TestCacheMachine = CacheMachine.TestCase
