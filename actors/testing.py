"""Testing actors without a loop, a task or a clock that runs.

Rule: nothing here waits.  Time is a number (:class:`ManualClock`) and a mailbox is turned by hand (:class:`Rig`).

    clock = ManualClock()
    limiter = RateLimiterActor(Limits(requests_per_minute=60), RateBooks(), clock)
    drain(limiter, [Admit("k")] * 60)
    [reply] = drain(limiter, [Admit("k")])
    assert reply.error == RateLimited(retry_after=1.0)
    clock.advance(1.0)
    assert grants(limiter, Admit("k"))
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from actors.kernel import Actor, Reply
from actors.letters import INFINITY
from actors.messages import Crashed, Expired, Query

M = TypeVar("M")


class ManualClock:
    """A clock that moves when told to; seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeReply(Reply, eq=False):
    """A reply whose answer lies in ``value`` or ``error``; :meth:`leave` is the asker going away."""

    value: Any = None
    error: BaseException | None = None
    answered: bool = False
    left: bool = False

    @classmethod
    def to(cls, message: Any = None, deadline: float = INFINITY) -> FakeReply:
        return cls(None, deadline, message, 0.0, contextvars.Context())

    @property
    def open(self) -> bool:
        """Neither answered nor left."""
        return not self.answered and not self.left

    def leave(self) -> None:
        """Cancelled while it waits."""
        if not self.answered:
            self.left = True

    def wanted(self, now: float) -> bool:
        return self.open and now < self.deadline

    def ok(self, value: Any = None) -> bool:
        if not self.open:
            return False
        self.value, self.answered = value, True
        return True

    def fail(self, error: BaseException) -> bool:
        if not self.open:
            return False
        self.error, self.answered = error, True
        return True


class Rig(Generic[M]):
    """An actor behind a mailbox that is turned by hand: what the kernel does, one message at a time.

    ``crash`` replaces the instance as a restart does: the mailbox stays, open questions are handled again.
    """

    def __init__(self, factory: Callable[[], Actor[M]], clock: Callable[[], float]) -> None:
        self._factory, self._clock = factory, clock
        self.mail: deque[FakeReply] = deque()
        self.held: list[FakeReply] = []
        self.actor = self._boot()

    def tell(self, message: Any, *, urgent: bool = False) -> bool:
        self.mail.append(FakeReply.to(message))
        return True

    def ask(self, query: Query[Any], deadline: float = INFINITY) -> FakeReply:
        """Put a question into the mailbox; :meth:`turn` or :meth:`drain` has it handled."""
        reply = FakeReply.to(query, deadline)
        self.mail.append(reply)
        return reply

    def turn(self) -> None:
        """Handle the next message."""
        self._handle(self.mail.popleft())

    def drain(self) -> None:
        """Handle messages until there is none."""
        while self.mail:
            self.turn()

    def crash(self, *, losing: bool = False) -> FakeReply | None:
        """A restart; ``losing`` the next message of the mailbox as the one that crashed it."""
        culprit = self.mail.popleft() if losing and self.mail else None
        if culprit is not None:
            culprit.fail(Crashed("crashed by hand"))
        self.actor.stopped()
        self.actor = self._boot()
        self.held = [reply for reply in self.held if reply.open]
        for reply in self.held:
            self._handle(reply)
        return culprit

    def _boot(self) -> Actor[M]:
        actor = self._factory()
        actor.ref = self
        actor.started()
        return actor

    def _handle(self, reply: FakeReply) -> None:
        query = isinstance(reply._message, Query)
        if query and not reply.wanted(self._clock()):
            reply.fail(Expired("expired"))
            return
        self.actor.handle(reply._message, reply)
        if query and reply.open and reply not in self.held:
            self.held.append(reply)


class _Post:
    """The ref of an actor that is handled directly: keeps the notes of its leases."""

    def __init__(self) -> None:
        self.notes: deque[Any] = deque()

    def tell(self, message: Any, *, urgent: bool = False) -> bool:
        self.notes.append(message)
        return True


def drain(actor: Actor[M], messages: Iterable[M]) -> list[FakeReply]:
    """Handle ``messages`` in order, notes of released leases first; the replies, answered or kept."""
    post = actor.ref if hasattr(actor, "ref") else _Post()
    if not isinstance(post, _Post):
        raise TypeError("this actor has a ref already: use that")
    actor.ref = post
    replies = []
    for message in messages:
        _settle(actor, post)
        reply = FakeReply.to(message)
        actor.handle(message, reply)
        replies.append(reply)
    _settle(actor, post)
    return replies


def grants(actor: Actor[M], query: M) -> bool:
    """Whether ``query`` is answered with a value at once."""
    [reply] = drain(actor, [query])
    return reply.answered and reply.error is None


def _settle(actor: Actor[Any], post: _Post) -> None:
    while post.notes:
        note = post.notes.popleft()
        actor.handle(note, FakeReply.to(note))
