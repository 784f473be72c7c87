"""Which streams run, so that an equal request finds the running one.

Rule: a key has at most one living :class:`StreamLead`, and nobody ever waits here.  Who asks first leads and hands in
the handle of its stream; who asks while it runs gets that handle.  What a handle is, only its users know.

As nobody waits, a lead is given back without a note, which saves a message with each stream: it is marked, and the
next question for its key, or the next tick, finds the mark.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import msgspec

from actors.kernel import Mailbox, Reply
from actors.lease import TIME_TO_LIVE, Lease, LeaseTable
from actors.messages import Query


class StreamLead(Lease):
    """Your stream is the one to be found.  Release the lead as soon as nobody may join the stream any more."""

    __slots__ = ("handle",)

    def __init__(self, key: Hashable, owner: Mailbox, handle: Any) -> None:
        super().__init__(key, owner)
        self.handle = handle

    def release(self) -> None:
        self.released, self.handle = True, None


class Following(msgspec.Struct, frozen=True):
    """Somebody's stream runs: read from its handle."""

    handle: Any


class Join(Query[StreamLead | Following | None], frozen=True):
    """The stream that runs for ``key``, else ``handle`` is it.  None: there is no room to note it, go on alone."""

    key: Hashable
    handle: Any


class StreamStatistics(msgspec.Struct, frozen=True):
    """Totals since the start, restarts included."""

    running: int
    led: int
    followed: int  # requests that were given a running stream
    alone: int  # there was no room to note them
    leads_lost: int


class StreamTable:
    """What survives a restart: the streams that may be joined, at most ``keys`` of them, and the totals.  ``ttl`` in
    seconds, above the longest that a stream may run."""

    def __init__(self, *, keys: int = 10_000, ttl: float = TIME_TO_LIVE) -> None:
        self.max_keys = keys
        self.leads: LeaseTable[StreamLead] = LeaseTable(ttl)
        self.led = self.followed = self.alone = 0
        self._found: dict[Hashable, StreamLead] = {}

    def __repr__(self) -> str:
        return f"<StreamTable running {self.running}, led {self.led}, followed {self.followed}>"

    @property
    def running(self) -> int:
        return sum(not lead.released for lead in self.leads)

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            running=self.running,
            led=self.led,
            followed=self.followed,
            alone=self.alone,
            leads_lost=self.leads.lost,
        )

    def join(self, message: Join, owner: Mailbox, reply: Reply, now: float) -> None:
        found = self._found.get(message.key)
        if found is not None and not found.released:
            self.followed += reply.ok(Following(found.handle))
            return
        if len(self.leads) >= self.max_keys:
            self._forget()
            if len(self.leads) >= self.max_keys:
                self.alone += reply.ok(None)
                return
        if found is not None:
            self.leads.discard(found)
        lead = self._found[message.key] = self.leads.add(StreamLead(message.key, owner, message.handle), now)
        if reply.ok(lead):
            self.led += 1
        else:
            lead.release()

    def sweep(self, now: float) -> None:
        self._forget()
        for lead in self.leads.sweep(now):
            del self._found[lead.key]

    def _forget(self) -> None:
        """Take out what has been given back."""
        for lead in [lead for lead in self.leads if lead.released]:
            self.leads.discard(lead)
            del self._found[lead.key]
