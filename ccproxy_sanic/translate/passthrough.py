"""Answers of an upstream that speaks Messages itself, relayed.  Pure: no clock, no loop, no I/O.

Rule: what comes out is what came in, byte for byte, but for the model's name; whole events only, so that a ping may
stand between any two of them; and how the input is cut changes nothing.  Differences, all of them:

* what stands before ``message_start`` (pings, comments, a byte order mark) is left out, so that until then an error
  can still be an HTTP status; ``message_start`` itself is left out where another upstream's has left already;
* after ``message_stop`` nothing follows, and an ``error`` event becomes ``fault`` (the relay says it);
* a stream without ``event:`` lines gets them, because clients ignore such events (protocol.md 4.1);
* a Message in plain JSON becomes events, and a stream that answers a plain request becomes a Message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import Broken, Garbled, ProxyError
from ..sse import LIMIT, Splitter
from ..wire import spans
from ..wire.anthropic_reply import encode
from ..wire.spans import Edit
from .passthrough_events import EOL, fields, first_blank, last_blank, marked, unmarked, with_data, with_name
from .passthrough_faults import fault_in
from .passthrough_message import (
    NOT_MESSAGE,
    UNREADABLE,
    Relayed,
    count,
    events_of,
    message_of,
    read,
    text_of,
    whole,
)
from .stream import SILENT, TOO_LONG, TRUNCATED
from .usage import Usage

HEADLESS: Final = "The upstream's stream does not begin with message_start"
_LEADING: Final = b"\xef\xbb\xbf \t\r\n"
_UNNAMED: Final = (b"", b"message")  # "message" is what SSE calls an event without a name
_ENDED: Final = (b"\n\n", b"\r\n\r\n")
_NAME: Final = re.compile(rb"\w{1,100}")
_DONE: Final = b"[DONE]"
_NOTED: Final = frozenset({b"message_start", b"message_delta", b"message_stop", b"error"})
_CONTENTS: Final = frozenset({b"content_block_start", b"content_block_delta", b"content_block_stop"})
_LATER: Final = _CONTENTS | {b"message_delta", b"message_stop"}
_ENDS: Final = frozenset({b"message_stop", b"error"})


def to_message(body: bytes, model: str) -> Relayed:
    """A whole answer, named ``model``; an event stream that came instead is put together.

    Raises ProxyError: neither, or an error.
    """
    text = body.lstrip(_LEADING)
    if text.startswith(b"{"):
        return whole(text, model)
    machine = PassThrough(model)
    frames = machine.feed(text) + machine.close()
    if machine.fault is not None:
        raise machine.fault if machine.started or not isinstance(machine.fault, Broken) else Garbled(NOT_MESSAGE)
    message = message_of(Splitter().feed(frames))
    return Relayed(message, machine.usage, machine.stop_reason, machine.upstream_id, machine.upstream_model)


class PassThrough:
    """One stream.  ``feed`` takes the upstream's bytes as they come and gives those for the client; ``close`` ends it.

    ``fault`` is set instead of raised, so that events before it are not lost; nothing comes after it.  ``finishing``
    never is: an upstream that has said its stop_reason is not cut off before its message_stop, which nobody else says.
    """

    finishing: Final = False

    # as all have them at first
    _sse = False
    _json = False  # what is held is plain JSON instead of SSE
    _size = 0  # bytes in _held
    _lf: bytes | None = None  # the last event ended in CR: what an LF at the head of the next read becomes
    _named: bool | None = None  # whether events come with their names; None before the first
    _trusted = False  # content flows in named events: what has no mark is not looked at any more
    _flowing = False  # and nothing is held
    fault: ProxyError | None = None
    started = False
    spoken = False  # the first content is out
    done = False
    stop_reason: str | None = None
    upstream_id: str | None = None
    upstream_model: str | None = None

    def __init__(self, model: str, *, opened: bool = False) -> None:
        self._model = model
        self._opened = opened  # another upstream's message_start has left
        self._held: list[bytes] = []  # the unfinished event, in pieces, so that many small reads stay linear
        self.usage = Usage()

    def __repr__(self) -> str:
        state = "done" if self.done else "fault" if self.fault else "started" if self.started else "new"
        return f"<PassThrough {state}, held {self._size}>"

    def feed(self, data: bytes) -> bytes:
        """Whole events for the client; b"" if there are none yet."""
        # nearly every read: whole events, and none to be looked at (a call of unmarked costs a tenth)
        if self._flowing and data.endswith(_ENDED) and data.rfind(b"message_") < 0 and data.rfind(b"error") < 0:
            return data
        out = self._take(data) if not self.done and self.fault is None else b""
        self._flowing = self._trusted and not self._held and self._lf is None and not self.done and self.fault is None
        return out

    def _take(self, data: bytes) -> bytes:
        if not self._sse:
            data = self._look(data)
        if not data:
            return b""
        head = b""
        if self._lf is not None:
            if data[0] == 10:
                head, data = self._lf, data[1:]
            self._lf = None
        data = self._whole(data)
        return head + self._events(data) if data else head

    def close(self) -> bytes:
        """The upstream's stream has ended."""
        if self.done or self.fault is not None:
            return b""
        rest = b"".join(self._held)
        if self._json:
            return self._plain(rest)
        event = rest.lstrip(EOL)
        out = rest[: len(rest) - len(event)] if self.started else b""
        if _is_last(event):  # only its blank line is missing
            out += self._events(event + b"\n\n")
        if not self.done and self.fault is None:
            self.fault = Broken(TRUNCATED if self.started else SILENT)
        return out

    # what comes in

    def _look(self, data: bytes) -> bytes:
        """Tells SSE from a plain JSON body by the first byte that says something."""
        if not self._json:
            data = data.lstrip(_LEADING)
            if not data:
                return b""
            if data[:1] not in (b"{", b"["):
                self._sse = True
                return data
            self._json = True
        self._hold(data)
        return b""

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        if self._size > LIMIT:
            self._held.clear()
            self.fault = Garbled(TOO_LONG)

    def _whole(self, data: bytes) -> bytes:
        """What is held and ``data`` up to the last blank line; the rest is held."""
        if not self._held:
            at = len(data) if data.endswith(b"\n\n") else last_blank(data, 0, len(data))
            whole = data[:at]
        else:
            at = last_blank(self._held[-1][-1:] + data, 0, len(data) + 1) - 1
            if at <= 0:
                self._hold(data)
                return b""
            whole = b"".join((*self._held, data[:at]))
            self._held.clear()
            self._size = 0
        if at < len(data):
            self._hold(data[at:])
        return whole

    def _plain(self, body: bytes) -> bytes:
        """A server that answers JSON to a stream request."""
        try:
            reply = whole(body, self._model)
            message = read(reply.message)
            frames = events_of(message)
        except ProxyError as fault:
            self.fault = fault
            return b""
        self.usage, self.stop_reason = reply.usage, reply.stop_reason
        self.upstream_id, self.upstream_model = reply.upstream_id, reply.upstream_model
        self.spoken = bool(message["content"])
        self.started = self.done = True
        return frames.partition(b"\n\n")[2] if self._opened else frames

    # events that are looked at

    def _events(self, data: bytes) -> bytes:
        """Whole events."""
        out: list[bytes] = []
        at, shown = 0, b""
        try:
            for start, end in self._places(data):
                event = data[start:end].lstrip(EOL)
                shown = data[at : end - len(event)] if self.started else b""  # or blank lines too many
                out.append(shown)
                at = end
                if event:
                    shown = self._event(event)
                    out.append(shown)
                    if self.done:
                        break
            else:
                rest = data[at:] if self.started else b""
                out.append(rest)
                if data[-1] == 13 and not self._held:
                    self._lf = b"\n" if self.started and (rest or shown) else b""
        except ProxyError as fault:
            self.fault = fault
        return b"".join(out)

    def _places(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where the events stand that are looked at: all, until content flows, then those with a mark (a read of 200
        deltas with all that comes before and after them: an eighth of the time)."""
        at, size = 0, len(data)
        while not self._trusted and at < size:
            end = first_blank(data, at)
            yield at, end
            at = end
        if self._trusted:  # by that event
            yield from marked(data, at)

    def _event(self, event: bytes) -> bytes:
        """One event as the client gets it.  Raises the fault that it is."""
        name, payload = fields(event)
        if payload is None:  # comments
            return event if self.started else b""
        kind = name
        if name in _UNNAMED:
            if self._named and unmarked(event):
                return event
            kind = self._kind(payload)
        if self._named is None and kind not in (b"", b"ping"):
            self._named = name not in _UNNAMED
        if kind == b"error":
            raise fault_in(payload)
        if kind == b"message_start":
            event = self._start(event, payload)
        elif not self.started:
            if kind in _LATER:
                raise Garbled(HEADLESS)
            return b""
        elif kind == b"message_delta":
            self._delta(read(payload))
        elif kind == b"message_stop":
            self.done = True
            if event.endswith(b"\r") and b"\r\n" in event:
                event += b"\n"  # the rest of a line end whose read was cut, and no read follows
        elif not self.spoken and kind in _CONTENTS:
            self.spoken = True
            self._trusted = self._named is True
        if event and name in _UNNAMED and _NAME.fullmatch(kind) and (not self._named or kind in _NOTED):
            return with_name(event, kind)
        return event

    def _kind(self, payload: bytes) -> bytes:
        """The type that the data itself says; b"" where it says none."""
        if payload.strip() == _DONE:
            return b""
        try:
            said = read(payload)
        except Garbled:
            if self._named:
                return b""
            raise
        return (text_of(said.get("type")) or ("error" if said.get("error") else "")).encode()

    def _start(self, event: bytes, payload: bytes) -> bytes:
        """``message_start``, with the name that the client asked for."""
        message = read(payload).get("message")
        if not isinstance(message, dict):
            raise Garbled(UNREADABLE)
        self.started = True
        self.upstream_id, self.upstream_model = text_of(message.get("id")), text_of(message.get("model"))
        count(self.usage, message.get("usage"))
        if self._opened:
            return b""
        place = spans.sole(payload, b"model") if self.upstream_model is not None else None
        if place is None:
            return with_data(event, _renamed(payload, encode(self._model)))
        return with_data(event, payload[: place.start] + encode(self._model) + payload[place.end :])

    def _delta(self, said: dict[str, Any]) -> None:
        delta = said.get("delta")
        if isinstance(delta, dict):
            self.stop_reason = text_of(delta.get("stop_reason")) or self.stop_reason
        count(self.usage, said.get("usage"))


def _is_last(event: bytes) -> bool:
    """Whether this is a whole ``message_stop`` or ``error`` that only lacks its blank line."""
    name, payload = fields(event)
    try:
        said = read(payload or b"")
    except Garbled:
        return False
    return (name if name not in _UNNAMED else (text_of(said.get("type")) or "").encode()) in _ENDS


def _renamed(payload: bytes, model: bytes) -> bytes:
    """The data of ``message_start`` with its message's model replaced."""
    try:
        edits = [
            Edit(start, end, spans.replaced(payload[start:end], "model", model))
            for key, start, end in spans.members(payload)
            if key == "message"
        ]
    except ValueError:
        raise Garbled(UNREADABLE) from None
    return spans.edited(payload, edits)
