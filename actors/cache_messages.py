"""What is said to the cache actor, and what it answers.

Rule: an asker gets the value, the lead, or :class:`Miss`; whoever gets the lead gives it back, whatever happens.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.cache_shelf import Kept
from actors.kernel import Mailbox
from actors.lease import Lease
from actors.messages import Query


class Hit(msgspec.Struct, frozen=True):
    """A value that another call made.  ``shared``: made at the same time; else it was kept, is ``age`` seconds old, and
    ``kept`` gives it again for as long as it is there."""

    value: Any
    shared: bool = True
    age: float = 0.0
    kept: Kept | None = None


class Miss(msgspec.Struct, frozen=True):
    """There is no value, and nobody to wait for: make the call.  ``open``: its value may be kept."""

    open: bool = True


class Lead(Lease):
    """You make the call.  Whatever becomes of it, store or release the lead: others may be waiting."""

    __slots__ = ("open",)
    key: bytes

    def __init__(self, key: bytes, owner: Mailbox) -> None:
        super().__init__(key, owner)
        self.open = True  # the value may be kept

    def store(self, value: Any, size: int | None = None, age: float = 0.0) -> None:
        """Answer all followers with ``value``, and keep it if its ``size`` in bytes is given; ``age`` in seconds.

        Idempotent with :meth:`abandon`: the first of the two counts.
        """
        self._give_back(Store(self, value, size, age))

    def abandon(self) -> None:
        """There is no value to share: the next follower becomes the lead."""
        self._give_back(Abandon(self))

    def release(self) -> None:
        """The same as :meth:`abandon`."""
        self.abandon()


class Lookup(Query[Lead | Hit | Miss], frozen=True):
    """The value of ``key``?  ``look``: one that is kept will do.  ``join``: so will that of a call which is under way:
    it makes the asker wait, at most until its deadline (then ``Miss``); and without one the asker gets the lead."""

    key: bytes
    look: bool = False
    join: bool = True


class Store(msgspec.Struct, frozen=True):
    """A lead has its value (sent by :meth:`Lead.store`)."""

    lead: Lead
    value: Any
    size: int | None = None
    age: float = 0.0


class Abandon(msgspec.Struct, frozen=True, gc=False):
    """A lead gave up (sent by :meth:`Lead.abandon`)."""

    lead: Lead


class Keep(msgspec.Struct, frozen=True):
    """A value that was made without a lead, of ``size`` bytes: keep it instead of the one that is there."""

    key: bytes
    value: Any
    size: int
    age: float = 0.0


class Bad(msgspec.Struct, frozen=True, gc=False):
    """A call made something that is no value at all."""


class Popular(Query[list[Any]], frozen=True):
    """Values kept that were used at least ``uses`` times, the most used first, at most ``most`` of them."""

    uses: int
    most: int


class Clear(Query[None], frozen=True):
    """Forget all that is kept, and what was counted of it; calls under way stay."""
