"""What is remembered from request to request is never seen, and a conversation's beginning keeps its bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import BUILTIN, builtin, resolve
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire import openai_chat, openai_responses
from ccproxy_sanic.wire.anthropic import decode_request
from tests.property import test_request_properties as chat
from tests.property.test_responses_request import agents, spoken
from tests.support.forgetting import forget


class Api(NamedTuple):
    translate: Callable[..., Any]
    encode: Callable[[Any], bytes]


CHAT = Api(to_chat, openai_chat.encode)
RESPONSES = Api(to_responses, openai_responses.encode)
OPENAI = builtin("openai")
ONE_SWITCH: list[dict[str, Any]] = [
    *({"schema": flavour} for flavour in ("gemini", "ollama", "grammar")),
    *({"tool_choice": choice} for choice in ("required", "auto")),
    {"parallel_tool_calls": False},
    {"cache": "breakpoint"},
]
PROFILES = [
    *(msgspec.structs.replace(OPENAI, **switch) for switch in ONE_SWITCH),
    resolve("https://openrouter.ai/api/v1", "anthropic/claude"),  # it searches the web
]
SCHEMA = {"type": "object", "properties": {"at": {"type": "string", "format": "uri", "const": "c"}}}
TOOLS = [
    {"name": "f", "input_schema": SCHEMA},
    {"name": "g", "input_schema": {**SCHEMA, "required": ["at"], "additionalProperties": False}, "strict": True},
    {"name": "h" * 80, "input_schema": SCHEMA, "defer_loading": True},
    {"name": "web_search", "type": "web_search_20250305"},
]
CHOICES = [None, {"type": "any"}, {"type": "tool", "name": "f"}, {"type": "auto", "disable_parallel_tool_use": True}]
WORDS = {"type": "text", "text": "x"}
CHANGES = [
    {"type": "text", "text": "nothing changed"},
    {"type": "tool_addition", "tool": {"definition": {"name": "k", "input_schema": SCHEMA}}},
    {"type": "tool_addition", "tool": {"name": "h" * 80}},
    {"type": "tool_removal", "tool": {"name": "g"}},
]
prompts = st.lists(
    chat.texts | chat.block("text", text=st.just("x-anthropic-billing-header: a")) | chat.unknown, max_size=3
)
Request = tuple[bytes, Any, Api, bool]


def two(values: st.SearchStrategy[Any], draw: st.DrawFn) -> st.SearchStrategy[Any]:
    """Of all values two, so that requests often differ in one thing only."""
    return st.sampled_from(draw(st.lists(values, min_size=1, max_size=2)))


@st.composite
def interleaved(draw: st.DrawFn) -> list[Request]:
    """Requests that have much in common, for several upstreams."""
    fields = {
        "tools": two(st.sampled_from([TOOLS[:3], TOOLS[:3][::-1], TOOLS]), draw),
        "system": two(prompts, draw),
        "tool_choice": two(st.sampled_from(CHOICES), draw),
        "messages": two(st.sampled_from(CHANGES), draw).map(lambda one: [{"role": "user", "content": [one, WORDS]}]),
    }
    upstreams = st.tuples(
        st.sampled_from([OPENAI, draw(st.sampled_from(PROFILES))]), st.sampled_from([CHAT, RESPONSES]), st.booleans()
    )
    found: list[Request] = []
    for _ in range(draw(st.integers(4, 10))):
        asked = {"model": "m", "max_tokens": 64, **draw(st.fixed_dictionaries(fields))}
        found.append((json.dumps(asked).encode(), *draw(upstreams)))
    return found


def outcome(raw: bytes, profile: Any, api: Api, strict: bool) -> Any:
    """All that a translation says: a refusal's message, or the body and what the answer's translation must know."""
    try:
        done = api.translate(decode_request(raw), model="m", profile=profile, strict=strict)
    except InvalidRequest as refusal:
        return refusal.message
    body = api.encode(done.request)
    return body, [getattr(done, name) for name in done.__struct_fields__ if name != "request"]


@settings(max_examples=250, deadline=None)
@given(requests=interleaved())
def test_a_request_is_translated_as_if_none_had_been_before_it(requests: list[Request]) -> None:
    forget()
    warm = [outcome(*one) for one in [*requests, *requests]]
    for one, first, again in zip(requests, warm, warm[len(requests) :], strict=False):
        forget()
        assert first == again == outcome(*one)


def sent(request: Any, profile: Any, api: Api) -> dict[str, bytes] | None:
    """The fields of the upstream's request, as they are on the wire; None where it was refused."""
    try:
        done = api.translate(decode_request(json.dumps(request).encode()), model="m", profile=profile)
    except InvalidRequest:
        return None
    fields = msgspec.json.decode(api.encode(done.request), type=dict[str, msgspec.Raw])
    return {name: bytes(raw) for name, raw in fields.items()}


@settings(max_examples=150, deadline=None)
@given(
    request=st.builds(lambda request, talk: request | {"messages": talk}, chat.requests, agents),
    turn=spoken,
    profile=st.sampled_from([one for one in map(builtin, BUILTIN.names()) if one.cache == "none"]),
    api=st.sampled_from([CHAT, RESPONSES]),
)
def test_a_turn_later_the_beginning_has_the_same_bytes(
    request: dict[str, Any], turn: list[Any], profile: Any, api: Api
) -> None:
    """Providers cache by prefix (protocol.md 9.3); what may change it is what the client asks to be cleared."""
    said = {"role": "assistant", "content": [*turn, {"type": "text", "text": "so"}]}
    before = sent(request, profile, api)
    after = sent(request | {"messages": [*request["messages"], said, {"role": "user", "content": "on"}]}, profile, api)
    if before is None or after is None:
        return
    history = "messages" if api is CHAT else "input"
    assert after[history].startswith(before[history][:-1])
    assert list(before) == list(after)
    assert [name for name in before if before[name] != after[name]] == [history]
