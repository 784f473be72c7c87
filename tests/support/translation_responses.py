"""Short forms for tests of the Responses request, and its check against OpenAI's own types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.translate.fields import Translated
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire.anthropic import decode_request
from ccproxy_sanic.wire.openai_responses import ResponsesRequest, encode
from tests.support.translation import body, profile_of

Named = str | Mapping[str, Any] | Profile
Opened = Mapping[str, tuple[str, Any]]

_WHOLE = TypeAdapter(ResponseCreateParamsNonStreaming)
_STREAMED = TypeAdapter(ResponseCreateParamsStreaming)


def respond(
    request: Mapping[str, Any], profile: Named = "openai", *, carriers: Opened | None = None, **more: Any
) -> Translated[ResponsesRequest]:
    """``carriers`` are what our signatures hold."""
    decoded = decode_request(json.dumps(request).encode())
    unsign: Callable[[str], tuple[str, Any] | None] | None = carriers.get if carriers is not None else None
    return to_responses(decoded, model=decoded.model, profile=profile_of(profile), unsign=unsign, **more)


def wire(done: Translated[ResponsesRequest]) -> dict[str, Any]:
    """The upstream's request as JSON values."""
    sent: dict[str, Any] = json.loads(encode(done.request))
    return sent


def sent(request: Mapping[str, Any], profile: Named = "openai", **more: Any) -> dict[str, Any]:
    return wire(respond(request, profile, **more))


def items(messages: list[Any], profile: Named = "openai", **more: Any) -> list[dict[str, Any]]:
    """The upstream's input."""
    found: list[dict[str, Any]] = sent(body(messages=messages), profile, **more)["input"]
    return found


def check_types(request: dict[str, Any]) -> None:
    """Every required key is there, every value of its type, and no key that OpenAI's types do not have."""
    adapter = _STREAMED if request.get("stream") else _WHOLE
    assert _thawed(adapter.validate_python(request)) == request


def _thawed(value: Any) -> Any:
    """pydantic checks iterables only while they are read."""
    if isinstance(value, Mapping):
        return {key: _thawed(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_thawed(inner) for inner in value]
    return value
