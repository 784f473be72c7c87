"""The limiter where somebody allots: what a process may begin before it is told, and after nobody tells any more."""

from __future__ import annotations

import pytest

from actors import Admit, Limits, Permit, RateBooks, RateLimiterActor, Tick
from actors.rate_messages import Allot, Book, Claim, Demand, RateLimited, Sharing, UpstreamLimits
from actors.testing import ManualClock, Rig

MANY = 1000
LIMITS = {
    Book.CALLERS: Limits(requests_per_minute=60, processes=2),
    Book.UPSTREAMS: Limits(upstream=UpstreamLimits(requests=60, burst=MANY), processes=2),
}
KEYS = {Book.CALLERS: "caller", Book.UPSTREAMS: "upstream"}
EACH_BOOK = pytest.mark.parametrize("book", list(Book))


class Process:
    """One of two that share the limits of ``book``."""

    def __init__(self, book: Book, limits: Limits | None = None) -> None:
        self.book, self.clock, self.books = book, ManualClock(1000.0), RateBooks()
        found = limits or LIMITS[book]
        self.rig: Rig[object] = Rig(lambda: RateLimiterActor(found, self.books, self.clock), self.clock)  # type: ignore[arg-type,return-value]
        self.books.upstream("upstream")
        self.permits: list[Permit] = []

    def tell(self, message: object) -> None:
        self.rig.tell(message)
        self.rig.drain()

    def allot(self, requests: float | None, seconds: float = 2.5, tokens: float | None = None) -> None:
        self.tell(Allot(self.book, KEYS[self.book], seconds, requests, tokens))

    def ask(self, count: int = 1, tokens: int = 0, patience: float = 0.0) -> int:
        """How many of so many are admitted at once."""
        replies = [self.rig.ask(Admit("caller", tokens, ("upstream",), patience)) for _ in range(count)]
        self.rig.drain()
        granted = [reply.value for reply in replies if reply.answered and reply.error is None]
        self.permits += granted
        return len(granted)

    def refusal(self) -> float:
        """In how many seconds one more may begin."""
        reply = self.rig.ask(Admit("caller", 0, ("upstream",)))
        self.rig.drain()
        assert isinstance(reply.error, RateLimited)
        return reply.error.retry_after

    def claim(self) -> Claim | None:
        reply = self.rig.ask(Demand())
        self.rig.drain()
        return next((claim for claim in reply.value if claim.book is self.book), None)


@EACH_BOOK
def test_without_anybody_who_allots_each_has_its_even_part(book: Book) -> None:
    assert Process(book).ask(MANY) == 30


@EACH_BOOK
def test_where_somebody_allots_the_first_request_of_a_key_goes_and_the_next_wait(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    assert process.ask(10) == 1
    claim = process.claim()
    assert claim is not None
    assert (claim.key, claim.requests, claim.waiting, claim.limit_requests) == (KEYS[book], 1, 1, 60)
    process.allot(40)
    assert process.ask(MANY) == 40  # more than its even part


@EACH_BOOK
def test_who_waits_is_admitted_by_the_allotment(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    assert process.ask(5, patience=10.0) == 1
    claim = process.claim()
    assert claim is not None
    assert (claim.requests, claim.waiting) == (1, 4)
    process.allot(3)
    assert len(process.books.permits) == 1 + 3


@EACH_BOOK
def test_what_began_since_the_claim_is_a_part_of_the_allotment(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    process.allot(10)
    assert process.ask(4) == 4
    process.claim()
    assert process.ask(3) == 3  # while the store is asked
    process.allot(5)
    assert process.ask(MANY) == 2


@EACH_BOOK
def test_nothing_allotted_is_nothing_for_as_long_as_it_was_said(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    process.allot(0, seconds=50.0)
    process.clock.advance(20.0)
    process.claim()  # nothing is in use, and it is not forgotten
    assert process.refusal() == pytest.approx(30.0)
    assert (process.claim() or pytest.fail("a refusal is a claim")).waiting == 1
    process.clock.advance(31.0)
    assert process.ask(10) == 1


@EACH_BOOK
def test_when_the_store_goes_the_even_part_is_left_at_once(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    process.allot(0, seconds=50.0)
    assert process.ask() == 0
    process.tell(Sharing(on=False))
    assert process.ask(MANY) == 30
    process.tell(Sharing(on=True))
    process.clock.advance(60.0)
    assert process.ask(10) == 1


@EACH_BOOK
def test_what_is_given_back_is_claimed_as_such(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    process.allot(10)
    assert process.ask(4) == 4
    process.claim()
    for permit in process.permits[:3]:
        permit.release()
    process.rig.drain()
    claim = process.claim()
    assert claim is not None
    assert claim.requests == -3
    assert process.ask(MANY) == 6 + 3


def test_what_is_given_back_too_late_for_its_minute_is_not() -> None:
    process = Process(Book.UPSTREAMS, Limits(upstream=UpstreamLimits(tokens=6000), processes=2))
    process.tell(Sharing(on=True))
    process.allot(None, tokens=6000)
    assert process.ask(1, tokens=1000) == 1
    process.claim()
    process.clock.advance(70.0)
    process.tell(Tick())
    [permit] = process.permits
    permit.settle(10)
    process.rig.drain()
    assert process.claim() is None


def test_a_pause_is_no_limit_that_could_be_short() -> None:
    process = Process(Book.UPSTREAMS, Limits(upstream=UpstreamLimits(adaptive=False), processes=2))
    process.tell(Sharing(on=True))
    assert process.ask() == 1
    process.permits[0].throttled("upstream", 5.0)
    process.rig.drain()
    process.clock.advance(6.0)
    assert process.ask(10) == 10


def test_requests_at_once_are_one_until_more_are_allotted() -> None:
    process = Process(Book.CALLERS, Limits(concurrent=8, processes=2))
    process.tell(Sharing(on=True))
    assert process.ask(9) == 1
    process.tell(Allot(Book.CALLERS, "caller", 2.5, concurrent=6))
    assert process.ask(9) == 5
    claim = process.claim()
    assert claim is not None
    assert (claim.in_flight, claim.limit_concurrent) == (6, 8)


@EACH_BOOK
def test_a_crash_loses_no_allotment(book: Book) -> None:
    process = Process(book)
    process.tell(Sharing(on=True))
    process.allot(10)
    assert process.ask(4) == 4
    process.rig.crash()
    assert process.ask(MANY) == 6
