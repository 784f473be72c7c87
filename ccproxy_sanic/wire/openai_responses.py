"""The Responses request as upstreams receive it (protocol.md 8).

Rule: a field that is UNSET is not on the wire; ``strict`` of a tool always is, because leaving it out means true.

Field order is fixed, and so are the bytes for equal values: providers cache prompts by their prefix (protocol.md 9.3).
What only some providers know goes into ``extra`` and lands at the top level of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ccproxy_sanic.wire.openai_chat import Declared, TextPart, as_json, spread


class InputText(TextPart, gc=False, tag_field="type", tag="input_text"):
    """A text part under this API's tag."""


class InputImage(Struct, gc=False, tag_field="type", tag="input_image"):
    image_url: str  # https: or data:
    detail: Literal["auto"] = "auto"  # required here


class InputFile(Struct, gc=False, tag_field="type", tag="input_file"):
    """Either ``filename`` and ``file_data`` (a data: URL), or ``file_url``."""

    filename: str | UnsetType = UNSET
    file_data: str | UnsetType = UNSET
    file_url: str | UnsetType = UNSET


InputPart: TypeAlias = InputText | InputImage | InputFile


class Message(Struct, gc=False, tag_field="type", tag="message"):
    """A user's or developer's parts, or an assistant's text: its easy form, which needs no id."""

    role: Literal["user", "developer", "assistant"]
    content: str | list[InputPart]
    phase: str | UnsetType = UNSET


class FunctionCall(Struct, gc=False, tag_field="type", tag="function_call"):
    call_id: str
    name: str
    arguments: str  # JSON text


class FunctionCallOutput(Struct, gc=False, tag_field="type", tag="function_call_output"):
    call_id: str
    output: str | list[InputPart]


class SummaryText(Struct, gc=False, tag_field="type", tag="summary_text"):
    text: str


class Reasoning(Struct, gc=False, tag_field="type", tag="reasoning"):
    """``id`` is the server's own or left out: another one does not fit the encrypted content."""

    id: str | UnsetType
    summary: list[SummaryText]
    encrypted_content: str


Item: TypeAlias = Message | FunctionCall | FunctionCallOutput | Reasoning


class FunctionTool(Struct, gc=False, tag_field="type", tag="function"):
    name: str
    description: str | UnsetType
    parameters: Raw | UnsetType
    strict: bool


class FunctionChoice(Struct, gc=False, tag_field="type", tag="function"):
    name: str


class ResponsesRequest(Struct, gc=False, kw_only=True):
    model: str
    instructions: str | Raw | UnsetType = UNSET  # Raw: the JSON of a string
    input: list[Item]
    tools: Sequence[FunctionTool | dict[str, Any]] | Declared | UnsetType = (
        UNSET  # a dict is a tool that the provider runs
    )
    tool_choice: Literal["auto", "required", "none"] | FunctionChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: int
    reasoning: dict[str, Any] | UnsetType = UNSET
    text: dict[str, Any] | UnsetType = UNSET
    include: list[str] | UnsetType = UNSET
    store: Literal[False] = False
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    stream_options: dict[str, bool] | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    safety_identifier: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    prompt_cache_key: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


_ENCODER = msgspec.json.Encoder(enc_hook=as_json)


def encode(request: ResponsesRequest) -> bytes:
    """The JSON body; ``extra`` is spread over the top level, after the named fields."""
    return spread(_ENCODER, request)
