"""The request's tables, entry by entry: tools that the client runs, schema keywords, fields, blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import from_switches
from ccproxy_sanic.translate import carrier, effort, fields, schema, tool_changes, tools, validate
from ccproxy_sanic.translate.client_tools import CLIENT_TOOLS
from ccproxy_sanic.translate.schema import clean_format, clean_tool, fits_strict
from tests.support.translation import WEATHER, assistant, body, codes, refusal, result, sent, text, translate, use, user

# The arguments of each tool, as Anthropic's documentation names them: what the client's own code will read.
EDIT = ["path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"]
COMMANDS = ["view", "create", "str_replace", "insert"]
MEMORY = [*("command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text"), "old_path", "new_path"]
POINTER = ["action", "coordinate", "text"]
SCROLL = ["start_coordinate", "scroll_direction", "scroll_amount", "duration"]
ACTIONS = [
    *("key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click"),
    *("screenshot", "cursor_position"),
]
MORE = [*ACTIONS, "left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "triple_click"]
TOOLS: dict[str, tuple[str, list[str], list[str], list[str]]] = {  # name, arguments, required, what the first one takes
    "bash_20241022": ("bash", ["command", "restart"], [], []),
    "bash_20250124": ("bash", ["command", "restart"], [], []),
    "text_editor_20241022": (
        *("str_replace_editor", ["command", *EDIT], ["command", "path"], [*COMMANDS, "undo_edit"]),
    ),
    "text_editor_20250124": (
        *("str_replace_editor", ["command", *EDIT], ["command", "path"], [*COMMANDS, "undo_edit"]),
    ),
    "text_editor_20250429": ("str_replace_based_edit_tool", ["command", *EDIT], ["command", "path"], COMMANDS),
    "text_editor_20250728": ("str_replace_based_edit_tool", ["command", *EDIT], ["command", "path"], COMMANDS),
    "memory_20250818": ("memory", [*MEMORY, "view_range"], ["command"], [*COMMANDS, "delete", "rename"]),
    "computer_20241022": ("computer", POINTER, ["action"], ACTIONS),
    "computer_20250124": ("computer", [*POINTER, *SCROLL], ["action"], MORE),
    "computer_20251124": ("computer", [*POINTER, *SCROLL, "region"], ["action"], [*MORE, "zoom"]),
}
TYPES = {
    **dict.fromkeys(("insert_line", "scroll_amount"), "integer"),
    **dict.fromkeys(("view_range", "coordinate", "start_coordinate", "region"), "array"),
    "restart": "boolean",
    "duration": "number",
}


@pytest.mark.parametrize("kind", TOOLS)
def test_a_client_s_tool_has_the_arguments_that_the_client_reads(kind: str) -> None:
    name, arguments, required, choices = TOOLS[kind]
    known = CLIENT_TOOLS[kind]
    assert known.name == name
    parameters = known.parameters
    assert parameters["type"] == "object"
    assert list(parameters["properties"]) == arguments
    assert parameters.get("required", []) == required
    for argument, wanted in parameters["properties"].items():
        assert wanted["type"] == TYPES.get(argument, "string"), argument
        assert wanted["description"]
        if wanted["type"] == "array":
            assert wanted["items"] == {"type": "integer"}
    if choices:
        assert parameters["properties"][arguments[0]]["enum"] == choices
    if "scroll_direction" in arguments:
        assert parameters["properties"]["scroll_direction"]["enum"] == ["up", "down", "left", "right"]


def test_every_client_tool_is_tested_here() -> None:
    assert set(CLIENT_TOOLS) == set(TOOLS)


SERVER_TOOLS = ["web_search_", "web_fetch_", "code_execution_", "tool_search_tool_regex_", "advisor_"]


@pytest.mark.parametrize("kind", [*(f"{kind}20270101" for kind in SERVER_TOOLS), "mcp_toolset"])
def test_a_server_s_tool_is_left_out_beside_others_and_refused_alone(kind: str) -> None:
    tool = {"type": kind, "name": "s"}
    done = translate(body(tools=[WEATHER, tool]))
    assert codes(done)["tool_dropped"] == "tools.1"
    assert done.tools == {"get_weather"}
    assert refusal(body(tools=[tool])) == f"tools: {kind} is a server tool, which this backend cannot run"
    assert len(tools.SERVER_TOOLS) == 6


@pytest.mark.parametrize("name", ["a.b", "a" * 129, "a b", "é", "", "a\n"])
def test_a_name_that_anthropic_refuses(name: str) -> None:
    assert "tools.0" in refusal(body(tools=[WEATHER | {"name": name}]))


@pytest.mark.parametrize("name", ["a", "Z9_-", "a" * 128])
def test_a_name_that_anthropic_takes(name: str) -> None:
    assert len(translate(body(tools=[WEATHER | {"name": name}])).tools) == 1


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"type": "any"}, "You must call at least one of the tools."),
        ({"type": "tool", "name": "get_weather"}, "You must call the tool get_weather."),
    ],
)
def test_a_choice_in_words(choice: dict[str, str], words: str) -> None:
    asked = sent(body(tools=[WEATHER], tool_choice=choice), {"tool_choice": "auto"})
    assert words in str(asked["messages"][0]["content"])


ALWAYS = ["$schema", "$id", "$comment"]
INSIDE = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]
LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"]
SINGLE = ["items", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems"]
FREE = ["additionalProperties", "unevaluatedProperties"]


def cleaned(part: Any, flavour: str = "default") -> Any:
    """``part`` as the schema of an answer's member."""
    return clean_format({"properties": {"p": part}}, flavour)["properties"]["p"]


@pytest.mark.parametrize("keyword", ALWAYS)
def test_a_keyword_that_nobody_needs(keyword: str) -> None:
    assert cleaned({keyword: "x", "type": "string"}) == {"type": "string"}


def test_what_is_inside_of_a_schema_is_cleaned_too() -> None:
    dirty, clean = {"$comment": "x", "type": "string"}, {"type": "string"}
    for keyword in INSIDE:
        assert cleaned({keyword: {"$id": dirty}}) == {keyword: {"$id": clean}}
    for keyword in LISTS:
        assert cleaned({keyword: [dirty]}) == {keyword: [clean]}
    for keyword in [*SINGLE, *FREE]:
        assert cleaned({keyword: dirty}) == {keyword: clean}
    for keyword in FREE:
        assert cleaned({keyword: True}) == {keyword: True}
    for keyword in ("default", "examples", "const", "enum"):
        assert cleaned({keyword: [dirty]}) == {keyword: [dirty]}  # data, no schema


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf", "allOf"])
def test_a_union_at_the_top_becomes_an_object(keyword: str) -> None:
    found = clean_tool({keyword: [{"properties": {"a": {}}, "required": ["a"]}]}, "default")
    assert found["properties"] == {"a": {}}
    assert found["required"] == ["a"]
    assert keyword not in found


@pytest.mark.parametrize("keyword", ["enum", "not"])
def test_a_keyword_that_is_refused_at_the_top(keyword: str) -> None:
    value: Any = [{}] if keyword == "enum" else {}
    assert keyword not in clean_tool({"type": "object", keyword: value}, "default")
    assert keyword in cleaned({keyword: value})


# what a flavour moves into the description, and what it drops
MOVED = {
    "gemini": ["exclusiveMinimum", "exclusiveMaximum", "propertyNames", "patternProperties", "multipleOf"],
    "grammar": ["uniqueItems", "contains", "minContains", "maxContains", "minProperties", "maxProperties"],
    "default": [],
    "ollama": [],
}
DROPPED = {
    "gemini": [
        *("additionalProperties", "unevaluatedProperties", "examples", "enumDescriptions", "$defs", "definitions"),
        *("default", "contentMediaType", "contentEncoding", "readOnly", "writeOnly", "deprecated"),
    ],
    "grammar": ["examples"],
    "ollama": ["examples", "$defs", "definitions"],
    "default": [],
}


@pytest.mark.parametrize("flavour", MOVED)
def test_what_a_flavour_cannot_take(flavour: str) -> None:
    for keyword in {one for found in [*MOVED.values(), *DROPPED.values()] for one in found}:
        found = cleaned({"type": "string", keyword: {}}, flavour)
        if keyword in MOVED[flavour]:
            assert found == {"type": "string", "description": f"{{{keyword}: {{}}}}"}
        elif keyword in DROPPED[flavour]:
            assert found == {"type": "string"}
        else:
            assert found == {"type": "string", keyword: {}}


@pytest.mark.parametrize(
    ("part", "gemini", "ollama", "grammar"),
    [
        ({"const": "a"}, {"enum": ["a"]}, {"enum": ["a"]}, None),
        ({"type": ["string", "null"]}, *[{"type": "string", "nullable": True}] * 2, None),
        ({"enum": [1]}, {"description": "{enum: [1]}"}, None, None),
        ({"format": "date-time"}, None, None, None),
        ({"format": "enum"}, None, None, None),
        ({"format": "uri"}, {"description": '{format: "uri"}'}, None, None),
        ({"pattern": "a"}, None, None, {"description": '{pattern: "a"}'}),
        ({"pattern": "^a$"}, None, None, None),
        ({"properties": {}}, {"description": "Has no properties."}, None, None),
        ({"maxLength": 2000}, None, None, None),
        ({"maxLength": 2001}, None, None, {"description": "{maxLength: 2001}"}),
        ({"$ref": "#/x"}, {"type": "object"}, {"type": "object"}, None),
    ],
)
def test_how_a_flavour_bends_a_schema(part: Any, gemini: Any, ollama: Any, grammar: Any) -> None:
    assert cleaned(part) == part
    for flavour, wanted in (("gemini", gemini), ("ollama", ollama), ("grammar", grammar)):
        assert cleaned(part, flavour) == (part if wanted is None else wanted), flavour


def test_how_many_references_are_put_in_their_place() -> None:
    many = {"type": "object", "properties": {f"p{n}": {"$ref": "#/x"} for n in range(502)}, "x": {"type": "string"}}
    found = clean_tool(many, "ollama")["properties"]
    assert [found[f"p{n}"]["type"] for n in (498, 499, 500, 501)] == ["string", "string", "object", "object"]


STRICT_REFUSED = [
    *("default", "allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
    "patternProperties",
]


@pytest.mark.parametrize("keyword", STRICT_REFUSED)
def test_a_keyword_that_strict_mode_refuses(keyword: str) -> None:
    def with_(part: Any) -> Any:
        return {"type": "object", "properties": {"a": part}, "required": ["a"], "additionalProperties": False}

    assert fits_strict(with_({"type": "string"}))
    assert not fits_strict(with_({"type": "string", keyword: {}}))
    assert len(schema._STRICT_REFUSED) == len(STRICT_REFUSED)


def test_how_deep_strict_mode_goes() -> None:
    def nested(levels: int) -> Any:
        inner: Any = {"type": "string"}
        for _ in range(levels):
            inner = {"type": "array", "items": inner}
        return {"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": False}

    assert fits_strict(nested(9))
    assert not fits_strict(nested(10))


IGNORED = [
    *("billing_policy", "container", "context_management", "fallback_credit_token", "fallbacks", "inference_geo"),
    *("tags", "user_profile_id", "workspace_id"),
]


@pytest.mark.parametrize("name", IGNORED)
def test_a_field_that_means_nothing_is_noted(name: str) -> None:
    done = translate(body(**{name: {"a": 1}}))
    assert [(one.code, one.path) for one in done.adjustments] == [("field_ignored", name)]
    assert len(fields.IGNORED) == len(IGNORED)


REFUSED = {
    "mcp_servers": "mcp_servers is not supported by this backend",
    "compaction": "compaction is not supported by this backend",
    "thread": "thread is not supported by this backend",
    "safeguards": "safeguards: Extra inputs are not permitted",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_that_asks_for_what_nobody_here_can_do(name: str) -> None:
    assert refusal(body(**{name: [{"a": 1}]})) == REFUSED[name]
    with pytest.raises(InvalidRequest) as caught:
        translate(body(**{name: [{"a": 1}]}))
    wanted = {"error_code": "thread_unsupported_request"} if name == "thread" else None
    assert caught.value.details == wanted
    assert set(validate.REFUSED) == set(REFUSED)


@pytest.mark.parametrize(("budget", "level"), [(4095, "low"), (4096, "medium"), (16383, "medium"), (16384, "high")])
def test_a_budget_is_a_level(budget: int, level: str) -> None:
    profile = from_switches({"effort": "reasoning_effort"})
    asked = body(max_tokens=99_999, thinking={"type": "enabled", "budget_tokens": budget})
    assert sent(asked, profile)["reasoning_effort"] == level


@pytest.mark.parametrize("wanted", ["low", "medium", "high", "xhigh", "max"])
def test_every_effort_is_known_and_falls_to_the_next_lower_one(wanted: str) -> None:
    table = {"effort": {level: {"level": level} for level in ("low", "medium", "high", "xhigh", "max")}}
    asked = body(output_config={"effort": wanted})
    assert sent(asked, table)["level"] == wanted
    lower = {"max": "high", "xhigh": "high"}.get(wanted, wanted)
    small = {"effort": {level: {"level": level} for level in ("low", "medium", "high")}}
    assert sent(asked, small)["level"] == lower
    if wanted == "max":
        table["effort"].pop("max")
        assert sent(asked, table)["level"] == "xhigh"
    assert len(effort.LEVELS) == 5


@pytest.mark.parametrize("kind", ["code_execution_tool_result", "bash_code_execution_tool_result"])
@pytest.mark.parametrize("editor", ["", "text_editor_"])
def test_what_code_printed_stays_as_text(kind: str, editor: str) -> None:
    kind = editor + "code_execution_tool_result" if editor else kind
    block = {"type": kind, "tool_use_id": "s1", "content": {"stdout": "42", "stderr": "!", "content": "x"}}
    (message,) = sent(body(messages=[user(block)]))["messages"]
    assert "[result: 42\n!\nx]" in str(message["content"]).replace("\\n", "\n")


HISTORY = [
    *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "tool_search_tool_result"),
    *("advisor_tool_result", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing"),
]


@pytest.mark.parametrize("kind", HISTORY)
def test_a_server_tool_s_history_is_left_out(kind: str) -> None:
    block = {"type": kind, "id": "s1", "tool_use_id": "s1", "name": "x", "input": {}, "content": [], "text": "seen"}
    done = translate(body(messages=[user(text("a"), block)]))
    assert [(one.code, one.path) for one in done.adjustments] == [("history_dropped", "messages.0.content.1")]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("redacted_thinking", "thinking_dropped"),
        ("thinking", "thinking_dropped"),
        ("tool_addition", None),
        ("tool_removal", None),
        ("container_upload", "block_dropped"),
        ("fallback", "block_dropped"),
        ("brand_new", "block_dropped"),
    ],
)
def test_a_block_that_is_not_for_a_user_s_text(kind: str, code: str | None) -> None:
    known = f"{kind}: not supported" if kind != "brand_new" else "its type is not known"
    block = {"type": kind, "text": "seen", "thinking": "", "data": "d", "tool_name": "x", "tool": WEATHER}
    done = translate(body(messages=[user(text("a"), block)]))
    assert "seen" not in str(done.request.messages)
    assert code != "block_dropped" or done.adjustments[0].reason == known
    assert [(one.code, one.path) for one in done.adjustments] == ([(code, "messages.0.content.1")] if code else [])


SPEAKS = ["tool_result", "tool_search_tool_result", "compaction", "tool_addition", "tool_removal"]


def test_every_block_that_says_something_about_tools_is_read() -> None:
    assert set(tool_changes._SPEAKS) == set(SPEAKS)
    reference = {"type": "tool_reference", "tool_name": "get_weather"}
    deferred = WEATHER | {"defer_loading": True}
    other = WEATHER | {"name": "other"}
    asked = body(tools=[other, deferred])
    assert translate(asked).tools == {"other"}
    turns = [user("x"), assistant(use("c1", "other")), user(result("c1", [reference]))]
    assert translate(asked | {"messages": turns}).tools == {"other", "get_weather"}


def test_a_file_cannot_be_an_assistant_s() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    done = translate(body(messages=[user("x"), assistant(text("a"), pdf), user("y")]), {"pdf": True})
    assert [(one.code, one.path) for one in done.adjustments] == [("block_dropped", "messages.1.content.1")]


@pytest.mark.parametrize(
    ("provider", "model", "fits"),
    [
        ("openrouter", "openai/gpt-5-mini", True),
        ("openrouter", "gpt-oss-120b", True),
        ("openrouter", "GPT4", True),
        ("openrouter", "anthropic/claude-sonnet-5", False),
        ("openrouter", "google/gemini-3-pro", False),
        ("openai", "openai/gpt-5-mini", False),
    ],
)
def test_what_is_carried_fits_the_same_provider_s_models_of_the_same_family(
    provider: str, model: str, fits: bool
) -> None:
    assert carrier.fits(carrier.Carrier("openrouter", "openai/gpt-5", "or"), provider, model) == fits
    assert carrier.fits(carrier.Carrier("p", "gpt", "or"), "p", "gpt-5")


def test_how_large_a_carrier_may_be() -> None:
    """256 KiB, of the signature and of what is in it; beyond that it only says that it is ours."""
    words = {"p": "", "m": "", "k": "or", "d": ""}
    room = 256 * 1024 - len(json.dumps(words, separators=(",", ":")))
    for size, kind in ((room, "or"), (room + 1, "plain")):
        found = carrier.unsign(b"k", carrier.sign(b"k", "", "", "or", "x" * size))
        assert found is not None
        assert found.kind == kind


def test_a_picture_that_cannot_be_fetched_leaves_its_address() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://a.test/x.png"}}
    (message,) = sent(body(messages=[user(picture)]), {"image_urls": False})["messages"]
    assert "'[image omitted: the server fetches no URLs: https://a.test/x.png]'" in repr(message)


@pytest.mark.parametrize(("length", "stays"), [(40, True), (41, False)])
def test_how_long_a_call_s_id_may_be_at_openai(length: int, stays: bool) -> None:
    given = "c" * length
    turns = [user("x"), assistant(use(given, "other")), user(result(given))]
    _, call, answer = sent(body(messages=turns), {"tool_ids": "max40"})["messages"]
    assert (call["tool_calls"][0]["id"] == given) == stays
    assert call["tool_calls"][0]["id"] == answer["tool_call_id"]
    assert len(answer["tool_call_id"]) <= 40
