"""Requests whose answers are kept, by their bytes.

Rule: it only remembers.  A request that came byte for byte before, its head too, has passed every check that depends on
nothing else, so where its answer is still kept that is given at once: without reading, translating or asking an actor
(the rest of what a hit costs is Sanic's).  What is held of requests, credentials too, never leaves it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from typing import Any, Final, NamedTuple

import msgspec

from ccproxy_sanic.context import RequestContext, lines_of, new_id
from ccproxy_sanic.relay import JSON_LINES, Whole

MOST: Final = 1_000  # requests
LARGEST: Final = 16 << 10  # bytes of one, head and body: a larger one costs enough to be read that this would not show


class KnownStatistics(msgspec.Struct, frozen=True):
    """``asked``: requests that were looked for, which are those that are not too large."""

    requests: int
    most: int
    asked: int
    hits: int


class _Seen(NamedTuple):
    """``kept`` is the cache's handle to the answer; ``event`` is what is told of each such request, but for its id and
    time; ``lines`` are those of its answer, with a place for the age."""

    kept: Any
    event: Any
    lines: bytes


class Known:
    """At most ``most`` requests; 0: none, every request goes the whole way.  ``event_of`` says what is told of one."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float],
        timer: Callable[[], float],
        event_of: Callable[[RequestContext], Any],
    ) -> None:
        self._most, self._clock, self._timer, self._event_of = most, clock, timer, event_of
        # Python's own hash is salted, and an equal hash is followed by a look at all bytes: a digest that could stand
        # for them costs six times as much.  The first noted stands first.
        self._seen: OrderedDict[tuple[bytes, bytes], _Seen] = OrderedDict()
        self._asked = self._hits = 0

    def __repr__(self) -> str:
        return f"<Known {len(self._seen)}/{self._most} requests>"

    def statistics(self) -> KnownStatistics:
        return KnownStatistics(len(self._seen), self._most, self._asked, self._hits)

    def find(self, head: bytes, body: bytes) -> tuple[Any, Whole] | None:
        """What is to be told of the request, and its answer."""
        if not self._seen or len(body) > LARGEST:
            return None
        self._asked += 1
        seen = self._seen.get((head, body))
        if seen is None:
            return None
        began, now = self._timer(), self._clock()
        kept, known, lines = seen
        if not kept.use(now):
            del self._seen[head, body]
            return None
        self._hits += 1
        request_id = new_id("req_")
        event = known.__copy__()  # a quarter of the time of a new one; every struct of msgspec has it
        event.request_id = request_id
        event.duration_s = self._timer() - began
        return event, Whole(200, request_id, lines % int(now - kept.stored_at), kept.value.message)

    def note(self, head: bytes, body: bytes, ctx: RequestContext) -> None:
        """``ctx`` is of a request that was answered with what is kept, and has come to its end."""
        if not self._most or ctx.kept is None or len(head) + len(body) > LARGEST:
            return
        if (head, body) not in self._seen and len(self._seen) >= self._most:
            self._seen.popitem(last=False)
        known = copy(ctx)
        known.queue_s = known.translate_s = 0.0
        known.bytes_out = len(ctx.kept.value.message)
        self._seen[head, body] = _Seen(ctx.kept, self._event_of(known), _lines(known))

    def clear(self) -> None:
        self._seen.clear()
        self._asked = self._hits = 0


def _lines(ctx: RequestContext) -> bytes:
    """The lines of a hit's answer, with a place for its age."""
    told = ctx.account({})
    del told["x-ccproxy-cache"]
    lines = (ctx.timing() + lines_of(told)).replace(b"%", b"%%")
    return lines + b"x-ccproxy-cache: hit; age=%d\r\n" + JSON_LINES
