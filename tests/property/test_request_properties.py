"""What holds for every request: one kind of refusal, legal messages, no text lost, equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import BUILTIN, builtin
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.wire.anthropic import FIELDS, decode_request
from ccproxy_sanic.wire.openai_chat import encode

PROFILES = st.sampled_from(BUILTIN.names())
OPENAI = TypeAdapter(CompletionCreateParamsNonStreaming)

words = st.text(max_size=12)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
marks = st.sampled_from(
    [{}, {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
)
ids = st.sampled_from(["a", "b", "c", "call_" + "x" * 50, "call_a|b:c/d e"])
names = st.sampled_from(["f", "g", "functions.Bash:0", "mcp__" + "n" * 80])


def block(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    fixed = st.fixed_dictionaries({"type": st.just(kind), **fields})
    return st.builds(lambda one, mark: one | mark, fixed, marks)


texts = block("text", text=words)
sources = st.sampled_from(
    [
        {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        {"type": "url", "url": "https://example.com/a"},
        {"type": "wormhole"},
    ]
)
images = block("image", source=sources)
documents = block(
    "document",
    source=st.builds(lambda data: {"type": "text", "data": data}, words)
    | st.builds(lambda blocks: {"type": "content", "content": blocks}, st.lists(texts, max_size=2)),
    title=words,
)
found = block("search_result", source=words, title=words, content=st.lists(texts, max_size=2))
loaded = block("tool_reference", tool_name=names)
unknown = st.builds(
    lambda kind, fields: fields | {"type": kind},
    st.sampled_from(["hologram", "fallback"]),
    st.dictionaries(words, junk, max_size=3),
)
result_content = words | st.none() | st.lists(texts | images | documents | found | loaded | unknown, max_size=3)
results = block("tool_result", tool_use_id=ids, content=result_content, is_error=st.booleans())
calls = block("tool_use", id=ids, name=names, input=st.dictionaries(words, junk, max_size=3))
thoughts = block("thinking", thinking=words, signature=words)
compactions = block("compaction", content=words | st.none())
user_blocks = st.lists(texts | images | documents | found | results | compactions | unknown, max_size=5)
assistant_blocks = st.lists(texts | calls | thoughts | compactions | unknown, max_size=5)
messages = st.lists(
    st.one_of(
        st.builds(lambda content: {"role": "user", "content": content}, words | user_blocks),
        st.builds(lambda content: {"role": "assistant", "content": content}, words | assistant_blocks),
        st.builds(
            lambda content, clear: {"role": "system", "content": content, "clear_at": clear},
            words | st.none() | st.lists(texts | unknown, max_size=2),
            st.sampled_from([None, "next_user_message"]),
        ),
    ),
    max_size=7,
).map(lambda rest: [{"role": "user", "content": "begin"}, *rest, {"role": "user", "content": "end"}])
schemas = st.recursive(
    st.booleans()
    | st.sampled_from([{"type": "string"}, {"type": "array"}, {"$ref": "#"}, {"const": 1}, {"format": "uri"}]),
    lambda inner: (
        st.builds(lambda value: {"type": "object", "properties": value}, st.dictionaries(words, inner, max_size=3))
        | st.builds(
            lambda key, value: {key: value}, st.sampled_from(["anyOf", "allOf", "oneOf"]), st.lists(inner, max_size=3)
        )
        | st.builds(lambda value: {"type": "array", "items": value}, inner)
    ),
    max_leaves=6,
).filter(lambda schema: isinstance(schema, dict))
tools = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["f", "g", "h", "mcp__" + "n" * 80])},
        optional={
            "input_schema": schemas,
            "description": words,
            "defer_loading": st.booleans(),
            "strict": st.booleans(),
            "type": st.sampled_from([None, "custom", "bash_20250124", "web_search_20250305", "telepathy"]),
        },
    ),
    max_size=4,
    unique_by=lambda tool: tool["name"],
)
requests = st.fixed_dictionaries(
    {"model": st.just("m"), "max_tokens": st.integers(0, 200_000), "messages": messages},
    optional={
        "system": words | st.lists(texts, max_size=3),
        "tools": tools,
        "tool_choice": st.sampled_from(
            [{"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "f"}]
        ),
        "thinking": st.sampled_from(
            [
                {"type": "adaptive"},
                {"type": "disabled"},
                {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
            ]
        ),
        "output_config": st.sampled_from([{"effort": "low"}, {"effort": "max"}, {"effort": "?"}]),
        "output_format": st.builds(lambda schema: {"type": "json_schema", "schema": schema}, schemas),
        "stop_sequences": st.lists(words, max_size=6),
        "temperature": st.floats(0, 1),
        "top_k": st.integers(0, 100),
        "stream": st.booleans(),
        "metadata": st.just({"user_id": "u"}),
        "speed": st.just("fast"),
    },
)


def translated(request: Any, profile: str, **more: Any) -> dict[str, Any] | None:
    """The upstream's request, or None where it was refused."""
    try:
        decoded = decode_request(json.dumps(request).encode())
        done = to_chat(decoded, model="m", profile=builtin(profile), **more)
    except InvalidRequest:
        return None
    sent: dict[str, Any] = json.loads(encode(done.request))
    return sent


def exhaust(value: Any) -> None:
    """pydantic checks iterables only while they are read."""
    if isinstance(value, dict):
        for inner in value.values():
            exhaust(inner)
    elif isinstance(value, (Iterator, list)):
        for inner in value:
            exhaust(inner)


def check_order(sent: list[dict[str, Any]]) -> None:
    """Every assistant message with calls is directly followed by exactly its tool messages; there are no others."""
    index = 0
    while index < len(sent):
        message = sent[index]
        assert message["role"] != "tool", "a tool message without a call"
        index += 1
        if called := [call["id"] for call in message.get("tool_calls", ())]:
            answers = sent[index : index + len(called)]
            assert sorted(answer["tool_call_id"] for answer in answers) == sorted(called)
            index += len(called)
    assert sent[0]["role"] in ("system", "user")


@settings(max_examples=150, deadline=None)
@given(request=requests, profile=PROFILES, strict=st.booleans())
def test_tool_messages_stand_right_behind_their_calls(request: dict[str, Any], profile: str, strict: bool) -> None:
    sent = translated(request, profile, strict=strict)
    if sent is not None:
        check_order(sent["messages"])
        for message in sent["messages"]:
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)


@settings(max_examples=120, deadline=None)
@given(request=requests, profile=st.sampled_from(["openai", "openai-breakpoints", "openai-reasoning", "azure"]))
def test_what_openai_gets_is_of_openais_types(request: dict[str, Any], profile: str) -> None:
    sent = translated(request | {"stream": False}, profile)
    if sent is not None:
        exhaust(OPENAI.validate_python(sent))
        assert all(len(tool["function"]["name"]) <= 64 for tool in sent.get("tools", ()))
        assert ("tool_choice" in sent) <= ("tools" in sent)


def wanted_texts(request: dict[str, Any]) -> list[str]:
    """Unique words that were planted in text which must arrive."""
    return [block["text"] for message in request["messages"] for block in _texts(message["content"])]


def _texts(content: Any) -> Iterator[dict[str, Any]]:
    for one in content if isinstance(content, list) else ():
        if one["type"] == "text":
            yield one
        elif one["type"] in ("tool_result", "search_result"):
            yield from _texts(one.get("content"))
        elif one["type"] == "document":
            yield from _texts(one["source"].get("content"))


@settings(max_examples=150, deadline=None)
@given(request=requests, profile=PROFILES)
def test_no_text_is_lost_or_doubled(request: dict[str, Any], profile: str) -> None:
    for message in request["messages"]:
        message.pop("clear_at", None)
    for number, one in enumerate(one for message in request["messages"] for one in _texts(message["content"])):
        one["text"] = f"«{number}»"
    sent = translated(request, profile)
    if sent is not None:
        everything = json.dumps(sent["messages"], ensure_ascii=False)
        for text in wanted_texts(request):
            assert everything.count(text) == 1, text


@settings(max_examples=100, deadline=None)
@given(request=requests, profile=PROFILES)
def test_equal_requests_give_equal_bytes_and_are_left_alone(request: dict[str, Any], profile: str) -> None:
    raw = json.dumps(request).encode()
    try:
        decoded = decode_request(raw)
        first = to_chat(decoded, model="m", profile=builtin(profile), session="s")
        again = to_chat(decoded, model="m", profile=builtin(profile), session="s")
        fresh = to_chat(decode_request(raw), model="m", profile=builtin(profile), session="s")
    except InvalidRequest:
        return
    assert encode(first.request) == encode(again.request) == encode(fresh.request)
    assert first.adjustments == again.adjustments


FIELD_NAMES = sorted(
    {field for fields in FIELDS.values() for field in fields} | {"role", "output_config", "effort", "schema"}
)
mess = st.recursive(
    junk,
    lambda inner: (
        st.dictionaries(st.sampled_from(FIELD_NAMES), inner, max_size=4)
        | st.builds(
            lambda kind, rest: rest | {"type": kind},
            st.sampled_from(sorted(FIELDS)),
            st.dictionaries(st.sampled_from(FIELD_NAMES), inner, max_size=4),
        )
    ),
    max_leaves=12,
)
TOP = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
]


@settings(max_examples=250, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from([*TOP, "metadata", "stop_sequences", "container", "thread"]), mess | st.lists(mess, max_size=3)
    ),
    content=st.lists(mess, max_size=3),
    role=st.sampled_from(["user", "assistant", "system"]),
    profile=PROFILES,
)
def test_nonsense_is_refused_in_one_way_only(
    fields: dict[str, Any], content: list[Any], role: str, profile: str
) -> None:
    base = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "x"}, {"role": role, "content": content}],
    }
    translated(base | fields, profile)
    translated(fields, profile)


@settings(max_examples=120, deadline=None)
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_that_are_no_request_are_refused_in_one_way_only(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(data)


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_body_is_a_request_or_refused(cut: int, at: int, byte: int) -> None:
    raw = json.dumps(
        {
            "model": "m",
            "max_tokens": 5,
            "system": "é😀",
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"v": "\ud83d\ude00"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "é"}]},
            ],
        }
    ).encode()
    damaged = bytearray(raw[: len(raw) - cut % len(raw)] if cut % 3 else raw)
    damaged[at % len(damaged)] = byte
    try:
        done = to_chat(decode_request(bytes(damaged)), model="m", profile=builtin("openai"))
    except InvalidRequest:
        return
    json.loads(encode(done.request))
