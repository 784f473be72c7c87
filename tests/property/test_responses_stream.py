"""Whatever a Responses upstream sends: a legal stream or error, readable by the SDK, the same for every cut; and an
answer that is meant comes out as it was meant, however it is told.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.translate.responses_output import Item
from ccproxy_sanic.translate.responses_reply import to_message
from ccproxy_sanic.translate.responses_short_cut import ShortCut
from ccproxy_sanic.translate.responses_stream import ROWS, TERMINAL, ResponsesTranslator
from ccproxy_sanic.wire.openai_responses_reply import Event
from tests.support import grammar, sdk_reader
from tests.support import responses as upstream
from tests.support.replies import TOOLS, spec
from tests.support.responses import run, sse

junk: st.SearchStrategy[Any] = st.sampled_from([None, 0, 1, -1, 1.5, True, "", "x", [], {}, [None], {"a": 1}, [[]]])
words = st.sampled_from(
    ["", " ", "\n", "a", "b ", " c", "é👩‍👧", "<think>", "</think>", "EN", "END", '"', "\\", "\x00"]
)
ids = st.sampled_from(["i1", "i2", "i3", "", None, 7])
calls = st.sampled_from(["c1", "c2", "used", "", " ", None])
indexes = st.sampled_from([0, 0, 1, 2, None, "0", -1])
arguments: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("", "{", "}", '{"a":', "1", "1}", '"x', '"', '{"a":1}', " ", "ls", '"{\\"a\\":1}"', "null", "[1", None),
        {"a": 1},
    ]
)
statuses = st.sampled_from(["completed", "completed", "incomplete", "in_progress", None, 5])
parts = st.lists(
    st.one_of(
        st.builds(lambda kind, text: {"type": kind, "text": text}, st.sampled_from(["output_text", "x", None]), words),
        st.builds(lambda text: {"type": "refusal", "refusal": text}, words),
        words,
        junk,
    ),
    max_size=2,
)
items = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "web_search_call", None])},
    optional={
        "id": ids,
        "status": statuses,
        "content": parts | words | junk,
        "summary": parts | junk,
        "encrypted_content": st.sampled_from(["E", "", None, 5]),
        "phase": st.sampled_from(["commentary", "final_answer", "", None, 5]),
        "call_id": calls,
        "name": st.sampled_from([*TOOLS, "other", "", None, " "]),
        "arguments": arguments,
        "input": words | junk,
    },
)
errors = st.sampled_from(
    [None, None, None, {}, {"code": "server_error", "message": "x"}, {"code": "bio_policy", "message": "no"}, "boom"]
)
responses = st.fixed_dictionaries(
    {},
    optional={
        "id": junk,
        "model": junk,
        "status": st.sampled_from(["completed", "incomplete", "failed", "cancelled", "in_progress", "odd", None, 5]),
        "output": st.lists(items, max_size=3) | junk,
        "incomplete_details": st.sampled_from(
            [None, {}, {"reason": "max_output_tokens"}, {"reason": "content_filter"}, {"reason": "x"}, "x"]
        ),
        "usage": st.sampled_from([None, {}, {"input_tokens": 3, "output_tokens": 2}, {"input_tokens": "x"}, "x"]),
        "service_tier": junk,
        "error": errors,
    },
)
kinds = st.sampled_from(
    [
        *("response.created", "response.output_item.added", "response.output_item.added", "response.output_item.done"),
        *ROWS,
        *("response.reasoning_summary_part.added", "response.content_part.added", "response.odd", "odd", None, 5, ""),
    ]
)
said = st.fixed_dictionaries(
    {"type": kinds},
    optional={
        "output_index": indexes,
        "item_id": ids,
        "content_index": indexes,
        "summary_index": indexes,
        "delta": words | arguments | junk,
        "text": words | junk,
        "refusal": words,
        "arguments": arguments,
        "input": words,
        "item": items | items | items | junk,
        "response": responses | junk,
        "part": junk,
        "obfuscation": junk,
    },
)
ends = st.fixed_dictionaries({"type": st.sampled_from([*TERMINAL])}, optional={"response": responses})
faulty = st.one_of(
    st.just({"error": {"message": "boom", "code": 503}}),
    st.just({"type": "error", "code": "server_error", "message": "x"}),
    st.just("no json"),
    st.just("[" * 5000),
    junk.map(json.dumps),
)
events = st.one_of(*[said] * 20, ends, faulty, st.just("[DONE]"))
streams = st.lists(events, max_size=12).flatmap(
    lambda found: st.one_of(st.just(found), ends.map(lambda end: [*found, end]), st.just([*found, "[DONE]"]))
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "thinking": st.sampled_from(["show", "omit", "drop"]),
        "think_tags": st.booleans(),
        "enforce_stops": st.just(("END",)),
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
    sdk_reader.accumulate(events)


@given(streams, specs, st.data())
def test_the_cuts_do_not_matter(found: list[Any], changes: dict[str, Any], data: st.DataObject) -> None:
    body = sse(found)
    _, whole = run(body, spec(**changes))
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10))
    assert run(body, spec(**changes), cuts)[1] == whole


class Never(ShortCut):
    def look(self, event: Event, item: Item) -> None:
        pass


def slowly(data: bytes, changes: dict[str, Any]) -> bytes:
    machine = ResponsesTranslator(spec(**changes))
    machine._short_cut = Never(machine._writer, machine._turns)
    return machine.feed(data) + machine.close()


rows = st.sampled_from([name for name, row in ROWS.items() if row.member == "delta"])
deltas = st.builds(
    lambda kind, index, part, item_id, text, number: {
        "type": kind,
        "sequence_number": number,
        "item_id": item_id,
        "output_index": index,
        "content_index": part,
        "summary_index": part,
        "delta": text,
        "obfuscation": "x" * (number % 5),
    },
    *(rows, st.integers(0, 1), st.integers(0, 1), st.sampled_from(["i1", "i2"]), words | arguments, st.integers(1, 99)),
)
repeated = st.tuples(deltas, st.lists(words | arguments, max_size=6)).map(
    lambda drawn: [{**drawn[0], "sequence_number": n, "delta": text} for n, text in enumerate(drawn[1], 1)]
)


@given(st.lists(st.one_of(repeated, repeated, events.map(lambda one: [one])), max_size=8), specs)
def test_the_short_cut_changes_nothing(found: list[list[Any]], changes: dict[str, Any]) -> None:
    body = sse([event for run_ in found for event in run_])
    _, out = run(body, spec(**changes))
    assert slowly(body, changes) == out.partition(b"event: error")[0]
    machine = ResponsesTranslator(spec(**changes))
    reads = body.splitlines(keepends=True)  # each event in a read of its own
    assert b"".join([*map(machine.feed, reads), machine.close()]) == slowly(body, changes)


@given(st.one_of(responses, faulty, junk), specs)
def test_a_json_body_is_the_same_message_or_the_same_fault_both_ways(body: Any, changes: dict[str, Any]) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    machine, out = run(raw, spec(**changes))
    try:
        reply = to_message(raw, spec(**changes))
    except ProxyError as error:
        assert not machine.done
        assert machine.fault is not None
        assert error.status == machine.fault.status  # noqa: PT017
        return
    events = grammar.parse(out)
    grammar.check(events)
    message = json.loads(reply.message)
    message["usage"].pop("service_tier", None)
    streamed = grammar.message_of(events)
    for block in streamed["content"]:
        if isinstance(block.get("input"), str):  # cut at the limit
            block["input"] = {"_raw_arguments": block["input"]}
    assert streamed == message


# answers that are meant

visible = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text.strip())
inputs = st.dictionaries(st.text(max_size=8), st.none() | st.integers(-9, 9) | st.text(max_size=20), max_size=3)
kinds_of_item = st.one_of(
    st.tuples(st.just("message"), st.lists(visible, min_size=1, max_size=2), st.sampled_from(["commentary", None])),
    st.tuples(st.just("reasoning"), st.lists(visible, max_size=2), st.sampled_from(["gAAA", None])),
    st.tuples(st.just("thinking"), st.lists(visible, min_size=1, max_size=2), st.none()),
    st.tuples(st.just("call"), st.sampled_from(TOOLS), inputs),
    st.tuples(st.just("custom"), st.sampled_from(TOOLS), visible),
)


def item_of(number: int, meant: tuple[str, Any, Any]) -> dict[str, Any]:
    kind, what, more = meant
    name = {"item_id": f"item_{number}"}
    if kind == "message":
        return upstream.message(*what, **name, **({"phase": more} if more else {}))
    if kind == "reasoning":
        return upstream.reasoning(*what, encrypted=more, **name)
    if kind == "thinking":
        return upstream.thinking(*what, **name)
    if kind == "call":
        return upstream.call(what, json.dumps(more), f"call_{number}", **name)
    return upstream.custom(what, more, f"call_{number}", **name)


answers = st.lists(kinds_of_item, max_size=5).map(
    lambda meant: [item_of(number, one) for number, one in enumerate(meant)]
)


def sizes(data: st.DataObject) -> int:
    return data.draw(st.integers(1, 12))


@given(answers, st.data())
def test_both_ways_of_asking_give_the_same_message(output: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = upstream.unstreamed(upstream.response(output))
    whole["usage"].pop("service_tier")
    told = upstream.answer(*output, size=sizes(data))
    assert upstream.read(told) == whole
    assert slowly(sse(told), {}) == run(sse(told))[1]


def gist(message: dict[str, Any]) -> tuple[str, str, list[Any]]:
    """What is said, whatever its order: text and reasoning without whitespace, and the calls."""
    content = message["content"]
    calls = sorted(
        (block["id"], block["name"], json.dumps(block["input"])) for block in content if block["type"] == "tool_use"
    )
    said = ["".join("".join(block.get(kind, "") for block in content).split()) for kind in ("text", "thinking")]
    return "".join(sorted(said[0])), "".join(sorted(said[1])), calls


@given(answers, st.data())
def test_items_may_be_told_in_turns(output: list[dict[str, Any]], data: st.DataObject) -> None:
    tales = [upstream.told(index, item, sizes(data)) for index, item in enumerate(output)]
    mixed = []
    while tales:
        number = data.draw(st.integers(0, len(tales) - 1))
        mixed.append(tales[number].pop(0))
        if not tales[number]:
            del tales[number]
    found = upstream.read([*upstream.created(), *mixed, upstream.ended(output)])
    wanted = upstream.unstreamed(upstream.response(output))
    assert gist(found) == gist(wanted)
    assert found["stop_reason"] == wanted["stop_reason"]


DISPENSABLE = sorted(
    {
        *(*ROWS, "response.created", "response.in_progress", "response.content_part.added"),
        *("response.content_part.done", "response.output_item.added", "response.output_item.done"),
        *("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
    }
)


@given(answers, st.sets(st.sampled_from(DISPENSABLE)), st.booleans(), st.data())
def test_no_kind_of_event_is_needed_but_the_last(
    output: list[dict[str, Any]], left_out: set[str], nameless: bool, data: st.DataObject
) -> None:
    found = [event for event in upstream.answer(*output, size=sizes(data)) if event["type"] not in left_out]
    if nameless:
        found = [{key: value for key, value in event.items() if key != "output_index"} for event in found]
    if nameless and "response.output_item.added" in left_out:
        return  # nothing would tell where the next item begins
    message = upstream.read(found)
    wanted = upstream.unstreamed(upstream.response(output))
    assert gist(message) == gist(wanted)
    assert message["stop_reason"] == wanted["stop_reason"]


@given(answers, st.data())
def test_a_stream_that_breaks_off_closes_no_call_that_was_not_whole(
    output: list[dict[str, Any]], data: st.DataObject
) -> None:
    told = upstream.answer(*output, size=sizes(data))
    body = sse(told[:-1])
    body = body[: data.draw(st.integers(0, len(body)))]
    machine, out = run(body)
    assert machine.fault is not None
    assert not machine.done
    found = grammar.parse(out)
    assert "message_delta" not in [event["type"] for event in found]
    wanted = {item["call_id"]: item for item in output if "call_id" in item}
    open_call, text = "", ""
    for event in found:
        if event["type"] == "content_block_start":
            open_call, text = event["content_block"].get("id", ""), ""
        elif event["type"] == "content_block_delta":
            text += event["delta"].get("partial_json", "")
        elif event["type"] == "content_block_stop" and open_call:
            item = wanted[open_call]
            whole = {"input": item["input"]} if "input" in item else json.loads(item["arguments"])
            assert json.loads(text) == whole


@given(st.lists(words, max_size=6), st.data())
def test_an_item_hears_each_part_once(pieces: list[str], data: st.DataObject) -> None:
    item = Item(upstream_kind, 0, "i1")
    for piece in pieces:
        item.hear("text", 0, piece, whole=False)
    item.hear("text", 0, "whole", whole=True)
    text = "".join(piece for piece, _ in item.pending)
    assert text == ("".join(pieces) or "whole")


upstream_kind = ROWS["response.output_text.delta"].kind
