"""What a Chat Completions upstream answers: one shape for chunks of a stream and for whole completions.

Rule: whatever JSON an upstream sends becomes a :class:`Chunk` or a :class:`Garbled`.  The typed decode takes what is
as documented; everything else (ints for strings, objects for strings, nulls anywhere, several objects in one event)
is decoded untyped and normalised into the same structs (protocol.md 3.1, 4.1, 4.5).
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import msgspec

from ..errors import Garbled

_NOT_JSON: Final = "The upstream sent something that is not JSON"
_TOO_DEEP: Final = "The upstream sent JSON that is nested too deeply"


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # documented as a string; some gateways send the object


class Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    extra_content: Any = None  # Gemini: {"google": {"thought_signature": ...}}


class Delta(msgspec.Struct):
    """A ``delta``, or a whole ``message``."""

    content: str | list[Any] | None = None  # Mistral: a list of parts
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    reasoning_text: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM: the matched stop string, or a token id
    matched_stop: Any = None  # SGLang
    usage: dict[str, Any] | None = None  # Moonshot
    error: Any = None  # OpenRouter


class Chunk(msgspec.Struct):
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


_DECODER: Final = msgspec.json.Decoder(Chunk)
decode_chunk: Final = _DECODER.decode  # the hot path: raises msgspec.DecodeError, UnicodeDecodeError or RecursionError
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

    Several objects may follow each other; lists are taken apart; null, numbers and strings say nothing.  Raises
    Garbled.
    """
    text = payload.decode("utf-8", "replace").lstrip("\ufeff").strip()
    chunks: list[Chunk] = []
    at = 0
    while at < len(text):
        if text.startswith(("[DONE]", '"[DONE]"'), at):
            return chunks, True
        try:
            value, at = _JSON.raw_decode(text, at)
        except RecursionError:
            raise Garbled(_TOO_DEEP) from None
        except ValueError:
            raise Garbled(_NOT_JSON) from None
        chunks.extend(_chunk(item) for item in _dicts(_scrubbed(value)))
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
    return chunks, False


_JSON: Final = json.JSONDecoder(parse_constant=lambda _: None, strict=False)


def _scrubbed(value: Any) -> Any:
    """``value`` with every lone surrogate replaced: JSON can write one, UTF-8 can't."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {_scrubbed(key): _scrubbed(item) for key, item in value.items()}
    return value


def _dicts(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _content(value: Any) -> str | list[Any] | None:
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else _text(value)


def _said(value: Any) -> str | None:
    """The text of a reasoning field, also where it is an object or a list around the text."""
    if isinstance(value, list):
        return "".join(_said(item) or "" for item in value)
    if isinstance(value, dict):
        return next((found for key in ("text", "content", "summary") if (found := _said(value.get(key)))), None)
    return _text(value)


def _arguments(value: Any) -> str | dict[str, Any] | None:
    if value is None or isinstance(value, str | dict):
        return value
    return msgspec.json.encode(value).decode()


def _function(value: Any) -> Function | None:
    if not isinstance(value, dict):
        return None
    return Function(_text(value.get("name")), _arguments(value.get("arguments")))


def _tool_call(value: dict[str, Any]) -> ToolCall:
    custom = _dict(value.get("custom"))
    return ToolCall(
        _int(value.get("index")),
        _text(value.get("id")),
        _function(value.get("function")),
        None if custom is None else Custom(_text(custom.get("name")), _said(custom.get("input"))),
        value.get("extra_content"),
    )


def _delta(value: Any) -> Delta | None:
    if not isinstance(value, dict):
        return None
    return Delta(
        content=_content(value.get("content")),
        refusal=_said(value.get("refusal")),
        reasoning_content=_said(value.get("reasoning_content")),
        reasoning=_said(value.get("reasoning")),
        reasoning_details=_dicts(value.get("reasoning_details")) or None,
        reasoning_text=_said(value.get("reasoning_text")),
        tool_calls=[_tool_call(item) for item in _dicts(value.get("tool_calls"))] or None,
        function_call=_function(value.get("function_call")),
    )


def _choice(value: dict[str, Any]) -> Choice:
    return Choice(
        index=_int(value.get("index")),
        delta=_delta(value.get("delta")),
        message=_delta(value.get("message")),
        finish_reason=_text(value.get("finish_reason")),
        stop_reason=value.get("stop_reason"),
        matched_stop=value.get("matched_stop"),
        usage=_dict(value.get("usage")),
        error=value.get("error"),
    )


def _chunk(value: dict[str, Any]) -> Chunk:
    choices = value.get("choices")
    return Chunk(
        id=_text(value.get("id")),
        model=_text(value.get("model")),
        choices=None if choices is None else [_choice(item) for item in _dicts(choices)],
        usage=_dict(value.get("usage")),
        service_tier=_text(value.get("service_tier")),
        error=value.get("error"),
        x_groq=_dict(value.get("x_groq")),
        timings=_dict(value.get("timings")),
        prompt_eval_count=_int(value.get("prompt_eval_count")),
        eval_count=_int(value.get("eval_count")),
        object=_text(value.get("object")),
        detail=value.get("detail"),
        message=value.get("message"),
        code=value.get("code"),
        type=value.get("type"),
    )
