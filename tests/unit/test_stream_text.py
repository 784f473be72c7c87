"""What becomes of reasoning, text, whitespace, refusals and stop strings: protocol.md 4.4 rows 4 to 7, 3.1 and 3.2."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.translate.stream import StreamTranslator
from tests.support import grammar
from tests.support.replies import DONE, blocks, chunk, message, spec, sse, tool

END = [chunk(finish="stop"), DONE]
THOUGHT = ("thinking", "Hm", "sig_X")


def text(*pieces: str) -> list[Any]:
    return [chunk({"content": piece}) for piece in pieces]


# reasoning, whitespace, refusal


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm"},
        {"reasoning_text": "Hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "H"}, {"type": "reasoning.summary", "summary": "m"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}]}]},
        {"content": [{"type": "thinking", "thinking": "Hm"}]},
        {"reasoning_content": "Hm", "reasoning": "Hm"},
        {"reasoning_content": "", "reasoning": "Hm", "reasoning_text": "Hm"},
        {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
    ],
)
def test_reasoning_comes_from_any_field_once(delta: dict[str, Any]) -> None:
    assert blocks([chunk(delta), *text("a"), *END]) == [THOUGHT, ("text", "a")]


def test_content_may_be_a_list_of_parts() -> None:
    parts = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "a"}, "b", {"type": "reference"}, None]
    assert blocks([chunk({"content": parts}), *END]) == [THOUGHT, ("text", "ab")]


def test_empty_reasoning_opens_nothing() -> None:
    assert blocks([chunk({"reasoning": "", "reasoning_details": []}), *text("a"), *END]) == [("text", "a")]


def test_any_block_may_follow_any_other() -> None:
    chunks = [
        *text("a"),
        chunk({"reasoning": "Hm"}),
        *text("b"),
        tool("{}", call_id="c1", name="Bash"),
        chunk({"reasoning": "Hm"}),
        tool("{}", index=1, call_id="c2", name="Bash"),
        *text("c"),
        *END,
    ]
    assert blocks(chunks) == [
        ("text", "a"),
        THOUGHT,
        ("text", "b"),
        ("Bash", "c1", {}),
        THOUGHT,
        ("Bash", "c2", {}),
        ("text", "c"),
    ]


def test_leading_whitespace_waits_for_something_visible() -> None:
    assert blocks([*text("\n", " ", "a", " ", "b"), *END]) == [("text", "\n a b")]


@pytest.mark.parametrize("next_", [chunk({"reasoning": "Hm"}), tool("{}", call_id="c1", name="Bash"), DONE])
def test_held_whitespace_is_dropped_before_anything_else(next_: Any) -> None:
    out = blocks([*text("\n\n"), next_, *text("a"), *END])
    assert ("text", "a") in out or next_ == DONE
    assert not any(block[0] == "text" and block[1].startswith("\n") for block in out)


def test_whitespace_between_reasoning_pieces_is_dropped() -> None:
    chunks = [chunk({"reasoning": "H"}), *text("\n"), chunk({"reasoning": "m"}), *text("a"), *END]
    assert blocks(chunks) == [THOUGHT, ("text", "a")]


def test_opaque_reasoning_makes_an_empty_block_with_its_carrier() -> None:
    signed: list[Any] = []
    detail = {"type": "reasoning.encrypted", "data": "xyz", "index": 0}

    def sign(kind: str, data: object) -> str:
        signed.append((kind, data))
        return "sig_X"

    out = blocks([chunk({"reasoning_details": [detail]}), *text("a"), *END], sign=sign)
    assert out == [("thinking", "", "sig_X"), ("text", "a")]
    assert signed == [("or", [detail])]


def test_the_details_of_a_block_come_together_in_one_carrier() -> None:
    signed: list[Any] = []
    pieces = [
        {"type": "reasoning.text", "text": "H", "index": 0, "signature": None},
        {"type": "reasoning.text", "text": "m", "index": 0},
        {"type": "reasoning.text", "signature": "abc", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
        {"type": "reasoning.encrypted", "data": "y", "index": 1},
    ]

    def sign(kind: str, data: object) -> str:
        signed.append((kind, data))
        return "sig_X"

    assert blocks([*(chunk({"reasoning_details": [piece]}) for piece in pieces), *text("a"), *END], sign=sign) == [
        THOUGHT,
        ("text", "a"),
    ]
    whole = {"type": "reasoning.text", "text": "Hm", "index": 0, "signature": "abc"}
    assert signed == [("or", [whole, *pieces[3:]])]


def test_plain_reasoning_has_an_empty_carrier() -> None:
    assert blocks([chunk({"reasoning": "Hm"}), *END], sign=lambda kind, data: f"{kind}:{data}") == [
        ("thinking", "Hm", "plain:")
    ]


def test_omitted_thinking_travels_in_its_signature() -> None:
    chunks = [chunk({"reasoning": "H"}), chunk({"reasoning": "m"}), *text("a"), *END]
    assert blocks(chunks, thinking="omit", sign=lambda kind, data: f"{kind}:{data}") == [
        ("thinking", "", "plain:Hm"),
        ("text", "a"),
    ]


def test_omitted_thinking_is_kept_only_as_far_as_a_carrier_goes() -> None:
    kept: list[Any] = []

    def sign(kind: str, data: object) -> str:
        kept.append(data)
        return "sig_X"

    chunks = [*([chunk({"reasoning": "x" * 100_000})] * 20), *END]
    assert blocks(chunks, thinking="omit", sign=sign) == [("thinking", "", "sig_X")]
    assert len(kept[0]) == 300_000


def test_dropped_thinking_leaves_no_trace() -> None:
    chunks = [*text("a"), chunk({"reasoning": "Hm", "reasoning_details": [{"data": "x"}]}), *text("b"), *END]
    assert blocks(chunks, thinking="drop", think_tags=True) == [("text", "ab")]


def test_a_refusal_is_text_and_the_reason() -> None:
    out = message(
        [*text("A"), chunk({"refusal": "I can't"}), chunk({"refusal": " help"}), chunk(finish="length"), DONE]
    )
    assert out["content"] == [{"type": "text", "text": "AI can't help"}]
    assert out["stop_reason"] == "refusal"
    assert out["stop_details"] == {"type": "refusal", "category": None, "explanation": "I can't help"}


# think tags


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>Hm</think>a", [THOUGHT, ("text", "a")]),
        ("\n<think>\nHm</think>\n\na b", [THOUGHT, ("text", "a b")]),
        ("<think>\n\n</think>\n\na", [("text", "a")]),
        ("<think>Hm", [THOUGHT]),
        ("<think>Hm</thi", [("thinking", "Hm</thi", "sig_X")]),
        ("<think>Hm</think>\n", [THOUGHT]),
        ("<thin", [("text", "<thin")]),
        ("<thinx>a", [("text", "<thinx>a")]),
        ("a<think>Hm</think>", [("text", "a<think>Hm</think>")]),
        ("<think>Hm</think>a<think>b</think>", [THOUGHT, ("text", "a<think>b</think>")]),
        (" \n", []),
    ],
)
def test_think_tags_at_the_start_are_reasoning(content: str, expected: list[Any]) -> None:
    assert blocks([*text(content), *END], think_tags=True) == expected
    assert blocks([*text(*content), *END], think_tags=True) == expected


def test_think_tags_are_text_unless_the_profile_says_so() -> None:
    assert blocks([*text("<think>Hm</think>a"), *END]) == [("text", "<think>Hm</think>a")]


# stop sequences that the proxy enforces


@pytest.mark.parametrize("pieces", [["one END two"], ["one E", "ND two"], [*"one END two"], ["one END", " two"]])
def test_text_ends_at_an_enforced_stop(pieces: list[str]) -> None:
    machine = StreamTranslator(spec(enforce_stops=("END", "FIN"), stop_sequences=("END", "FIN")))
    out = b"".join(machine.feed(sse([one])) for one in text(*pieces))
    assert machine.done
    found = grammar.parse(out)
    grammar.check(found)
    assert [block["text"] for block in grammar.message_of(found)["content"]] == ["one "]
    assert found[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END", "stop_details": None}
    assert machine.stop_reason == "stop_sequence"


def test_the_beginning_of_a_stop_is_only_held_back() -> None:
    assert blocks([*text("a EN", "Db E"), *END], enforce_stops=("ENDE",)) == [("text", "a ENDb E")]
    chunks = [*text("a EN"), tool("{}", call_id="c1", name="Bash"), *text("D"), *END]
    assert blocks(chunks, enforce_stops=("END",)) == [("text", "a EN"), ("Bash", "c1", {}), ("text", "D")]


def test_a_stop_of_whitespace_is_met_before_any_text() -> None:
    out = message([*text("\n", "\n", "a"), *END], enforce_stops=("\n\n",))
    assert (out["content"], out["stop_sequence"]) == ([], "\n\n")


def test_the_first_stop_in_the_text_wins() -> None:
    assert message([*text("a STOP b END"), *END], enforce_stops=("END", "STOP"))["stop_sequence"] == "STOP"


def test_reasoning_is_not_searched_for_stops() -> None:
    assert blocks([chunk({"reasoning": "END"}), *text("a"), *END], enforce_stops=("END",)) == [
        ("thinking", "END", "sig_X"),
        ("text", "a"),
    ]


def test_nothing_of_the_same_chunk_follows_a_stop() -> None:
    both = chunk({"content": "a END", "refusal": "b", "tool_calls": [{"index": 0, "function": {"name": "Bash"}}]})
    out = message([both, *END], enforce_stops=("END",))
    assert out["content"] == [{"type": "text", "text": "a "}]


def test_a_stop_in_text_that_waited_for_a_tool_ends_the_answer() -> None:
    chunks = [
        tool('{"a":', call_id="c1", name="Bash"),
        *text("x END y"),
        chunk({"reasoning": "Hm"}),
        tool("1}"),
        *text("z"),
        *END,
    ]
    out = message(chunks, enforce_stops=("END",))
    assert [block["type"] for block in out["content"]] == ["tool_use", "text"]
    assert out["content"][1]["text"] == "x "
    assert out["stop_reason"] == "tool_use"


def test_a_stop_hidden_behind_a_half_think_tag_is_met_when_a_tool_comes() -> None:
    chunks = [*text("<th"), tool("{}", call_id="c1", name="Bash"), *END]
    out = message(chunks, enforce_stops=("<th",), think_tags=True)
    assert (out["content"], out["stop_reason"]) == ([], "stop_sequence")
    out = message([*text("<th"), chunk({"reasoning": "Hm"}), *END], enforce_stops=("<th",), think_tags=True)
    assert (out["content"], out["stop_reason"]) == ([], "stop_sequence")


def test_text_that_was_held_back_stands_before_a_refusal() -> None:
    chunks = [*text("a EN"), chunk({"refusal": "No"}), *END]
    assert blocks(chunks, enforce_stops=("END",)) == [("text", "a ENNo")]
    chunks = [*text("<th"), chunk({"refusal": "No"}), *END]
    assert blocks(chunks, enforce_stops=("<th",), think_tags=True) == []
