"""An answer as the bytes of OpenAI's Responses API (protocol.md 8).

Rule: an item is built by one function, for the stream as for the whole answer; a stream's events only differ in how
much of it is there yet.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.pieces import CREATED, Answer, Run, digest
from ccproxy_sanic.demo.plan import Piece, Plan
from ccproxy_sanic.demo.playing import Blocks, Step, event, reply
from ccproxy_sanic.demo.request_responses import AskedResponse
from ccproxy_sanic.demo.responses_items import REASONING_SEAL
from ccproxy_sanic.demo.seal import seal

Item = dict[str, Any]
TOO_LONG: Final = "Your input exceeds the context window of this model. Please adjust your input and try again."
FAILED: Final = {429: "rate_limit_exceeded", 500: "server_error"}  # the others come as an ``error`` event
DEFAULTS: Final[dict[str, Any]] = {  # members of a Response that repeat the request, or this
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
FUNCTION_DEFAULTS: Final = {"strict": True, "description": None, "parameters": None}


class Form(msgspec.Struct, frozen=True):
    """How a run of pieces is told: ``deltas`` begins the names of their events, ``parts`` those of what holds them.

    ``member`` holds the text in a part and in ``.done``; ``number`` is what a part's place is called.
    """

    item: str
    deltas: str
    member: str
    parts: str = ""
    number: str = ""
    part: str = ""


MESSAGE: Final = "message"
SUMMARY: Final = Form(
    "reasoning",
    "response.reasoning_summary_text",
    "text",
    "response.reasoning_summary_part",
    "summary_index",
    "summary_text",
)
OPEN_REASONING: Final = Form(
    "reasoning", "response.reasoning_text", "text", "response.content_part", "content_index", "reasoning_text"
)
TEXT: Final = Form(MESSAGE, "response.output_text", "text", "response.content_part", "content_index", "output_text")
REFUSAL: Final = Form(MESSAGE, "response.refusal", "refusal", "response.content_part", "content_index", "refusal")
CALL: Final = Form("function_call", "response.function_call_arguments", "arguments")
FORMS: Final = {"reasoning": SUMMARY, "text": TEXT, "refusal": REFUSAL, "call": CALL}
IDS: Final = {"reasoning": "rs", MESSAGE: "msg", "function_call": "fc"}


def refuse(fault: Fault, body: bytes | None) -> list[Step]:
    return reply(fault.status, _told(fault).encode(), _headers(body) | fault.headers)


def _headers(body: bytes | None) -> dict[str, str]:
    return {
        "x-request-id": f"req_{digest(body or b'', 16)}",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "7",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }


def _told(fault: Fault) -> Fault:
    """The fault in the words of this API."""
    return Fault(400, TOO_LONG, code=fault.code, param="input") if fault.overflow else fault


class ResponsesRendering(Blocks):
    def __init__(self, asked: AskedResponse, body: bytes, plan: Plan, answer: Answer) -> None:
        self.headers = _headers(body)
        self.answer = answer
        self._asked, self._digest = asked, digest(body)
        self._open_reasoning = plan.quirk == "reasoning-field"
        self._number = 0

    def start(self) -> bytes:
        response = self._response("in_progress", [])
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def opened(self, run: Run) -> bytes:
        item = self._item(run, "in_progress", empty=True)
        told = self._event("response.output_item.added", output_index=run.at, item=item)
        form = self._form(run)
        if self._is_shown(run) and form.parts:
            told += self._event(f"{form.parts}.added", **self._place(run), part=self._part(form, ""))
        return told

    def delta(self, run: Run, piece: Piece) -> bytes:
        if not piece.text or not self._is_shown(run):
            return b""
        form = self._form(run)
        return self._event(f"{form.deltas}.delta", **self._place(run), delta=piece.text, **_logprobs(form))

    def closed(self, run: Run) -> bytes:
        form, text, told = self._form(run), run.text(), b""
        if self._is_shown(run):
            told += self._event(f"{form.deltas}.done", **self._place(run), **{form.member: text}, **_logprobs(form))
            if form.parts:
                told += self._event(f"{form.parts}.done", **self._place(run), part=self._part(form, text))
        item = self._item(run, self._status(run))
        return told + self._event("response.output_item.done", output_index=run.at, item=item)

    def last(self) -> bytes:
        ended = self._ended()
        return self._event(f"response.{ended['status']}", response=ended)

    def failure(self, fault: Fault) -> bytes:
        if fault.status in FAILED:
            error = {"code": FAILED[fault.status], "message": fault.message}
            return self._event("response.failed", response=self._response("failed", [], error=error))
        return self._event("error", code=fault.code, message=fault.message, param=fault.param)

    def refuse(self, fault: Fault) -> list[Step]:
        return reply(fault.status, _told(fault).encode(), self.headers | fault.headers)

    def whole(self) -> bytes:
        return msgspec.json.encode(self._ended())

    def _ended(self) -> dict[str, Any]:
        items = [self._item(run, self._status(run)) for run in self.answer.runs()]
        if self.answer.finish == "length":
            details = {"reason": "max_output_tokens"}
            return self._response("incomplete", items, incomplete_details=details, usage=self._usage())
        return self._response("completed", items, completed_at=CREATED, usage=self._usage())

    def _event(self, name: str, **members: Any) -> bytes:
        told = event(name, {"type": name, "sequence_number": self._number, **members})
        self._number += 1
        return told

    def _form(self, run: Run) -> Form:
        return OPEN_REASONING if self._open_reasoning and run.kind == "reasoning" else FORMS[run.kind]

    def _is_shown(self, run: Run) -> bool:
        """Reasoning is told only to those who asked for a summary, except by servers that don't hide it."""
        return run.kind != "reasoning" or self._open_reasoning or self._asked.summarised

    def _status(self, run: Run) -> str:
        cut = self.answer.finish == "length" and run.pieces[-1] is self.answer.pieces[-1]
        return "incomplete" if cut else "completed"

    def _place(self, run: Run) -> dict[str, Any]:
        form = self._form(run)
        return {"item_id": self._id(run), "output_index": run.at, **({form.number: 0} if form.number else {})}

    def _id(self, run: Run) -> str:
        return f"{IDS[self._form(run).item]}_{self._digest}{run.at:02d}"

    def _part(self, form: Form, text: str) -> dict[str, Any]:
        part = {"type": form.part, form.member: text}
        return part | ({"annotations": [], "logprobs": []} if form is TEXT else {})

    def _item(self, run: Run, status: str, *, empty: bool = False) -> Item:
        """The item with all its text, or ``empty`` as it is announced."""
        form = self._form(run)
        item: Item = {"id": self._id(run), "type": form.item}
        parts = [] if empty or not self._is_shown(run) else [self._part(form, run.text())]
        if form is CALL:
            call = run.pieces[0]
            item |= {"status": status, "call_id": f"call_{call.mark}", "name": call.name}
            return item | {"arguments": "" if empty else run.text()}
        if form.item == MESSAGE:
            return item | {"status": status, "role": "assistant", "content": parts}
        item |= {"summary": [], "content": parts} if form is OPEN_REASONING else {"summary": parts}
        if self._asked.encrypted:
            sealed = seal(REASONING_SEAL, f"{item['id']}\n{run.text()}")
            item["encrypted_content"] = sealed[:-4] if empty else sealed  # only that of ``done`` is the whole one
        return item

    def _response(self, status: str, output: list[Item], **members: Any) -> dict[str, Any]:
        given = self._asked.given
        repeated = DEFAULTS | {name: given[name] for name in DEFAULTS if given.get(name) is not None}
        tools: list[dict[str, Any]] = repeated["tools"]
        repeated["tools"] = [FUNCTION_DEFAULTS | tool if tool["type"] == "function" else tool for tool in tools]
        return {
            "id": f"resp_{self._digest}",
            "object": "response",
            "created_at": CREATED,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": given["model"],
            "output": output,
            "usage": None,
            **repeated,
            **members,
        }

    def _usage(self) -> dict[str, Any]:
        answer = self.answer
        return {
            "input_tokens": answer.prompt,
            "input_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": 0},
            "output_tokens": len(answer.pieces),
            "output_tokens_details": {"reasoning_tokens": answer.reasoned},
            "total_tokens": answer.prompt + len(answer.pieces),
        }


def _logprobs(form: Form) -> dict[str, Any]:
    return {"logprobs": []} if form is TEXT else {}
