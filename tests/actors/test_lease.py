"""Given back exactly once, with what is attached; lost ones found."""

from __future__ import annotations

import pytest

from actors.lease import Lease, LeaseTable


class Owner:
    def __init__(self, *, stopped: bool = False) -> None:
        self.notes: list[object] = []
        self.stopped = stopped

    def tell(self, message: object, *, urgent: bool = False) -> bool:
        assert urgent, "a shed release is a leaked lease"
        if not self.stopped:
            self.notes.append(message)
        return not self.stopped


class Slot(Lease):
    __slots__ = ()

    def release(self) -> None:
        self._give_back(self)


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.aborts, self.error = 0, error

    def abort(self) -> None:
        self.aborts += 1
        if self.error:
            raise self.error


def test_release_tells_the_owner_once() -> None:
    owner = Owner()
    slot = Slot("a", owner)
    slot.release()
    slot.release()
    assert owner.notes == [slot]
    assert slot.released


def test_release_aborts_what_is_attached_once() -> None:
    slot, work = Slot("a", Owner()), Work()
    slot.attach(work)
    slot.release()
    slot.release()
    assert work.aborts == 1


def test_detached_work_is_not_aborted() -> None:
    slot, work = Slot("a", Owner()), Work()
    slot.attach(work)
    slot.detach()
    slot.release()
    assert work.aborts == 0


def test_a_lease_comes_back_though_the_abort_fails() -> None:
    owner = Owner()
    slot, work = Slot("a", owner), Work(OSError("socket"))
    slot.attach(work)
    slot.release()
    assert owner.notes == [slot]
    assert work.aborts == 1


def test_an_abort_that_releases_the_lease_is_no_second_release() -> None:
    owner = Owner()
    slot = Slot("a", owner)

    class Chain:
        def abort(self) -> None:
            slot.release()

    slot.attach(Chain())
    slot.release()
    assert owner.notes == [slot]


def test_the_table_counts_per_key_and_forgets_keys_without_leases() -> None:
    owner = Owner()
    table: LeaseTable[Slot] = LeaseTable(ttl=10.0)
    a1, a2, b = (table.add(Slot(key, owner), 0.0) for key in "aab")
    assert (table.count("a"), table.count("b"), table.count("c"), len(table)) == (2, 1, 0, 3)
    assert table.discard(a1)
    assert not table.discard(a1)
    assert table.discard(a2)
    assert table.discard(b)
    assert len(table) == table.count("a") == 0
    assert table._counts == {}


def test_the_sweep_takes_back_and_aborts_only_what_outlived_its_time() -> None:
    owner = Owner()
    table: LeaseTable[Slot] = LeaseTable(ttl=10.0)
    old, young = table.add(Slot("a", owner), 0.0), table.add(Slot("a", owner), 5.0)
    work = Work()
    old.attach(work)
    assert table.sweep(9.9) == []
    assert table.sweep(10.0) == [old]
    assert (table.lost, work.aborts, len(table), table.count("a")) == (1, 1, 1, 1)
    old.release()  # the holder comes late
    assert owner.notes == []
    assert not young.released


def test_work_attached_to_a_lost_lease_is_aborted_at_once() -> None:
    table: LeaseTable[Slot] = LeaseTable(ttl=1.0)
    slot, work = table.add(Slot("a", Owner()), 0.0), Work()
    table.sweep(1.0)
    slot.attach(work)
    assert work.aborts == 1


def test_a_released_lease_whose_note_is_on_its_way_is_not_lost() -> None:
    table: LeaseTable[Slot] = LeaseTable(ttl=1.0)
    slot = table.add(Slot("a", Owner()), 0.0)
    slot.release()
    assert table.sweep(2.0) == []
    assert table.lost == 0
    assert len(table) == 1


def test_prune_drops_what_was_released_but_never_taken_back() -> None:
    owner = Owner()
    table: LeaseTable[Slot] = LeaseTable(ttl=1.0)
    held, released = table.add(Slot("a", owner), 0.0), table.add(Slot("a", owner), 0.0)
    released.release()
    assert table.prune() == 1
    assert list(table) == [held]
    assert table.lost == 0


def test_a_lease_of_a_stopped_owner_leaves_the_table_by_itself() -> None:
    table: LeaseTable[Slot] = LeaseTable(ttl=1.0)
    slot = table.add(Slot("a", Owner(stopped=True)), 0.0)
    slot.release()
    assert len(table) == 0


def test_a_lease_says_its_state() -> None:
    slot = Slot("a", Owner())
    assert repr(slot) == "<Slot 'a' held>"
    slot.attach(Work())
    assert repr(slot) == "<Slot 'a' held, busy>"
    slot.release()
    assert repr(slot) == "<Slot 'a' released>"


def test_the_base_lease_leaves_to_its_actor_how_it_is_returned() -> None:
    with pytest.raises(NotImplementedError):
        Lease("a", Owner()).release()
