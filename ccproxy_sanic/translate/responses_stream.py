"""Anthropic stream events from the events of a Responses stream.  Pure: no clock, no loop, no I/O.

Rule: as for Chat Completions (:mod:`stream`): at most one content block is open, every opened block is closed, there is
exactly one ``message_delta``, and the output does not depend on how the input is cut; except when the stream ends in a
fault: then nothing is closed.  This file reads, :mod:`responses_turns` writes (protocol.md 8).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ..errors import Broken, Garbled, ProxyError
from ..sse import Splitter
from ..wire.openai_chat_reply import DECODE_ERRORS
from ..wire.openai_responses_reply import (
    Event,
    OutputItem,
    Response,
    decode_event,
    decode_response,
    error_of,
    lenient_events,
)
from . import stop, usage
from .block_writer import BlockWriter
from .faults import ContentFiltered, from_stream_error
from .reply_spec import ReplySpec
from .responses_output import CALL, KINDS, MESSAGE, REASONING, Item, Items, Kind
from .responses_short_cut import ShortCut
from .responses_turns import Turns
from .stop import Finish, Stop
from .stream import ENDLESS, SILENT, TOO_LONG, TRUNCATED
from .stream_input import Opening
from .tool_slots import End
from .usage import Usage

NO_OUTPUT: Final = "The upstream's answer has no output"
CANCELLED: Final = "The upstream cancelled its answer"
UNFINISHED: Final = "The upstream answered before it had finished"
_FAILED: Final = {"message": "The upstream reported that it failed to answer"}


class Row(NamedTuple):
    """An event that says something: of what kind of item, of which sort, and in which member."""

    kind: Kind
    sort: str
    member: str


ROWS: Final = {
    "response.output_text.delta": Row(MESSAGE, "text", "delta"),
    "response.output_text.done": Row(MESSAGE, "text", "text"),
    "response.refusal.delta": Row(MESSAGE, "refusal", "delta"),
    "response.refusal.done": Row(MESSAGE, "refusal", "refusal"),
    "response.reasoning_summary_text.delta": Row(REASONING, "summary", "delta"),
    "response.reasoning_summary_text.done": Row(REASONING, "summary", "text"),
    "response.reasoning_text.delta": Row(REASONING, "content", "delta"),
    "response.reasoning_text.done": Row(REASONING, "content", "text"),
    "response.function_call_arguments.delta": Row(CALL, "arguments", "delta"),
    "response.function_call_arguments.done": Row(CALL, "arguments", "arguments"),
    "response.custom_tool_call_input.delta": Row(CALL, "input", "delta"),
    "response.custom_tool_call_input.done": Row(CALL, "input", "input"),
}
# Of these, a further delta may be nothing but a further frame; refusals and custom tools' input are looked at.
QUICK: Final = frozenset(
    row for row in ROWS.values() if row.member == "delta" and row.sort in ("text", "summary", "content", "arguments")
)
# The last event -> the response's status, unless the response itself names one of these.
TERMINAL: Final = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
_LAST: Final = frozenset({*TERMINAL.values(), "cancelled"})
_EARLY: Final = frozenset({"in_progress", "queued"})
_ADDED: Final = "response.output_item.added"
_DONE: Final = "response.output_item.done"

# incomplete_details.reason -> what it means; without a reason that is known, what was being written is not whole.
INCOMPLETE: Final = {
    "max_output_tokens": Finish.LENGTH,
    "content_filter": Finish.FILTER,
    "max_messages": Finish.NORMAL,
    "steered": Finish.NORMAL,
}


class ResponsesTranslator:
    """One answer; used like :class:`stream.StreamTranslator`.  ``writer`` takes the blocks, by default as frames."""

    # as all answers have them at first
    _explanation = ""  # of a refusal that came as an error
    stop: Stop | None = None
    fault: ProxyError | None = None
    started = False
    done = False
    finish_reason: str | None = None  # the upstream's status, or why it is incomplete
    upstream_id: str | None = None
    upstream_model: str | None = None

    def __init__(self, spec: ReplySpec, writer: BlockWriter | None = None) -> None:
        self._spec = spec
        self._splitter = Splitter()
        self._opening: Opening | None = Opening()  # until the answer is known to be an event stream
        self._writer = writer if writer is not None else BlockWriter(spec)
        self._items = Items()
        self._turns = Turns(spec, self._writer)
        self._short_cut = ShortCut(self._writer, self._turns)
        self._finishes: set[Finish] = set()
        self.usage = Usage()

    def __repr__(self) -> str:
        state = "done" if self.done else "fault" if self.fault else "started" if self.started else "new"
        return f"<ResponsesTranslator {state}, blocks {self._writer.index + 1}, tools {self._turns.tools}>"

    @property
    def spoken(self) -> bool:
        """Whether the first content was produced."""
        return self._writer.spoken

    @property
    def finishing(self) -> bool:
        """Never: the last event brings everything, and ends the answer."""
        return False

    @property
    def stop_reason(self) -> str | None:
        return None if self.stop is None else self.stop.reason

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
            return frame
        self._payloads(payloads)
        return self._writer.take()

    def close(self) -> bytes:
        """The upstream's stream has ended."""
        if self._over:
            return b""
        if self._opening is not None and (body := self._opening.body) is not None:
            self.whole(body)
        else:
            try:
                self._payloads(self._splitter.flush())
            except ValueError:
                self.fault = Garbled(TOO_LONG)
            self._end_of_stream()
        return self._writer.take()

    @property
    def _over(self) -> bool:
        return self.done or self.fault is not None

    # what comes in

    def whole(self, body: bytes) -> None:
        """A body that is JSON: one response, an error, or events one after the other."""
        try:
            response = decode_response(body)
            if response is None:
                self._events(*lenient_events(body))
                self._end_of_stream()
                return
        except Garbled as fault:
            self.fault = fault
            return
        error = error_of(response)
        if error is not None:
            self._fail(error)
        elif response.status in _EARLY and not self._spec.lenient_eof:
            self.fault = Broken(UNFINISHED)
        elif response.output is None:
            self.fault = Garbled(NO_OUTPUT)
        else:
            self._answer(response, "completed")

    def _payloads(self, payloads: list[bytes]) -> None:
        at, count = 0, len(payloads)
        while at < count and not self._over:
            if (copied := self._short_cut.copy(payloads, at)) != at:
                at = copied
                continue
            payload = payloads[at]
            at += 1
            try:
                event = decode_event(payload)
            except DECODE_ERRORS:
                self._lenient(payload)
            else:
                if not self._short_cut.take(payload, event):
                    self._event(event)

    def _lenient(self, payload: bytes) -> None:
        try:
            events, done = lenient_events(payload)
        except Garbled as fault:
            self.fault = fault
        else:
            self._events(events, done)

    def _events(self, events: list[Event], done: bool) -> None:
        for event in events:
            if self._over:
                return
            self._event(event)
        if done and not self._over:
            if self.started and self._items.whole:
                self._finish(Finish.NORMAL)
            else:
                self._end_of_stream()

    def _end_of_stream(self) -> None:
        if self._over:
            return
        if not self.started:
            self.fault = Broken(SILENT)
        elif self._spec.lenient_eof and not self._writer.in_tool:
            self._finish(Finish.NORMAL)
        else:  # half a call must not be executed as if it were whole
            self.fault = Broken(TRUNCATED)

    # the rows of protocol.md 8

    def _event(self, event: Event) -> None:
        self._short_cut.forget()
        kind = event.type or ""
        row = ROWS.get(kind)
        if row is not None:
            self._said(row, event)
        elif kind in (_ADDED, _DONE):
            if event.item is not None:
                self._item(event.item, event.output_index, done=kind == _DONE)
        elif kind in TERMINAL and event.response is not None:
            self._answer(event.response, TERMINAL[kind])
        elif (error := error_of(event)) is not None:
            self._fail(error)
        elif kind in TERMINAL:
            self._answer(Response(), TERMINAL[kind])
        elif event.response is not None:
            self._named(event.response)
        if not self._over and not self._failed() and self._turns.matched is not None:
            self._finish(Finish.NORMAL)

    def _begin(self) -> None:
        """The head of the message leaves with the first item, not with ``response.created``: until then a failure is
        an HTTP error, which clients handle better, and another upstream may be tried (protocol.md 4.3)."""
        if not self.started:
            self.started = True
            self._writer.begin()

    def _named(self, response: Response) -> None:
        self.upstream_id = self.upstream_id or response.id
        self.upstream_model = self.upstream_model or response.model

    def _said(self, row: Row, event: Event) -> None:
        self._begin()
        item = self._items.of(row.kind, event.output_index, event.item_id)
        text, whole, new = getattr(event, row.member), row.member != "delta", True
        if row.kind == CALL:
            item.take(row.sort, text, whole=whole)
        else:
            part = event.summary_index if row.sort == "summary" else event.content_index
            new = item.hear(row.sort, part or 0, text, whole=whole)
        self._turns.let(item)
        if new and row in QUICK:
            self._short_cut.look(event, item)

    def _item(self, item: OutputItem, index: int | None, *, done: bool) -> None:
        self._begin()
        kind = KINDS.get(item.type or "")
        if kind is None:
            return
        known = (self._items.of if done else self._items.announced)(kind, index, item.id)
        (known.finish if done else known.announce)(item, self._spec.tools)
        self._turns.let(known)

    def _answer(self, response: Response, status: str) -> None:
        """The response is there; what of its output did not come in events is taken now."""
        self._named(response)
        if response.usage:
            self.usage = usage.read_responses(response.usage, response.service_tier)
        if response.status in _LAST:
            status = response.status or status
        if status == "failed":
            self._fail(response.error or _FAILED)
            return
        if status == "cancelled":
            self.fault = Broken(CANCELLED)
            return
        finish, self.finish_reason = Finish.NORMAL, status
        if status == "incomplete":
            reason = response.incomplete_details.reason if response.incomplete_details is not None else None
            finish = INCOMPLETE.get(reason or "", Finish.LENGTH)
            self.finish_reason = reason or status
        self._begin()
        final = self._items.final(response.output or [])
        for item, found in final:
            item.finish(found, self._spec.tools)
        self._finish(finish, [item for item, _ in final])

    def _fail(self, error: Any) -> None:
        fault = from_stream_error(error)
        if not isinstance(fault, ContentFiltered):
            self.fault = fault
            return
        self._explanation = fault.message  # a policy's refusal is an answer, and clients show it as one
        self._begin()
        self._finish(Finish.FILTER)

    # the end

    def _finish(self, finish: Finish, final: list[Item] | None = None) -> None:
        """``final`` are the items of the finished response, in order."""
        self._finishes.add(finish)
        self._turns.finish(self._items.calls, final or [], self._end_of_calls())
        if self._failed():
            return
        self.stop = self._why()
        self._writer.end(self.stop, self.usage)
        self.done = True

    def _why(self) -> Stop:
        refusal = self._items.refusal() or self._explanation
        return stop.decide(self._finishes, refusal, self._turns.tools, self._turns.matched)

    def _end_of_calls(self) -> End:
        if not self._finishes & stop.CUTS:
            return End.NORMAL
        return End.LENGTH if self._why().reason == "max_tokens" else End.CUT

    def _failed(self) -> bool:
        if self._turns.endless:
            self.fault = Garbled(ENDLESS)
        return self.fault is not None
