"""What of a request is counted, and how much (protocol.md 6.3, 6.4; original.md part 5)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.profiles import resolve
from ccproxy_sanic.tokens import Prompt, TokenCounter, prompt_of
from ccproxy_sanic.tokens.encodings import vocabulary
from ccproxy_sanic.tokens.functions import declaration
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.wire.anthropic import decode_count_request
from tests.unit.test_tokens_images import b64, png

OPENAI = "https://api.openai.com/v1"
WEATHER: dict[str, Any] = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "input_schema": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
HELLO: dict[str, Any] = {"role": "user", "content": "hello world"}
COUNTER = TokenCounter(1, None)


def prompt(model: str = "gpt-4o", url: str = OPENAI, **fields: Any) -> Prompt:
    body = {"model": "claude-sonnet-5-5", "messages": [HELLO], **fields}
    req = decode_count_request(json.dumps(body).encode())
    profile = resolve(url, model)
    return prompt_of(req, to_chat(req, model=model, profile=profile).request, profile)


def count(model: str = "gpt-4o", **fields: Any) -> int:
    return COUNTER.total(prompt(model, **fields))


def blocks(*content: Any, role: str = "user") -> list[Any]:
    """A conversation with these blocks in it."""
    return [HELLO, {"role": role, "content": list(content)}, *([HELLO] if role == "assistant" else [])]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_current_weather", "input": {"location": "Rome, IT"}}
PLAIN = count(messages=blocks(text("ok")))


def test_a_message_costs_its_text_its_frame_and_the_priming() -> None:
    assert count() == 2 + 4 + 3
    assert count(messages=[HELLO, HELLO]) == count() + 2 + 4


def test_a_string_and_a_text_block_cost_the_same() -> None:
    assert count(messages=[{"role": "user", "content": [text("hello world")]}]) == count()


@pytest.mark.parametrize(("model", "published"), [("gpt-4o", 101), ("gpt-4", 105)])
def test_openais_own_example_with_a_tool_comes_out_within_a_hundredth(model: str, published: int) -> None:
    counted = count(
        model,
        system="You are a helpful assistant that can answer to questions about the weather.",
        messages=[{"role": "user", "content": "What's the weather like in San Francisco?"}],
        tools=[WEATHER],
    )
    assert counted == pytest.approx(published, rel=0.01)


def test_a_system_prompt_counts_but_for_the_attribution_block() -> None:
    with_system = count(system=[text("Be brief."), text("x-anthropic-billing-header: cc_version=1; cch=abc;")])
    assert with_system == count(system="Be brief.") > count()


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png(512, 512))}}
URL_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PDF = base64.b64encode(b"%PDF /Type /Page /Type /Page").decode()


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "title": "Notes", "source": source}


@pytest.mark.parametrize(
    ("block", "more"),
    [
        (IMAGE, 85 + 170),
        (URL_IMAGE, 85 + 4 * 170),
        (document(type="text", media_type="text/plain", data="hello world"), 1 + 2),
        (document(type="content", content="hello world"), 1 + 2),
        (document(type="content", content=[text("hello world"), IMAGE]), 1 + 2 + 85 + 170),
        (document(type="base64", media_type="application/pdf", data=PDF), 1 + 2 * 2000),
        ({"type": "search_result", "source": "here", "title": "Notes", "content": [text("hello world")]}, 1 + 1 + 2),
    ],
)
def test_a_block_of_a_user_costs_what_is_in_it(block: Any, more: int) -> None:
    assert count(messages=blocks(text("ok"), block)) == PLAIN + more


def test_an_image_that_the_model_never_sees_costs_a_few_words() -> None:
    seen, unseen = (
        COUNTER.total(prompt(model, url, messages=blocks(text("ok"), IMAGE)))
        for model, url in (("gpt-4o", OPENAI), ("deepseek-chat", "https://api.deepseek.com/v1"))
    )
    assert unseen < 50 < seen


def test_thinking_counts_and_so_does_what_nobody_can_read() -> None:
    said = count(messages=blocks(text("ok"), role="assistant"))
    thinking = {"type": "thinking", "thinking": "hello world", "signature": "x" * 5000}
    assert count(messages=blocks(thinking, text("ok"), role="assistant")) == said + 2
    assert count(messages=blocks({"type": "redacted_thinking", "data": "x" * 5000}, text("ok"), role="assistant")) == (
        said + 100
    )


def test_a_call_and_its_result_count() -> None:
    talk = blocks(CALL, role="assistant")[:2]
    asked = count(messages=[*talk, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}])
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("hello world"), IMAGE]}
    answered = count(messages=[*talk, {"role": "user", "content": [answer]}])
    assert answered == asked + 2 + 85 + 170
    assert asked > count(messages=[*blocks(text(json.dumps(CALL["input"])), role="assistant")[:2], HELLO]) + 8


def test_a_block_that_is_never_sent_costs_nothing() -> None:
    odd = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "long " * 50}}
    assert count(messages=blocks(odd, text("ok"), role="assistant")) == count(
        messages=blocks(text("ok"), role="assistant")
    )


def test_each_tool_adds_and_a_forced_choice_adds() -> None:
    other = {**WEATHER, "name": "get_forecast"}
    one, two = count(tools=[WEATHER]), count(tools=[WEATHER, other])
    assert count() < one < two
    assert count(tools=[WEATHER], tool_choice={"type": "auto"}) == one
    assert count(tools=[WEATHER], tool_choice={"type": "any"}) == one + 6
    assert count(tools=[WEATHER], tool_choice={"type": "tool", "name": "get_current_weather"}) == one + 6


def test_a_tool_that_is_held_back_costs_nothing() -> None:
    assert count(tools=[WEATHER, {**WEATHER, "name": "later", "defer_loading": True}]) == count(tools=[WEATHER])


def test_a_tool_that_anthropic_defines_costs_its_declaration() -> None:
    assert count(tools=[{"type": "bash_20250124", "name": "bash"}]) > count() + 20


def test_the_schema_of_the_answer_counts() -> None:
    form = {"type": "json_schema", "schema": WEATHER["input_schema"]}
    assert count(output_config={"format": form}) > count() + 30


def test_another_vocabulary_is_scaled_and_images_are_not() -> None:
    words, counts = {"content": "hello world " * 500}, {}
    for model in ("gpt-5", "claude-opus-4-5", "claude-opus-4-8"):
        counts[model] = COUNTER.total(prompt(model, messages=[{"role": "user", **words}]))
    base = counts["gpt-5"] - 7
    assert counts["claude-opus-4-5"] == pytest.approx(1.2 * base + 7, abs=1)
    assert counts["claude-opus-4-8"] == pytest.approx(1.5 * base + 7, abs=1)


@pytest.mark.parametrize(
    ("model", "encoding", "factor"),
    [
        ("gpt-4o-mini", "o200k_base", 1.0),
        ("openai/gpt-5:free", "o200k_base", 1.0),
        ("gpt-6-preview", "o200k_base", 1.0),
        ("gpt-4.1-nano", "o200k_base", 1.0),
        ("gpt-oss-120b", "o200k_base", 1.0),
        ("o3-mini", "o200k_base", 1.0),
        ("o4-mini", "o200k_base", 1.0),
        ("chatgpt-4o-latest", "o200k_base", 1.0),
        ("gpt-4", "cl100k_base", 1.0),
        ("gpt-4-turbo", "cl100k_base", 1.0),
        ("gpt-35-turbo", "cl100k_base", 1.0),
        ("gpt-3.5-turbo", "cl100k_base", 1.0),
        ("anthropic/claude-3-5-sonnet", "o200k_base", 1.2),
        ("claude-opus-4.7", "o200k_base", 1.5),
        ("claude-sonnet-5", "o200k_base", 1.5),
        ("llama-3.3-70b", "o200k_base", 1.0),
        ("qwen3-coder", "o200k_base", 1.03),
        ("qwen3.5-plus", "o200k_base", 1.07),
        ("kimi-k2", "o200k_base", 1.05),
        ("", "o200k_base", 1.05),
    ],
)
def test_a_model_has_a_vocabulary(model: str, encoding: str, factor: float) -> None:
    assert vocabulary(model) == (encoding, factor)


def test_a_tool_is_declared_as_the_model_reads_it() -> None:
    schema = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Where.\nReally."},
            "lines": {"type": "array", "items": {"type": "integer"}, "default": [1]},
            "mode": {"enum": ["r", 1, None]},
            "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Point"}]},
            "both": {"type": ["string", "null"]},
            "table": {"type": "object", "additionalProperties": {"type": "number"}},
            "free": {"type": "object"},
            "fixed": {"const": "x"},
            "any": True,
            "list": {"type": "array"},
            "odd": {"type": "point"},
        },
        "required": ["path"],
        "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
    }
    assert declaration("read", "Reads.", json.dumps(schema).encode()) == (
        "// Reads.\n"
        "type read = (_: {\n"
        "// Where.\n"
        "// Really.\n"
        "path: string,\n"
        "lines?: number[], // default: [1]\n"
        'mode?: "r" | 1 | null,\n'
        "either?: string | Point,\n"
        "both?: string | null,\n"
        "table?: Record<string, number>,\n"
        "free?: object,\n"
        'fixed?: "x",\n'
        "any?: any,\n"
        "list?: any[],\n"
        "odd?: point,\n"
        "}) => any;\n"
        "type Point = {\n"
        "x: number,\n"
        "};\n"
        "\n"
    )


def test_a_tool_without_arguments_has_none() -> None:
    assert declaration("now", "", b'{"type":"object"}') == "type now = () => any;\n\n"


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "enum",
                    "anyOf",
                    "allOf",
                    "$ref",
                    "required",
                    "const",
                    "default",
                    "$defs",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "required", "$defs", "definitions"]), JSON))
def test_any_schema_has_a_declaration(schema: dict[str, Any]) -> None:
    assert declaration("tool", "Words.", json.dumps(schema).encode()).startswith("// Words.\ntype tool = (")


def test_a_schema_as_deep_as_json_may_be_is_counted_as_it_stands() -> None:
    deep = '{"properties":{"a":' * 5000 + "1" + "}}" * 5000
    assert declaration("deep", "", deep.encode()) == f"type deep = ({deep}) => any;\n\n"
