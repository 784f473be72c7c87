"""Anthropic stream events from Chat Completions chunks.  Pure: no clock, no loop, no I/O.

Rule: at most one content block is open, every opened block is closed, there is exactly one ``message_delta``, and the
output does not depend on how the input is cut; except when the stream ends in a fault: then nothing is closed,
because a client executes a tool call at its block's stop (protocol.md 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import Broken, Garbled, ProxyError
from ..sse import Splitter
from ..wire.openai_chat_reply import (
    DECODE_ERRORS,
    Choice,
    Chunk,
    Delta,
    ToolCall,
    decode_body,
    decode_chunk,
    lenient_chunks,
)
from . import reasoning, stop, usage
from .block_writer import BlockWriter
from .reply_spec import ReplySpec
from .short_cut import ShortCut
from .stop import Finish, Stop
from .stream_input import Opening
from .text_flow import TextFlow
from .tool_slots import End, Slot, Slots
from .usage import Usage
from .whole_reply import calls_of, events_of, fault_in, is_whole, message_of

TRUNCATED: Final = "The upstream stream ended before it was complete"
TOO_LONG: Final = "The upstream sent an event that is too long"
SILENT: Final = "The upstream ended its stream without an answer"
DONE: Final = b"[DONE]"
ENDLESS: Final = "The model's tool arguments go on in whitespace without an end"
_NOTHING: Final = Delta()


class StreamTranslator:
    """One answer.  ``feed`` takes the upstream's bytes as they come and returns frames for the client; ``close`` ends
    it.

    ``fault`` is set instead of raised, so that frames made before it are not lost; nothing comes after it.
    """

    # as most streams leave them, and all have them at first
    _tools = 0  # tool_use blocks started
    _matched: str | None = None  # the stop string that the upstream says it met
    _ended = False  # the newest chunk brought usage and no content: the upstream said its last word
    _counted = False  # usage came under its own name
    _tier: str | None = None
    fault: ProxyError | None = None
    started = False
    done = False
    stop_reason: str | None = None
    finish_reason: str | None = None  # the upstream's last one
    upstream_id: str | None = None
    upstream_model: str | None = None

    def __init__(self, spec: ReplySpec) -> None:
        self._spec = spec
        self._splitter = Splitter()
        self._opening: Opening | None = Opening()  # until the answer is known to be an event stream
        self._writer = BlockWriter(spec)
        self._slots = Slots(spec)
        self._flow = TextFlow(spec, self._writer)
        self._queue: list[tuple[Callable[..., None], tuple[Any, ...]]] = []  # waits for an open tool block
        self._short_cut = ShortCut(self._writer, self._flow, self._slots)
        self._finishes: set[Finish] = set()
        self._refusal: list[str] = []
        self.usage = Usage()

    def __repr__(self) -> str:
        state = "done" if self.done else "fault" if self.fault else "started" if self.started else "new"
        return f"<StreamTranslator {state}, blocks {self._writer.index + 1}, tools {self._tools}>"

    @property
    def spoken(self) -> bool:
        """Whether the first content was produced."""
        return self._writer.spoken

    @property
    def finishing(self) -> bool:
        """Whether a finish_reason came and only usage or ``[DONE]`` can follow."""
        return bool(self._finishes) and not self.done

    def feed(self, data: bytes) -> bytes:
        """Frames for the client, ready to be sent; b"" if there are none yet."""
        if self.done or self.fault is not None:
            return b""
        try:
            if self._opening is not None:
                data = self._opening.take(data)
                if not data:
                    return b""
                self._opening = None
            payloads = self._splitter.feed(data)
        except ValueError:
            self.fault = Garbled(TOO_LONG)
            return b""
        if len(payloads) == 1 and (frame := self._short_cut.one(payloads)) is not None:
            self._ended = False
            self._tier = self._short_cut.tier or self._tier
            return frame
        self._events(payloads)
        return self._writer.take()

    def close(self) -> bytes:
        """The upstream's stream has ended (or was silent long enough after its finish_reason)."""
        if self.done or self.fault is not None:
            return b""
        if self._opening is not None and (body := self._opening.body) is not None:
            self._plain(body)
            return self._writer.take()
        try:
            self._events(self._splitter.flush())
        except ValueError:
            self.fault = Garbled(TOO_LONG)
        if not self.done and self.fault is None:
            self._end_of_stream()
        return self._writer.take()

    # what comes in

    def _plain(self, body: bytes) -> None:
        """A server that answers JSON to a stream request: one completion, an error, or chunks one after the other."""
        try:
            chunks, done = decode_body(body)
            if len(chunks) == 1 and is_whole(chunks[0]):
                reply = message_of(chunks[0], self._spec)
                self.usage, self.stop_reason, self.finish_reason = reply.usage, reply.stop_reason, reply.finish_reason
                self.upstream_id, self.upstream_model = reply.upstream_id, reply.upstream_model
                self._writer.raw(events_of(reply, self._spec))
                self._writer.spoken = bool(reply.blocks)
                self.started = self.done = True
                return
        except ProxyError as fault:
            self.fault = fault
            return
        self._chunks(chunks, done)
        if not self.done and self.fault is None:
            self._end_of_stream()

    def _events(self, payloads: list[bytes]) -> None:
        at, count = 0, len(payloads)
        while at < count and not self.done and self.fault is None:
            if (copied := self._short_cut.copy(payloads, at)) != at:
                at = copied
                self._shortened()
                continue
            payload = payloads[at]
            at += 1
            if payload == DONE:
                self._chunks([], True)
                return
            try:
                chunk = decode_chunk(payload)
            except DECODE_ERRORS:
                self._lenient(payload)
            else:
                if self._short_cut.take(payload, chunk):
                    self._shortened()
                    continue
                self._chunk(chunk)
            self._short_cut.look()

    def _shortened(self) -> None:
        """What else changes by chunks that took the short cut."""
        self._ended = False
        self._tier = self._short_cut.tier or self._tier
        if self._short_cut.filled:
            self._tools_go_on()

    def _lenient(self, payload: bytes) -> None:
        try:
            chunks, done = lenient_chunks(payload)
        except Garbled as fault:
            self.fault = fault
        else:
            self._chunks(chunks, done)

    def _chunks(self, chunks: list[Chunk], done: bool) -> None:
        for chunk in chunks:
            if self.done or self.fault is not None:
                return
            self._chunk(chunk)
        if done and not self.done and self.fault is None:
            if self.started:
                self._finish()
            else:
                self.fault = Broken(SILENT)

    def _end_of_stream(self) -> None:
        if not self.started:
            self.fault = Broken(SILENT)
        elif self._finishes or self._ended:
            self._finish()
        elif self._spec.lenient_eof and not self._writer.in_tool:
            self._finish()  # half a call must not be executed as if it were whole
        else:
            self.fault = Broken(TRUNCATED)

    # the rows of protocol.md 4.4

    def _chunk(self, chunk: Chunk) -> None:
        fault = fault_in(chunk)
        if fault is not None:  # row 1
            self.fault = fault
            return
        if not self.started:
            self.started = True
            self._writer.begin()
        if self.upstream_id is None:
            self.upstream_id, self.upstream_model = chunk.id, chunk.model
        self._usage(chunk)  # row 2
        for choice in chunk.choices or ():
            if not choice.index:  # row 3
                self._choice(choice)
            if self.done or self.fault is not None:
                return

    def _usage(self, chunk: Chunk) -> None:
        self._tier = chunk.service_tier or self._tier
        found = usage.reported(chunk)
        if found is not None:
            self._counted = self._ended = True
            self.usage = usage.read(found, self._tier)
        elif not self._counted and (found := usage.fallback(chunk)) is not None:
            self.usage = usage.read(found, self._tier)

    def _choice(self, choice: Choice) -> None:
        delta = choice.delta if choice.delta is not None else choice.message
        if delta is not None:
            if delta != _NOTHING:
                self._delta(delta)
            if self._stopped() and self.fault is None:
                self._finish()
        self._matched = stop.matched(choice, self._spec.stop_sequences) or self._matched
        finish = stop.meaning(choice.finish_reason)
        if finish is not None:  # row 9
            self.finish_reason = choice.finish_reason
            self._finishes.add(finish)

    def _delta(self, delta: Delta) -> None:
        said = reasoning.read(delta)
        if said.reasoning or said.details:  # rows 4 and 5
            self._put(self._reasoning, said.reasoning, said.details)
        if said.text:  # row 6
            self._put(self._flow.text, said.text)
        if said.refusal:  # row 7
            self._refusal.append(said.refusal)
            self._put(self._flow.refusal, said.refusal)
        for call in calls_of(delta):  # row 8
            self._ended = False
            if not self._stopped() and self.fault is None:
                self._tool(call)

    def _put(self, write: Callable[..., None], *args: Any) -> None:
        """Writes now, or behind the tool block whose arguments are not whole yet."""
        self._ended = False
        if self._writer.in_tool:
            self._queue.append((write, args))
        elif not self._stopped():
            write(*args)

    def _reasoning(self, text: str, details: list[dict[str, Any]]) -> None:
        if self._spec.thinking == "drop" or not (text or reasoning.is_opaque(details)):
            return
        self._flow.leave()
        if not self._stopped():
            self._writer.thinking(text, details)

    # tools (4.5)

    def _tool(self, call: ToolCall) -> None:
        slot = self._slots.take(call)
        if slot.endless:
            self.fault = Garbled(ENDLESS)
        else:
            self._tools_go_on()

    def _tools_go_on(self) -> None:
        """Writes what can be written of the slot whose turn it is, and of those after it."""
        while (current := self._slots.current()) is not None:
            if not current.started:
                if not self._slots.may_start(current):
                    break
                if not self._start(current):
                    return
            self._writer.arguments(current.unsent())
            if not current.complete:
                return
            self._writer.close()
            self._slots.next()
        self._unqueue()

    def _start(self, slot: Slot) -> bool:
        """Opens the slot's block, unless a stop string was met in the text before it."""
        self._flow.leave()
        if self._stopped():
            return False
        tool_id = self._slots.unique(slot.id)
        if slot.thought is not None and self._spec.thinking != "drop":
            self._writer.thought(tool_id, slot.thought)
        self._writer.tool(tool_id, self._slots.client_name(slot.name))
        slot.started = True
        self._tools += 1
        return True

    def _unqueue(self) -> None:
        """What had to wait for the tool block."""
        queue, self._queue = self._queue, []
        for write, args in queue:
            if not self._stopped():
                write(*args)

    # the end

    def _finish(self) -> None:
        if not self._writer.in_tool:
            self._flow.leave()
        if self._slots.current() is not None:
            self._end_calls()
        if self._queue:
            self._unqueue()
            self._flow.leave()
        why = self._why()
        self.stop_reason = why.reason
        self._writer.end(why, self.usage)
        self.done = True

    def _end_calls(self) -> None:
        end = self._end_of_calls()
        while not self._stopped() and (slot := self._slots.current()) is not None:
            self._slots.next()
            if not slot.started and not (self._slots.must_start(slot) and self._start(slot)):
                continue
            self._writer.arguments(slot.unsent())
            self._writer.arguments(slot.ending(end))
            self._writer.close()

    def _why(self) -> Stop:
        return stop.decide(self._finishes, "".join(self._refusal), self._tools, self._flow.matched or self._matched)

    def _stopped(self) -> bool:
        """Whether a stop string that the proxy enforces was met."""
        return self._flow.matched is not None

    def _end_of_calls(self) -> End:
        if not self._finishes & stop.CUTS:
            return End.NORMAL
        return End.LENGTH if self._why().reason == "max_tokens" else End.CUT
