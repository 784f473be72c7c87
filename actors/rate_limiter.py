"""Who may begin, and when: requests per minute and at once per caller, requests and tokens per minute per upstream.

Rule: a refusal costs nothing.  Only a granted :class:`Permit` is charged, to both books at once, and every refusal says
when to return.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.kernel import Actor, Clock, Reply
from actors.messages import Tick
from actors.rate_books import RateBooks, RateStatistics
from actors.rate_messages import (
    Admit,
    Allot,
    Book,
    Budget,
    Claim,
    Demand,
    Kind,
    Limits,
    Permit,
    RateLimited,
    Settle,
    Sharing,
    Throttled,
    Unused,
    UpstreamLimits,
    Used,
    Wake,
)
from actors.rate_turns import Alarm, Bell, Turns
from actors.rate_upstreams import UpstreamStatistics

__all__ = [
    "Admit",
    "Allot",
    "Book",
    "Budget",
    "Claim",
    "Demand",
    "Kind",
    "Limits",
    "Permit",
    "RateBooks",
    "RateLimited",
    "RateLimiterActor",
    "RateStatistics",
    "Settle",
    "Sharing",
    "Throttled",
    "Unused",
    "UpstreamLimits",
    "UpstreamStatistics",
    "Used",
    "Wake",
]

Messages = Admit | Settle | Unused | Used | Throttled | Allot | Demand | Sharing | Wake | Tick


def _no_alarm(seconds: float, ring: Callable[[], object]) -> None:
    """Ticks alone have to do."""


class RateLimiterActor(Actor[Messages]):
    """Admits, keeps a question for its turn, or refuses with the seconds to wait.

    ``alarm`` calls back after so many seconds (the loop's ``call_later``): who waits is woken when its turn is due, and
    not at the next tick.  Only used while somebody waits.
    """

    def __init__(self, limits: Limits, books: RateBooks, clock: Clock, alarm: Alarm = _no_alarm) -> None:
        self._books, self._clock = books, clock
        books.limit(limits)
        self._turns = Turns(books, self, Bell(alarm, self._ring), counts=limits.upstream.enabled)

    def started(self) -> None:
        self._books.permits.prune()
        self._books.room.clear()  # those who stood there are delivered again

    def handle(self, message: Messages, reply: Reply) -> None:
        # The two of every request: a class in a `match` costs five times as much, and so does each one before it.
        if type(message) is Admit:
            self._turns.admit(message, reply, self._clock())
            return
        if type(message) is Settle:
            self._settle(message)
            return
        match message:
            case Unused(permit):
                self._unused(permit, self._clock())
            case Used():
                self._used(message, self._clock())
            case Throttled():
                self._throttled(message, self._clock())
            case Wake():
                now = self._clock()
                if now >= self._turns.bell.due:
                    self._turns.wake(now)
            case Tick():
                self._sweep(self._clock())
            case Allot():
                self._allot(message, self._clock())
            case Demand():
                reply.ok(self._books.claims(self._clock()))
            case Sharing(on):
                self._books.allots(on)
                self._turns.wake(self._clock())

    def _ring(self) -> None:
        self.ref.tell(Wake(), urgent=True)

    # -- what comes back

    def _settle(self, note: Settle) -> None:
        books, permit, actual = self._books, note.permit, note.actual
        books.permits.discard(permit)
        book = permit.book
        if actual is not None:
            books.cost_settled += actual
            if book is not None:
                book.settle(permit, actual)
                if actual and note.succeeded:
                    book.learn(permit.cost, actual)
        if book is not None and note.succeeded and books.bounded and book.succeeded():
            books.note_bounds(book)
        if books.room.size:
            self._turns.freed(permit.key, book, self._clock())

    def _unused(self, permit: Permit, now: float) -> None:
        books, book = self._books, permit.book
        books.permits.discard(permit)
        self._books.callers.give_back(permit, now)
        if book is not None:
            book.give_back(permit, 1, now)
        if books.room.size:
            self._turns.freed(permit.key, book, now)

    def _used(self, note: Used, now: float) -> None:
        books, permit, old = self._books, note.permit, note.permit.book
        if old is None:
            return
        # A call that failed has used none of the tokens; one that was not made was no request either.
        old.give_back(permit, int(note.moved), now)
        books.number += 1
        books.upstream(note.upstream).charge(permit, books.number, now)
        if old.name in books.room.lines:
            self._turns.serve(old.name, now)

    def _throttled(self, note: Throttled, now: float) -> None:
        books = self._books
        book = books.upstream(note.upstream)
        if not book.complained(note.permit, books.number, note.retry_after, now):
            return
        books.note_bounds(book)
        books.seen = now  # else what is left of the pause is counted from the last tick
        for waiter in books.room.cleared(book.name):  # their turn is later now, or elsewhere, or never
            self._turns.again(waiter, now)

    # -- what time does

    def _sweep(self, now: float) -> None:
        books = self._books
        for permit in books.permits.sweep(now):
            self._turns.freed(permit.key, permit.book, now)
        books.sweep(now)
        if books.until or books.room.size:
            self._turns.wake(now)
            for reply, until in list(books.until.items()):
                if now >= until or not reply.wanted(now):
                    self._turns.expire(reply, now)
            books.room.sweep()

    # -- several processes

    def _allot(self, note: Allot, now: float) -> None:
        self._books.share()
        if note.book is Book.CALLERS:
            self._books.callers.tally(note.key).allot(note, now)
            self._turns.freed(note.key, None, now)
        elif (book := self._books.upstreams.get(note.key)) is not None and book.tally is not None:
            book.tally.allot(note, now)
            self._turns.freed("", book, now)
