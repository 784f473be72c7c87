"""Who may begin, and when: requests per minute and at once per caller, requests and tokens per minute per upstream.

Rule: a refusal costs nothing.  Only a granted :class:`Permit` is charged, to both books at once, and every refusal says
when to return.  Nobody passes anybody who waits for the same thing, and nobody waits longer than its patience.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.kernel import INFINITY, Actor, Clock, Reply
from actors.messages import Tick
from actors.rate_books import RateBooks, RateStatistics
from actors.rate_messages import (
    NOBODY,
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
from actors.rate_queue import Waiter
from actors.rate_upstreams import Upstream, UpstreamStatistics
from actors.rate_window import ROUNDING

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

# Nobody knows when a request in flight ends; a second is long enough not to be hammered.
RETRY_CONCURRENT: Final = 1.0
NAP: Final = 0.02  # seconds between two wakings at least, however much is due
LATE: Final = 0.002  # seconds an alarm is set later: a loop's clock moves in ms, and one too early would be for nothing
CATCH_UP: Final = 0.1  # seconds that one who waited may be woken late without the pace of those behind it suffering

Messages = Admit | Settle | Unused | Used | Throttled | Allot | Demand | Sharing | Wake | Tick
Alarm = Callable[[float, Callable[[], object]], object]


def _no_alarm(seconds: float, ring: Callable[[], object]) -> None:
    """Ticks alone have to do."""


class RateLimiterActor(Actor[Messages]):
    """Admits, keeps a question for its turn, or refuses with the seconds to wait.

    ``alarm`` calls back after so many seconds (the loop's ``call_later``): who waits is woken when its turn is due, and
    not at the next tick.  Only used while somebody waits.
    """

    def __init__(self, limits: Limits, books: RateBooks, clock: Clock, alarm: Alarm = _no_alarm) -> None:
        self._books, self._clock, self._alarm = books, clock, alarm
        self._callers, self._counts = books.callers, limits.upstream.enabled
        self._due = INFINITY  # when the next alarm rings
        books.limit(limits)
        self._limited = self._callers.limited

    def started(self) -> None:
        self._books.permits.prune()
        self._books.room.clear()  # those who stood there are delivered again

    def handle(self, message: Messages, reply: Reply) -> None:
        match message:
            case Admit():
                self._admit(message, reply, self._clock())
            case Settle():
                self._settle(message)
            case Unused(permit):
                self._unused(permit, self._clock())
            case Used():
                self._used(message, self._clock())
            case Throttled():
                self._throttled(message, self._clock())
            case Wake():
                now = self._clock()
                if now >= self._due:  # else this alarm was overtaken by an earlier one
                    self._wake(now)
            case Tick():
                self._sweep(self._clock())
            case Allot():
                self._allot(message, self._clock())
            case Demand():
                reply.ok(self._claims())
            case Sharing(on):
                self._books.allots(on)
                self._wake(self._clock())

    # -- questions

    def _admit(self, query: Admit, reply: Reply, now: float) -> None:
        books = self._books
        if self._limited and not self._passes(query.key, now):
            self._at_gate(query, reply, self._until(query, reply, now), now)
            return
        names = query.upstreams
        if not names or not self._counts:
            self._grant(query, reply, None, NOBODY, now)
        elif not books.bounded and (book := books.upstreams.get(names[0])) is not None:
            self._grant(query, reply, book, NOBODY, now)
        else:
            self._place(query, reply, self._until(query, reply, now), now)

    def _until(self, query: Admit, reply: Reply, now: float) -> float:
        """When its patience ends."""
        known = self._books.until.get(reply)  # delivered again
        return min(now + query.patience, reply.deadline) if known is None else known

    def _passes(self, key: str, now: float) -> bool:
        """Whether its own limits let a new request of ``key`` through, and nobody stands before it."""
        if key in self._books.room.gates:
            self._open_gate(key, now)
            if key in self._books.room.gates:
                return False
        return self._has_room(key, now)

    def _is_full(self, key: str, now: float) -> bool:
        most = self._callers.concurrent(key, now)
        return most is not None and self._books.permits.count(key) >= most

    def _has_room(self, key: str, now: float) -> bool:
        return not self._is_full(key, now) and not self._callers.wait(key, now)

    def _at_gate(self, query: Admit, reply: Reply, until: float, now: float) -> None:
        books, room, key = self._books, self._books.room, query.key
        wait = self._callers.wait(key, now, room.at_gate_of(key))
        if now < until and now + wait <= until + ROUNDING and room.has_place(key):
            books.until[reply] = until
            room.at_gate(Waiter(query, reply, until))
            self._ring_in(min(wait or INFINITY, until - now), now)
        else:
            self._refuse(query, reply, now)

    def _place(self, query: Admit, reply: Reply, until: float, now: float) -> None:
        """Grant it at the first upstream with room, else let it wait for the one that has room soonest, or refuse."""
        books, room, key = self._books, self._books.room, query.key
        chosen: Upstream | None = None
        barred: list[str] = []
        soonest, line = INFINITY, books.upstream(query.upstreams[0])
        for name in query.upstreams:
            book = books.upstream(name)
            if name in room.lines:
                self._serve(name, now)  # or it would wait behind those whose turn has come
            if not (wait := self._wait_at(book, query, now)):
                chosen = chosen or book
                continue
            barred.append(name)
            if wait < soonest:
                soonest, line = wait, book
        if chosen is not None:
            self._grant(query, reply, chosen, frozenset(barred), now)
        elif now + soonest <= until + ROUNDING and room.has_place(key):
            books.until[reply] = until
            room.in_line(line.name, Waiter(query, reply, until, line.estimate(query.cost)))
            self._ring_in(min(soonest, until - now), now)
        else:
            self._refuse(query, reply, now)

    def _wait_at(self, book: Upstream, query: Admit, now: float) -> float:
        """Seconds until it would be its turn there; 0: now."""
        if not book.limited:
            return 0.0
        tokens = book.estimate(query.cost)
        if (line := self._books.room.lines.get(book.name)) is not None:
            return max(NAP, book.wait(tokens, now, *line.ahead(query.key)))
        return book.wait(tokens, now)

    def _grant(self, query: Admit, reply: Reply, book: Upstream | None, barred: frozenset[str], now: float) -> None:
        books = self._books
        permit = books.permits.add(Permit(query.key, query.cost, self.ref), now)
        if barred:
            permit.barred = barred
        late = 0.0
        if books.until and books.until.pop(reply, None) is not None:
            late = CATCH_UP
        if not reply.ok(permit):
            books.permits.discard(permit)
            return
        books.admitted += 1
        if late:
            books.waited += 1
        if self._limited:
            self._callers.charge(permit, now)
        if book is not None:
            books.number += 1
            book.charge(permit, books.number, now, late)

    def _refuse(self, query: Admit, reply: Reply, now: float) -> None:
        books, key = self._books, query.key
        books.until.pop(reply, None)
        full, behind = self._is_full(key, now), books.room.at_gate_of(key)
        wait = self._callers.wait(key, now, behind)
        if full or behind or wait or not query.upstreams:
            reason = "too many requests at once" if full else "too many requests per minute"
            budgets = self._callers.budgets(key, now)
            if reply.fail(RateLimited(max(wait, RETRY_CONCURRENT) if full else wait, reason, budgets=budgets)):
                books.refused_concurrent += full
                books.refused_rate += not full
            return
        waits = [(self._wait_at(book, query, now), book) for book in map(books.upstream, query.upstreams)]
        wait, book = min(waits, key=lambda pair: pair[0])
        error = RateLimited(wait, f"{book.name} takes no more requests for now", book.name, book.budgets(now))
        books.refused_upstream += reply.fail(error)

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
        if book is not None and note.succeeded and books.bounded:
            book.succeeded()
            books.note_bounds(book)
        if books.room.size:
            self._freed(permit.key, book, self._clock())

    def _unused(self, permit: Permit, now: float) -> None:
        books, book = self._books, permit.book
        books.permits.discard(permit)
        self._callers.give_back(permit, now)
        if book is not None:
            book.give_back(permit, 1, now)
        if books.room.size:
            self._freed(permit.key, book, now)

    def _used(self, note: Used, now: float) -> None:
        books, permit, old = self._books, note.permit, note.permit.book
        if old is None:
            return
        # A call that failed has used none of the tokens; one that was not made was no request either.
        old.give_back(permit, int(note.moved), now)
        books.number += 1
        books.upstream(note.upstream).charge(permit, books.number, now)
        if old.name in books.room.lines:
            self._serve(old.name, now)

    def _throttled(self, note: Throttled, now: float) -> None:
        books = self._books
        book = books.upstream(note.upstream)
        book.complained(note.permit.number, books.number, note.retry_after, now)
        books.note_bounds(book)
        for waiter in books.room.cleared(book.name):  # their turn is later now, or elsewhere, or never
            self._again(waiter, now)

    def _again(self, waiter: Waiter, now: float) -> None:
        """Ask anew for somebody who has waited, within what is left of its patience."""
        if waiter.reply.wanted(now):
            self._place(waiter.query, waiter.reply, waiter.until, now)
        else:
            self._books.until.pop(waiter.reply, None)

    # -- those who wait

    def _freed(self, key: str, book: Upstream | None, now: float) -> None:
        room = self._books.room
        if key in room.gates:
            self._open_gate(key, now)
        if book is not None and book.name in room.lines:
            self._serve(book.name, now)

    def _open_gate(self, key: str, now: float) -> None:
        """Let those through whom their caller's limits let through."""
        room = self._books.room
        while (waiter := room.first_of_gate(key)) is not None:
            if not waiter.reply.wanted(now):
                self._dismiss(waiter, now)
            elif not self._has_room(key, now):
                if wait := self._callers.wait(key, now):
                    self._ring_in(wait, now)
                return
            else:
                room.from_gate(key)
                if waiter.query.upstreams and self._counts:
                    self._place(waiter.query, waiter.reply, waiter.until, now)
                else:
                    self._grant(waiter.query, waiter.reply, None, NOBODY, now)

    def _serve(self, name: str, now: float) -> None:
        """Admit those of a line for whom there is room, in turn."""
        room, book = self._books.room, self._books.upstream(name)
        while (waiter := room.first_in_line(name)) is not None:
            key = waiter.query.key
            if not waiter.reply.wanted(now):
                self._dismiss(waiter, now)
            elif self._limited and not self._has_room(key, now):
                room.back_to_gate(name, key)
                if wait := self._callers.wait(key, now):
                    self._ring_in(wait, now)
            elif wait := book.wait(book.estimate(waiter.query.cost), now):
                self._ring_in(wait, now)
                return
            else:
                room.served(name)
                self._grant(waiter.query, waiter.reply, book, self._barred(waiter.query, book, now), now)

    def _barred(self, query: Admit, chosen: Upstream, now: float) -> frozenset[str]:
        """Which of its upstreams have no room."""
        books = [book for book in map(self._books.upstream, query.upstreams) if book is not chosen]
        lines = self._books.room.lines
        return frozenset(book.name for book in books if book.name in lines or book.wait(book.estimate(query.cost), now))

    def _dismiss(self, waiter: Waiter, now: float) -> None:
        """Its patience or its deadline is over, or it has left."""
        self._books.room.gone(waiter)
        self._refuse(waiter.query, waiter.reply, now)

    def _wake(self, now: float) -> None:
        """Do all that is due, and set the alarm for what is due next."""
        books, room = self._books, self._books.room
        if now >= self._due:
            self._due = INFINITY
        for key in list(room.gates):
            self._open_gate(key, now)
        for name in list(room.lines):
            self._serve(name, now)
        while books.until:  # after the turns: one that comes at the end of its patience comes in time
            reply, until = next(iter(books.until.items()))
            if now < until and reply.wanted(now):
                self._ring_in(until - now, now)
                break
            self._expire(reply, now)

    def _expire(self, reply: Reply, now: float) -> None:
        if (waiter := self._books.room.places.get(reply)) is not None:
            self._dismiss(waiter, now)
        else:
            self._books.until.pop(reply, None)  # left before it could be delivered again

    def _ring_in(self, seconds: float, now: float) -> None:
        seconds = max(NAP, seconds) + LATE
        if now + seconds < self._due:
            self._due = now + seconds - LATE
            self._alarm(seconds, self._ring)

    def _ring(self) -> None:
        self.ref.tell(Wake(), urgent=True)

    def _sweep(self, now: float) -> None:
        books = self._books
        for permit in books.permits.sweep(now):
            self._freed(permit.key, permit.book, now)
        books.sweep(now)
        if books.until or books.room.size:
            self._wake(now)
            for reply, until in list(books.until.items()):
                if now >= until or not reply.wanted(now):
                    self._expire(reply, now)
            books.room.sweep()

    # -- several processes

    def _allot(self, note: Allot, now: float) -> None:
        self._books.share()
        if note.book is Book.CALLERS:
            self._callers.tally(note.key).allot(note, now)
            self._freed(note.key, None, now)
        elif (book := self._books.upstreams.get(note.key)) is not None and book.tally is not None:
            book.tally.allot(note, now)
            self._freed("", book, now)

    def _claims(self) -> tuple[Claim, ...]:
        self._books.share()
        return self._books.claims(self._clock())
