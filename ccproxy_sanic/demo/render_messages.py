"""An answer as the bytes of Anthropic's Messages API.

Rule: the grammar of protocol.md 4.2: one block is open at a time, each starts empty, thinking ends with its signature.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.messages_blocks import THINKING_SEAL
from ccproxy_sanic.demo.pieces import Answer, Run, digest
from ccproxy_sanic.demo.plan import Piece, Plan
from ccproxy_sanic.demo.playing import Blocks, Step, event, reply
from ccproxy_sanic.demo.request_messages import AskedMessage
from ccproxy_sanic.demo.seal import seal

TYPE_OF_STATUS: Final = {  # protocol.md 5.1
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STOP_REASON: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
DELTA: Final = {
    "reasoning": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "refusal": ("text_delta", "text"),
    "call": ("input_json_delta", "partial_json"),
    "arguments": ("input_json_delta", "partial_json"),
}
LIMITED: Final = {"requests": 4000, "input-tokens": 2_000_000, "output-tokens": 400_000}
RESET: Final = "2026-01-01T00:00:00Z"
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def refuse(fault: Fault, body: bytes | None) -> list[Step]:
    return reply(fault.status, msgspec.json.encode(_error(fault, body)), headers(body) | fault.headers)


def headers(body: bytes | None) -> dict[str, str]:
    """Those of a good answer and of a refusal."""
    limits = {}
    for name, most in LIMITED.items():
        limits[f"anthropic-ratelimit-{name}-limit"] = str(most)
        limits[f"anthropic-ratelimit-{name}-remaining"] = str(most - 1)
        limits[f"anthropic-ratelimit-{name}-reset"] = RESET
    return {"request-id": _request_id(body), "anthropic-organization-id": "demo-organization", **limits}


def _request_id(body: bytes | None) -> str:
    return f"req_{digest(body or b'')}"


def _error(fault: Fault, body: bytes | None) -> dict[str, Any]:
    kind = TYPE_OF_STATUS.get(fault.status, "invalid_request_error" if fault.status < 500 else "api_error")
    message = fault.message
    if fault.overflow:
        message = f"prompt is too long: {fault.overflow[0]} tokens > {fault.overflow[1]} maximum"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": _request_id(body)}


class MessagesRendering(Blocks):
    def __init__(self, asked: AskedMessage, body: bytes, plan: Plan, answer: Answer) -> None:
        self.headers = headers(body)
        self.answer = answer
        self._body = body
        self._omitted, self._model = asked.omitted, asked.request.model

    def start(self) -> bytes:
        return _event("message_start", message=self._message([], None, 1)) + PING

    def opened(self, run: Run) -> bytes:
        return _event("content_block_start", index=run.at, content_block=self._block(run, empty=True))

    def delta(self, run: Run, piece: Piece) -> bytes:
        if not piece.text or (self._omitted and piece.kind == "reasoning"):
            return b""
        kind, member = DELTA[piece.kind]
        return _event("content_block_delta", index=run.at, delta={"type": kind, member: piece.text})

    def closed(self, run: Run) -> bytes:
        told = b""
        if run.kind == "reasoning":
            delta = {"type": "signature_delta", "signature": self._signature(run)}
            told = _event("content_block_delta", index=run.at, delta=delta)
        return told + _event("content_block_stop", index=run.at)

    def last(self) -> bytes:
        ending, usage = self._ending(), self._usage(len(self.answer.pieces))
        return _event("message_delta", delta=ending, usage=usage) + _event("message_stop")

    def failure(self, fault: Fault) -> bytes:
        return event("error", _error(fault, self._body))

    def refuse(self, fault: Fault) -> list[Step]:
        return refuse(fault, self._body)

    def whole(self) -> bytes:
        blocks = [self._block(run) for run in self.answer.runs()]
        return msgspec.json.encode(self._message(blocks, self._ending(), len(self.answer.pieces)))

    def _message(self, blocks: list[dict[str, Any]], ending: dict[str, Any] | None, output: int) -> dict[str, Any]:
        return {
            "id": f"msg_{digest(self._body)}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": blocks,
            **(ending or {"stop_reason": None, "stop_sequence": None, "stop_details": None}),
            "usage": self._usage(output) | {"service_tier": "standard"},
        }

    def _block(self, run: Run, *, empty: bool = False) -> dict[str, Any]:
        text = "" if empty else run.text()
        if run.kind == "reasoning":
            shown = "" if self._omitted else text
            return {"type": "thinking", "thinking": shown, "signature": "" if empty else self._signature(run)}
        if run.kind == "call":
            call = run.pieces[0]
            return {"type": "tool_use", "id": f"toolu_{call.mark}", "name": call.name, "input": _input(text)}
        return {"type": "text", "text": text}

    def _signature(self, run: Run) -> str:
        return seal(THINKING_SEAL, run.text())

    def _ending(self) -> dict[str, Any]:
        answer, details = self.answer, None
        reason = "stop_sequence" if answer.stop is not None else STOP_REASON[answer.finish]
        if refusal := "".join(piece.text for piece in answer.pieces if piece.kind == "refusal"):
            reason, details = "refusal", {"type": "refusal", "category": None, "explanation": refusal}
        return {"stop_reason": reason, "stop_sequence": answer.stop, "stop_details": details}

    def _usage(self, output: int) -> dict[str, Any]:
        answer = self.answer
        return {
            "input_tokens": answer.prompt - answer.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": answer.cached,
            "output_tokens": output,
            "output_tokens_details": {"thinking_tokens": answer.reasoned},
        }


def _event(name: str, **members: Any) -> bytes:
    return event(name, {"type": name, **members})


def _input(text: str) -> Any:
    """The arguments; nothing if the token limit cut them."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
