"""A plan as steps of one exchange, whatever API it is in.

Rule: where an answer pauses, breaks or fails is decided here, once; a rendering only says how things look in its API.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import count
from typing import Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.pieces import Answer, Run
from ccproxy_sanic.demo.plan import Piece, Plan
from ccproxy_sanic.demo.quirks import BODIES, FRAMES

JSON: Final = {"content-type": "application/json"}
EVENTS: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class Head(msgspec.Struct, frozen=True):
    """Status line and headers; ``length`` None means chunked."""

    status: int
    headers: dict[str, str]
    length: int | None = None


class Pause(msgspec.Struct, frozen=True):
    seconds: float


class Cut(msgspec.Struct, frozen=True):
    """The connection is dropped without a proper end."""


Step = Head | Pause | Cut | bytes


def reply(status: int, body: bytes, headers: dict[str, str] | None = None) -> list[Step]:
    return [Head(status, JSON | (headers or {}), len(body)), body]


def event(name: str, data: object) -> bytes:
    """A server-sent event with its name, as Responses and Messages have them."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class Rendering(ABC):
    """One answer in one API.  ``headers`` go with every good answer."""

    headers: dict[str, str]
    answer: Answer

    @abstractmethod
    def whole(self) -> bytes:
        """The body of an answer that isn't streamed."""

    @abstractmethod
    def frames(self) -> Iterator[bytes]:
        """The stream: what opens it, then one for each piece, then what closes it, if anything does."""

    @abstractmethod
    def last(self) -> bytes:
        """What says that a stream is complete.  It is missing where a fault was planned."""

    @abstractmethod
    def failure(self, fault: Fault) -> bytes:
        """The fault inside a stream; nothing follows it."""

    @abstractmethod
    def refuse(self, fault: Fault) -> list[Step]:
        """The fault instead of an answer."""


class Blocks(Rendering):
    """A rendering whose pieces stand in items that are opened and closed, one after the other."""

    @abstractmethod
    def start(self) -> bytes:
        """What opens the stream."""

    @abstractmethod
    def opened(self, run: Run) -> bytes: ...

    @abstractmethod
    def delta(self, run: Run, piece: Piece) -> bytes:
        """The piece; nothing for one that isn't shown."""

    @abstractmethod
    def closed(self, run: Run) -> bytes: ...

    def frames(self) -> Iterator[bytes]:
        yield self.start()
        before = b""
        for run in self.answer.runs():
            before += self.opened(run)
            for piece in run.pieces:
                yield before + self.delta(run, piece)
                before = b""
            before = self.closed(run)
        if before:
            yield before


def play(plan: Plan, streamed: bool, pace: float, rendering: Rendering) -> Iterator[Step]:
    """What to do, in order.  ``pace`` is the server's own, in seconds; the plan's wins."""
    pace = pace if plan.pace is None else plan.pace
    if plan.hold and (plan.hold_at is None or not streamed):
        yield Pause(plan.hold)
    if plan.fault is not None and (plan.fault_at is None or not streamed):
        yield from rendering.refuse(plan.fault)
        return
    if plan.cut_at == 0:
        yield Cut()
        return
    if streamed and plan.quirk not in BODIES:
        yield from _stream(plan, rendering, pace)
        return
    if pace:
        yield Pause(pace * len(rendering.answer.pieces))
    whole = rendering.whole()
    head, body = reply(200, whole, rendering.headers)
    yield head
    if plan.cut_at is not None:
        yield from (whole[: len(whole) // 2], Cut())
        return
    yield body


def _stream(plan: Plan, rendering: Rendering, pace: float) -> Iterator[Step]:
    framed = FRAMES[plan.quirk][1] if plan.quirk in FRAMES else bytes
    yield Head(200, EVENTS | rendering.headers)
    frames = rendering.frames()
    for piece in count(-1):  # the first frame only opens the stream
        # A frame that won't be sent isn't asked for: it would have its number in the sequence.
        if piece in (plan.cut_at, plan.fault_at) or (frame := next(frames, None)) is None:
            break
        if piece == plan.hold_at:
            yield Pause(plan.hold)
        if frame:
            yield framed(frame)
        if pace:
            yield Pause(pace)
    if plan.cut_at is not None:
        yield Cut()
    elif plan.fault is not None:
        yield framed(rendering.failure(plan.fault))
    elif end := framed(rendering.last()):
        yield end
