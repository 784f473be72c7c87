"""Which stream runs for a key: one, found by all who ask for it, and forgotten when nobody may join it any more."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import CacheActor, CacheBooks, Crashed, Expired, Following, Join, StreamLead, StreamTable, Tick
from actors.testing import FakeReply, ManualClock, Rig


def rig_of(table: StreamTable, clock: ManualClock | None = None) -> Rig[Any]:
    clock = clock or ManualClock()
    books = CacheBooks(streams=table)
    return Rig(lambda: CacheActor(books, clock), clock)


def joins(rig: Rig[Any], *handles: str, key: bytes = b"k") -> list[Any]:
    replies = [rig.ask(Join(key, handle)) for handle in handles]
    rig.drain()
    return [reply.value for reply in replies]


def test_the_first_asker_leads_and_the_others_get_its_handle_at_once() -> None:
    table = StreamTable()
    lead, *others = joins(rig_of(table), "first", "second", "third")
    assert isinstance(lead, StreamLead)
    assert others == [Following("first"), Following("first")]
    assert (table.led, table.followed, table.running) == (1, 2, 1)


def test_keys_do_not_share() -> None:
    rig = rig_of(StreamTable())
    assert isinstance(joins(rig, "a", key=b"a")[0], StreamLead)
    assert isinstance(joins(rig, "b", key=b"b")[0], StreamLead)


def test_a_stream_that_nobody_may_join_any_more_is_not_found() -> None:
    table = StreamTable()
    rig = rig_of(table)
    [old] = joins(rig, "old")
    old.release()
    old.release()
    assert table.running == 0
    [new] = joins(rig, "new")
    assert isinstance(new, StreamLead)
    assert (new.handle, old.handle) == ("new", None)
    assert (table.led, table.running) == (2, 1)


def test_a_tick_between_a_release_and_the_next_stream_ends_no_other_one() -> None:
    table = StreamTable()
    rig = rig_of(table)
    [old] = joins(rig, "old")
    old.release()
    [new] = joins(rig, "new")
    rig.tell(Tick())
    old.release()
    assert isinstance(new, StreamLead)
    assert joins(rig, "third") == [Following("new")]
    assert len(table.leads) == 1


def test_what_was_given_back_makes_room() -> None:
    table = StreamTable(keys=1)
    rig = rig_of(table)
    [first] = joins(rig, "a", key=b"a")
    first.release()
    assert isinstance(joins(rig, "b", key=b"b")[0], StreamLead)


def test_what_was_given_back_is_forgotten_with_the_next_tick() -> None:
    table = StreamTable()
    rig = rig_of(table)
    joins(rig, "a", key=b"a")[0].release()
    rig.tell(Tick())
    rig.drain()
    assert (len(table.leads), table._found) == (0, {})


def test_above_the_number_of_keys_everybody_goes_on_alone() -> None:
    table = StreamTable(keys=1)
    rig = rig_of(table)
    joins(rig, "a", key=b"a")
    assert joins(rig, "b", key=b"b") == [None]
    assert joins(rig, "a2", key=b"a") == [Following("a")]
    assert table.statistics().alone == 1


def test_an_asker_that_has_left_leads_nothing() -> None:
    table = StreamTable()
    rig = rig_of(table)
    gone = rig.ask(Join(b"k", "gone"))
    message = rig.mail.popleft()
    message.leave()
    rig.actor.handle(message._message, message)
    assert gone.left
    assert isinstance(joins(rig, "here")[0], StreamLead)
    assert table.led == 1


def test_running_streams_are_found_after_a_crash() -> None:
    rig = rig_of(StreamTable())
    joins(rig, "running")
    rig.crash()
    assert joins(rig, "second") == [Following("running")]


def test_a_lost_lead_is_found_by_its_age() -> None:
    clock, table = ManualClock(), StreamTable(ttl=10.0)
    rig = rig_of(table, clock)
    joins(rig, "lost")
    clock.advance(10.0)
    rig.tell(Tick())
    rig.drain()
    assert table.statistics().leads_lost == 1
    assert isinstance(joins(rig, "new")[0], StreamLead)


class StreamMachine(RuleBasedStateMachine):
    """Anything may happen in any order; a key has one running stream, and whoever is sent to one finds it running."""

    @initialize()
    def begin(self) -> None:
        self.clock, self.table = ManualClock(), StreamTable(keys=2, ttl=1_000.0)
        self.rig = rig_of(self.table, self.clock)
        self.asked: list[FakeReply] = []
        self.leads: list[StreamLead] = []
        self.handles = 0

    def collect(self) -> None:
        for reply in [reply for reply in self.asked if not reply.open]:
            self.asked.remove(reply)
            match reply.value:
                case StreamLead():
                    assert reply.value.handle == reply._message.handle
                    assert reply.value.key not in [lead.key for lead in self.leads]
                    self.leads.append(reply.value)
                case Following(handle):
                    assert handle[0] == reply._message.key
                    assert handle != reply._message.handle
                case None:
                    assert reply.left or reply.answered or isinstance(reply.error, Crashed | Expired)

    @rule(key=st.sampled_from([b"a", b"b", b"c"]))
    def join(self, key: bytes) -> None:
        self.handles += 1
        self.asked.append(self.rig.ask(Join(key, (key, self.handles))))

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).leave()

    @rule(data=st.data(), twice=st.booleans())
    @precondition(lambda self: self.leads)
    def close(self, data: st.DataObject, twice: bool) -> None:
        lead = data.draw(st.sampled_from(self.leads))
        self.leads.remove(lead)
        lead.release()
        if twice:
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

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.rig.crash(losing=losing)
        self.collect()

    @invariant()
    def a_key_has_one_stream_and_nobody_waits(self) -> None:
        living = [lead.key for lead in self.table.leads]
        assert len(living) == len(set(living)) <= self.table.max_keys
        assert set(self.table._found.values()) == set(self.table.leads)
        assert {lead for lead in self.table.leads if not lead.released} == set(self.leads)
        assert all(reply in self.rig.mail for reply in self.asked if reply.open)

    def teardown(self) -> None:
        self.rig.drain()
        self.collect()
        for lead in self.leads:
            lead.release()
        self.rig.tell(Tick())
        self.rig.drain()
        assert len(self.table.leads) == 0
        assert self.table._found == {}
        assert self.table.leads.lost == 0


TestStreamMachine = StreamMachine.TestCase
