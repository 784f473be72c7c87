"""A whole ChatCompletion as an Anthropic Message.

Rule: the same tables and helpers as the stream, so that both ways of asking give the same message (protocol.md 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..errors import Garbled, ProxyError, Refused
from ..wire import anthropic_reply as wire
from ..wire.anthropic_reply import ContentBlock, Message, TextBlock, ThinkingBlock, ToolUseBlock, encode
from ..wire.openai_chat_reply import DECODE_ERRORS, Chunk, Delta, ToolCall, decode_completion, error_of, says_more
from . import reasoning, stop, usage
from .arguments import whole
from .faults import from_stream_error
from .reply_spec import ReplySpec
from .stop import Cutter, Finish, Stop
from .tool_slots import Slots
from .usage import Usage

NO_CHOICES: Final = "The upstream's answer has no choices"
_FAILED: Final = {"message": "The upstream reported an error instead of finishing its answer"}
_NO_CAPACITY: Final = "The upstream has no capacity for this request at the moment"
_FAULTS: Final = frozenset({Finish.ERROR, Finish.OVERLOADED})


class Reply(msgspec.Struct, gc=False):
    message: bytes  # the Message, encoded
    blocks: list[ContentBlock]
    stop: Stop
    usage: Usage
    finish_reason: str | None = None  # the upstream's
    upstream_id: str | None = None
    upstream_model: str | None = None

    @property
    def stop_reason(self) -> str:
        return self.stop.reason


def fault_in(chunk: Chunk) -> ProxyError | None:
    """The error that a chunk or a completion reports instead of an answer (protocol.md 4.4 row 1, 3.2)."""
    error = error_of(chunk)
    if error is not None:
        return from_stream_error(error)
    for choice in chunk.choices or ():
        if choice.index:
            continue
        if choice.error:
            return from_stream_error(choice.error)
        if choice.finish_reason is None:
            continue
        finish = stop.meaning(choice.finish_reason)
        if finish is Finish.ERROR:
            return from_stream_error(_FAILED)
        if finish is Finish.OVERLOADED:
            return Refused(_NO_CAPACITY, status=529)
    return None


def calls_of(delta: Delta) -> Sequence[ToolCall]:
    """Tool calls; the legacy ``function_call`` is one at index 0, unless it only repeats them."""
    if delta.tool_calls:
        return delta.tool_calls
    return () if delta.function_call is None else (ToolCall(0, None, delta.function_call),)


def is_whole(chunk: Chunk) -> bool:
    """Whether this is a completion (or anything else without choices) and not a chunk of a stream."""
    for choice in chunk.choices or ():  # noqa: SIM110  # half the cost of all() with a generator
        if choice.delta is not None:
            return False
    return True


def plain_message(body: bytes, spec: ReplySpec) -> Reply | None:
    """The message of an answer that is nothing out of the ordinary, in a third of the time; None: see what it is.

    Text alone is what :func:`_composed` would make of it, in half of that.
    """
    try:
        completion = decode_completion(body)
    except DECODE_ERRORS:
        return None
    (choice,) = completion.choices
    finish = stop.meaning(choice.finish_reason)
    if finish in _FAULTS:
        return None
    totals, delta = usage.read_counts(completion.usage, completion.service_tier), choice.message
    text = delta.content
    if not isinstance(text, str) or says_more(delta) or finish in stop.CUTS or spec.think_tags or spec.enforce_stops:
        return _composed(delta, finish, None, totals, choice.finish_reason, completion.id, completion.model, spec)
    blocks: list[ContentBlock] = [TextBlock(text)] if text and not text.isspace() else []
    return reply_of(spec, blocks, stop.END_TURN, totals, choice.finish_reason, completion.id, completion.model)


def message_of(completion: Chunk, spec: ReplySpec) -> Reply:
    """Raises ProxyError: an error object, an error as finish_reason, or no choices."""
    fault = fault_in(completion)
    if fault is not None:
        raise fault
    if not completion.choices:
        raise Garbled(NO_CHOICES)
    choice = completion.choices[0]
    found = usage.reported(completion) or usage.fallback(completion)
    return _composed(
        choice.message or choice.delta or Delta(),
        stop.meaning(choice.finish_reason),
        stop.matched(choice, spec.stop_sequences),
        Usage() if found is None else usage.read(found, completion.service_tier),
        choice.finish_reason,
        completion.id,
        completion.model,
        spec,
    )


def _composed(
    delta: Delta,
    finish: Finish | None,
    matched: str | None,
    totals: Usage,
    finish_reason: str | None,
    upstream_id: str | None,
    upstream_model: str | None,
    spec: ReplySpec,
) -> Reply:
    said = reasoning.read(delta)
    if spec.think_tags and said.text.lstrip().startswith("<"):
        tags = reasoning.ThinkTags()
        (thought, text), (late, rest) = tags.feed(said.text), tags.flush()
        said.reasoning, said.text = said.reasoning + thought + late, text + rest
    calls = calls_of(delta)
    if spec.enforce_stops:
        cutter = Cutter(spec.enforce_stops)
        said.text, met = cutter.feed(said.text)
        said.text += cutter.flush()
        if met is not None:  # nothing after it would have been written
            matched, said.refusal, calls = met, "", ()
    tools, thoughts = _tools(calls, spec, cut=finish in stop.CUTS) if calls else ([], {})
    blocks: list[ContentBlock] = []
    if said.reasoning or said.details or thoughts:
        blocks += _thinking(said, thoughts, spec)
    if said.text and not said.text.isspace():
        blocks.append(TextBlock(said.text))
    if said.refusal and not said.refusal.isspace():
        blocks.append(TextBlock(said.refusal))
    blocks += tools
    why = stop.decide(() if finish is None else (finish,), said.refusal, len(tools), matched)
    return reply_of(spec, blocks, why, totals, finish_reason, upstream_id, upstream_model)


def reply_of(
    spec: ReplySpec,
    blocks: list[ContentBlock],
    why: Stop,
    totals: Usage,
    finish_reason: str | None,
    upstream_id: str | None,
    upstream_model: str | None,
) -> Reply:
    message = Message(
        spec.message_id, spec.model, blocks, why.reason, why.sequence, why.details, totals.reply(tier=True)
    )
    return Reply(encode(message), blocks, why, totals, finish_reason, upstream_id, upstream_model)


def events_of(reply: Reply, spec: ReplySpec) -> bytes:
    """The same answer as a stream, for a client that asked for one (protocol.md 4.1)."""
    out = [] if spec.opened else [wire.message_start(spec.message_id, spec.model)]
    for index, block in enumerate(reply.blocks):
        if isinstance(block, TextBlock):
            out += (wire.text_start(index), _delta(index, "text", block.text))
        elif isinstance(block, ThinkingBlock):
            out.append(wire.thinking_start(index))
            if block.thinking:
                out.append(_delta(index, "thinking", block.thinking))
            out.append(_delta(index, "signature", block.signature))
        else:
            out += (wire.tool_start(index, block.id, block.name), _delta(index, "tool", bytes(block.input).decode()))
        out.append(wire.block_stop(index))
    why = reply.stop
    out += (
        wire.message_delta(why.reason, why.sequence, why.details, reply.usage.reply(tier=False)),
        wire.MESSAGE_STOP,
    )
    return b"".join(out)


def _delta(index: int, kind: wire.DeltaKind, text: str) -> bytes:
    return wire.delta_head(index, kind) + encode(text) + wire.DELTA_TAIL


def _tools(calls: Sequence[ToolCall], spec: ReplySpec, *, cut: bool) -> tuple[list[ToolUseBlock], dict[str, str]]:
    """The tool_use blocks, and Gemini's signatures by the client's tool ids."""
    ids, blocks, thoughts = Slots(spec), [], {}
    for call in calls:
        function, custom = call.function, call.custom
        name = ((function and function.name) or (custom and custom.name) or "").strip()
        if not name:
            if len(spec.tools) != 1:
                continue
            (name,) = spec.tools
        if function is not None:
            text = whole(_text_of(function.arguments), cut=cut)
        else:
            text = encode({"input": (custom and custom.input) or ""}).decode()
        tool_id = ids.unique((call.id or "").strip())
        blocks.append(ToolUseBlock(tool_id, ids.client_name(name), msgspec.Raw(text.encode())))
        if call.extra_content is not None and (signature := reasoning.thought_signature(call)) is not None:
            thoughts[tool_id] = signature
    return blocks, thoughts


def _text_of(arguments: str | dict[str, Any] | None) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return encode(arguments).decode()


def _thinking(said: reasoning.Said, thoughts: dict[str, str], spec: ReplySpec) -> list[ThinkingBlock]:
    if spec.thinking == "drop":
        return []
    shown = said.reasoning if spec.thinking == "show" else ""
    blocks = []
    if reasoning.is_opaque(said.details) or (said.reasoning and said.details):
        blocks.append(ThinkingBlock(shown, spec.sign("or", said.details)))
    elif said.reasoning and not thoughts:
        blocks.append(ThinkingBlock(shown, spec.sign("plain", "" if shown else said.reasoning)))
    if thoughts:
        blocks.append(ThinkingBlock("" if blocks else shown, spec.sign("gem", thoughts)))
    return blocks
