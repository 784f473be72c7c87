"""What a Responses upstream answers: stream events and whole responses.

Rule: whatever JSON an upstream sends becomes an :class:`Event` or a :class:`Response`, or is :class:`Garbled`.  The
typed decode takes what is as documented; everything else is fitted into the same structs (:mod:`lenient`).  Only
members that the translation reads are here: decoding passes over the rest, whatever its type (protocol.md 8).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .lenient import fitted, objects


class Part(msgspec.Struct, gc=False):
    """One piece of a message's content, of a reasoning summary or of a reasoning text."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None


class OutputItem(msgspec.Struct):
    """An output item of any type."""

    type: str | None = None
    id: str | None = None
    status: str | None = None
    content: list[Part | str] | str | None = None  # message: its parts; reasoning: its text
    phase: str | None = None  # message: commentary or final_answer
    summary: list[Part | str] | str | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # documented as a string
    input: str | None = None  # of a custom tool


class Incomplete(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """A whole response, the ``response`` member of an event, or an error body in its place."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[OutputItem] | None = None
    incomplete_details: Incomplete | None = None
    usage: dict[str, Any] | None = None
    service_tier: str | None = None
    error: Any = None
    detail: Any = None  # FastAPI's error body
    message: Any = None  # error bodies without an `error` member
    code: Any = None
    type: Any = None
    object: str | None = None


class Event(msgspec.Struct):
    """A stream event of any type."""

    type: str | None = None
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    item: OutputItem | None = None
    response: Response | None = None
    error: Any = None
    detail: Any = None
    message: Any = None
    code: Any = None
    object: str | None = None


_EVENT: Final = msgspec.json.Decoder(Event)
_RESPONSE: Final = msgspec.json.Decoder(Response)
decode_event: Final = _EVENT.decode  # the hot path: raises msgspec.DecodeError, UnicodeDecodeError or RecursionError


def lenient_events(payload: bytes) -> tuple[list[Event], bool]:
    """All events in a payload that the typed decode refused, and whether ``[DONE]`` stood among them.

    Raises Garbled.
    """
    found, done = objects(payload)
    return [fitted(value, Event) for value in found], done


def decode_response(body: bytes) -> Response | None:
    """A JSON body that is one response or one error; None when it is events instead.  Raises Garbled."""
    try:
        response = _RESPONSE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found, _ = objects(body)
        if len(found) != 1:
            return None
        response = fitted(found[0], Response)
    return None if isinstance(response.type, str) and response.type.startswith("response.") else response


def error_of(said: Event | Response) -> Any:
    """The error that an event or a body is, as ``faults.from_stream_error`` takes it, or None.

    The documented event is ``{"type": "error", "code", "message", "param"}``; it is also seen with an ``error`` member
    as Chat Completions has it, and gateways send their own bodies (protocol.md 5.2).
    """
    if said.error:
        return {"error": said.error, "code": said.code} if said.code else said.error
    if said.type == "error" or said.object == "error":
        return {"message": said.message, "type": said.type, "code": said.code}
    if isinstance(said.type, str) and said.type.startswith("response."):
        return None
    if said.detail:
        return {"detail": said.detail}
    if said.message and (said.code or said.type):
        return {"message": said.message, "type": said.type, "code": said.code}
    return None


def texts(parts: list[Part | str] | str | None) -> list[tuple[str, bool]]:
    """The texts of parts, in order, and of each whether it is a refusal."""
    if parts is None or isinstance(parts, str):
        return [(parts, False)] if parts else []
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append((part, False))
        elif part.refusal:
            found.append((part.refusal, True))
        else:
            found.append((part.text or "", False))
    return found
