"""Structured answers: ``output_config.format`` as ``response_format`` or as an instruction (protocol.md 1.2, 9).

Rule: the client gets JSON of its schema by the strictest means that the upstream has and the schema allows.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.adjustments import Notes, Path
from ccproxy_sanic.translate.schema import clean_format, fits_strict
from ccproxy_sanic.wire.anthropic import MessagesRequest

NAME: Final = "response"
INSTRUCTION: Final = "Answer with one JSON object that matches this JSON Schema: {schema}"


class AnswerFormat(msgspec.Struct):
    """``response_format`` (or UNSET) and the ``lines`` that go into the instructions."""

    response_format: Any = UNSET
    lines: tuple[str, ...] = ()


def translate(req: MessagesRequest, profile: Profile, notes: Notes) -> AnswerFormat:
    """Raises InvalidRequest where the schema is no JSON object."""
    wanted, path = req.output_format, ("output_format",)
    if req.output_config is not None and req.output_config.format is not None:
        wanted, path = req.output_config.format, ("output_config", "format")  # type: ignore[assignment]
    if wanted is None:
        return AnswerFormat()
    if wanted.type != "json_schema":
        notes.add("format_dropped", (*path, "type"))
        return AnswerFormat()
    schema = _schema(bytes(wanted.schema), path)
    if profile.json_schema != "schema":
        notes.add("format_as_instruction", path)
        text = msgspec.json.encode(clean_format(schema, "default")).decode()
        asked = {"type": "json_object"} if profile.json_schema == "object" else UNSET
        return AnswerFormat(asked, (INSTRUCTION.format(schema=text),))
    cleaned = clean_format(schema, profile.schema)
    form: dict[str, Any] = {"name": NAME, "schema": cleaned}
    if fits_strict(schema):
        form["strict"] = True
    else:
        notes.add("strict_dropped", (*path, "schema"), "the answer's schema does not fit strict mode")
    return AnswerFormat({"type": "json_schema", "json_schema": form})


def _schema(data: bytes, path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError:
        where = ".".join(map(str, path))
        raise InvalidRequest(f"{where}.schema: Input should be a valid dictionary") from None
