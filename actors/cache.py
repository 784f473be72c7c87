"""Values that are kept, and single flight: of the askers of one key at a time, one makes the call and the others share
its value.

Rule: a key in flight has exactly one living :class:`Lead`, and a follower is always answered: with the lead's value,
with the lead itself when the one before gave up, or with :class:`Miss` (go on alone) when there is no room to wait.
A value is kept only if whoever made it says how large it is.
"""

from __future__ import annotations

from collections import OrderedDict

from actors.cache_books import CacheBooks
from actors.cache_messages import Abandon, Bad, Clear, Hit, Keep, Lead, Lookup, Miss, Popular, Store
from actors.kernel import Actor, Clock, Reply
from actors.messages import Tick
from actors.stream_table import Join

Message = Lookup | Store | Abandon | Keep | Bad | Popular | Clear | Join | Tick


class CacheActor(Actor[Message]):
    """Keeps values, and the followers of each key in flight, in the order they came."""

    def __init__(self, books: CacheBooks, clock: Clock) -> None:
        self._books, self._clock = books, clock
        self._followers: dict[bytes, OrderedDict[Reply, Lookup]] = {}

    def started(self) -> None:
        self._books.leads.prune()
        self._books.renew()

    def handle(self, message: Message, reply: Reply) -> None:
        match message:
            case Lookup():
                self._lookup(message, reply)
            case Store(lead):
                self._books.leads.discard(lead)
                self._store(message)
            case Abandon(lead):
                self._books.leads.discard(lead)
                self._promote(lead.key)
            case Keep():
                self._put(message.key, message, message.size)
            case Bad():
                self._bad(self._clock())
            case Popular(uses, most):
                reply.ok(self._books.shelf.popular(uses, most))
            case Clear():
                self._books.forget(self._clock())
                self._books.renew()
                reply.ok()
            case Join():
                self._books.streams.join(message, self.ref, reply, self._clock())
            case Tick():
                self._sweep(self._clock())

    # -- kept values

    def _put(self, key: bytes, made: Store | Keep, size: int) -> None:
        books = self._books
        if books.shelf.put(key, made.value, size, self._clock(), made.age):
            books.breaker.succeeded()

    def _bad(self, now: float) -> None:
        books = self._books
        books.bad += 1
        books.breaker.failed(now)
        books.shelf.shut_until = books.breaker.open_until

    def _miss(self, query: Lookup, reply: Reply) -> bool:
        return reply.ok(Miss(self._missed(query, self._clock())))

    def _missed(self, query: Lookup, now: float) -> bool:
        """Count it; whether what is made instead may be kept."""
        is_open = now >= self._books.shelf.shut_until
        self._books.misses += query.look and is_open
        return is_open

    # -- calls under way

    def _lookup(self, query: Lookup, reply: Reply) -> None:
        books, key = self._books, query.key
        if query.look and (kept := books.shelf.find(key, now := self._clock())) is not None:
            reply.ok(Hit(kept.value, shared=False, age=now - kept.stored_at, kept=kept))
            return
        if not query.join:
            self._miss(query, reply)
            return
        if not books.leads.count(key):
            if len(books.leads) < books.max_keys:
                books.led += self._lead(query, reply)
            else:
                books.alone += self._miss(query, reply)
            return
        line = self._followers.setdefault(key, OrderedDict())
        if len(line) < books.max_followers:
            line[reply] = query
        else:
            books.alone += self._miss(query, reply)

    def _lead(self, query: Lookup, reply: Reply) -> bool:
        leads, now = self._books.leads, self._clock()
        lead = leads.add(Lead(query.key, self.ref), now)
        if granted := reply.ok(lead):
            lead.open = self._missed(query, now)
        else:
            leads.discard(lead)
        return granted

    def _store(self, made: Store) -> None:
        books, key = self._books, made.lead.key
        if made.size is not None:
            began = made.lead.expires_at - books.leads.ttl
            # What was cleared, or asked for anew, meanwhile must not come back.
            if began >= books.since and began >= books.shelf.stored_at(key):
                self._put(key, made, made.size)
        # Also for a lead that a restart pruned: its value is as good for those who follow the next one.
        for follower in self._followers.pop(key, ()):
            books.shared += follower.ok(Hit(made.value))

    def _promote(self, key: bytes) -> None:
        """Give a key without a lead to the first of its followers who is still there."""
        now, line = self._clock(), self._followers.get(key)
        if line is None or self._books.leads.count(key):
            return
        while line:
            follower, query = line.popitem(last=False)
            if not follower.wanted(now):
                self._books.alone += self._miss(query, follower)
            elif self._lead(query, follower):
                self._books.promoted += 1
                break
        if not line:
            del self._followers[key]

    def _sweep(self, now: float) -> None:
        self._books.shelf.sweep(now)
        self._books.streams.sweep(now)
        for lead in self._books.leads.sweep(now):
            self._promote(lead.key)
        for key, line in list(self._followers.items()):
            for follower in [follower for follower in line if not follower.wanted(now)]:
                self._books.alone += self._miss(line.pop(follower), follower)
            if not line:
                del self._followers[key]
