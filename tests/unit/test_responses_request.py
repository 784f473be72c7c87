"""The Responses request, where the golden cases have no room: carriers, profiles, and what must not happen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import builtin, resolve
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire.anthropic import decode_request
from ccproxy_sanic.wire.openai_responses import encode
from tests.support.translation import (
    WEATHER,
    assistant,
    body,
    codes,
    image,
    result,
    system,
    text,
    use,
    user,
)
from tests.support.translation_responses import check_types, items, respond, sent, wire

HOST = "https://api.openai.com/v1"
STRANGE: list[Any] = [
    *("", "rs_1", None, 7, [], [1], {}, {"id": "rs_1"}, {"encrypted_content": ""}, {"encrypted_content": 7}),
    *({"encrypted_content": ["e"]}, {"phase": "overture"}, {"phase": ["commentary"]}, {"phase": {}}, {"id": {"a": 1}}),
]


def think(words: str = "hm", signature: str = "sig") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signature}


def carried(data: Any, *blocks: Any, kind: str = "oai", profile: Any = "openai") -> list[dict[str, Any]]:
    """The items of an assistant turn that begins with a thinking block which carries ``data``."""
    return items([user("a"), assistant(*blocks), user("b")], profile, carriers={"sig": (kind, data)})[1:-1]


# carriers


@pytest.mark.parametrize("data", STRANGE, ids=repr)
def test_strange_carriers_are_dropped_and_said_so(data: Any) -> None:
    request = body(messages=[user("a"), assistant(think(), text("x")), user("b")])
    done = respond(request, carriers={"sig": ("oai", data)})
    assert [item["type"] for item in wire(done)["input"]] == ["message"] * 3
    assert codes(done) == {"thinking_dropped": "messages.1.content.0"}


def test_encrypted_reasoning_without_an_id_has_none() -> None:
    """A made-up id would be refused: it "did not match" the encrypted content."""
    found = carried({"encrypted_content": "e", "id": 5}, think(), text("x"))
    assert found[0] == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "e",
    }


def test_a_carrier_of_a_phase_alone_is_no_reasoning() -> None:
    request = body(messages=[user("a"), assistant(think(""), text("x")), user("b")])
    done = respond(request, carriers={"sig": ("oai", {"phase": "final_answer"})})
    spoken = {"type": "message", "role": "assistant", "content": "x", "phase": "final_answer"}
    assert wire(done)["input"][1] == spoken
    assert done.adjustments == []


def test_a_phase_is_of_one_message_only() -> None:
    blocks = [text("one"), think(), text("two"), use("i"), text("three")]
    found = carried({"encrypted_content": "e", "phase": "commentary"}, *blocks)
    assert [item["type"] for item in found][:5] == ["message", "reasoning", "message", "function_call", "message"]
    assert [item.get("phase") for item in found if item["type"] == "message"] == [None, "commentary", None]


def test_a_phase_waits_for_its_message_behind_a_call() -> None:
    found = carried({"encrypted_content": "e", "phase": "commentary"}, think(), use("i"), text("x"))
    assert [item["type"] for item in found] == ["reasoning", "function_call", "message", "function_call_output"]
    assert found[2]["phase"] == "commentary"


def test_two_reasoning_items_may_lead_to_one() -> None:
    """A search between them is not in the history."""
    found = carried({"encrypted_content": "e"}, think("a"), think("b"), text("x"))
    assert [item["type"] for item in found] == ["reasoning", "reasoning", "message"]


def test_foreign_thinking_does_not_part_a_text() -> None:
    found = carried({}, text("one "), think(), text("text"), kind="plain")
    assert [item["content"] for item in found] == ["one text"]


def test_text_that_is_no_text_block_is_set_off_by_a_blank_line() -> None:
    summary = {"type": "compaction", "content": "S"}
    found = carried({}, summary, text("one"), summary, use("i"), summary)
    wrapped = "<conversation_summary>S</conversation_summary>"
    spoken = [item["content"] for item in found if item["type"] == "message"]
    assert spoken == [f"{wrapped}\n\none\n\n{wrapped}", wrapped]


# results


def test_one_cache_mark_is_put_on_a_whole_result() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    seen = [text("a", **mark), image(), text("b"), image()]
    talk = [user("x"), assistant(use("i"), use("j")), user(result("i", "ok", **mark), result("j", seen))]
    first, second = (item["output"] for item in items(talk, "openai-breakpoints")[-2:])
    marked = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    assert first == [{"type": "input_text", "text": "ok"} | marked]
    assert [part.get("text") for part in second] == ["a", None, "b", None]
    assert [index for index, part in enumerate(second) if "prompt_cache_breakpoint" in part] == [2]
    assert items(talk)[-2]["output"] == "ok"


def test_cache_marks_are_at_most_four_and_never_another_dialects() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    talk = [user(*(text(f"{n}", **mark) for n in range(6)))]
    done = respond(body(messages=talk), "openai-breakpoints")
    parts = wire(done)["input"][0]["content"]
    assert [index for index, part in enumerate(parts) if "prompt_cache_breakpoint" in part] == [2, 3, 4, 5]
    assert "cache_mark_dropped" in codes(done)
    assert "cache" not in json.dumps(sent(body(messages=talk), "openrouter"))


def test_an_orphan_result_is_refused_where_strict() -> None:
    with pytest.raises(InvalidRequest, match="unexpected `tool_use_id`"):
        respond(body(messages=[user(result("i"))]), strict=True)


def test_a_model_without_vision_gets_a_note_in_the_output() -> None:
    talk = [user("x"), assistant(use("i")), user(result("i", [image()]))]
    assert items(talk, {"vision": False})[-1]["output"] == "[image omitted: the model has no image input]"


# ids


def test_ids_of_forty_to_sixty_four_characters_are_only_chats_problem() -> None:
    talk = [user("x"), assistant(use("i" * 50)), user(result("i" * 50))]
    assert [item.get("call_id") for item in items(talk)[1:]] == ["i" * 50] * 2


def test_an_id_that_comes_a_third_time_is_another_one_again() -> None:
    turn = [assistant(use("i")), user(result("i"))]
    found = [item["call_id"] for item in items([user("x"), *turn * 3])[1:]]
    assert len(set(found)) == 3
    assert found[::2] == found[1::2]
    assert respond(body(messages=[user("x"), *turn * 3])).used_tool_ids == {"i"}


def test_mistral_keeps_its_form_of_ids() -> None:
    talk = [user("x"), assistant(use("toolu_1")), user(result("toolu_1"))]
    assert all(len(item["call_id"]) == 9 for item in items(talk, {"tool_ids": "mistral9"})[1:])


# system


def test_system_messages_are_hoisted_where_the_profile_says_so() -> None:
    request = body(system="One.", messages=[user("x"), system("Two.")])
    assert sent(request, {"mid_system": "hoist"})["instructions"] == "One.\n\nTwo."


def test_leading_system_messages_are_instructions() -> None:
    done = respond(body(messages=[system("One."), user("x")]))
    assert wire(done)["instructions"] == "One."
    assert "system_hoisted" in codes(done)


def test_a_choice_that_cannot_be_forced_is_asked_for_in_the_instructions() -> None:
    request = sent(body(tools=[WEATHER], tool_choice={"type": "any"}), {"tool_choice": "auto"})
    assert request["instructions"] == "You must call at least one of the tools."
    assert "tool_choice" not in request


# profiles


def test_the_profiles_effort_beside_tools_holds_in_chat_only() -> None:
    profile = resolve(HOST, "gpt-5.4")
    request = body(model="gpt-5.4", tools=[WEATHER], output_config={"effort": "high"})
    decoded = decode_request(json.dumps(request).encode())
    assert to_chat(decoded, model="gpt-5.4", profile=profile).request.extra == {"reasoning_effort": "none"}
    assert sent(request, profile)["reasoning"] == {"effort": "high", "summary": "auto"}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-5-chat-latest"])
@pytest.mark.parametrize("thinking", [None, {"type": "adaptive"}, {"type": "disabled"}])
def test_a_model_that_does_not_reason_gets_nothing_of_reasoning(model: str, thinking: Any) -> None:
    """It answers 400: "Encrypted content is not supported with this model", "Unsupported parameter"."""
    request = sent(body(model=model, **({"thinking": thinking} if thinking else {})), resolve(HOST, model))
    assert not {"reasoning", "include"} & set(request)


def test_a_nested_reasoning_dialect_passes() -> None:
    asked = {"output_config": {"effort": "high"}}
    assert sent(body(**asked), "openrouter")["reasoning"] == {"effort": "high", "summary": "auto"}
    other = sent(body(thinking={"type": "disabled"}), "zai")
    assert (other["thinking"], "reasoning" in other, "include" in other) == ({"type": "disabled"}, False, False)


def test_the_user_may_travel_in_another_field() -> None:
    request = sent(body(metadata={"user_id": "u"}), {"user_id": "user"})
    assert len(request["user"]) == 64
    assert "user_id_dropped" in codes(respond(body(metadata={"user_id": "u"}), "generic"))


def test_what_a_profile_adds_fills_and_never_overrides() -> None:
    extra = {"store": True, "truncation": "auto", "text": {"verbosity": "low"}, "reasoning": {"summary": "detailed"}}
    profile = {"based_on": "openai", "extra": extra | {"top_p": 0.5}}
    done = respond(body(output_format={"type": "json_schema", "schema": {"type": "object"}}), profile)
    pairs: list[tuple[str, Any]] = json.loads(encode(done.request), object_pairs_hook=list)
    assert len(dict(pairs)) == len(pairs)
    request = wire(done)
    check_types(request)
    assert (request["store"], request["truncation"], request["top_p"]) == (False, "auto", 0.5)
    assert request["text"]["verbosity"] == "low"
    assert request["text"]["format"]["type"] == "json_schema"
    assert request["reasoning"] == {"summary": "detailed"}


def test_stream_options_are_sent_only_to_openais_own_host() -> None:
    assert sent(body(stream=True), resolve(HOST, "gpt-5"))["stream_options"] == {"include_obfuscation": False}
    assert "stream_options" not in sent(body(stream=True))
    assert not {"stream", "stream_options"} & set(sent(body(), resolve(HOST, "gpt-5")))


def test_a_search_that_is_no_tool_goes_into_the_body() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    request = sent(body(tools=[search]), "openrouter")
    assert request["plugins"] == [{"id": "web"}]
    assert "tools" not in request


def test_a_search_is_left_out_where_no_tool_may_be_called() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    request = body(tools=[WEATHER, search], tool_choice={"type": "none"})
    assert [tool["type"] for tool in sent(request, resolve(HOST, "gpt-5"))["tools"]] == ["function"]


# what the answer has to know


@pytest.mark.parametrize(
    ("thinking", "shown"),
    [
        (None, "show"),
        ({"type": "adaptive", "display": "updates"}, "show"),
        ({"type": "adaptive", "display": "omitted"}, "omit"),
        ({"type": "disabled"}, "drop"),
    ],
)
def test_the_answer_knows_what_is_shown_of_thinking(thinking: Any, shown: str) -> None:
    done = respond(body(**({"thinking": thinking} if thinking else {})))
    assert done.thinking == shown
    assert ("summary" in wire(done).get("reasoning", {})) == (shown != "drop")


def test_the_answer_knows_stops_tools_and_names() -> None:
    long = "n" * 80
    done = respond(body(tools=[{"name": long, "input_schema": {}}], stop_sequences=["a", "b"]))
    assert done.stop_sequences == done.enforce_stops == ("a", "b")
    assert [done.names[name] for name in done.tools] == [long]
    assert "stop" not in wire(done)


def test_max_tokens_zero_asks_for_no_call_and_is_no_adjustment() -> None:
    done = respond(body(max_tokens=0))
    assert done.empty
    assert done.adjustments == []
    assert not respond(body(max_tokens=16)).adjustments
    assert codes(respond(body(max_tokens=15))) == {"max_tokens_raised": "max_tokens"}


def test_what_validation_refuses_is_refused_here_too() -> None:
    for wrong, words in (({"messages": []}, "at least one message"), ({"temperature": 2}, "range: 0..1")):
        with pytest.raises(InvalidRequest, match=words):
            respond(body(**wrong))


def test_a_schema_nested_without_end_is_refused_not_fatal() -> None:
    raw = json.dumps(body(tools=[{"name": "f", "input_schema": "HERE"}]))
    decoded = decode_request(raw.replace('"HERE"', '{"items":' * 900 + "{}" + "}" * 900).encode())
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        to_responses(decoded, model="m", profile=builtin("openai"))


def test_lone_surrogates_are_replaced_and_said_so() -> None:
    done = respond(body(messages=[user("\ud800")]))
    assert wire(done)["input"][0]["content"][0]["text"] == "\ufffd"
    assert "surrogates_replaced" in codes(done)
