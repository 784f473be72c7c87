"""Tools and system prompts come with every turn: they are decoded, translated and encoded once, within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate import compact, tools
from ccproxy_sanic.wire import reading
from ccproxy_sanic.wire.anthropic import decode_request
from ccproxy_sanic.wire.openai_chat import Declared, as_json
from ccproxy_sanic.wire.reading import SHARED, SHARED_BYTES
from ccproxy_sanic.wire.sampled import Sampled
from tests.support.forgetting import forget
from tests.support.translation import WEATHER, assistant, body, codes, result, text, translate, use, user, wire

CLAUDE_CODES = "x-anthropic-billing-header: cc_version=2.1.328"


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    forget()
    yield
    forget()


def decoded(**fields: Any) -> Any:
    return decode_request(json.dumps(body(**fields)).encode())


@pytest.mark.parametrize("at", [0, 1, 126, 127, 5000, 9999])
def test_keys_that_differ_anywhere_are_two(at: int) -> None:
    data = bytes(range(100)) * 100
    other = bytearray(data)
    other[at] ^= 1
    assert {Sampled(data): "found"}.get(Sampled(bytes(bytearray(data)))) == "found"
    assert {Sampled(data): "found"}.get(Sampled(bytes(other))) is None
    assert Sampled(data) != data


def test_equal_tools_and_prompts_are_decoded_once() -> None:
    first, again = (decoded(tools=[WEATHER], system=[text("s")], stop_sequences=[end]) for end in "ab")
    assert first.tools is again.tools
    assert first.system is again.system
    assert decoded(tools=[WEATHER, WEATHER]).tools is not first.tools


def test_tools_are_encoded_once_and_sent_in_the_same_bytes() -> None:
    request = body(tools=[WEATHER], system=[text("é"), text("\n")])
    first, again = translate(request), translate(request | {"messages": [user("x"), assistant("y"), user("z")]})
    assert first.request.tools is again.request.tools
    assert [tool.function.name for tool in first.request.tools] == ["get_weather"]
    assert len(first.request.tools) == 1
    assert first.request.messages[0].content is again.request.messages[0].content
    assert wire(again)["tools"] == wire(first)["tools"] != []
    assert wire(again)["messages"][0]["content"] == "é"


def test_what_was_noted_and_named_is_so_again() -> None:
    long = "mcp__" + "n" * 80
    billing = {"type": "text", "text": CLAUDE_CODES}
    request = body(tools=[WEATHER | {"name": long, "strict": True}], system=[billing, text("s")])
    first = translate(request)
    turns = [user("x"), assistant(use("a", long)), user(result("a"))]
    again = translate(request | {"messages": turns})
    assert (
        codes(again)
        == codes(first)
        == {
            "tool_renamed": "tools.0",
            "strict_dropped": "tools.0.strict",
            "billing_header_dropped": "system.0",
        }
    )
    assert again.names == first.names == dict.fromkeys(first.tools, long)
    assert wire(again)["messages"][2]["tool_calls"][0]["function"]["name"] in first.tools


def test_lines_and_hoisted_texts_follow_a_remembered_prompt() -> None:
    request = body(system=[text("a"), text("b")], tools=[WEATHER], tool_choice={"type": "any"})
    for _ in range(2):
        assert wire(translate(request, "openai"))["messages"][0]["content"] == "a\n\nb"
        asked = wire(translate(request, "ollama"))["messages"][0]["content"]
        assert asked == "a\n\nb\n\nYou must call at least one of the tools."


@pytest.mark.parametrize(
    ("said", "declared"),
    [
        ({"type": "tool_removal", "tool": {"name": "get_weather"}}, {"other"}),
        ({"type": "tool_addition", "tool": {"name": "late"}}, {"get_weather", "other", "late"}),
        (
            {"type": "tool_addition", "tool": {"definition": WEATHER | {"name": "new"}}},
            {"get_weather", "other", "new"},
        ),
    ],
)
def test_what_a_conversation_says_of_tools_holds_in_it_alone(said: dict[str, Any], declared: set[str]) -> None:
    known = [WEATHER, WEATHER | {"name": "other"}, WEATHER | {"name": "late", "defer_loading": True}]
    request = body(tools=known)
    for _ in range(2):
        assert translate(request).tools == {"get_weather", "other"}
        assert translate(request | {"messages": [user(text("x"), said)]}).tools == declared


def test_a_refusal_is_not_remembered_as_anything_else() -> None:
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="Tool names must be unique"):
            translate(body(tools=[WEATHER, WEATHER]))
        with pytest.raises(InvalidRequest, match=r"^tools\.0\.name: Input should be a valid string$"):
            decoded(tools=[{"name": 5}])
        with pytest.raises(InvalidRequest, match=r"^system\.0\.type: Field required$"):
            decoded(system=[{}])


def test_only_so_many_tool_sets_are_remembered() -> None:
    for number in range(3 * SHARED):
        decoded(tools=[WEATHER | {"name": f"f{number}"}])
    assert reading.remembered.cache_info().currsize == SHARED


def test_a_tool_set_of_unusual_length_is_translated_and_forgotten() -> None:
    request = body(tools=[WEATHER | {"description": "d" * SHARED_BYTES}])
    first, again = translate(request), translate(request)
    assert reading.remembered.cache_info().currsize == 0
    assert wire(first) == wire(again)
    assert first.request.tools is not again.request.tools


def test_only_so_many_outcomes_are_kept_for_a_tool_set() -> None:
    names = [f"f{number}" for number in range(20)]
    declared = [WEATHER | {"name": name} for name in names]
    kept = decoded(tools=declared).tools
    for name in names:
        done = translate(body(tools=declared, tool_choice={"type": "tool", "name": name}))
        assert wire(done)["tool_choice"]["function"]["name"] == name
    assert 0 < len(kept.made) <= tools._VARIANTS


def test_long_arguments_of_calls_are_not_remembered() -> None:
    short, long = (msgspec.Raw(b'{"a": "%b"}' % (b"x" * size)) for size in (10, compact._MEMO_BYTES))
    assert compact.compact(short) == compact.compact(short) == '{"a":"xxxxxxxxxx"}'
    assert compact.compact(long) == '{"a":"' + "x" * compact._MEMO_BYTES + '"}'
    assert compact._compact.cache_info().currsize == 1


def test_an_encoder_is_told_of_nothing_else() -> None:
    assert bytes(as_json(Declared([{"a": 1}]))) == b'[{"a":1}]'
    with pytest.raises(NotImplementedError):
        as_json(object())
