"""Whatever an upstream sends: a legal stream or error, readable by the SDK, the same for every cut, nothing lost."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.translate.response import to_message
from tests.support import grammar, sdk_reader
from tests.support.replies import DONE, TOOLS, long_way, run, spec, sse

junk: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, 1, -1, 1.5, True, False, "", "x", [], {}, [None], {"a": 1}, [[]]]
)
words = st.sampled_from(
    ["", " ", "\n", "a", "b ", " c", "é👩‍👧", "<think>", "</think>", "EN", "END", '"', "\\", "\x00"]
)
thoughts = st.sampled_from(["", " ", "Hm", "so\n"])
details = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"])},
        optional={"text": thoughts, "summary": thoughts, "signature": words, "data": words, "index": st.integers(0, 1)},
    ),
    max_size=2,
)
parts = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, words),
        st.builds(lambda text: {"type": "thinking", "thinking": [{"type": "text", "text": text}]}, thoughts),
        junk,
    ),
    max_size=2,
)
ids = st.sampled_from(["c1", "c2", "c3", "", " ", None, 7, "used"])
names = st.sampled_from([*TOOLS, "get_", "weather", "other", "", None, " "])
arguments: st.SearchStrategy[Any] = st.sampled_from(
    [
        "",
        "{",
        "}",
        '{"a":',
        "1",
        "1}",
        '"x',
        '"',
        ",",
        '{"a":1}',
        " ",
        "ls",
        '"{\\"a\\":1}"',
        "null",
        "[1",
        "tru",
        None,
        "\\ud83d",
    ]
) | st.sampled_from([{}, {"a": 1}, [1], 5, True])
functions = st.fixed_dictionaries({}, optional={"name": names, "arguments": arguments})
calls = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 0, 0, 1, 2, None, "0", -1]),
        "id": ids,
        "function": functions,
        "custom": st.fixed_dictionaries({}, optional={"name": names, "input": words}),
        "extra_content": st.sampled_from([None, {"google": {"thought_signature": "s"}}, {"google": 1}]),
    },
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": words | words | parts | junk,
        "reasoning": thoughts | junk,
        "reasoning_content": thoughts,
        "reasoning_text": thoughts,
        "reasoning_details": details | junk,
        "refusal": words,
        "tool_calls": st.lists(calls, max_size=2) | junk,
        "function_call": functions | junk,
    },
)
finishes = st.sampled_from(
    [None, None, None, "stop", "tool_calls", "length", "content_filter", "model_length", "", "odd", 5]
)
usages = st.sampled_from([None, {}, {"prompt_tokens": 3, "completion_tokens": 2}, {"prompt_tokens": "x"}, "x"])
choices = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 0, 0, 1, None]),
        "delta": deltas | deltas | junk,
        "message": deltas,
        "finish_reason": finishes,
        "stop_reason": st.sampled_from([None, "END", 5]),
        "matched_stop": st.sampled_from([None, "END", 5, [1]]),
        "usage": usages,
    },
)
chunks = st.fixed_dictionaries(
    {"choices": st.lists(choices, min_size=1, max_size=2) | st.lists(choices, max_size=1) | junk},
    optional={"usage": usages, "id": junk, "model": junk, "error": st.sampled_from([None, None, {}, ""])},
)
faulty = st.sampled_from(
    [{"error": {"message": "boom", "code": 503}}, "no json", {"choices": [{"finish_reason": "error"}]}]
)
items = st.one_of(*[chunks] * 15, faulty, st.just(DONE), junk.map(json.dumps))
streams = st.lists(items, max_size=12).flatmap(lambda found: st.sampled_from([found, [*found, DONE]]))
plain_words = st.builds(lambda text: {"choices": [{"delta": {"content": text}}], "service_tier": "x"}, words)
specs = st.fixed_dictionaries(
    {},
    optional={
        "thinking": st.sampled_from(["show", "omit", "drop"]),
        "think_tags": st.booleans(),
        "enforce_stops": st.just(("END",)),
        "stop_sequences": st.just(("END",)),
        "lenient_eof": st.booleans(),
        "tools": st.sampled_from([frozenset(), frozenset({"Bash"})]),
        "used_tool_ids": st.just(frozenset({"used"})),
    },
)


@given(streams, specs)
def test_a_legal_stream_or_a_legal_error(found: list[Any], changes: dict[str, Any]) -> None:
    machine, out = run(sse(found), spec(**changes))
    events = grammar.parse(out)
    if not machine.started:
        assert out == b""
        assert machine.fault is not None
        return
    grammar.check(events)
    assert machine.done == (events[-1]["type"] == "message_stop")
    assert (machine.fault is not None) == (events[-1]["type"] == "error")
    assert machine.spoken == any(event["type"] == "content_block_delta" for event in events)


@given(streams, specs)
def test_the_python_sdk_reads_it(found: list[Any], changes: dict[str, Any]) -> None:
    machine, out = run(sse(found), spec(**changes))
    events = grammar.parse(out)
    snapshot = sdk_reader.accumulate(events)
    if machine.done:
        ours = grammar.message_of(events)
        theirs = json.loads(snapshot.model_dump_json())
        assert theirs["stop_reason"] == ours["stop_reason"]
        for mine, his in zip(ours["content"], theirs["content"], strict=True):
            if not isinstance(mine.get("input"), str):  # cut at the limit
                assert {key: his[key] for key in mine} == mine


@given(streams, specs, st.data())
def test_the_cuts_do_not_matter(found: list[Any], changes: dict[str, Any], data: st.DataObject) -> None:
    body = sse(found)
    _, whole = run(body, spec(**changes))
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    assert run(body, spec(**changes), cuts)[1] == whole
    assert run(body, spec(**changes), range(1, len(body)))[1] == whole


@given(st.lists(st.one_of(plain_words, plain_words, items), max_size=12), specs)
def test_the_short_cut_changes_nothing(found: list[Any], changes: dict[str, Any]) -> None:
    quick, out = run(sse(found), spec(**changes))
    slow = long_way(spec(**changes))
    assert slow.feed(sse(found)) + slow.close() == out.partition(b"event: error")[0]
    assert quick.usage == slow.usage


def visible(found: list[Any]) -> tuple[str, str]:
    """(text, reasoning) of the chunks, read by a second, simpler reading of protocol.md 3.1; without whitespace."""
    text, thought = "", ""
    for item in found:
        if item == DONE:
            break
        item = json.loads(item) if isinstance(item, str) else item
        for choice in item.get("choices") or [] if isinstance(item, dict) else []:
            if not isinstance(choice, dict) or choice.get("index"):
                continue
            delta = choice.get("delta")
            delta = delta if isinstance(delta, dict) else choice.get("message") or {}
            texts, nested = [], []
            content = delta.get("content")
            for part in content if isinstance(content, list) else [content]:
                if isinstance(part, dict) and part.get("type") == "thinking":
                    nested += [piece["text"] for piece in part["thinking"]]
                elif isinstance(part, dict):
                    texts.append(part.get("text") or "")
                elif isinstance(part, str):
                    texts.append(part)
            shown = [
                detail.get("text") or detail.get("summary") or "" for detail in delta.get("reasoning_details") or []
            ]
            fields = [delta.get("reasoning_content"), delta.get("reasoning"), "".join(shown), "".join(nested)]
            thought += next((field for field in [*fields, delta.get("reasoning_text")] if field), "")
            text += "".join(texts) + (delta.get("refusal") or "")
    return "".join(text.split()), "".join(thought.split())


plain_deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": words | st.none() | parts.map(lambda found: [part for part in found if isinstance(part, dict)]),
        "reasoning": thoughts,
        "reasoning_content": thoughts,
        "reasoning_text": thoughts,
        "reasoning_details": details,
        "refusal": words,
        "tool_calls": st.lists(calls, max_size=2),
    },
)
plain_streams = st.lists(
    st.builds(
        lambda delta, member, finish: {"choices": [{member: delta, "finish_reason": finish}]},
        plain_deltas,
        st.sampled_from(["delta", "delta", "message"]),
        st.sampled_from([None, None, None, "stop", "tool_calls"]),
    ),
    max_size=10,
)


@given(plain_streams)
def test_no_text_and_no_reasoning_is_lost_or_doubled(found: list[Any]) -> None:
    machine, out = run(sse([*found, DONE]))
    text, thought = visible(found)
    if not found:
        assert machine.fault is not None
        return
    content = grammar.message_of(grammar.parse(out))["content"]
    assert "".join("".join(block.get("text", "").split()) for block in content) == text
    assert "".join("".join(block.get("thinking", "").split()) for block in content) == thought


@given(st.one_of(chunks, faulty, junk.map(json.dumps)), specs)
def test_a_json_body_is_a_message_or_a_fault(body: Any, changes: dict[str, Any]) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    machine, out = run(raw, spec(**changes))
    events = grammar.parse(out)
    if machine.started:
        grammar.check(events)
    try:
        reply = to_message(raw, spec(**changes))
    except Exception as error:
        assert type(error).__module__.startswith("ccproxy_sanic")  # noqa: PT017
        assert machine.fault is not None or machine.started
        return
    message = json.loads(reply.message)
    for block in message["content"]:
        assert block["type"] != "tool_use" or isinstance(block["input"], dict)
    if machine.done:
        message["usage"].pop("service_tier", None)
        assert grammar.message_of(events)["stop_reason"] == message["stop_reason"]
