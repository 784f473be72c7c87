"""What can be said to an actor in general, and what can go wrong.

Rule: an asker sees an answer or one of these errors, never silence.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

R = TypeVar("R")


class ActorError(Exception):
    """Base of everything an asker can see go wrong."""


class Overloaded(ActorError):
    """The mailbox is full: shed now rather than answer late."""


class Expired(ActorError):
    """The deadline passed while the question waited."""


class Crashed(ActorError):
    """The actor failed on this very message; the others were kept."""


class Stopped(ActorError):
    """The actor takes no more questions: the process drains or has given up on it."""


class Refused(ActorError):
    """The actor said no for now; ask again in ``retry_after`` seconds.  Equal when type and delay are equal."""

    def __init__(self, retry_after: float, reason: str = "") -> None:
        super().__init__(reason or f"ask again in {retry_after:g} s")
        self.retry_after = retry_after

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Refused) and other.retry_after == self.retry_after

    def __hash__(self) -> int:
        return hash((type(self), self.retry_after))


class Query(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """A message that is answered with an ``R``: ``class Admit(Query[Permit], frozen=True): key: str``."""


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time has passed: sweep.  Sent by :meth:`Ref.every`, or by hand in a test."""
