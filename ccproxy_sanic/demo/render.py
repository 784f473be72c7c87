"""A plan as the bytes of an OpenAI-compatible server.

Rule: the streamed and the whole answer are made from the same list of deltas, so they can't disagree.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.plan import Plan
from ccproxy_sanic.demo.quirks import BODIES, CHUNKS, DELTAS, FRAMES, Chunk, Delta
from ccproxy_sanic.demo.request import ChatRequest, cached_tokens, prompt_tokens

CREATED: Final = 1_700_000_000  # a constant, so that equal requests get equal bytes
PIECE: Final = re.compile(r"\s*\S{1,24}|\s+")
ARGUMENT_PIECE: Final = re.compile(r".{1,12}", re.DOTALL)
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


def answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> list[Step]:
    return [Head(status, JSON | (headers or {}), len(body)), body]


def refuse(fault: Fault) -> list[Step]:
    return answer(fault.status, fault.encode(), fault.headers)


def steps(plan: Plan, request: ChatRequest, body: bytes, pace: float) -> Iterator[Step]:
    """What to do, in order.  ``pace`` is the server's own, in seconds; the plan's wins."""
    pace = pace if plan.pace is None else plan.pace
    if plan.hold and (plan.hold_at is None or not request.stream):
        yield Pause(plan.hold)
    if plan.fault is not None and (plan.fault_at is None or not request.stream):
        yield from refuse(plan.fault)
        return
    if plan.cut_at == 0:
        yield Cut()
        return
    deltas, finish = _deltas(plan, request, body)
    usage = _usage(request, body, deltas)
    if request.stream and plan.quirk not in BODIES:
        yield from _stream(plan, request, body, deltas, finish, usage, pace)
        return
    if pace:
        yield Pause(pace * len(deltas))
    whole = msgspec.json.encode(_completion(request, body, deltas, finish, usage))
    if plan.cut_at is not None:
        yield from (Head(200, JSON, len(whole)), whole[: len(whole) // 2], Cut())
        return
    yield from answer(200, whole)


def _stream(
    plan: Plan, request: ChatRequest, body: bytes, deltas: list[Delta], finish: str, usage: dict[str, Any], pace: float
) -> Iterator[Step]:
    choices: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *deltas, {}]
    frame = _frame(request, body, "chat.completion.chunk")
    chunks: list[Chunk] = [
        frame | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}
        for delta in choices
    ]
    chunks[-1]["choices"][0]["finish_reason"] = finish
    if request.stream_options is not None and request.stream_options.include_usage:
        chunks.append(frame | {"choices": [], "usage": usage})
    if plan.quirk in CHUNKS:
        chunks = CHUNKS[plan.quirk][1](chunks)
    framed = FRAMES[plan.quirk][1] if plan.quirk in FRAMES else bytes
    yield Head(200, EVENTS)
    for at, chunk in enumerate(chunks):
        piece = at - 1  # the first chunk brings only the role
        if piece in (plan.cut_at, plan.fault_at):
            break
        if piece == plan.hold_at:
            yield Pause(plan.hold)
        yield framed(_event(msgspec.json.encode(chunk)))
        if pace:
            yield Pause(pace)
    if plan.cut_at is not None:
        yield Cut()
    elif plan.fault is not None:
        yield framed(_event(plan.fault.encode()))  # nothing follows it, not even [DONE] (real-upstream.md, quirk 3)
    elif done := framed(_event(b"[DONE]")):
        yield done


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _deltas(plan: Plan, request: ChatRequest, body: bytes) -> tuple[list[Delta], str]:
    """The pieces in order, cut at the token limit, and the finish reason."""
    text = _stopped(plan.text, request.stops())
    deltas: list[Delta] = [{"reasoning_content": piece} for piece in PIECE.findall(plan.reasoning)]
    deltas += [{"content": piece} for piece in PIECE.findall(text)]
    deltas += [{"refusal": piece} for piece in PIECE.findall(plan.refusal)]
    for index, call in enumerate(plan.calls):
        start = {"index": index, "id": _call_id(body, index), "type": "function"}
        deltas.append({"tool_calls": [start | {"function": {"name": call.name, "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in ARGUMENT_PIECE.findall(msgspec.json.encode(call.arguments).decode())
        ]
    finish = plan.finish or ("tool_calls" if plan.calls else "stop")
    limit = request.limit()
    if limit is not None and len(deltas) > limit and not plan.whole:
        deltas, finish = deltas[:limit], "length"
    return (DELTAS[plan.quirk][1](deltas) if plan.quirk in DELTAS else deltas), finish


def _stopped(text: str, stops: list[str]) -> str:
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    return text[: min(found)] if found else text


def _call_id(body: bytes, index: int) -> str:
    """Unique in a conversation, because every turn's request differs; the same for an equal request."""
    return f"call_{hashlib.blake2s(body, digest_size=10).hexdigest()}{index:02d}"


def _frame(request: ChatRequest, body: bytes, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{hashlib.blake2s(body, digest_size=12).hexdigest()}",
        "object": kind,
        "created": CREATED,
        "model": request.model,
        "system_fingerprint": "fp_demo",
    }


def _completion(
    request: ChatRequest, body: bytes, deltas: list[Delta], finish: str, usage: dict[str, Any]
) -> dict[str, Any]:
    """The deltas put together as a client would."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    calls: list[dict[str, Any]] = []
    for delta in deltas:
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
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _frame(request, body, "chat.completion") | {"choices": [choice], "usage": usage}


def _usage(request: ChatRequest, body: bytes, deltas: list[Delta]) -> dict[str, Any]:
    prompt, completion = prompt_tokens(body), len(deltas)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached_tokens(request, prompt)},
        "completion_tokens_details": {
            "reasoning_tokens": sum(1 for delta in deltas if "reasoning_content" in delta or "reasoning" in delta)
        },
    }
