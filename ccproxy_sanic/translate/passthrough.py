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
from typing import Any, Final

from ..errors import Broken, Garbled, ProxyError
from ..sse import LIMIT, Splitter, following
from ..wire import spans
from ..wire.anthropic_reply import encode
from ..wire.spans import Edit
from .passthrough_events import has_end, unmarked, with_data, with_name
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
_NAME: Final = re.compile(rb"\w{1,100}")
_DONE: Final = b"[DONE]"
_NOTED: Final = frozenset({b"message_start", b"message_delta", b"message_stop", b"error"})
_CONTENT: Final = b"content_block_"
_CONTENTS: Final = frozenset({b"content_block_start", b"content_block_delta", b"content_block_stop"})
_LATER: Final = _CONTENTS | {b"message_delta", b"message_stop"}
_ENDS: Final = frozenset({b"message_stop", b"error"})

Found = tuple[int, int, bytes, bytes | None, int]  # as ``sse.following`` gives it


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
    _skip_lf = False  # an event that was left out ended in CR: an LF at the head of the next read belongs to it
    _named: bool | None = None  # whether events come with their names; None before the first
    _passed: bytes | None = None  # events called so are not looked at: content, as soon as it flows in named events
    _flowing = False  # it does, and nothing is held
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
        if not self._flowing:
            return self._take(data)
        found = following(data, 0, _CONTENT)
        return data if found is None else self._events(data, found)  # nearly always the first

    def _take(self, data: bytes) -> bytes:
        """A read that must be looked at closely."""
        if self.done or self.fault is not None:
            return b""
        if not self._sse:
            data = self._look(data)
        if not data:
            return b""
        if self._skip_lf:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if self._held:
            if not has_end(self._held[-1][-1:] + data):
                self._hold(data)
                return b""
            data = b"".join((*self._held, data))
            self._held.clear()
            self._size = 0
        return self._events(data, following(data, 0, self._passed))

    def close(self) -> bytes:
        """The upstream's stream has ended."""
        if self.done or self.fault is not None:
            return b""
        rest = b"".join(self._held)
        if self._json:
            return self._plain(rest)
        rest += b"\n\n"  # which may be all that a last event lacks
        found = following(rest, 0, None)
        out = self._events(rest, found) if found is not None and _is_last(found) else b""
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
            if data[0] not in b"{[":
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

    def _events(self, data: bytes, found: Found | None) -> bytes:
        """What the client gets of ``data``, whose first event to be looked at is ``found``."""
        out: list[bytes | memoryview] = []
        at, stop = 0, len(data)  # what leaves as it is, beside what is in ``out`` already
        try:
            while found is not None:
                start, end = found[0], found[1]
                if not self.started:
                    at = start
                if end < 0:
                    stop = start
                    self._hold(data[start:])
                    break
                event = self._event(data, found)
                if event is not None:
                    if at < start:
                        out.append(data[at:start])
                    out.append(event)
                    at = end
                if self.done:
                    stop = end
                    break
                found = following(data, end, self._passed)
        except ProxyError as fault:
            self.fault = fault
            stop = start
        self._flowing = found is None and self._passed is not None and self.fault is None and not self._skip_lf
        if not self.started:
            return b""
        if not out:
            return data[at:stop]
        out.append(memoryview(data)[at:stop])  # a whole stream in one read is copied once
        return b"".join(out)

    def _event(self, data: bytes, found: Found) -> bytes | None:
        """What the client gets instead of this event; None: itself.  Raises the fault that it is."""
        start, end, kind, payload, _ = found
        if payload is None:  # comments
            return None
        unnamed = kind in _UNNAMED
        if unnamed:
            if self._named and unmarked(data[start:end]):
                return None
            kind = self._kind(payload)
        if self._named is None and kind not in (b"", b"ping"):
            self._named = not unnamed
        event = None
        if kind == b"message_start":
            event = self._start(data, found, payload)
            if not event:
                return event
        elif kind == b"error":
            raise fault_in(payload)
        elif not self.started:
            if kind in _LATER:
                raise Garbled(HEADLESS)
            return None
        elif kind == b"message_delta":
            self._delta(read(payload))
        elif kind == b"message_stop":
            self.done = True
            if data[end - 1] == 13 and b"\r\n" in data[start:end]:
                event = data[start:end] + b"\n"  # the rest of a line end whose read was cut, and no read follows
        elif not self.spoken and kind in _CONTENTS:
            self.spoken = True
            if self._named:
                self._passed = _CONTENT
        if unnamed and _NAME.fullmatch(kind) and (not self._named or kind in _NOTED):
            return with_name(event or data[start:end], kind)
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

    def _start(self, data: bytes, found: Found, payload: bytes) -> bytes:
        """``message_start``, with the name that the client asked for; b"" where it is left out."""
        start, end, _, _, at = found
        message = read(payload).get("message")
        if not isinstance(message, dict):
            raise Garbled(UNREADABLE)
        self.started = True
        self.upstream_id, self.upstream_model = text_of(message.get("id")), text_of(message.get("model"))
        count(self.usage, message.get("usage"))
        if self._opened:
            self._skip_lf = end == len(data) and data.endswith(b"\r")
            return b""
        model = encode(self._model)
        place = spans.sole(payload, b"model") if self.upstream_model is not None and at >= 0 else None
        if place is None:
            return with_data(data[start:end], _renamed(payload, model))
        return data[start : at + place[0]] + model + data[at + place[1] : end]

    def _delta(self, said: dict[str, Any]) -> None:
        delta = said.get("delta")
        if isinstance(delta, dict):
            self.stop_reason = text_of(delta.get("stop_reason")) or self.stop_reason
        count(self.usage, said.get("usage"))


def _is_last(found: Found) -> bool:
    """Whether this is a ``message_stop`` or an ``error``."""
    name, payload = found[2:4]
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
