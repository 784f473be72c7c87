"""Pieces of tool arguments that are copied without being decoded: the call, its end and its faults are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.translate import stream
from ccproxy_sanic.translate.stream import ENDLESS, StreamTranslator
from tests.support.replies import DONE, chunk, long_way, spec, sse, tool


def piece(text: str, **more: Any) -> dict[str, Any]:
    return tool(text, **more)


def start(index: int | None = 0, name: str = "Bash", text: str | None = "") -> dict[str, Any]:
    return tool(text, index=index, call_id=f"c{index}", name=name)


def pieces(text: str, index: int | None = 0, size: int = 3) -> list[dict[str, Any]]:
    return [piece(text[at : at + size], index=index) for at in range(0, len(text), size)]


def function(arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": 0, "function": {"arguments": arguments}, **more}


def amid(*calls: dict[str, Any], **more: Any) -> list[Any]:
    """A chunk with these calls between pieces of a good one."""
    return [*BEGUN, chunk({"tool_calls": list(calls), **more}), *END]


LONG = json.dumps({"command": 'echo "é漢" | tr a b\n', "n": [1, -2.5e3, None, True, {}], "x": " " * 20})
BEGUN = [start(), *pieces('{"a":"bcdefghijk', size=2)]
END = [*pieces('z"}'), DONE]
TEXT, THOUGHT = chunk({"content": "text"}), chunk({"reasoning": "Hm"})
FIRST, SECOND = [start(0), *pieces(LONG, 0)], [start(1), *pieces(LONG, 1)]
UNNUMBERED = [start(None), *pieces(LONG, None)]
OTHER = tool("", index=None, call_id="d", name="Bash")

CASES: dict[str, list[Any]] = {
    "whole": [*FIRST, DONE],
    "by single characters": [start(), *pieces(LONG, size=1), DONE],
    "without index": [*UNNUMBERED, DONE],
    "name again": [start(), *pieces(LONG[:30]), start(text=LONG[30:33]), *pieces(LONG[33:]), DONE],
    "two, one after the other": [*FIRST, *SECOND, DONE],
    "two at the same index": [*FIRST, tool("", call_id="d", name="Bash"), *pieces(LONG), DONE],
    "two without index": [*UNNUMBERED, OTHER, *pieces(LONG, None), DONE],
    "two, in turn": [one for pair in zip(FIRST, SECOND, strict=True) for one in pair],
    "the second begins early": [*BEGUN, *SECOND[:6], *pieces("xyz"), *pieces('"}'), *SECOND[6:]],
    "the second begins early, without index": [*UNNUMBERED[:5], OTHER, *pieces(LONG, None)],
    "late pieces": [*FIRST, *pieces("late "), *SECOND[:7], *pieces("late"), *SECOND[7:], DONE],
    "late pieces before any other": [*BEGUN, *END[:-1], start(1), piece('{"b', index=1), *pieces("late"), DONE],
    "pieces of an unknown call": [*BEGUN, *pieces("abc", 7), *END],
    "whitespace after the end": [start(), *pieces(LONG + "   ", size=2), *pieces("  }"), DONE],
    "whitespace first": [start(), *pieces('  \n {"a":  "b"  }', size=1), DONE],
    "bad from the start": [start(), *pieces("ls -l /tmp and so on"), DONE],
    "bad in the middle": [*BEGUN, *pieces('","b":oops, "c":1}'), DONE],
    "a control character": [*BEGUN, *pieces("a\tb\tc"), DONE],
    "text meanwhile": [*BEGUN, TEXT, TEXT, *END[:-1], TEXT, TEXT, TEXT, TEXT, DONE],
    "thinking meanwhile": [*BEGUN, THOUGHT, *END[:-1], THOUGHT, DONE],
    "usage meanwhile": [*BEGUN, chunk({"tool_calls": [function("y")]}, usage={"prompt_tokens": 3}), *END],
    "finish with the last piece": [*BEGUN, chunk({"tool_calls": [function('z"}')]}, "tool_calls"), DONE],
    "cut at the limit": [*BEGUN, chunk(finish="length"), DONE],
    "cut by a filter": [*BEGUN, chunk(finish="content_filter"), DONE],
    "never ended": [*BEGUN, chunk(finish="stop"), DONE],
    "broken off": BEGUN,
    "two in a chunk": amid(function("x"), function("y")),
    "with text": amid(function("y"), content="t"),
    "with thinking": amid(function("y"), reasoning="t"),
    "with refusal": amid(function("y"), refusal="t"),
    "with a function_call": amid(function("y"), function_call={"arguments": "x"}),
    "with an id": amid(function("y", id="c0")),
    "with another id": amid(function("y", id="c9", index=None)),
    "with a blank id": amid(function("y", id=" ")),
    "with a name": amid({"id": "d", "function": {"name": "Bash", "arguments": "{}"}}),
    "with a name and no id": amid({"index": 0, "function": {"name": "x", "arguments": "y"}}),
    "with free text": amid(function("y", custom={"input": "z"})),
    "with a signature": amid(function("y", extra_content={"google": {"thought_signature": "s"}})),
    "an object": [*BEGUN, tool({"a": 1}), *END],
    "empty": [*BEGUN, tool(""), *END],
}


@pytest.mark.parametrize("lenient", [False, True], ids=["", "lenient_eof"])
@pytest.mark.parametrize("found", CASES.values(), ids=CASES)
def test_the_same_call_by_call(found: list[Any], lenient: bool) -> None:
    for reads in ([sse(found)], [sse([item]) for item in found]):
        quick, slow = (make(spec(lenient_eof=lenient)) for make in (StreamTranslator, long_way))
        for read in reads:
            assert quick.feed(read) == slow.feed(read)
            assert quick.done == slow.done
        assert quick.close() == slow.close()
        assert (quick.fault is None) == (slow.fault is None)
        assert (quick.usage, quick.stop_reason) == (slow.usage, slow.stop_reason)


@pytest.mark.parametrize(
    ("blanks", "endless"),
    [([" " * 20] * 30, True), (["\n"] * 501, True), (["\n"] * 500, False), ([" " * 300, '"b":1,', " " * 300], False)],
)
def test_whitespace_without_end_is_still_noticed(blanks: list[str], endless: bool) -> None:
    machine = StreamTranslator(spec())
    machine.feed(sse([start(), *pieces('{"a":"bcdefghi",', size=1), *(piece(text) for text in blanks)]))
    assert (machine.fault is not None and machine.fault.message == ENDLESS) == endless


def test_spaces_inside_a_string_are_no_endless_whitespace() -> None:
    machine = StreamTranslator(spec())
    machine.feed(sse([start(), *pieces('{"a":"', size=1), *(piece(" " * 40) for _ in range(40))]))
    assert machine.fault is None


def test_only_the_first_pieces_of_a_call_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, decode = [], stream.decode_chunk
    monkeypatch.setattr(stream, "decode_chunk", lambda payload: decoded.append(payload) or decode(payload))
    machine = StreamTranslator(spec())
    machine.feed(sse([start(), *pieces(json.dumps({"command": "x" * 300}))]))
    assert machine._tools == 1
    assert len(decoded) == 3
