"""What a Chat Completions upstream answers: one shape for chunks of a stream and for whole completions.

Rule: whatever JSON an upstream sends becomes a :class:`Chunk` or a :class:`Garbled`.  The typed decode takes what is
as documented; everything else (ints for strings, objects for strings, nulls anywhere, several objects in one event)
is decoded untyped and fitted into the same structs (:mod:`lenient`; protocol.md 3.1, 4.1, 4.5).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from .lenient import Inner, Written, fitted, objects


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Written | dict[str, Any] | None = None  # documented as a string; some gateways send the object


class Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: Inner | None = None


class ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    extra_content: Any = None  # Gemini: {"google": {"thought_signature": ...}}


class Delta(msgspec.Struct, gc=False):
    """A ``delta``, or a whole ``message``."""

    content: str | list[Any] | None = None  # Mistral: a list of parts
    refusal: Inner | None = None
    reasoning_content: Inner | None = None
    reasoning: Inner | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    reasoning_text: Inner | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM: the matched stop string, or a token id
    matched_stop: Any = None  # SGLang
    usage: dict[str, Any] | None = None  # Moonshot
    error: Any = None  # OpenRouter


class Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    service_tier: str | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None  # llama.cpp
    prompt_eval_count: int | None = None  # Ollama
    eval_count: int | None = None
    object: str | None = None
    detail: Any = None  # FastAPI's error body
    message: Any = None  # error bodies without an `error` member
    code: Any = None
    type: Any = None


Count = Annotated[int, msgspec.Meta(ge=0)]


class PromptCounts(msgspec.Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class CompletionCounts(msgspec.Struct, gc=False):
    reasoning_tokens: Count | None = None


class Counts(msgspec.Struct, gc=False):
    """A usage object as documented."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count = 0
    prompt_tokens_details: PromptCounts | None = None
    completion_tokens_details: CompletionCounts | None = None
    prompt_cache_hit_tokens: Count | None = None
    cached_tokens: Count | None = None
    cost: float | None = None


class PlainChoice(msgspec.Struct, gc=False):
    """What makes a :class:`Choice` more than its message must be absent or null here."""

    message: Delta
    finish_reason: str | None = None
    delta: None = None
    stop_reason: None = None
    matched_stop: None = None
    error: None = None


class Completion(msgspec.Struct, gc=False):
    """A whole answer as nearly every upstream sends it.  The others, and errors, are a :class:`Chunk`."""

    choices: Annotated[list[PlainChoice], msgspec.Meta(min_length=1, max_length=1)]
    usage: Counts
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    error: None = None


_DECODER: Final = msgspec.json.Decoder(Chunk)
decode_chunk: Final = _DECODER.decode  # the hot path: raises msgspec.DecodeError, UnicodeDecodeError or RecursionError
decode_completion: Final = msgspec.json.Decoder(Completion).decode  # the same for what is not streamed
READ_MEMBERS: Final = frozenset(
    name.encode() for part in (Chunk, Choice, Delta, ToolCall, Function, Custom) for name in part.__struct_fields__
)
DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def error_of(chunk: Chunk) -> Any:
    """The error that a chunk or a completion reports, as ``faults.from_stream_error`` takes it, or None.

    An answer without choices and without usage that looks like one of the error bodies of protocol.md 5.2 is one.
    """
    if chunk.error:
        return {"error": chunk.error, "code": chunk.code} if chunk.code else chunk.error
    if chunk.choices or chunk.usage:
        return None
    if chunk.detail:
        return {"detail": chunk.detail}
    if chunk.object == "error" or (chunk.message and (chunk.code or chunk.type)):
        return {"message": chunk.message, "type": chunk.type, "code": chunk.code}
    return None


def says_more(delta: Delta) -> bool:
    """Whether a delta or a message holds anything but ``content``."""
    return bool(
        delta.tool_calls
        or delta.reasoning_content
        or delta.reasoning
        or delta.reasoning_text
        or delta.reasoning_details
        or delta.refusal
        or delta.function_call
    )


PieceKind = Literal["text", "thinking", "tool"]


def only_piece(chunk: Chunk) -> tuple[PieceKind, str] | None:
    """The text of a chunk that says nothing but a piece of content, reasoning or arguments, as nearly all of them do.

    Its service tier is left to the caller, as OpenAI repeats it on every chunk; so is the index of a tool call, which
    has no id here, and is not begun by its name.
    """
    choices = chunk.choices
    if choices is None or len(choices) != 1 or chunk.usage is not None or chunk.error is not None:
        return None
    choice = choices[0]
    delta = choice.delta
    if (
        delta is None
        or choice.finish_reason
        or choice.index
        or choice.error is not None
        or choice.usage is not None
        or choice.stop_reason is not None
        or choice.matched_stop is not None
        or chunk.x_groq is not None
        or chunk.timings is not None
        or chunk.eval_count is not None
        or chunk.prompt_eval_count is not None
        or delta.reasoning_details
        or delta.refusal
        or delta.function_call is not None
    ):
        return None
    content = delta.content
    thought = delta.reasoning_content or delta.reasoning or delta.reasoning_text
    if delta.tool_calls:
        return None if content or thought else _only_arguments(delta.tool_calls)
    if thought:
        return None if content else ("thinking", thought)
    return ("text", content) if content and isinstance(content, str) else None


def _only_arguments(calls: list[ToolCall]) -> tuple[PieceKind, str] | None:
    call = calls[0]
    function = call.function
    if len(calls) != 1 or call.id or call.custom is not None or function is None:
        return None
    arguments = function.arguments
    return ("tool", arguments) if arguments and isinstance(arguments, str) else None


def index_of_piece(chunk: Chunk) -> int | None:
    """The index of the tool call in a chunk that is only a piece of arguments."""
    delta = chunk.choices[0].delta if chunk.choices else None
    return delta.tool_calls[0].index if delta is not None and delta.tool_calls else None


def decode_body(body: bytes) -> tuple[list[Chunk], bool]:
    """The chunks (mostly one completion) of a JSON body, and whether ``[DONE]`` stood among them.  Raises Garbled."""
    try:
        return [decode_chunk(body)], False
    except DECODE_ERRORS:
        return lenient_chunks(body)


def lenient_chunks(payload: bytes) -> tuple[list[Chunk], bool]:
    """All chunks in a payload that the typed decode refused, and whether ``[DONE]`` stood among them.

    Raises Garbled.
    """
    found, done = objects(payload)
    return [fitted(value, Chunk) for value in found], done
