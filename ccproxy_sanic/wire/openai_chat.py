"""The Chat Completions request as upstreams receive it.

Rule: a field that is UNSET is not on the wire; None is a JSON null and is written where a null is meant.

Field order is fixed, and so are the bytes for equal values: providers cache prompts by their prefix (protocol.md 9.3).
What only some providers know goes into ``extra`` and lands at the top level of the body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType


class PartMark(Struct, gc=False):
    """``prompt_cache_breakpoint`` (protocol.md 1.7)."""

    mode: Literal["explicit"] = "explicit"
    ttl: str | UnsetType = UNSET


class CacheMark(Struct, gc=False):
    """``cache_control`` as OpenRouter takes it."""

    type: str = "ephemeral"
    ttl: str | UnsetType = UNSET


class TextPart(Struct, gc=False, tag_field="type", tag="text"):
    text: str
    cache_control: CacheMark | UnsetType = UNSET
    prompt_cache_breakpoint: PartMark | UnsetType = UNSET


class ImageUrl(Struct, gc=False):
    url: str


class ImagePart(Struct, gc=False, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class File(Struct, gc=False):
    filename: str
    file_data: str


class FilePart(Struct, gc=False, tag_field="type", tag="file"):
    file: File


Part: TypeAlias = TextPart | ImagePart | FilePart


class Call(Struct, gc=False):
    name: str
    arguments: str  # JSON text


class ToolCall(Struct, gc=False):
    id: str
    function: Call
    type: Literal["function"] = "function"
    extra_content: dict[str, Any] | UnsetType = UNSET


class ChatMessage(Struct, gc=False):
    role: str
    content: str | list[Part] | Raw | UnsetType | None = UNSET  # Raw: the JSON of a string
    tool_calls: list[ToolCall] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    reasoning_details: list[Any] | UnsetType = UNSET
    prefix: bool | UnsetType = UNSET
    partial: bool | UnsetType = UNSET


class Function(Struct, gc=False):
    name: str
    description: str | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


class ChatTool(Struct, gc=False, tag_field="type", tag="function"):
    function: Function


class Declared:
    """Tools whose JSON is made once and then copied: an encoder with :func:`as_json` takes them."""

    __slots__ = ("json", "tools")

    def __init__(self, tools: Iterable[Any]) -> None:
        self.tools = tuple(tools)
        self.json = Raw(msgspec.json.encode(self.tools))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tools)

    def __len__(self) -> int:
        return len(self.tools)


def as_json(value: Any) -> Raw:
    if isinstance(value, Declared):
        return value.json
    raise NotImplementedError(type(value).__name__)  # msgspec's way to say that there is no JSON for it


class FunctionName(Struct, gc=False):
    name: str


class NamedChoice(Struct, gc=False, tag_field="type", tag="function"):
    function: FunctionName


class ChatRequest(Struct, gc=False, kw_only=True):
    model: str
    messages: list[ChatMessage]
    tools: Sequence[ChatTool] | Declared | UnsetType = UNSET
    tool_choice: Literal["auto", "required", "none"] | NamedChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    max_completion_tokens: int | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    top_k: int | UnsetType = UNSET
    stop: list[str] | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    stream_options: dict[str, bool] | UnsetType = UNSET
    response_format: dict[str, Any] | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    safety_identifier: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    prompt_cache_key: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


_ENCODER = msgspec.json.Encoder(enc_hook=as_json)


def encode(request: ChatRequest) -> bytes:
    """The JSON body; ``extra`` is spread over the top level, after the named fields."""
    return spread(_ENCODER, request)


class _Extended(Protocol):
    extra: dict[str, Any] | UnsetType


def spread(encoder: msgspec.json.Encoder, request: _Extended) -> bytes:
    """``request`` as JSON, with the entries of its ``extra`` in the place of that field, which is the last."""
    extra = request.extra
    if extra is UNSET:
        return encoder.encode(request)
    request.extra = UNSET
    try:
        body = encoder.encode(request)
    finally:
        request.extra = extra
    return body[:-1] + b"," + encoder.encode(extra)[1:] if extra else body
