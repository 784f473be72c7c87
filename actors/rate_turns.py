"""Whose turn it is: who is admitted now, who waits where, and who is told to come back.

Rule: all that decides over one question is decided at once, and only a grant changes a book.  Nobody passes anybody who
waits for the same thing, and nobody waits longer than its patience.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from actors.kernel import Mailbox, Reply
from actors.letters import INFINITY
from actors.rate_books import RateBooks
from actors.rate_messages import NOBODY, Admit, Permit, RateLimited
from actors.rate_queue import Waiter
from actors.rate_upstreams import Upstream
from actors.rate_window import ROUNDING

# Nobody knows when a request in flight ends; a second is long enough not to be hammered.
RETRY_CONCURRENT: Final = 1.0
NAP: Final = 0.02  # seconds between two wakings at least, however much is due
LATE: Final = 0.002  # seconds an alarm is set later: a loop's clock moves in ms, and one too early would be for nothing
CATCH_UP: Final = 0.1  # seconds that one who waited may be woken late without the pace of those behind it suffering

Alarm = Callable[[float, Callable[[], object]], object]


class Host(Protocol):
    """Whoever takes permits back: known only after it is made."""

    ref: Mailbox


class Bell:
    """Rings when the next thing is due, and only then: an alarm that an earlier one has overtaken is not answered."""

    __slots__ = ("_alarm", "_ring", "due")

    def __init__(self, alarm: Alarm, ring: Callable[[], object]) -> None:
        self._alarm, self._ring = alarm, ring
        self.due = INFINITY

    def ring_in(self, seconds: float, now: float) -> None:
        seconds = max(NAP, seconds) + LATE
        if now + seconds < self.due:
            self.due = now + seconds - LATE
            self._alarm(seconds, self._ring)

    def rang(self, now: float) -> None:
        if now >= self.due:
            self.due = INFINITY


class Turns:
    """``counts``: whether there are limits of upstreams; those of callers are in the books already."""

    __slots__ = ("_books", "_callers", "_counts", "_host", "_limited", "bell")

    def __init__(self, books: RateBooks, host: Host, bell: Bell, *, counts: bool) -> None:
        self._books, self._host, self.bell = books, host, bell
        self._callers, self._counts = books.callers, counts
        self._limited = self._callers.limited

    def admit(self, query: Admit, reply: Reply, now: float) -> None:
        books = self._books
        if self._limited and not self._passes(query.key, now):
            self._at_gate(query, reply, self._until(query, reply, now), now)
            return
        names = query.upstreams
        if not names or not self._counts:
            self._grant(query, reply, None, NOBODY, now)
        elif (book := books.upstreams.get(names[0])) is not None and (
            not books.bounded or (len(names) == 1 and not self._wait_at(book, query, now))
        ):
            self._grant(query, reply, book, NOBODY, now)  # as _place would, which costs a third more
        else:
            self._place(query, reply, self._until(query, reply, now), now)

    def _until(self, query: Admit, reply: Reply, now: float) -> float:
        """When its patience ends."""
        known = self._books.until.get(reply)  # delivered again
        return min(now + query.patience, reply.deadline) if known is None else known

    def _passes(self, key: str, now: float) -> bool:
        """Whether its own limits let a new request of ``key`` through, and nobody stands before it."""
        if key in self._books.room.gates:
            self.open_gate(key, now)
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
            self.bell.ring_in(min(wait or INFINITY, until - now), now)
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
                self.serve(name, now)  # or it would wait behind those whose turn has come
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
            self.bell.ring_in(min(soonest, until - now), now)
        else:
            self._refuse_at(line, soonest, reply, now)

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
        permit = books.permits.add(Permit(query.key, self._host.ref), now)
        permit.cost, permit.barred, permit.called = query.cost, barred, False
        permit.left = permit.arrival = permit.book = None
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
        self._refuse_at(book, wait, reply, now)

    def _refuse_at(self, book: Upstream, wait: float, reply: Reply, now: float) -> None:
        self._books.until.pop(reply, None)
        error = RateLimited(wait, f"{book.name} takes no more requests for now", book.name, book.budgets(now))
        self._books.refused_upstream += reply.fail(error)

    def again(self, waiter: Waiter, now: float) -> None:
        """Ask anew for somebody who has waited, within what is left of its patience."""
        if not waiter.reply.wanted(now):
            self._books.until.pop(waiter.reply, None)
        elif self._limited and not self._passes(waiter.query.key, now):
            self._at_gate(waiter.query, waiter.reply, waiter.until, now)
        else:
            self._place(waiter.query, waiter.reply, waiter.until, now)

    # -- those who wait

    def freed(self, key: str, book: Upstream | None, now: float) -> None:
        room = self._books.room
        if key in room.gates:
            self.open_gate(key, now)
        if book is not None and book.name in room.lines:
            self.serve(book.name, now)

    def open_gate(self, key: str, now: float) -> None:
        """Let those through whom their caller's limits let through."""
        room = self._books.room
        while (waiter := room.first_of_gate(key)) is not None:
            if not waiter.reply.wanted(now):
                self._dismiss(waiter, now)
            elif not self._has_room(key, now):
                if wait := self._callers.wait(key, now):
                    self.bell.ring_in(wait, now)
                return
            else:
                room.from_gate(key)
                if waiter.query.upstreams and self._counts:
                    self._place(waiter.query, waiter.reply, waiter.until, now)
                else:
                    self._grant(waiter.query, waiter.reply, None, NOBODY, now)

    def serve(self, name: str, now: float) -> None:
        """Admit those of a line for whom there is room, in turn."""
        room, book = self._books.room, self._books.upstream(name)
        while (waiter := room.first_in_line(name)) is not None:
            key = waiter.query.key
            if not waiter.reply.wanted(now):
                self._dismiss(waiter, now)
            elif self._limited and not self._has_room(key, now):
                room.back_to_gate(name, key)
                if wait := self._callers.wait(key, now):
                    self.bell.ring_in(wait, now)
            elif wait := book.wait(book.estimate(waiter.query.cost), now):
                self.bell.ring_in(wait, now)
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

    def wake(self, now: float) -> None:
        """Do all that is due, and set the alarm for what is due next."""
        books, room = self._books, self._books.room
        self.bell.rang(now)
        for key in list(room.gates):
            self.open_gate(key, now)
        for name in list(room.lines):
            self.serve(name, now)
        while books.until:  # after the turns: one that comes at the end of its patience comes in time
            reply, until = next(iter(books.until.items()))
            if now < until and reply.wanted(now):
                self.bell.ring_in(until - now, now)
                break
            self.expire(reply, now)

    def expire(self, reply: Reply, now: float) -> None:
        if (waiter := self._books.room.places.get(reply)) is not None:
            self._dismiss(waiter, now)
        else:
            self._books.until.pop(reply, None)  # left before it could be delivered again
