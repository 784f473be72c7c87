"""Short forms for tests of the request's translation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import Profile, builtin, from_switches
from ccproxy_sanic.translate.request import Translated, to_chat
from ccproxy_sanic.wire.anthropic import decode_request
from ccproxy_sanic.wire.openai_chat import encode

MODEL = "up-model"
PNG = "iVBORw0KGgo="
WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def profile_of(named: str | Mapping[str, Any] | Profile) -> Profile:
    if isinstance(named, Profile):
        return named
    return builtin(named) if isinstance(named, str) else from_switches(named)


def body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "x"}]} | fields


def translate(
    request: Mapping[str, Any], profile: str | Mapping[str, Any] | Profile = "openai", **more: Any
) -> Translated:
    return translate_bytes(json.dumps(request).encode(), profile, **more)


def translate_bytes(raw: bytes, profile: str | Mapping[str, Any] | Profile = "openai", **more: Any) -> Translated:
    decoded = decode_request(raw)
    return to_chat(decoded, model=decoded.model, profile=profile_of(profile), **more)


def wire(done: Translated) -> dict[str, Any]:
    """The upstream's request as JSON values."""
    sent: dict[str, Any] = json.loads(encode(done.request))
    return sent


def sent(
    request: Mapping[str, Any], profile: str | Mapping[str, Any] | Profile = "openai", **more: Any
) -> dict[str, Any]:
    return wire(translate(request, profile, **more))


def talk(
    messages: list[Any], profile: str | Mapping[str, Any] | Profile = "openai", **fields: Any
) -> list[dict[str, Any]]:
    """The upstream's messages."""
    found: list[dict[str, Any]] = sent(body(messages=messages, **fields), profile)["messages"]
    return found


def codes(done: Translated) -> dict[str, str]:
    """Adjustment codes and where they were made."""
    return {one.code: one.path for one in done.adjustments}


def refusal(request: Mapping[str, Any], profile: str | Mapping[str, Any] | Profile = "openai", **more: Any) -> str:
    """The message of the 400."""
    with pytest.raises(InvalidRequest) as caught:
        translate(request, profile, **more)
    assert caught.value.status == 400
    return caught.value.message


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": _content(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": _content(content)}


def system(*content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "system", "content": _content(content), **more}


def _content(content: tuple[Any, ...]) -> Any:
    return content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def use(id_: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": given}


def result(id_: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": content, **more}


def image(**source: str) -> dict[str, Any]:
    return {"type": "image", "source": source or {"type": "base64", "media_type": "image/png", "data": PNG}}
