"""Whatever passes through: every byte but the model's name, for every cut, and nothing raises."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ccproxy_sanic.errors import InvalidRequest, ProxyError
from ccproxy_sanic.translate import carrier
from ccproxy_sanic.translate.passthrough import to_message
from ccproxy_sanic.translate.passthrough_body import body_for
from ccproxy_sanic.wire import spans
from tests.support.messages_stream import ASKED, END, START, STOP, TEXT, error, event, golden, renamed, run, stream

# -- bodies

words = st.sampled_from(
    ["model", "x", "é", '"model":"a"', "mod\\u0065l", "ppx1.", "\\", '"', "\n", "", "👩"]
) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=15,
)
spaces = st.sampled_from(["", "", " ", "\n", "\t ", "\r\n"])


@st.composite
def members(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Members as (key, text), with a model among them, in all the ways of writing them."""
    found = [
        (key, json.dumps(value, ensure_ascii=draw(st.booleans()))) for key, value in draw(st.lists(pairs, max_size=5))
    ]
    for _ in range(draw(st.integers(1, 2))):
        found.insert(draw(st.integers(0, len(found))), ("model", json.dumps(draw(words))))
    return found


pairs = st.tuples(words, values)
escapes = st.sampled_from([lambda key: key, lambda key: key.replace("e", "\\u0065", 1)])


@st.composite
def written(draw: st.DrawFn, found: list[tuple[str, str]]) -> tuple[bytes, bytes]:
    """The object, and the same one with another model."""
    out, wanted = draw(spaces) + "{", ""
    wanted = out
    for nth, (key, text) in enumerate(found):
        name = draw(escapes)(json.dumps(key, ensure_ascii=draw(st.booleans()))) if key == "model" else json.dumps(key)
        head = f"{',' if nth else ''}{draw(spaces)}{name}{draw(spaces)}:{draw(spaces)}"
        tail = draw(spaces)
        out += head + text + tail
        wanted += head + ('"up"' if key == "model" else text) + tail
    end = "}" + draw(spaces)
    return (out + end).encode(), (wanted + end).encode()


@given(members().flatmap(written))
def test_every_byte_of_a_body_stays_but_the_model(bodies: tuple[bytes, bytes]) -> None:
    raw, wanted = bodies
    assert body_for(raw, "up") == body_for(raw, "up", named=json.loads(raw)["model"]) == (wanted, [])
    assert json.loads(wanted) == json.loads(raw) | {"model": "up"}


@given(st.dictionaries(words, values, max_size=6), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_spans_are_the_values_of_an_object(value: dict[str, Any], ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert {key: json.loads(text[start:end]) for key, start, end in spans.members(text)} == value
    doubled = b"{" + text.strip()[1:-1].rstrip() + b"," + text.strip()[1:] if value else text
    assert [json.loads(doubled[start:end]) for _, start, end in spans.members(doubled)] == [*value.values()] * 2
    array = json.dumps([*value.values()], ensure_ascii=ascii_only, indent=indent).encode()
    assert [json.loads(array[start:end]) for start, end in spans.items(array)] == [*value.values()]


ours = carrier.sign(b"key", "p", "m", "plain", "")
blocks = st.sampled_from(
    [
        {"type": "thinking", "thinking": "x", "signature": ours},
        {"type": "redacted_thinking", "data": ours},
        {"type": "thinking", "thinking": "x", "signature": "theirs"},
        {"type": "text", "text": "ppx1."},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"signature": ours, "type": "thinking"}},
    ]
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.lists(blocks, min_size=1)}),
    max_size=4,
)


@given(messages, st.sampled_from([None, 2]))
def test_our_thinking_and_nothing_else_is_cut(said: list[dict[str, Any]], indent: int | None) -> None:
    raw = json.dumps({"messages": said, "model": "a"}, indent=indent).encode()
    found = json.loads(body_for(raw, "up")[0])["messages"]
    for message in said:
        kept = [one for one in message["content"] if ours not in (one.get("signature"), one.get("data"))]
        message["content"] = kept or [{"type": "text", "text": "(no content)"}]
    assert found == said


tool_ids = st.sampled_from(["functions.Bash:0", "functions.Bash:1", "", "é", 'a"', "toolu_1", "call-2"]) | st.text(
    max_size=4
)
tool_blocks = st.one_of(
    tool_ids.map(lambda tool_id: {"type": "tool_use", "id": tool_id, "name": "f", "input": {"id": tool_id}}),
    tool_ids.map(lambda tool_id: {"type": "tool_result", "tool_use_id": tool_id, "content": [{"id": tool_id}]}),
    tool_ids.map(lambda tool_id: {"type": "text", "text": json.dumps({"id": tool_id}), "id": tool_id}),
)


@given(
    st.lists(st.lists(tool_blocks, max_size=3).map(lambda blocks: {"content": blocks}), max_size=4),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_foreign_tool_ids_and_nothing_else_are_replaced(
    said: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    raw = json.dumps({"messages": said, "model": "up"}, indent=indent, ensure_ascii=ascii_only).encode()
    body, notes = body_for(raw, "up")
    became: dict[str, str] = {}
    for before, after in zip(said, json.loads(body)["messages"], strict=True):
        for one, other in zip(before["content"], after["content"], strict=True):
            name = {"tool_use": "id", "tool_result": "tool_use_id", "text": ""}[one["type"]]
            if name:
                assert became.setdefault(one[name], other[name]) == other[name]
                assert re.fullmatch(r"[a-zA-Z0-9_-]+", other[name])
                one[name] = other[name]  # the others are compared below
    assert json.loads(body)["messages"] == said
    assert len({*became.values()}) == len(became)
    changed = {old: new for old, new in became.items() if old != new}
    assert not any(re.fullmatch(r"[a-zA-Z0-9_-]+", old) for old in changed)
    assert bool(notes) == bool(changed)
    assert len(body) == len(json.dumps(json.loads(body), indent=indent, ensure_ascii=ascii_only).encode())
    assert body_for(body, "up") == (body, [])


@given(st.binary(max_size=80) | values.map(lambda value: json.dumps(value).encode()))
def test_a_body_is_changed_or_refused(raw: bytes) -> None:
    try:
        body_for(raw, "up")
    except InvalidRequest as refusal:
        assert refusal.status == 400  # noqa: PT017 (what is refused is an answer too)


# -- streams

texts = st.sampled_from(["a", "message_stop", "event: error\n\n", "data: x", "é👩", '"model":"up-model"', "\r\n\r\n"])
contents = st.one_of(
    st.sampled_from(TEXT),
    texts.map(lambda text: {**TEXT[1], "delta": {"type": "text_delta", "text": text}}),
    texts.map(
        lambda text: {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": text}}
    ),
)
others = st.sampled_from([{"type": "ping"}, {"type": "brand_new", "model": "up-model"}])
between = st.sampled_from([b"", b"", b": comment", b"\n", b"\n\n", b"id: 3", b"event: nothing"])
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
cuts = st.lists(st.integers(0, 5000), max_size=12)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid stream with comments, blank lines and pings, in one kind of line end."""
    eol = draw(ends)
    out = event(START, eol=eol)
    for one in draw(st.lists(contents | others, max_size=8)):
        more = draw(between)
        out += event(one, eol=eol) + (
            more.replace(b"\n", eol) + (b"" if more.endswith(b"\n") else eol * 2) if more else b""
        )
    return out + event(END, eol=eol) + event(STOP, eol=eol)


@given(answers(), cuts)
def test_a_stream_passes_byte_by_byte_wherever_it_is_cut(data: bytes, at: list[int]) -> None:
    machine, out = run(data, at)
    assert out == renamed(data)
    assert machine.done
    assert run(data, range(len(data)))[1] == out
    assert run(data, [found.end() for found in re.finditer(rb"\n\n", data)])[1] == out


@given(st.sampled_from([events for _, events in golden()]), ends, cuts, st.booleans())
def test_golden_streams_pass_wherever_they_are_cut(
    events: list[dict[str, Any]], eol: bytes, at: list[int], named: bool
) -> None:
    machine, out = run(stream(events, eol=eol, named=named), at)
    wanted = stream([one for one in events if one["type"] != "error"], eol=eol)
    assert out.replace(eol, b"\n") == renamed(wanted).replace(eol, b"\n")
    assert machine.done != (machine.fault is not None)


PIECES = [
    *(event(one) for one in (START, *TEXT, END, STOP, error("api_error", "x"), {"type": "ping"})),
    *(event(one, named=False) for one in (START, TEXT[1], END, STOP, error("api_error", "x"))),
    event({"type": "content_block_delta", "delta": {"text": "an error in message_stop, event: error"}}),
    b"event: content_block_stop\revent: message_stop\rdata: {}\r\r",
    *(b"event: message_start\n", b"event: error\n", b"data: {}\n", b"data: [DONE]\n\n", b'data: {"error":1}\n\n'),
    *(
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b": c\n",
        b"{",
        b"}",
        b"\xef\xbb\xbf",
        b"\xff",
        b" ",
        b"data",
        b"event:",
    ),
    *(b"message_", b"error", json.dumps(START["message"]).encode()),
]
junk = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=12).map(b"".join)


@given(junk, cuts, st.booleans())
@example(b"event: message_start\r\ndata: {}\r\r\n", [24], False)
@example(event(START) + b"\n" + event(error("api_error", "x")), [len(event(START))], False)
def test_no_bytes_make_it_raise_and_no_cut_changes_what_comes_out(data: bytes, at: list[int], opened: bool) -> None:
    def outcome(where: Any) -> tuple[Any, ...]:
        machine, out = run(data, where, opened=opened)
        fault = machine.fault and (type(machine.fault), machine.fault.message)
        counted = (machine.usage, machine.stop_reason, machine.upstream_model)
        assert machine.done or fault
        assert not (machine.spoken and not machine.started)
        return out, fault, machine.done, machine.started, machine.spoken, counted

    whole = outcome(())
    assert outcome(at) == whole
    assert outcome(range(len(data))) == whole


@given(junk)
def test_a_whole_answer_is_a_message_or_a_fault(data: bytes) -> None:
    try:
        reply = to_message(data, ASKED)
    except ProxyError:
        return
    assert isinstance(json.loads(reply.message)["content"], list)
