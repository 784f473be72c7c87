"""Rules V1 to V15 and the fields that are refused (protocol.md 1.2, 1.3)."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from tests.support.translation import (
    WEATHER,
    assistant,
    body,
    codes,
    refusal,
    result,
    sent,
    system,
    talk,
    text,
    translate,
    use,
    user,
)

BUDGET = {"type": "enabled", "budget_tokens": 2048}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("V1", {"messages": []}, "messages: at least one message is required"),
    ("V1 after V3", {"messages": [system("be brief")]}, "messages: at least one message is required"),
    (
        "V2",
        {"messages": [user("x"), {"role": "tool", "content": "x"}]},
        "messages.1.role: Input should be 'user' or 'assistant'",
    ),
    ("V4", {"messages": [assistant("x"), user("y")]}, 'messages: first message must use the "user" role'),
    ("V4 after V3", {"messages": [system("s"), assistant("x")]}, 'messages: first message must use the "user" role'),
    (
        "V9",
        {"messages": [user("x"), assistant("y")]},
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
    (
        "V11",
        {"messages": [user("x"), assistant(use("a"), use("a")), user(result("a"))]},
        "messages.1.content.1: tool_use ids must be unique",
    ),
    (
        "V11 over two messages of one turn",
        {"messages": [user("x"), assistant(use("a")), assistant(use("a")), user(result("a"))]},
        "messages.2.content.0: tool_use ids must be unique",
    ),
    (
        "V12 minimum",
        {"thinking": {"type": "enabled", "budget_tokens": 1023}, "max_tokens": 4096},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    ("V12 missing", {"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    (
        "V12 maximum",
        {"thinking": BUDGET, "max_tokens": 2048},
        "`max_tokens` must be greater than `thinking.budget_tokens`",
    ),
    ("V14 twice", {"tools": [WEATHER, WEATHER]}, "tools: Tool names must be unique."),
    (
        "V14 characters",
        {"tools": [WEATHER, {"name": "a b"}]},
        "tools.1.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    (
        "V14 length",
        {"tools": [{"name": "a" * 129}]},
        "tools.0.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    ("V14 empty", {"tools": [{"name": ""}]}, "tools.0.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    ("V14 newline", {"tools": [{"name": "a\n"}]}, "tools.0.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    ("tool without a name", {"tools": [{"description": "x"}]}, "tools.0.name: Field required"),
    ("temperature above", {"temperature": 1.01}, "temperature: range: 0..1"),
    ("temperature below", {"temperature": -0.1}, "temperature: range: 0..1"),
    ("top_p", {"top_p": 2}, "top_p: range: 0..1"),
    ("top_k", {"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    ("max_tokens below", {"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
    ("max_tokens huge", {"max_tokens": 10**30}, "max_tokens: Input should be less than or equal to 9007199254740991"),
    (
        "blank stop sequence",
        {"stop_sequences": ["END", " \n"]},
        "stop_sequences: each stop sequence must contain non-whitespace",
    ),
    (
        "forced tool and thinking",
        {"thinking": BUDGET, "max_tokens": 4096, "tools": [WEATHER], "tool_choice": {"type": "any"}},
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    ("mcp_servers", {"mcp_servers": [{"url": "u"}]}, "mcp_servers is not supported by this backend"),
    ("compaction", {"compaction": {"type": "x"}}, "compaction is not supported by this backend"),
    ("thread", {"thread": {"type": "create"}}, "thread is not supported by this backend"),
    ("safeguards", {"safeguards": {"a": 1}}, "safeguards: Extra inputs are not permitted"),
    (
        "two formats",
        {
            "output_format": {"type": "json_schema", "schema": {}},
            "output_config": {"format": {"type": "json_schema", "schema": {}}},
        },
        "output_format: cannot be given together with output_config.format",
    ),
    (
        "a result in an assistant's message",
        {"messages": [user("x"), assistant(text("y"), result("a")), user("z")]},
        "messages.1.content.1: tool_result blocks can only be in user messages",
    ),
    (
        "a call in a user's message",
        {"messages": [user(text("x"), use("a"))]},
        "messages.0.content.1: tool_use blocks can only be in assistant messages",
    ),
    (
        "an empty call id",
        {"messages": [user("x"), assistant(use("")), user(result(""))]},
        "messages.1.content.0.id: String should have at least 1 character",
    ),
    (
        "schema that is no object",
        {"tools": [{"name": "f", "input_schema": [1]}]},
        "tools.0.input_schema: Input should be a valid dictionary",
    ),
    (
        "answer schema that is no object",
        {"output_format": {"type": "json_schema", "schema": [1]}},
        "output_format.schema: Input should be a valid dictionary",
    ),
]


@pytest.mark.parametrize(("fields", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(fields: dict[str, Any], message: str) -> None:
    assert refusal(body(**fields)) == message


ACCEPTED: list[dict[str, Any]] = [
    {"max_tokens": 2049, "thinking": BUDGET},
    {"temperature": 0},
    {"temperature": 1},
    {"thinking": {"type": "adaptive"}, "tools": [WEATHER], "tool_choice": {"type": "any"}},
    {"mcp_servers": []},
    {"mcp_servers": None},
    {"thread": None},
    {"tools": [{"name": "a" * 128}]},
    {"thinking": {"type": "brand_new"}},
    {"tools": []},
    {"max_tokens": 0},
    {"max_tokens": 0, "thinking": {"type": "enabled", "budget_tokens": 1024}},
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=str)
def test_accepted(fields: dict[str, Any]) -> None:
    sent(body(**fields))


def test_a_thread_is_refused_with_the_code_that_claude_code_looks_for() -> None:
    with pytest.raises(InvalidRequest) as caught:
        translate(body(thread={"id": "t"}))
    assert caught.value.details == {"error_code": "thread_unsupported_request"}


# V3


def test_leading_system_messages_are_hoisted() -> None:
    done = translate(body(system="one", messages=[system("two"), system(text("three")), user("x")]))
    assert done.request.messages[0].content == "one\n\ntwo\n\nthree"
    assert codes(done)["system_hoisted"] == "messages.0"


# V5


def test_neighbouring_messages_of_one_role_are_one_turn() -> None:
    assert talk([user("a"), user(text("b")), assistant("c"), assistant(text("d")), user("e")]) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "cd"},
        {"role": "user", "content": "e"},
    ]


# V7, V8

MISSING = [user("x"), assistant(use("a"), use("b")), user(result("b"))]
UNANSWERED = (
    "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a. "
    "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
)
ORPHAN = [user("x"), assistant("y"), user(text("z"), result("lost", "found it"))]
UNASKED = (
    "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: lost. "
    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
)


def test_a_missing_result_is_made_up() -> None:
    done = translate(body(messages=MISSING))
    assert [(one.role, one.tool_call_id, one.content) for one in done.request.messages[2:]] == [
        ("tool", "b", "ok"),
        ("tool", "a", "(no result)"),
    ]
    assert codes(done) == {"result_missing": "messages.1"}


def test_a_missing_result_is_refused_where_strict() -> None:
    assert refusal(body(messages=MISSING), strict=True) == UNANSWERED


def test_an_orphan_result_becomes_user_text() -> None:
    done = translate(body(messages=ORPHAN))
    assert [part.text for part in done.request.messages[-1].content] == ["z", "found it"]  # type: ignore[union-attr]
    assert codes(done) == {"result_orphaned": "messages.2.content.1"}


def test_an_orphan_result_is_refused_where_strict() -> None:
    assert refusal(body(messages=ORPHAN), strict=True) == UNASKED


def test_an_orphan_image_has_no_note_of_another_message() -> None:
    messages = talk([user(result("lost", [image()])), assistant("y"), user("z")])
    assert [part["type"] for part in messages[0]["content"]] == ["image_url"]


def test_a_second_result_for_one_call_is_an_orphan() -> None:
    messages = talk([user("x"), assistant(use("a")), user(result("a", "one"), result("a", "two"))])
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "user", "content": "two"},
    ]


def test_a_result_two_turns_later_is_an_orphan() -> None:
    messages = talk([user("x"), assistant(use("a")), user("y"), assistant("z"), user(result("a", "late"))])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user", "assistant", "user"]
    assert messages[-1]["content"] == "late"


def test_a_conversation_that_ends_in_calls_is_no_prefill() -> None:
    assert talk([user("x"), assistant(text("y"), use("a"))])[-1] == {
        "role": "tool",
        "tool_call_id": "a",
        "content": "(no result)",
    }
    assert "without `tool_result`" in refusal(body(messages=[user("x"), assistant(use("a"))]), strict=True)


# V9


@pytest.mark.parametrize(
    ("profile", "mark"),
    [("deepseek", {"prefix": True}), ("mistral", {"prefix": True}), ("moonshot", {"partial": True})],
)
def test_prefill_is_marked_on_the_last_message(profile: str, mark: dict[str, Any]) -> None:
    assert talk([user("x"), assistant("The answer is (")], profile)[-1] == {
        "role": "assistant",
        "content": "The answer is (",
        **mark,
    }


def test_prefill_at_vllm_is_said_in_the_body() -> None:
    request = sent(body(messages=[user("x"), assistant("y")]), "vllm")
    assert (request["continue_final_message"], request["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in sent(body(), "vllm")


# V10


@pytest.mark.parametrize("content", ["", " \n", [], [text(" ")], [text("")]], ids=str)
def test_an_empty_user_turn_is_sent_as_empty(content: Any) -> None:
    done = translate(body(messages=[{"role": "user", "content": content}]))
    assert done.request.messages[0].content == "(empty)"
    assert codes(done) == {"content_filled": "messages"}


def test_an_empty_message_beside_a_full_one_is_no_empty_turn() -> None:
    assert talk([user(""), user("x")]) == [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    "content", ["", [], [text(" ")], [{"type": "thinking", "thinking": "hm", "signature": ""}]], ids=str
)
def test_an_empty_assistant_turn_is_dropped_and_its_neighbours_are_one_turn(content: Any) -> None:
    done = translate(body(messages=[user("a"), {"role": "assistant", "content": content}, user("b")]))
    assert len(done.request.messages) == 1
    assert codes(done)["message_dropped"] == "messages.1"


def test_an_empty_assistant_message_at_the_end_is_no_prefill() -> None:
    assert talk([user("a"), assistant("")]) == [{"role": "user", "content": "a"}]


def image() -> dict[str, Any]:
    return {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
