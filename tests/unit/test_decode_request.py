"""Decoding: right types, named faults, nothing refused for being new (protocol.md 1.3, V15; issue 3 item 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire.anthropic import REQUIRED, decode_count_request, decode_request, given
from ccproxy_sanic.wire.mending import replace_lone_surrogates
from tests.support.translation import body, use, user


def decoded(request: Any) -> Any:
    return decode_request(json.dumps(request).encode())


def fault(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(InvalidRequest) as caught:
        decode_request(raw)
    return caught.value.message


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in body().items() if key != field}


FAULTS: list[tuple[Any, str]] = [
    (without("model"), "model: Field required"),
    (without("max_tokens"), "max_tokens: Field required"),
    (without("messages"), "messages: Field required"),
    (body(messages={}), "messages: Input should be a valid list"),
    (body(messages="x"), "messages: Input should be a valid list"),
    (body(max_tokens="5"), "max_tokens: Input should be a valid integer"),
    (body(max_tokens=1.5), "max_tokens: Input should be a valid integer"),
    (body(temperature="hot"), "temperature: Input should be a valid number"),
    (body(stream="yes"), "stream: Input should be a valid boolean"),
    (body(system=5), "system: Input should be a valid string or list"),
    (body(stop_sequences="x"), "stop_sequences: Input should be a valid list"),
    (body(stop_sequences=[1]), "stop_sequences.0: Input should be a valid string"),
    (body(tools={}), "tools: Input should be a valid list"),
    (body(metadata={"user_id": 5}), "metadata.user_id: Input should be a valid string"),
    (body(thinking={}), "thinking.type: Field required"),
    (body(messages=["x"]), "messages.0: Input should be a valid dictionary"),
    (body(messages=[{"content": "x"}]), "messages.0.role: Field required"),
    (body(messages=[{"role": "user"}]), "messages.0.content: Field required"),
    (body(messages=[{"role": "user", "content": 5}]), "messages.0.content: Input should be a valid string or list"),
    (body(messages=[user({"text": "x"})]), "messages.0.content.0.type: Field required"),
    (body(messages=[user("x"), user({"type": "text"})]), "messages.1.content.0.text: Field required"),
    (body(messages=[user({"type": "text", "text": 5})]), "messages.0.content.0.text: Input should be a valid string"),
    (body(messages=[user({"type": "text", "text": None})]), "messages.0.content.0.text: Field required"),
    (body(system=[{"type": "text"}]), "system.0.text: Field required"),
    (
        body(messages=[user({"type": "image", "source": {"type": "base64"}})]),
        "messages.0.content.0.source.media_type: Field required",
    ),
    (
        body(messages=[user({"type": "image", "source": {"type": "url"}})]),
        "messages.0.content.0.source.url: Field required",
    ),
    (
        body(messages=[user({"type": "image", "source": "x"})]),
        "messages.0.content.0.source: Input should be a valid dictionary",
    ),
    (
        body(messages=[user({"type": "search_result", "source": {"type": "url"}, "title": "t", "content": []})]),
        "messages.0.content.0.source: Input should be a valid string",
    ),
    (
        body(messages=[user({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]})]),
        "messages.0.content.0.content.0.text: Field required",
    ),
    (
        body(messages=[user({"type": "document", "source": {"type": "content", "content": [{"type": "text"}]}})]),
        "messages.0.content.0.source.content.0.text: Field required",
    ),
    (
        body(messages=[user("x"), {"role": "assistant", "content": [use("a") | {"input": []}]}]),
        "messages.1.content.0.input: Input should be a valid dictionary",
    ),
    (
        body(output_config={"format": {"type": "json_schema"}}),
        "output_config.format.schema: Field required",
    ),
    (body(output_format={"type": "json_schema"}), "output_format.schema: Field required"),
    ([1], "The request body should be a JSON object"),
    ("x", "The request body should be a JSON object"),
]


@pytest.mark.parametrize(("request_", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_a_fault_is_named_by_its_path(request_: Any, message: str) -> None:
    assert fault(request_) == message


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"model": NaN}',
        b'{"model": "x", "temperature": Infinity}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
    ],
    ids=["empty", "cut", "words", "NaN", "Infinity", "utf-8", "deep"],
)
def test_what_is_no_json_says_so_and_quotes_nothing(raw: bytes) -> None:
    message = fault(raw)
    assert message.startswith("The request body is not valid JSON: ")
    assert "nonsense" not in message


def test_invalid_utf8_in_a_carried_field_is_found() -> None:
    raw = json.dumps(body(messages=[user("x"), {"role": "assistant", "content": [use("a", v="HERE")]}])).encode()
    assert "UTF-8" in fault(raw.replace(b"HERE", b"\xff"))


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in REQUIRED.items() for field in fields])
def test_each_block_type_demands_its_fields(kind: str, field: str) -> None:
    whole: dict[str, dict[str, Any]] = {
        "text": {"text": "x"},
        "image": {"source": {"type": "url", "url": "u"}},
        "document": {"source": {"type": "text", "data": "x"}},
        "search_result": {"source": "s", "title": "t", "content": []},
        "tool_use": {"id": "a", "name": "n", "input": {}},
        "tool_result": {"tool_use_id": "a"},
        "tool_reference": {"tool_name": "n"},
        "thinking": {"thinking": "hm", "signature": "s"},
        "redacted_thinking": {"data": "d"},
        "tool_addition": {"tool": {"type": "tool_reference", "name": "n"}},
        "tool_removal": {"tool": {"type": "tool_reference", "name": "n"}},
        "browser_state": {"tabs": []},
    }
    block = {"type": kind, **whole[kind]}
    assert decoded(body(messages=[user(block)])).messages[0].content[0].type == kind
    del block[field]
    assert fault(body(messages=[user(block)])) == f"messages.0.content.0.{field}: Field required"


def test_unknown_fields_are_ignored_everywhere() -> None:
    request = decoded(
        body(brand_new={"a": 1}, messages=[user({"type": "text", "text": "x", "hue": [1]}) | {"mood": 1}])
    )
    assert request.messages[0].content[0].text == "x"


def test_a_new_block_type_may_use_our_field_names_for_anything() -> None:
    new = {"type": "hologram", "text": 5, "source": [1], "content": {"x": 1}, "input": None, "tabs": "no", "name": {}}
    request = decoded(body(messages=[user(new, {"type": "text", "text": "kept", "title": 7})], system=[new]))
    assert [block.type for block in request.messages[0].content] == ["hologram", "text"]
    assert request.messages[0].content[1].text == "kept"


def test_a_new_block_type_inside_a_tool_result_may_too() -> None:
    inner = {"type": "hologram", "text": 5}
    block = {"type": "tool_result", "tool_use_id": "a", "content": [inner, {"type": "text", "text": "kept"}]}
    request = decoded(body(messages=[user(block)]))
    assert [one.type for one in request.messages[0].content[0].content] == ["hologram", "text"]


def test_a_fault_in_a_known_block_beside_a_new_one_is_still_named() -> None:
    assert fault(body(messages=[user({"type": "hologram", "text": 5}, {"type": "text", "text": 5})])) == (
        "messages.0.content.1.text: Input should be a valid string"
    )


@pytest.mark.parametrize(
    ("escaped", "value"),
    [
        (r"a\ud800b", "a�b"),
        (r"a\uDFFFb", "a�b"),
        (r"\ud800\ud800", "��"),
        (r"\ud83d\ude00\ud83d", "😀�"),
        (r"\\ud800 \udc00", "\\ud800 �"),
    ],
)
def test_lone_surrogates_are_replaced(escaped: str, value: str) -> None:
    raw = json.dumps(body(messages=[user("HERE")])).replace("HERE", escaped).encode()
    request = decode_request(raw)
    assert request.messages[0].content == value
    assert request.repaired


def test_a_lone_surrogate_in_a_carried_field_is_replaced() -> None:
    raw = json.dumps(body(messages=[user("x"), {"role": "assistant", "content": [use("a", v="HERE")]}])).encode()
    request = decode_request(raw.replace(b"HERE", rb"\udc00"))
    assert bytes(request.messages[1].content[0].input) == b'{"v": "\\ufffd"}'  # type: ignore[index,union-attr]
    assert request.repaired


@pytest.mark.parametrize("escaped", [r"\ud83d\ude00", r"\\ud800", r"\\\\ud800", r"\u0041"])
def test_legal_escapes_are_left_alone(escaped: str) -> None:
    data = f'"{escaped}"'.encode()
    assert replace_lone_surrogates(data) == (data, False)
    raw = json.dumps(body(messages=[user("HERE")])).replace("HERE", escaped).encode()
    assert not decode_request(raw).repaired


@pytest.mark.parametrize("claimed", [True, "yes", {"a": 1}])
def test_what_the_decoder_finds_out_is_not_the_clients_to_say(claimed: Any) -> None:
    request = decoded(body(repaired=claimed, special=claimed))
    assert (request.repaired, request.special) == (False, False)
    assert decoded(body(special=False, messages=[user({"type": "hologram"})])).special


@pytest.mark.parametrize(
    ("content", "special"),
    [
        ([use("a"), {"type": "text", "text": "x"}, {"type": "thinking", "thinking": "t"}], False),
        ([{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}]}], False),
        ([{"type": "tool_result", "tool_use_id": "a"}], False),
        (
            [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_reference", "tool_name": "n"}]}],
            True,
        ),
        (
            [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x", "tool_name": "n"}]}],
            True,
        ),
        ([{"type": "tool_removal", "tool": {"name": "n"}}], True),
        ([{"type": "compaction", "content": "x"}], True),
    ],
)
def test_blocks_that_may_say_something_about_tools_are_special(content: list[Any], special: bool) -> None:
    assert decoded(body(messages=[user("x"), user(*content), user("y")])).special is special


def test_null_means_absent_for_carried_fields() -> None:
    request = decoded(body(container=None, thread={"id": "t"}))
    assert not given(request.container)
    assert not given(request.fallbacks)
    assert given(request.thread)


def test_count_tokens_needs_no_max_tokens() -> None:
    request = decode_count_request(json.dumps(without("max_tokens")).encode())
    assert request.max_tokens == 0
    with pytest.raises(InvalidRequest, match="model: Field required"):
        decode_count_request(b'{"messages": []}')


def test_numbers_out_of_range_are_named_not_fatal() -> None:
    assert "temperature" in fault(json.dumps(body(temperature=0.5)).replace("0.5", "1e999").encode())
