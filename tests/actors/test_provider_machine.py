"""Anything may happen in any order: what the provider does, against a plain model of what it should do.

No slot is lost, doubled, or idle while somebody waits for it; every lease is of the right endpoint and key; an endpoint
whose breaker is open gets nothing, one whose breaker is half open a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import (
    COOL_DOWNS,
    BreakerRules,
    BreakerState,
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
from actors.provider import FAULTS
from actors.testing import FakeReply
from tests.actors.provider_support import FOREVER, Desk, Pair

NAMES = ("a", "b", "c")
ROOMY = 1_000
RULES = [BreakerRules(1, 2.0, 1), BreakerRules(2, 4.0, 2), BreakerRules(3, 2.0, 1)]
ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        st.sampled_from(NAMES),
        st.sampled_from([1, 1, 2, None]),
        keys=st.integers(1, 3),
        breaker=st.sampled_from(RULES),
    ),
    unique_by=lambda endpoint: endpoint.name,
    min_size=1,
)
Ring = dict[int, float]  # key -> when its cool-down ends


class Circuit:
    """A breaker as the rules have it."""

    def __init__(self, rules: BreakerRules) -> None:
        self.rules, self.faults, self.proofs = rules, 0, 0
        self.opened_at: float | None = None  # None: closed
        self.probes: set[ProviderLease] = set()

    def state(self, now: float) -> BreakerState:
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.opened_at + self.rules.rest else BreakerState.HALF_OPEN

    def passes(self, now: float) -> bool:
        state = self.state(now)
        return state is BreakerState.CLOSED or (
            state is BreakerState.HALF_OPEN and len(self.probes) < self.rules.probes
        )

    def left(self, now: float) -> float:
        """What a refusal says."""
        if self.opened_at is None or self.state(now) is BreakerState.HALF_OPEN:
            return 1.0
        return self.opened_at + self.rules.rest - now

    def sent(self, lease: ProviderLease, now: float) -> None:
        assert self.passes(now)
        if self.state(now) is BreakerState.HALF_OPEN:
            self.probes.add(lease)

    def done(self, lease: ProviderLease, outcome: Outcome, now: float) -> None:
        if self.opened_at is None:
            if outcome in FAULTS:
                self.faults += 1
            elif outcome is Outcome.OK:
                self.faults = 0
            if self.faults == self.rules.faults:
                self.change(now)
        elif lease in self.probes:
            self.probes.remove(lease)
            self.proofs += outcome is Outcome.OK
            if outcome in FAULTS:
                self.change(now)
            elif self.proofs == self.rules.probes:
                self.change(None)

    def change(self, opened_at: float | None) -> None:
        self.opened_at, self.faults, self.proofs, self.probes = opened_at, 0, 0, set()


class Model:
    """Endpoints, cool-downs, breakers and affinities as the rules have them; knows of no lines and no turns."""

    def __init__(self) -> None:
        self.known: dict[str, Endpoint] = {}  # as configured last
        self.serving: set[str] = set()
        self.rings: dict[str, Ring] = {}
        self.ring_of: dict[ProviderLease, Ring] = {}
        self.homes: dict[str, Pair] = {}
        self.circuits: dict[str, Circuit] = {}

    def configure(self, endpoints: tuple[Endpoint, ...], remembered: set[str]) -> None:
        for endpoint in endpoints:
            if endpoint.name not in remembered or self.known[endpoint.name].keys != endpoint.keys:
                self.rings[endpoint.name] = {}
            if endpoint.name not in remembered or self.known[endpoint.name].breaker != endpoint.breaker:
                self.circuits[endpoint.name] = Circuit(endpoint.breaker)
            self.known[endpoint.name] = endpoint
        self.serving = {endpoint.name for endpoint in endpoints}

    def done(self, note: Done, now: float) -> None:
        lease, ring = note.lease, self.ring_of[note.lease]
        self.circuits[lease.endpoint].done(lease, note.outcome, now)
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

    def passing(self, now: float) -> set[str]:
        return {name for name in self.serving if self.circuits[name].passes(now)}

    def choose(self, query: Open, free: set[str], now: float) -> str | None:
        """The endpoint to use now."""
        home, passing = self.homes.get(query.affinity, ("", 0))[0], self.passing(now)
        names = [*(name for name in query.endpoints if name == home), *query.endpoints]
        names = [name for name in names if name in passing]
        for name in names:
            if name in free and self.fit(query, name, now):
                return name
        resting = [name for name in names if name in free and self.unspent(query, name)]
        return min(resting, key=lambda name: self.soonest(query, name), default=None)

    def soonest(self, query: Open, name: str) -> float:
        return min(self.rings[name][key] for key in self.unspent(query, name))

    def check(self, query: Open, lease: ProviderLease, now: float) -> None:
        name, key = lease.endpoint, lease.key_index
        self.circuits[name].sent(lease, now)
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
                if note.lease.endpoint in self.desk.names():  # a restart may have taken back the last of a removed one
                    self.model.done(note, now)
            case Configure(endpoints):
                self.model.configure(endpoints, set(self.desk.names()))
            case Open() as query if letter.wanted(now):
                self.step_open(query, letter)
                return
        self.act(self.desk.rig.turn)

    def step_open(self, query: Open, letter: FakeReply) -> None:
        now, model = self.desk.clock(), self.model
        expected = model.choose(query, self.free(), now)
        able = {name for name in query.endpoints if model.unspent(query, name)}
        passing = able & model.passing(now)
        self.act(self.desk.rig.turn)
        if expected is not None:
            assert letter.value.endpoint == expected
            assert not passing & set(letter.value.passed)
            assert set(letter.value.passed) <= able
        elif passing:
            assert letter.open or (str(letter.error) == "too many are waiting" and self.queue < ROOMY)
        elif able:
            assert letter.error == Unavailable(min(model.circuits[name].left(now) for name in able))
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
        for circuit in self.model.circuits.values():
            circuit.change(None)
        self.act(lambda: self.desk.rig.crash(losing=losing))

    @invariant()
    def no_slot_is_lost_doubled_or_idle(self) -> None:
        books, free, now = self.desk.books, self.free(), self.desk.clock()
        passing = self.model.passing(now)
        counted = set(books.leases)
        assert counted >= set(self.held)
        assert all(lease.released for lease in counted - set(self.held))
        for name in NAMES:
            in_flight = books.leases.count(name)
            assert in_flight == sum(lease.endpoint == name for lease in counted)
            if name in self.model.serving:
                line = books.desks[name].line
                assert len(line) <= self.queue
                assert name not in free & passing or not any(reply.wanted(now) for reply in line)
        if self.queue == ROOMY:
            for reply in self.asked:
                if reply.wanted(now) and reply not in self.desk.rig.mail:
                    lines = {name for name in self.model.serving if reply in books.desks[name].line}
                    assert lines
                    assert self.model.choose(reply._message, free & lines, now) is None

    @invariant()
    def breakers_are_as_the_rules_have_them(self) -> None:
        now = self.desk.clock()
        for name in self.model.serving:
            circuit, breaker = self.model.circuits[name], self.desk.books.desks[name].breaker
            rested = breaker.state is BreakerState.OPEN and breaker.left(now) == 0.0  # it finds out when it is asked
            assert (BreakerState.HALF_OPEN if rested else breaker.state) is circuit.state(now)
            assert breaker.probes == len(circuit.probes) <= circuit.rules.probes
            if breaker.state is BreakerState.OPEN:
                assert not self.desk.books.desks[name].line

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
