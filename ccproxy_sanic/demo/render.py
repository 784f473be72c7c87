"""An answer as the bytes of an OpenAI-compatible server's Chat Completions.

Rule: the streamed and the whole answer are made from the same list of deltas, so they can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.pieces import CREATED, Answer, digest
from ccproxy_sanic.demo.plan import Piece, Plan
from ccproxy_sanic.demo.playing import Rendering, Step, reply
from ccproxy_sanic.demo.quirks import CHUNKS, DELTAS, Chunk, Delta
from ccproxy_sanic.demo.request import Asked

FIELD: Final = {"reasoning": "reasoning_content", "text": "content", "refusal": "refusal"}


def refuse(fault: Fault, body: bytes | None = None) -> list[Step]:
    return reply(fault.status, fault.encode(), fault.headers)


class ChatRendering(Rendering):
    def __init__(self, asked: Asked, body: bytes, plan: Plan, answer: Answer) -> None:
        self.headers: dict[str, str] = {}
        self.answer = answer
        self._request, self._body, self._quirk = asked.request, body, plan.quirk
        self._deltas = [_delta(piece) for piece in answer.pieces]
        if plan.quirk in DELTAS:
            self._deltas = DELTAS[plan.quirk][1](self._deltas)

    def frames(self) -> Iterator[bytes]:
        choices: list[Delta] = [{"role": "assistant", "content": ""}, *self._deltas, {}]
        frame = self._frame("chat.completion.chunk")
        chunks: list[Chunk] = [
            frame | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}
            for delta in choices
        ]
        chunks[-1]["choices"][0]["finish_reason"] = self.answer.finish
        options = self._request.stream_options
        if options is not None and options.include_usage:
            chunks.append(frame | {"choices": [], "usage": self._usage()})
        if self._quirk in CHUNKS:
            chunks = CHUNKS[self._quirk][1](chunks)
        return (_event(msgspec.json.encode(chunk)) for chunk in chunks)

    def last(self) -> bytes:
        return _event(b"[DONE]")

    def failure(self, fault: Fault) -> bytes:
        return _event(fault.encode())  # nothing follows it, not even [DONE] (real-upstream.md, quirk 3)

    def refuse(self, fault: Fault) -> list[Step]:
        return refuse(fault)

    def whole(self) -> bytes:
        """The deltas put together as a client would."""
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        calls: list[dict[str, Any]] = []
        for delta in self._deltas:
            for key, value in delta.items():
                if key != "tool_calls":
                    message[key] = (message.get(key) or "") + value
                    continue
                for piece in value:
                    if "id" in piece:
                        calls.append({key: part for key, part in piece.items() if key != "index"})
                    else:
                        calls[-1]["function"]["arguments"] += piece["function"]["arguments"]
        if calls:
            message["tool_calls"] = calls
        elif message["refusal"] is None and message["content"] is None:
            message["content"] = ""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.answer.finish}
        return msgspec.json.encode(self._frame("chat.completion") | {"choices": [choice], "usage": self._usage()})

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{digest(self._body)}",
            "object": kind,
            "created": CREATED,
            "model": self._request.model,
            "system_fingerprint": "fp_demo",
        }

    def _usage(self) -> dict[str, Any]:
        prompt, completion = self.answer.prompt, len(self.answer.pieces)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.answer.cached},
            "completion_tokens_details": {"reasoning_tokens": self.answer.reasoned},
        }


def _delta(piece: Piece) -> Delta:
    if piece.kind in FIELD:
        return {FIELD[piece.kind]: piece.text}
    if piece.kind == "arguments":
        return {"tool_calls": [{"index": piece.index, "function": {"arguments": piece.text}}]}
    function = {"name": piece.name, "arguments": piece.text}
    return {
        "tool_calls": [{"index": piece.index, "id": f"call_{piece.mark}", "type": "function", "function": function}]
    }


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
