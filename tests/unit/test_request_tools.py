"""Tools and tool_choice (protocol.md 1.5, 1.2 tool_choice; claude-code.md 3)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate.client_tools import CLIENT_TOOLS
from tests.support.translation import (
    WEATHER,
    assistant,
    body,
    codes,
    refusal,
    result,
    sent,
    system,
    translate,
    translate_bytes,
    use,
    user,
)

LONG = "mcp__" + "server_" * 9 + "tool"
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object", "properties": {}}, **more}


def names(tools: list[Any], profile: Any = "openai", **fields: Any) -> list[str]:
    return [one["function"]["name"] for one in sent(body(tools=tools, **fields), profile).get("tools", [])]


def only(entry: dict[str, Any], profile: Any = "openai") -> dict[str, Any]:
    (found,) = sent(body(tools=[entry]), profile)["tools"]
    assert found["type"] == "function"
    function: dict[str, Any] = found["function"]
    return function


@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": "custom"}], ids=str)
def test_a_custom_tool_becomes_a_function(kind: dict[str, Any]) -> None:
    assert only(WEATHER | {"description": "d"} | kind) == {
        "name": "get_weather",
        "description": "d",
        "parameters": WEATHER["input_schema"],
    }


@pytest.mark.parametrize("schema", [{}, None, {"type": "None"}, {"type": "object"}, {"properties": None}], ids=str)
def test_a_tool_without_parameters_gets_an_empty_object(schema: Any) -> None:
    assert only({"name": "f", "input_schema": schema})["parameters"] == {"type": "object", "properties": {}}
    assert only({"name": "f"})["parameters"] == {"type": "object", "properties": {}}


def test_no_description_is_no_description() -> None:
    assert "description" not in only({"name": "f"})


def test_fields_that_mean_nothing_are_left_out() -> None:
    extra = {"eager_input_streaming": True, "cache_control": {"type": "ephemeral"}, "allowed_callers": ["direct"]}
    assert only(WEATHER | extra) == only(WEATHER)


def test_strict_is_left_out_and_noted() -> None:
    done = translate(body(tools=[WEATHER | {"strict": True}]))
    assert codes(done) == {"strict_dropped": "tools.0.strict"}
    assert not codes(translate(body(tools=[WEATHER | {"strict": False}])))


def test_examples_are_appended_one_a_line() -> None:
    function = only(WEATHER | {"description": "d", "input_examples": [{"city": "Zürich"}, {"city": "Oslo"}]})
    assert function["description"] == 'd\n\nInput examples:\n{"city":"Zürich"}\n{"city":"Oslo"}'


def test_a_long_name_is_shortened_everywhere_and_mapped_back() -> None:
    conversation = [user("x"), assistant(use("a", LONG)), user(result("a"))]
    choice = {"type": "tool", "name": LONG}
    done = translate(body(tools=[tool(LONG)], messages=conversation, tool_choice=choice))
    (short,) = done.tools
    assert re.fullmatch(r"[a-zA-Z0-9_-]{64}", short)
    assert short.startswith(LONG[:55] + "_")
    assert done.names == {short: LONG}
    assert done.request.messages[1].tool_calls[0].function.name == short  # type: ignore[index]
    assert done.request.tool_choice.function.name == short  # type: ignore[union-attr]
    assert codes(done)["tool_renamed"] == "tools.0"


def test_names_that_differ_only_behind_the_cut_stay_different() -> None:
    assert len(set(names([tool(LONG + "a"), tool(LONG + "b")]))) == 2


def test_a_name_of_history_with_other_characters_is_made_legal() -> None:
    done = translate(body(messages=[user("x"), assistant(use("a", "functions.Bash:0")), user(result("a"))]))
    name = done.request.messages[1].tool_calls[0].function.name  # type: ignore[index]
    assert re.fullmatch(r"functions_Bash_0_[0-9a-f]{8}", name)
    assert done.names == {name: "functions.Bash:0"}


def test_short_names_are_not_in_the_map() -> None:
    done = translate(body(tools=[WEATHER]))
    assert done.tools == {"get_weather"}
    assert not done.names


def test_tools_are_in_the_clients_order_with_equal_bytes() -> None:
    entries = [tool("b"), tool("a"), tool("c")]
    assert names(entries) == ["b", "a", "c"]
    assert sent(body(tools=entries)) == sent(body(tools=entries))


@pytest.mark.parametrize("empty", [{"tools": []}, {"tools": None}, {}], ids=str)
def test_no_tools_no_fields(empty: dict[str, Any]) -> None:
    request = sent(body(tool_choice={"type": "auto", "disable_parallel_tool_use": True}, **empty))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(request)


# tools that the client runs

FIELDS = {
    "bash": {"command", "restart"},
    "text_editor": {"command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"},
    "memory": {
        *("command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"),
        *("old_path", "new_path"),
    },
    "computer": {"action", "coordinate", "text"},
}


@pytest.mark.parametrize("kind", CLIENT_TOOLS)
def test_a_client_tool_is_declared_with_our_schema(kind: str) -> None:
    function = only({"type": kind, "name": "given"})
    assert function["name"] == "given"
    assert function["description"]
    family = kind.rpartition("_")[0]
    assert set(function["parameters"]["properties"]) >= FIELDS[family]
    if family != "computer":
        assert set(function["parameters"]["properties"]) == FIELDS[family]


@pytest.mark.parametrize(
    ("kind", "undo"),
    [
        ("text_editor_20241022", True),
        ("text_editor_20250124", True),
        ("text_editor_20250429", False),
        ("text_editor_20250728", False),
    ],
)
def test_only_old_editors_undo(kind: str, undo: bool) -> None:
    commands = only({"type": kind, "name": "e"})["parameters"]["properties"]["command"]["enum"]
    assert ("undo_edit" in commands) == undo


def test_a_client_tool_without_a_name_has_its_own() -> None:
    assert only({"type": "bash_20250124"})["name"] == "bash"


def test_the_size_of_the_screen_is_told() -> None:
    entry = {"type": "computer_20250124", "name": "computer", "display_width_px": 1024, "display_height_px": 768}
    assert "1024 x 768" in only(entry)["description"]


# tools that nobody here runs


@pytest.mark.parametrize(
    "kind",
    [
        *("web_search_20250305", "web_search_20260318", "web_fetch_20250910", "code_execution_20260521"),
        *("tool_search_tool_bm25_20251119", "tool_search_tool_regex", "advisor_20260301", "mcp_toolset"),
    ],
)
def test_a_server_tool_is_dropped_alone_it_is_refused(kind: str) -> None:
    entry = {"type": kind, "name": "it"}
    done = translate(body(tools=[entry, WEATHER]))
    assert done.tools == {"get_weather"}
    assert codes(done) == {"tool_dropped": "tools.0"}
    assert kind in refusal(body(tools=[entry]))
    assert kind in refusal(body(tools=[entry], tool_choice={"type": "auto"}))


def test_forcing_a_server_tool_is_refused() -> None:
    message = refusal(body(tools=[SEARCH, WEATHER], tool_choice={"type": "tool", "name": "web_search"}))
    assert "web_search_20250305" in message


@pytest.mark.parametrize("kind", ["computer_toolset_20260801", "browser_toolset_20260801"])
def test_toolsets_are_refused(kind: str) -> None:
    assert refusal(body(tools=[{"type": kind}])) == f"tools: type '{kind}' is not supported by this backend"


def test_a_tool_of_a_new_type_is_never_refused() -> None:
    done = translate(body(tools=[{"type": "telepathy_20270101", "name": "t"}]))
    assert not done.tools
    assert codes(done) == {"tool_dropped": "tools.0"}
    assert names([{"type": "telepathy_20270101", "name": "t", "input_schema": {"type": "object"}}]) == ["t"]


def test_a_tool_that_only_code_may_call_is_left_out() -> None:
    assert names([tool("a", allowed_callers=["code_execution_20250825"]), tool("b")]) == ["b"]


# deferred tools

PLACEHOLDER = tool("DeferredToolPlaceholder", defer_loading=True)
DEFERRED = [tool("ToolSearch"), tool("A", defer_loading=True), tool("B", defer_loading=True), PLACEHOLDER]


def test_deferred_tools_are_left_out_until_referenced() -> None:
    assert names(DEFERRED) == ["ToolSearch"]
    assert codes(translate(body(tools=DEFERRED))) == {"tool_deferred": "tools.1"}
    loaded = [
        user("x"),
        assistant(use("s", "ToolSearch")),
        user(result("s", [{"type": "tool_reference", "tool_name": "B"}])),
    ]
    assert names(DEFERRED, messages=loaded) == ["ToolSearch", "B"]


def test_a_lone_deferred_tool_is_no_fault() -> None:
    request = sent(body(tools=[tool("A", defer_loading=True)], tool_choice={"type": "auto"}))
    assert "tools" not in request
    assert "tool_choice" not in request


def test_a_deferred_tool_that_is_forced_is_declared() -> None:
    assert names(DEFERRED, tool_choice={"type": "tool", "name": "A"}) == ["ToolSearch", "A"]


def test_deferred_tools_are_declared_where_only_a_server_could_search_them() -> None:
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    done = translate(body(tools=[search, tool("A", defer_loading=True), PLACEHOLDER]))
    assert done.tools == {"A"}
    assert codes(done)["tool_undeferred"] == "tools.1"


def test_references_of_a_servers_search_count() -> None:
    found = {
        "type": "tool_search_tool_search_result",
        "tool_references": [{"type": "tool_reference", "tool_name": "A"}],
    }
    history = [
        user("x"),
        assistant({"type": "tool_search_tool_result", "tool_use_id": "s", "content": found}),
        user("y"),
    ]
    assert names(DEFERRED, messages=history) == ["ToolSearch", "A"]


def change(kind: str, **what: Any) -> dict[str, Any]:
    return {"type": f"tool_{kind}", "tool": what}


def test_tools_added_and_removed_on_the_way() -> None:
    added = change("addition", type="tool_definition", definition=tool("new"))
    removed = change("removal", type="tool_reference", name="A")
    undeferred = change("addition", type="tool_reference", name="B")
    assert names(DEFERRED, messages=[user("x"), system(added, undeferred)]) == ["ToolSearch", "B", "new"]
    done = translate(body(tools=[tool("A"), tool("C")], messages=[user("x"), system(removed)]))
    assert done.tools == {"C"}
    assert codes(done) == {"tool_dropped": "tools.0"}
    again = change("addition", type="tool_reference", name="A")
    assert names([tool("A")], messages=[user("x"), system(removed), assistant("y"), system(again), user("z")]) == ["A"]
    gone = change("removal", type="tool_reference", name="new")
    assert names([tool("A")], messages=[user("x"), system(added, gone)]) == ["A"]


def test_a_compaction_carries_tool_changes() -> None:
    block = {
        "type": "compaction",
        "content": "so far",
        "tool_changes": [change("addition", type="tool_reference", name="A")],
    }
    assert names(DEFERRED, messages=[user(block)]) == ["ToolSearch", "A"]


def test_a_definition_that_is_no_tool_is_named() -> None:
    bad = change("addition", type="tool_definition", definition={"name": "n", "description": 5})
    assert refusal(body(messages=[user("x"), system(bad)])) == (
        "messages.1.content.0.tool.definition: Input should be a valid tool"
    )


def test_changes_that_name_no_tool_are_nothing() -> None:
    other = change("addition", type="mcp_toolset_reference", server_name="s")
    assert names([tool("A")], messages=[user("x"), system(other)]) == ["A"]


# tool_choice


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
    ],
    ids=str,
)
def test_tool_choice(choice: dict[str, Any], value: Any) -> None:
    request = sent(body(tools=[WEATHER], tool_choice=choice))
    assert request["tool_choice"] == value
    assert request["tools"]
    assert "parallel_tool_calls" not in request


def test_parallel_calls_are_only_ever_turned_off() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert sent(body(tools=[WEATHER], tool_choice=choice))["parallel_tool_calls"] is False
    off = choice | {"disable_parallel_tool_use": False}
    assert "parallel_tool_calls" not in sent(body(tools=[WEATHER], tool_choice=off))
    done = translate(body(tools=[WEATHER], tool_choice=choice), "cerebras")
    assert "field_ignored" in codes(done)


def test_a_choice_that_is_not_declared_is_refused() -> None:
    assert "tool_choice.name" in refusal(body(tools=[WEATHER], tool_choice={"type": "tool", "name": "other"}))
    assert "tool_choice.name" in refusal(body(tool_choice={"type": "tool", "name": "other"}))
    assert refusal(body(tools=[WEATHER], tool_choice={"type": "tool"})) == "tool_choice.name: Field required"


def test_a_choice_of_a_new_type_is_dropped() -> None:
    done = translate(body(tools=[WEATHER], tool_choice={"type": "mood"}))
    assert codes(done) == {"tool_choice_dropped": "tool_choice.type"}


def test_a_choice_without_tools_is_dropped_with_a_note() -> None:
    assert codes(translate(body(tool_choice={"type": "any"}))) == {"tool_choice_dropped": "tool_choice"}


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"type": "any"}, "You must call at least one of the tools."),
        ({"type": "tool", "name": "get_weather"}, "You must call the tool get_weather."),
        ({"type": "none"}, "Do not call any tool."),
    ],
    ids=str,
)
def test_a_server_that_cannot_be_forced_is_asked(choice: dict[str, Any], line: str) -> None:
    done = translate(body(tools=[WEATHER], tool_choice=choice, system="s"), "zai")
    assert done.request.messages[0].content == f"s\n\n{line}"
    assert "tool_choice" not in sent(body(tools=[WEATHER], tool_choice=choice), "zai")
    assert "tool_choice_weakened" in codes(done)
    assert sent(body(tools=[WEATHER], tool_choice={"type": "auto"}), "zai")["tool_choice"] == "auto"


def test_a_schema_that_is_nested_without_end_is_refused_not_fatal() -> None:
    # one level is one frame of the decoder and two of the cleaner: whichever gives up first says the same
    nested = '{"items":' * 900 + "{}" + "}" * 900
    raw = json.dumps(body(tools=[{"name": "f", "input_schema": {"properties": {"a": "HERE"}}}]))
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        translate_bytes(raw.replace('"HERE"', nested).encode())


def test_where_a_choice_by_name_is_read_as_auto_the_tool_goes_alone() -> None:
    """llama.cpp takes the object form of tool_choice for "auto" without a word."""
    both = body(tools=[WEATHER, {"name": "g", "input_schema": {}}], tool_choice={"type": "tool", "name": "get_weather"})
    done = translate(both, "llamacpp")
    assert sent(both, "llamacpp")["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in sent(both, "llamacpp")["tools"]] == ["get_weather"]
    assert "tool_choice_narrowed" in codes(done)
    any_of_both = both | {"tool_choice": {"type": "any"}}
    assert len(sent(any_of_both, "llamacpp")["tools"]) == 2
    assert "tool_choice_narrowed" not in codes(translate(any_of_both, "llamacpp"))
