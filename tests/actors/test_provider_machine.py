"""Anything may happen in any order: what the provider does, against a plain model of what it should do.

No slot is lost, doubled, or idle while somebody waits for it; every lease is of the right endpoint and key.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import (
    COOL_DOWNS,
    Configure,
    Crashed,
    Done,
    Endpoint,
    Expired,
    Open,
    Outcome,
    ProviderLease,
    Tick,
    Unavailable,
)
from actors.testing import FakeReply
from tests.actors.provider_support import FOREVER, Desk, Pair

NAMES = ("a", "b", "c")
ROOMY = 1_000
ENDPOINTS = st.lists(
    st.builds(Endpoint, st.sampled_from(NAMES), st.sampled_from([1, 1, 2, None]), keys=st.integers(1, 3)),
    unique_by=lambda endpoint: endpoint.name,
    min_size=1,
)
Ring = dict[int, float]  # key -> when its cool-down ends


class Model:
    """Endpoints, cool-downs and affinities as the rules have them; knows of no lines and no turns."""

    def __init__(self) -> None:
        self.known: dict[str, Endpoint] = {}  # as configured last
        self.serving: set[str] = set()
        self.rings: dict[str, Ring] = {}
        self.ring_of: dict[ProviderLease, Ring] = {}
        self.homes: dict[str, Pair] = {}

    def configure(self, endpoints: tuple[Endpoint, ...], remembered: set[str]) -> None:
        for endpoint in endpoints:
            if endpoint.name not in remembered or self.known[endpoint.name].keys != endpoint.keys:
                self.rings[endpoint.name] = {}
            self.known[endpoint.name] = endpoint
        self.serving = {endpoint.name for endpoint in endpoints}

    def done(self, note: Done, now: float) -> None:
        lease, ring = note.lease, self.ring_of[note.lease]
        if note.outcome is Outcome.OK:
            ring.pop(lease.key_index, None)
            if lease.affinity:
                self.homes[lease.affinity] = (lease.endpoint, lease.key_index)
        elif note.outcome in COOL_DOWNS:
            until = now + COOL_DOWNS[note.outcome].seconds(note.retry_after)
            ring[lease.key_index] = max(until, ring.get(lease.key_index, until))

    def unspent(self, query: Open, name: str) -> set[int]:
        keys = range(self.known[name].keys) if name in self.serving else ()
        return {key for key in keys if (name, key) not in query.spent}

    def fit(self, query: Open, name: str, now: float) -> set[int]:
        return {key for key in self.unspent(query, name) if self.rings[name].get(key, now) <= now}

    def choose(self, query: Open, free: set[str], now: float) -> str | None:
        """The endpoint to use now."""
        home = self.homes.get(query.affinity, ("", 0))[0]
        names = [*(name for name in query.endpoints if name == home), *query.endpoints]
        for name in names:
            if name in free and self.fit(query, name, now):
                return name
        resting = [name for name in names if name in free and self.unspent(query, name)]
        return min(resting, key=lambda name: self.soonest(query, name), default=None)

    def soonest(self, query: Open, name: str) -> float:
        return min(self.rings[name][key] for key in self.unspent(query, name))

    def check(self, query: Open, lease: ProviderLease, now: float) -> None:
        name, key = lease.endpoint, lease.key_index
        assert name in query.endpoints
        assert key in self.unspent(query, name)
        if fit := self.fit(query, name, now):
            home, had = self.homes.get(query.affinity, ("", 0))
            assert key in fit
            assert key == had or name != home or had not in fit
        else:
            assert self.rings[name][key] == self.soonest(query, name)


class ProviderMachine(RuleBasedStateMachine):
    @initialize(endpoints=ENDPOINTS, queue=st.sampled_from([0, 1, 3, ROOMY]))
    def begin(self, endpoints: list[Endpoint], queue: int) -> None:
        self.queue, self.model = queue, Model()
        self.desk = Desk(*self.queued(endpoints), ttl=1e6)
        self.model.configure(self.queued(endpoints), set())
        self.asked: list[FakeReply] = []
        self.held: list[ProviderLease] = []

    def queued(self, endpoints: list[Endpoint]) -> tuple[Endpoint, ...]:
        return tuple(msgspec.structs.replace(endpoint, queue=self.queue) for endpoint in endpoints)

    def free(self) -> set[str]:
        slots = {name: self.model.known[name].slots for name in self.model.serving}
        return {name for name, n in slots.items() if n is None or self.desk.books.leases.count(name) < n}

    def step(self) -> None:
        """The next message; what it leads to is what the model says."""
        now, letter = self.desk.clock(), self.desk.rig.mail[0]
        match letter._message:
            case Done() as note:
                self.model.done(note, now)
            case Configure(endpoints):
                self.model.configure(endpoints, set(self.desk.names()))
            case Open() as query if letter.wanted(now):
                self.step_open(query, letter)
                return
        self.act(self.desk.rig.turn)

    def step_open(self, query: Open, letter: FakeReply) -> None:
        expected = self.model.choose(query, self.free(), self.desk.clock())
        self.act(self.desk.rig.turn)
        if expected is not None:
            assert letter.value.endpoint == expected
        elif any(self.model.unspent(query, name) for name in query.endpoints):
            assert letter.open or (str(letter.error) == "too many are waiting" and self.queue < ROOMY)
        else:
            assert str(letter.error) == "no endpoint left to try"

    def act(self, do: Callable[[], object]) -> None:
        before = {name: self.desk.books.leases.count(name) for name in NAMES}
        do()
        self.collect()
        for name in NAMES:
            slots = self.model.known[name].slots if name in self.model.serving else 0
            # there may be more than slots, if there were more slots once; then there are never more than before
            assert slots is None or self.desk.books.leases.count(name) <= max(slots, before[name])

    def collect(self) -> None:
        for reply in [reply for reply in self.asked if not reply.open]:
            self.asked.remove(reply)
            if isinstance(reply.value, ProviderLease):
                self.model.check(reply._message, reply.value, self.desk.clock())
                self.model.ring_of[reply.value] = self.model.rings[reply.value.endpoint]
                self.held.append(reply.value)
            else:
                assert reply.left or isinstance(reply.error, Unavailable | Crashed | Expired)

    def drain(self) -> None:
        while self.desk.rig.mail:
            self.step()

    @rule(
        names=st.lists(st.sampled_from((*NAMES, "unknown")), min_size=1, max_size=4),
        spent=st.frozensets(st.tuples(st.sampled_from(NAMES), st.integers(0, 2)), max_size=3),
        affinity=st.sampled_from(["", "x", "y"]),
        patience=st.sampled_from([1.0, 4.0, FOREVER]),
    )
    def open(self, names: list[str], spent: frozenset[Pair], affinity: str, patience: float) -> None:
        query = Open(tuple(names), spent, affinity)
        self.asked.append(self.desk.rig.ask(query, self.desk.clock() + patience))

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).leave()

    @rule(data=st.data(), outcome=st.sampled_from(Outcome), retry_after=st.sampled_from([None, 0.0, 2.0, 1e9]))
    @precondition(lambda self: self.held)
    def done(self, data: st.DataObject, outcome: Outcome, retry_after: float | None) -> None:
        lease = data.draw(st.sampled_from(self.held))
        self.held.remove(lease)
        lease.done(outcome, retry_after)
        lease.release()

    @rule(endpoints=ENDPOINTS)
    def configure(self, endpoints: list[Endpoint]) -> None:
        self.desk.rig.ask(Configure(self.queued(endpoints)))

    @rule()
    @precondition(lambda self: self.desk.rig.mail)
    def turn(self) -> None:
        self.step()

    @rule(seconds=st.floats(0, 3) | st.just(31.0))
    def tick(self, seconds: float) -> None:
        self.desk.clock.advance(seconds)
        self.desk.rig.tell(Tick())
        self.drain()
        now, books = self.desk.clock(), self.desk.books
        assert all(now < reply.deadline for reply in self.asked)
        assert {id(reply) for desk in books.all() for reply in desk.line} == {id(reply) for reply in self.asked}
        for name in self.model.serving:
            assert self.desk.of(name).cooling == sum(until > now for until in self.model.rings[name].values())

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.act(lambda: self.desk.rig.crash(losing=losing))

    @invariant()
    def no_slot_is_lost_doubled_or_idle(self) -> None:
        books, free, now = self.desk.books, self.free(), self.desk.clock()
        counted = set(books.leases)
        assert counted >= set(self.held)
        assert all(lease.released for lease in counted - set(self.held))
        for name in NAMES:
            in_flight = books.leases.count(name)
            assert in_flight == sum(lease.endpoint == name for lease in counted)
            if name in self.model.serving:
                line = books.desks[name].line
                assert len(line) <= self.queue
                assert name not in free or not any(reply.wanted(now) for reply in line)
        if self.queue == ROOMY:
            for reply in self.asked:
                if reply.wanted(now) and reply not in self.desk.rig.mail:
                    assert self.model.choose(reply._message, free, now) is None

    @invariant()
    def the_endpoints_are_those_configured_and_those_with_leases(self) -> None:
        listed = {endpoint.name: endpoint.removed for endpoint in self.desk.books.statistics().endpoints}
        busy = {lease.endpoint for lease in self.desk.books.leases}
        assert listed == dict.fromkeys(busy, True) | dict.fromkeys(self.model.serving, False)

    def teardown(self) -> None:
        self.drain()
        while self.held:
            self.held.pop().release()
            self.drain()
        self.tick(0.0)
        assert self.asked == []
        end = self.desk.books.statistics()
        assert [(endpoint.in_flight, endpoint.waiting) for endpoint in end.endpoints] == [(0, 0)] * len(end.endpoints)
        assert {endpoint.name for endpoint in end.endpoints} == self.model.serving
        assert len(self.desk.books.leases) == end.leases_lost == 0


TestProviderMachine = ProviderMachine.TestCase
