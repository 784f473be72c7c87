"""Order, roles, system messages, reasoning and ids (protocol.md 1.2 system, 1.4, 1.7, 2.1, 2.2 thinking, 2.3)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.translation import (
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
    wire,
)

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
BILLING = "x-anthropic-billing-header: cc_version=2.1.328; cc_entrypoint=cli;"
REMINDER = "<system-reminder>\nnow French\n</system-reminder>"


def thinking(words: str, signature: str = "s") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signature}


def signed(table: dict[str, tuple[str, Any]]) -> Any:
    return table.get


# the system prompt


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a", "a"),
        ([text("a")], "a"),
        ([text("a"), text("b")], "a\n\nb"),
        ([text(BILLING), text("a")], "a"),
        (f"{BILLING}\na", "a"),
        ([text("a"), text(" "), text("b")], "a\n\nb"),
        ([text(" a \n")], " a \n"),
        ("", None),
        (" \n", None),
        ([], None),
        ([text(BILLING)], None),
        (BILLING, None),
    ],
    ids=str,
)
def test_the_system_prompt(given: Any, said: str | None) -> None:
    first = talk([user("x")], system=given)[0]
    assert first == ({"role": "user", "content": "x"} if said is None else {"role": "system", "content": said})


def test_the_attribution_block_is_noted() -> None:
    assert codes(translate(body(system=[text(BILLING)]))) == {"billing_header_dropped": "system.0"}


def test_a_block_that_is_no_text_is_dropped_from_the_system_prompt() -> None:
    done = translate(body(system=[text("a"), {"type": "hologram"}]))
    assert wire(done)["messages"][0]["content"] == "a"
    assert codes(done) == {"block_dropped": "system.1"}


def test_the_developer_role_is_a_switch() -> None:
    assert sent(body(system="a"), {"system_role": "developer"})["messages"][0]["role"] == "developer"


# order


def test_results_come_first_in_their_own_order_then_text() -> None:
    messages = talk(
        [user("x"), assistant(use("a"), use("b")), user(text("before"), result("b"), result("a"), text("after"))]
    )
    assert [(message["role"], message.get("tool_call_id")) for message in messages[2:]] == [
        ("tool", "b"),
        ("tool", "a"),
        ("user", None),
    ]
    assert [part["text"] for part in messages[-1]["content"]] == ["before", "after"]


def test_results_over_several_user_messages_are_one_side() -> None:
    messages = talk([user("x"), assistant(use("a"), use("b")), user(result("a")), user("mid"), user(result("b"))])
    assert [message["role"] for message in messages[2:]] == ["tool", "tool", "user"]


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([text("a"), text("b")], "ab"),
        ([text("a"), use("u"), text("b")], "a\n\nb"),
        ([text("a"), use("u"), use("v"), text("b"), text("c")], "a\n\nbc"),
        ([use("u"), text("a")], "a"),
        ([text("a"), use("u")], "a"),
        ([use("u")], None),
        ([text("a"), text(" "), text("b")], "ab"),
        ([text("a"), thinking("hm"), text("b")], "ab"),
    ],
    ids=str,
)
def test_an_assistant_turn_is_one_string(blocks: list[Any], content: str | None) -> None:
    assert talk([user("x"), assistant(*blocks), user("y")])[1]["content"] == content


def test_null_content_is_a_switch() -> None:
    conversation = [user("x"), assistant(use("a")), user(result("a"))]
    assert talk(conversation, {"null_content": False})[1]["content"] == ""
    assert talk(conversation, {"null_content": True})[1]["content"] is None


def test_the_bridge_after_tool_messages() -> None:
    conversation = [user("x"), assistant(use("a")), user(result("a"), text("go on"))]
    done = translate(body(messages=conversation), {"bridge_after_tool": True})
    assert [(message.role, message.content) for message in done.request.messages[2:]] == [
        ("tool", "ok"),
        ("assistant", "Continuing."),
        ("user", "go on"),
    ]
    assert "bridge_inserted" in codes(done)
    assert len(talk([user("x"), assistant(use("a")), user(result("a"))], {"bridge_after_tool": True})) == 3


# system messages inside the conversation


@pytest.mark.parametrize("content", ["now French", [text("now French")]], ids=["string", "blocks"])
def test_a_system_message_stays_or_is_wrapped_or_hoisted(content: Any) -> None:
    conversation = [user("x"), assistant("y"), user("z"), {"role": "system", "content": content}]
    assert talk(conversation)[-1] == {"role": "system", "content": "now French"}
    wrapped = translate(body(messages=conversation), "generic")
    assert [part.text for part in wrapped.request.messages[-1].content] == ["z", REMINDER]  # type: ignore[union-attr]
    assert "system_wrapped" in codes(wrapped)
    hoisted = talk(conversation, {"mid_system": "hoist"}, system="first")
    assert hoisted[0] == {"role": "system", "content": "first\n\nnow French"}
    assert hoisted[-1] == {"role": "user", "content": "z"}


def test_a_wrapped_system_message_for_a_server_without_parts() -> None:
    assert talk([user("z"), system("now French")], "flat") == [{"role": "user", "content": f"z\n\n{REMINDER}"}]


def test_a_wrapped_system_message_keeps_strict_alternation() -> None:
    messages = talk([user("a"), assistant("b"), system("now French"), assistant("c"), user("d")], "generic")
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize("profile", ["openai", "generic"])
def test_a_system_message_never_comes_between_calls_and_results(profile: str) -> None:
    messages = talk([user("x"), assistant(use("a")), system("now French"), user(result("a"), text("z"))], profile)
    assert [message["role"] for message in messages[:3]] == ["user", "assistant", "tool"]


def test_a_system_message_after_results_follows_them() -> None:
    conversation = [user("x"), assistant(use("a")), user(result("a")), system("now French")]
    assert talk(conversation)[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
        {"role": "system", "content": "now French"},
    ]
    assert talk(conversation, "generic")[3] == {"role": "user", "content": REMINDER}


@pytest.mark.parametrize("empty", [{}, {"content": None}, {"content": []}, {"content": ""}], ids=str)
def test_an_empty_system_message_is_nothing(empty: dict[str, Any]) -> None:
    assert talk([user("x"), {"role": "system", **empty}]) == [{"role": "user", "content": "x"}]


def test_a_system_message_that_clears_is_left_out_once_the_user_has_spoken() -> None:
    once = system("now French", clear_at="next_user_message")
    assert talk([user("x"), once])[-1] == {"role": "system", "content": "now French"}
    done = translate(body(messages=[user("x"), once, assistant("y"), user("z")]))
    assert [message.role for message in done.request.messages] == ["user", "assistant", "user"]
    assert codes(done) == {"system_cleared": "messages.1"}
    assert len(talk([user("x"), system("now French", clear_at="never"), assistant("y"), user("z")])) == 4


# cache marks (1.7)


def test_openrouter_keeps_marks_on_text_of_system_user_and_tool() -> None:
    conversation = [
        user(text("x", cache_control=MARK)),
        assistant(text("y", cache_control=MARK), use("a")),
        user(result("a", "ok", cache_control=HOUR)),
    ]
    messages = talk(conversation, "openrouter", system=[text("s", cache_control=HOUR)])
    assert messages[0]["content"] == [{"type": "text", "text": "s", "cache_control": HOUR}]
    assert messages[1]["content"] == [{"type": "text", "text": "x", "cache_control": MARK}]
    assert messages[2]["content"] == "y"
    assert messages[3]["content"] == [{"type": "text", "text": "ok", "cache_control": HOUR}]


def test_a_mark_inside_a_result_is_a_mark_on_it() -> None:
    conversation = [user("x"), assistant(use("a")), user(result("a", [text("p"), text("q", cache_control=MARK)]))]
    assert talk(conversation, "openrouter")[2]["content"] == [{"type": "text", "text": "p\nq", "cache_control": MARK}]
    assert talk(conversation, "openai")[2]["content"] == "p\nq"


def test_marks_of_a_wrapped_and_a_kept_system_message() -> None:
    conversation = [user("x"), system(text("now French", cache_control=MARK))]
    assert talk(conversation, "openrouter")[1]["content"] == [
        {"type": "text", "text": "now French", "cache_control": MARK}
    ]
    wrapped = talk(conversation, {"cache": "cache_control"})[0]["content"]
    assert wrapped[1] == {"type": "text", "text": REMINDER, "cache_control": MARK}


def test_breakpoints_with_their_lifetime() -> None:
    system_parts = [text("a", cache_control=MARK), text("b", cache_control=HOUR)]
    content = sent(body(system=system_parts), "openai-breakpoints")["messages"][0]["content"]
    assert [part["prompt_cache_breakpoint"] for part in content] == [
        {"mode": "explicit"},
        {"mode": "explicit", "ttl": "12h"},
    ]


def test_at_most_four_breakpoints_the_last_ones() -> None:
    done = translate(body(messages=[user(*(text(str(n), cache_control=MARK) for n in range(6)))]), "openai-breakpoints")
    parts = sent(body(messages=[user(*(text(str(n), cache_control=MARK) for n in range(6)))]), "openai-breakpoints")
    marked = ["prompt_cache_breakpoint" in part for part in parts["messages"][0]["content"]]
    assert marked == [False, False, True, True, True, True]
    assert "cache_mark_dropped" in codes(done)


def test_equal_text_is_equal_whether_string_or_block() -> None:
    assert talk([user("x")], system="s") == talk([user(text("x"))], system=[text("s")])


# reasoning

THOUGHT = [user("x"), assistant(thinking("hm"), text("y"), use("a")), user(result("a"))]


@pytest.mark.parametrize(
    ("field", "profile"),
    [
        ("reasoning_content", "deepseek"),
        ("reasoning_content", "moonshot"),
        ("reasoning_content", "zai"),
        ("reasoning_content", "dashscope"),
        ("reasoning_content", "minimax"),
        ("reasoning_content", "xai"),
        ("reasoning_content", "sglang"),
        ("reasoning_content", "llamacpp"),
        ("reasoning", "vllm"),
        ("reasoning", "ollama"),
        ("reasoning", "groq"),
        ("reasoning", "cerebras"),
    ],
)
def test_reasoning_goes_back_in_the_field_each_wants(field: str, profile: str) -> None:
    message = talk(THOUGHT, profile)[1]
    assert message[field] == "hm"
    assert message["content"] == "y"


@pytest.mark.parametrize("profile", ["openai", "mistral", "gemini", "generic"])
def test_reasoning_is_dropped_where_nobody_wants_it(profile: str) -> None:
    done = translate(body(messages=THOUGHT), profile)
    assert "hm" not in str(done.request.messages[1])
    assert codes(done)["thinking_dropped"] == "messages.1.content.0"


def test_reasoning_details_and_think_tags() -> None:
    assert talk(THOUGHT, "openrouter")[1]["reasoning_details"] == [{"type": "reasoning.text", "text": "hm"}]
    tagged = talk(THOUGHT, {"reasoning_in": "think_tags"})[1]["content"]
    assert tagged == "<think>\nhm\n</think>\n\ny"


@pytest.mark.parametrize(("profile", "value"), [("deepseek", ""), ("zai", ""), ("moonshot", " ")])
def test_lost_reasoning_is_filled_where_the_provider_demands_the_field(profile: str, value: str) -> None:
    messages = talk([user("x"), assistant(use("a")), user(result("a")), assistant("done"), user("z")], profile)
    assert messages[1]["reasoning_content"] == value
    assert "reasoning_content" not in messages[3]


def test_several_thoughts_of_one_turn_are_joined() -> None:
    messages = talk(
        [user("x"), assistant(thinking("a"), text("y"), thinking("b"), use("u")), user(result("u"))], "vllm"
    )
    assert messages[1]["reasoning"] == "a\nb"


def test_our_own_carrier_brings_the_details_back() -> None:
    details = [{"type": "reasoning.encrypted", "data": "zz"}]
    table = {"ours": ("or", details)}
    conversation = [user("x"), assistant(thinking("hm", "ours"), text("y")), user("z")]
    request = sent(body(messages=conversation), "openrouter", unsign=signed(table))
    assert request["messages"][1]["reasoning_details"] == details
    redacted = [user("x"), assistant({"type": "redacted_thinking", "data": "ours"}, text("y")), user("z")]
    request = sent(body(messages=redacted), "openrouter", unsign=signed(table))
    assert request["messages"][1]["reasoning_details"] == details


@pytest.mark.parametrize("signature", ["foreign", "", "ours-plain"])
def test_a_foreign_signature_never_travels(signature: str) -> None:
    conversation = [user("x"), assistant(thinking("hm", signature), text("y")), user("z")]
    table = {"ours-plain": ("plain", None)}
    request = sent(body(messages=conversation), "openrouter", unsign=signed(table))
    assert request["messages"][1]["reasoning_details"] == [{"type": "reasoning.text", "text": "hm"}]
    assert not signature or signature not in str(request)


def test_thought_signatures_return_to_their_calls() -> None:
    table = {"ours": ("gem", {"a": "sig-a"})}
    conversation = [user("x"), assistant(thinking("hm", "ours"), use("a"), use("b")), user(result("a"), result("b"))]
    calls = sent(body(messages=conversation), "gemini", unsign=signed(table))["messages"][1]["tool_calls"]
    assert calls[0]["extra_content"] == {"google": {"thought_signature": "sig-a"}}
    assert "extra_content" not in calls[1]


def test_a_lost_thought_signature_is_filled_on_the_first_call_of_a_step() -> None:
    conversation = [user("x"), assistant(use("a"), use("b")), user(result("a"), result("b"))]
    switches = {"based_on": "gemini", "thought_signature_filler": "skip_thought_signature_validator"}
    calls = talk(conversation, switches)[1]["tool_calls"]
    assert calls[0]["extra_content"] == {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert "extra_content" not in calls[1]
    assert "extra_content" not in talk(conversation, "gemini")[1]["tool_calls"][0]


# ids

LONG = "toolu_" + "x" * 60


def ids(profile: str, client_id: str) -> str:
    done = translate(body(messages=[user("x"), assistant(use(client_id)), user(result(client_id))]), profile)
    call = done.request.messages[1].tool_calls[0].id  # type: ignore[index]
    assert done.request.messages[2].tool_call_id == call
    assert done.used_tool_ids == {client_id}
    assert (call != client_id) == ("id_replaced" in codes(done))
    return call


@pytest.mark.parametrize("client_id", ["toolu_1", "call_a|b:c/d e", "functions.Bash:0"])
def test_ids_pass_unchanged(client_id: str) -> None:
    assert ids("openai", client_id) == ids("generic", client_id) == ids("moonshot", client_id) == client_id


def test_ids_are_hashed_only_where_the_target_demands_it() -> None:
    assert ids("generic", LONG) == LONG
    assert len(ids("openai", LONG)) <= 40
    assert ids("openai", LONG) == ids("openai", LONG)
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", ids("mistral", "toolu_1"))
    assert ids("mistral", "toolu_1") != ids("mistral", "toolu_2")
    assert ids("mistral", "abcDEF123") == "abcDEF123"


def test_ids_of_the_whole_history_are_reported() -> None:
    conversation = [user("x"), assistant(use("a")), user(result("a")), assistant(use("b")), user(result("b"))]
    assert translate(body(messages=conversation)).used_tool_ids == {"a", "b"}


def test_prefill_is_refused_by_its_wording() -> None:
    for profile in ("openai", "generic", "flat", "openrouter", "llamacpp"):
        assert "prefill" in refusal(body(messages=[user("x"), assistant("y")]), profile)


def test_thinking_that_holds_nothing_for_the_target_is_noted() -> None:
    conversation = [
        user("x"),
        assistant({"type": "redacted_thinking", "data": "zz"}, thinking(""), text("y")),
        user("z"),
    ]
    for profile in ("openrouter", "vllm"):
        done = translate(body(messages=conversation), profile)
        assert codes(done) == {"thinking_dropped": "messages.1.content.0"}
        assert "zz" not in str(done.request)


def test_a_server_without_parts_gets_none_even_with_cache_marks() -> None:
    conversation = [
        user(text("x", cache_control=MARK)),
        assistant(use("a")),
        user(result("a", "ok", cache_control=MARK)),
    ]
    switches = {"parts": False, "cache": "cache_control"}
    messages = talk(conversation, switches, system=[text("a", cache_control=MARK), text("b")])
    assert [message["content"] for message in messages] == ["a\n\nb", "x", None, "ok"]
