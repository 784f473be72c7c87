"""The limiter under anything at all: the books stay exact, limits hold, nobody is passed or forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import Admit, Crashed, Expired, Limits, Permit, RateBooks, RateLimited, RateLimiterActor, Tick
from actors import UpstreamLimits as Upstreams
from actors.kernel import Reply
from actors.rate_messages import Unused, Used
from actors.rate_window import MINUTE, Bucket
from actors.testing import FakeReply, ManualClock, Rig
from tests.actors.rate_support import Alarms

TICK = 1.0
PLANS = [("a",), ("a",), ("b",), ("a", "b"), ("b", "a"), ()]


class Asked:
    def __init__(self, number: int, reply: FakeReply, query: Admit, now: float) -> None:
        self.number, self.reply, self.query, self.until = number, reply, query, now + query.patience


class Watched(RateLimiterActor):
    """Tells what it is about to handle."""

    before: Callable[[Any], None]
    after: Callable[[Any], None]

    def handle(self, message: Any, reply: Reply) -> None:
        self.before(message)
        super().handle(message, reply)
        self.after(message)


class LimiterMachine(RuleBasedStateMachine):
    @initialize(
        concurrent=st.sampled_from([2, 12]),
        rate=st.sampled_from([None, None, 3.0, 120.0]),
        burst=st.integers(0, 2),
        upstreams=st.builds(
            Upstreams,
            requests=st.sampled_from([None, 6.0, 120.0]),
            tokens=st.sampled_from([None, 500.0]),
            burst=st.sampled_from([0, 2, 1000]),
            adaptive=st.booleans(),
        ),
    )
    def begin(self, concurrent: int, rate: float | None, burst: int, upstreams: Upstreams) -> None:
        self.clock, self.books = ManualClock(1_000.0), RateBooks(ttl=100_000.0)
        self.alarms = Alarms(self.clock)
        self.limits = Limits(requests_per_minute=rate, burst=burst, concurrent=concurrent, upstream=upstreams)
        self.rig: Rig[Any] = Rig(self.instance, self.clock)
        self.numbers = 0
        self.asked: list[Asked] = []
        self.held: list[Permit] = []
        self.permits: dict[Permit, float] = {}  # all that were ever granted, and when
        self.unused: set[Permit] = set()
        self.earlier: list[Bucket] = []  # of calls whose permit is charged elsewhere by now

    def instance(self) -> Watched:
        actor = Watched(self.limits, self.books, self.clock, self.alarms)
        actor.before, actor.after = self.before, self.after
        return actor

    # -- what the naive model sees

    def before(self, message: Any) -> None:
        match message:
            case Unused(permit):
                self.unused.add(permit)
            case Used(permit, _, moved) if permit.book is not None and not moved:
                self.earlier.append(permit.bucket)

    def after(self, message: Any) -> None:
        for asked in [asked for asked in self.asked if not asked.reply.open]:
            self.asked.remove(asked)
            permit = asked.reply.value
            if isinstance(permit, Permit):
                self.granted(permit, asked)
            else:
                assert asked.reply.left or isinstance(asked.reply.error, RateLimited | Crashed | Expired)

    def granted(self, permit: Permit, asked: Asked) -> None:
        now = self.clock()
        self.held.append(permit)
        self.permits[permit] = now
        book = permit.book
        if book is not None and (limit := book.requests.limit) is not None:
            charged = [p for p in self.permits if p.book is book and p.bucket.live and p not in self.unused]
            recent = [p for p in charged if self.permits[p] > now - MINUTE]
            assert len(recent) <= max(1, int(limit))
        alike = (asked.query.key, asked.query.upstreams)
        if len(alike[1]) == 1:
            kept = [a for a in self.asked if (a.query.key, a.query.upstreams) == alike and a.reply in self.rig.held]
            assert all(other.number > asked.number for other in kept)

    # -- what may happen

    @rule(
        key=st.sampled_from("xyz"),
        cost=st.sampled_from([0, 10, 100, 900]),
        plan=st.sampled_from(PLANS),
        patience=st.sampled_from([0.0, 0.5, 5.0, 70.0]),
        number=st.integers(1, 6),
    )
    def admit(self, key: str, cost: int, plan: tuple[str, ...], patience: float, number: int) -> None:
        query = Admit(key, cost, plan, patience)
        for _ in range(number):
            self.numbers += 1
            self.asked.append(Asked(self.numbers, self.rig.ask(query), query, self.clock()))

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).reply.leave()

    @rule(data=st.data(), actual=st.sampled_from([None, 0, 7, 2_000]), succeeded=st.booleans())
    @precondition(lambda self: self.held)
    def settle(self, data: st.DataObject, actual: int | None, succeeded: bool) -> None:
        permit = data.draw(st.sampled_from(self.held))
        self.held.remove(permit)
        permit.settle(actual, succeeded)
        permit.release()

    @rule()
    @precondition(lambda self: self.held)
    def settle_all(self) -> None:
        for permit in self.held:
            permit.settle(permit.cost)
        self.held.clear()

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def release(self, data: st.DataObject) -> None:
        permit = data.draw(st.sampled_from(self.held))
        self.held.remove(permit)
        permit.release()
        permit.settle(50)

    @rule(data=st.data(), name=st.sampled_from("ab"))
    @precondition(lambda self: self.held)
    def used(self, data: st.DataObject, name: str) -> None:
        data.draw(st.sampled_from(self.held)).used(name)

    @rule(data=st.data(), name=st.sampled_from("ab"), retry_after=st.sampled_from([None, 0.5, 20.0, 10_000.0]))
    @precondition(lambda self: self.held)
    def throttled(self, data: st.DataObject, name: str, retry_after: float | None) -> None:
        data.draw(st.sampled_from(self.held)).throttled(name, retry_after)

    @rule()
    @precondition(lambda self: self.rig.mail)
    def turn(self) -> None:
        self.rig.turn()

    @rule()
    @precondition(lambda self: self.rig.mail)
    def turn_all(self) -> None:
        self.rig.drain()

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 7.0, 61.0]))
    def advance(self, seconds: float) -> None:
        end = self.clock() + seconds
        while True:
            self.rig.drain()
            upto = min(end, self.clock() + TICK)
            while (ring := self.alarms.until(upto)) is not None:
                ring()
                self.rig.drain()
            self.clock.now = upto
            self.rig.tell(Tick())
            self.rig.drain()
            if upto >= end:
                return

    @rule(losing=st.booleans())
    def crash(self, losing: bool) -> None:
        self.rig.crash(losing=losing)
        self.after(None)

    # -- what must hold

    @invariant()
    def in_flight_is_what_is_held_or_on_its_way_back(self) -> None:
        counted = set(self.books.permits)
        assert counted >= set(self.held)
        assert all(permit.released for permit in counted - set(self.held))
        for key in "xyz":
            here = [permit for permit in counted if permit.key == key]
            assert self.books.permits.count(key) == len(here) <= (self.limits.concurrent or 0)

    @invariant()
    def the_minute_is_what_the_permits_say(self) -> None:
        for book in self.books.upstreams.values():
            charged = [permit for permit in self.permits if permit.book is book and permit.bucket.live]
            requests = sum(permit not in self.unused for permit in charged)
            earlier = [bucket for bucket in self.earlier if bucket.live and bucket in book.window._buckets]
            assert book.window.requests == requests + len(earlier)
            assert book.window.tokens == sum(permit.tokens for permit in charged) >= 0
            assert (book.name in self.books.bounded) == book.limited
            assert 0.25 <= book.ratio <= 4.0

    @invariant()
    def nobody_waits_longer_than_its_patience_and_a_tick(self) -> None:
        if not self.rig.mail:
            late = [asked for asked in self.asked if asked.reply.open and self.clock() > asked.until + 2 * TICK]
            assert late == []

    @invariant()
    def who_waits_stands_in_one_place(self) -> None:
        room = self.books.room
        standing = [w for gate in room.gates.values() for w in gate] + [w for line in room.lines.values() for w in line]
        assert room.size == len(standing)
        assert {waiter.reply for waiter in standing if not waiter.gone} == set(room.places)
        assert set(room.places) <= set(self.books.until)

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        self.rig.drain()
        while self.asked or self.held:
            for permit in self.held:
                permit.release()
            self.held.clear()
            self.advance(61.0)
        self.advance(700.0)  # every pause and debt is over
        assert self.asked == []
        assert self.held == []
        end = self.books.statistics()
        assert (end.in_flight, end.waiting, end.keys, end.cost_reserved, end.permits_lost) == (0, 0, 0, 0, 0)
        assert self.books.room.size == 0
        assert [(up.requests, up.tokens, up.pause) for up in end.upstreams] == [(0, 0, 0)] * len(end.upstreams)


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
