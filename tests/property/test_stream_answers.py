"""An answer, said in any of the ways upstreams say it, comes out as that answer (protocol.md 4.4, 4.5)."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.translate.response import to_message
from tests.support import grammar
from tests.support.replies import DONE, TOOLS, chunk, run, short, spec, sse

visible = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text.strip())
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
inputs = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_size=4,
)
undeclared = st.sampled_from(["unknown_tool", "x"])


class Call(msgspec.Struct):
    name: str
    input: dict[str, Any]


said_calls = st.builds(Call, st.sampled_from(TOOLS) | undeclared, inputs)
batches = st.lists(said_calls, min_size=1, max_size=3)
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "details", "parts", "both")


class Way:
    """Draws how things are said."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.number = 0  # of the next call in the answer
        self.position = 0  # of the call within the list of all calls: what a proper index is

    def pieces(self, text: str) -> list[str]:
        cuts = sorted(self.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        edges = [0, *cuts, len(text)]
        return [text[a:b] for a, b in itertools.pairwise(edges) if a < b] or [""]

    def text(self, text: str) -> list[Any]:
        as_parts = self.draw(st.booleans())
        return [
            chunk({"content": [{"type": "text", "text": piece}] if as_parts else piece}) for piece in self.pieces(text)
        ]

    def reasoning(self, text: str) -> list[Any]:
        field = self.draw(st.sampled_from(REASONING_FIELDS))
        return [chunk(self.reasoning_delta(field, piece)) for piece in self.pieces(text)]

    @staticmethod
    def reasoning_delta(field: str, piece: str) -> dict[str, Any]:
        if field == "details":
            return {"reasoning_details": [{"type": "reasoning.text", "text": piece, "index": 0}]}
        if field == "parts":
            return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
        if field == "both":
            return {"reasoning": piece, "reasoning_details": [{"type": "reasoning.text", "text": piece}]}
        return {field: piece, "content": None}

    def calls(self, calls: list[Call]) -> list[Any]:
        style = self.draw(st.sampled_from(["index", "no_index", "all_zero", "interleaved"]))
        streams = [self.call(call, style) for call in calls]
        out: list[Any] = []
        if style == "interleaved":
            begun = 0  # calls begin in their order; after that their pieces mix
            while streams:
                number = self.draw(st.integers(0, min(begun, len(streams) - 1)))
                begun = max(begun, number + 1)
                out.append(streams[number].pop(0))
                if not streams[number]:
                    del streams[number]
                    begun -= 1
        else:
            for stream in streams:
                out += stream
        return [self.noise(chunk({"tool_calls": deltas})) for deltas in self.grouped(out)]

    def grouped(self, deltas: list[Any]) -> list[list[Any]]:
        """Several deltas in one chunk are several deltas."""
        size = self.draw(st.integers(1, 3))
        return [deltas[at : at + size] for at in range(0, len(deltas), size)]

    def call(self, call: Call, style: str) -> list[dict[str, Any]]:
        """The deltas of one call."""
        declared = call.name in TOOLS
        self.number += 1
        identity = {"id": f"call_{self.number}"}
        if style == "no_index":
            extra: dict[str, Any] = {}
        elif style == "all_zero":
            extra = {"index": 0}
        else:
            extra, self.position = {"index": self.position}, self.position + 1
        text = json.dumps(call.input, ensure_ascii=self.draw(st.booleans()))
        pieces: list[Any] = self.pieces(text)
        if self.draw(st.integers(0, 4)) == 0:
            pieces = [call.input]  # an object instead of a string
        elif not call.input and self.draw(st.booleans()):
            pieces = [self.draw(st.sampled_from(["", None]))]
        if call.input == {} and pieces in ([""], [None]) and style in ("no_index",):
            pieces = ["{}"]  # nothing would tell where the next call begins
        names = [call.name]
        if not declared and style == "index" and len(call.name) > 1 and self.draw(st.booleans()):
            names = [call.name[:2], call.name[2:]]
        first = extra | identity | {"function": {"name": names[0]}}
        together = declared and self.draw(st.booleans())
        if together:
            first["function"]["arguments"] = pieces.pop(0)
        out = [first, *(extra | {"function": {"name": name}} for name in names[1:])]
        repeat: dict[str, Any] = self.draw(st.sampled_from([{}, {"id": ""}, {"id": None}, identity]))
        for piece in pieces:
            function: dict[str, Any] = {"arguments": piece}
            if self.draw(st.booleans()) and not (style == "no_index" and repeat.get("id") is None):
                function["name"] = call.name
            if style == "no_index":
                out.append((repeat or {}) | {"function": {"arguments": piece}})
            else:
                out.append(extra | repeat | {"function": function})
        return out

    def noise(self, one: dict[str, Any]) -> dict[str, Any]:
        """Members that mean nothing."""
        if self.draw(st.booleans()):
            one = one | {"usage": None, "system_fingerprint": None, "logprobs": {"x": 1}}
        if self.draw(st.integers(0, 5)) == 0:
            one = json.loads(json.dumps(one))
            one["choices"][0]["delta"] |= {"content": "", "refusal": None, "function_call": None, "reasoning": ""}
        return one


turns = st.lists(
    st.tuples(st.just("text"), visible)
    | st.tuples(st.just("thinking"), visible)
    | st.tuples(st.just("calls"), batches),
    max_size=5,
)


def expected_of(turn: list[tuple[str, Any]]) -> list[list[Any]]:
    """The content, adjacent texts and thoughts joined."""
    out: list[list[Any]] = []
    for kind, what in turn:
        if kind == "calls":
            out += [["call", call.name, call.input] for call in what]
        elif out and out[-1][0] == kind:
            out[-1][1] += what
        else:
            out.append([kind, what])
    return out


def simple(block: dict[str, Any]) -> list[Any]:
    if block["type"] == "tool_use":
        return ["call", block["name"], block["input"]]
    return [block["type"], block[block["type"]]]


@given(turns, st.data())
def test_an_answer_comes_out_as_it_was_meant(turn: list[tuple[str, Any]], data: st.DataObject) -> None:
    way = Way(data)
    chunks: list[Any] = [chunk({"role": "assistant", "content": ""})]
    for kind, what in turn:
        chunks += getattr(way, {"thinking": "reasoning"}.get(kind, kind))(what)
    has_calls = any(kind == "calls" for kind, _ in turn)
    chunks.append(chunk(finish="tool_calls" if has_calls and data.draw(st.booleans()) else "stop"))
    _, out = run(sse([*chunks, DONE]))
    events = grammar.parse(out)
    grammar.check(events)
    message = grammar.message_of(events)
    found = [simple(block) for block in message["content"]]
    wanted = expected_of(turn)
    if found != wanted:  # a call without arguments is whole only at the finish: what came after it had to wait
        assert [block for block in found if block[0] == "call"] == [block for block in wanted if block[0] == "call"]
        for kind in ("text", "thinking"):
            assert "".join(b[1] for b in found if b[0] == kind) == "".join(b[1] for b in wanted if b[0] == kind)
        assert any(kind == "calls" and any(not call.input for call in what) for kind, what in turn)
    assert message["stop_reason"] == ("tool_use" if has_calls else "end_turn")
    ids = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    assert ids == [f"call_{number}" for number in range(1, len(ids) + 1)]


@given(visible, st.lists(said_calls, max_size=3), st.booleans())
def test_both_ways_of_asking_give_the_same_message(text: str, calls: list[Call], finish: bool) -> None:
    entries = [
        {"id": f"c{number}", "function": {"name": call.name, "arguments": json.dumps(call.input)}}
        for number, call in enumerate(calls)
    ]
    said: dict[str, Any] = {"content": text, "reasoning": text, "tool_calls": entries}
    reason = "tool_calls" if finish else "stop"
    whole = json.loads(
        to_message(json.dumps({"choices": [{"message": said, "finish_reason": reason}]}).encode(), spec()).message
    )
    streamed = {**said, "tool_calls": [{"index": number, **entry} for number, entry in enumerate(entries)]}
    _, out = run(sse([chunk(streamed, reason), DONE]))
    assert grammar.message_of(grammar.parse(out)) == whole
    assert [short(block)[0] for block in whole["content"]][:2] == ["thinking", "text"]


@given(st.text(max_size=60), st.lists(st.sampled_from(["END", "EE", "\n\n", "aEN"]), min_size=1, max_size=3), st.data())
def test_an_enforced_stop_cuts_where_the_text_has_it(text: str, stops: list[str], data: st.DataObject) -> None:
    for at in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=2)), reverse=True):
        text = text[:at] + data.draw(st.sampled_from(stops)) + text[at:]
    hits = [(text.find(stop), stop) for stop in stops if stop in text]
    chunks = [chunk({"content": piece}) for piece in Way(data).pieces(text)]
    machine, out = run(sse([*chunks, chunk(finish="stop"), DONE]), spec(enforce_stops=tuple(stops)))
    message = grammar.message_of(grammar.parse(out))
    shown = "".join(block["text"] for block in message["content"])
    if not hits:
        assert shown == (text if text.strip() else "")
        assert message["stop_reason"] == "end_turn"
        return
    assert machine.done
    assert message["stop_reason"] == "stop_sequence"
    # cut into pieces, the stop that is whole first ends the text; every shorter text before it was shown
    ends = {text[:at] if text[:at].strip() else "" for at, _ in hits}
    assert shown in ends
    assert not any(stop in shown for stop in stops)
