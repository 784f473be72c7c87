"""A stream of an upstream that speaks Messages: bytes in are bytes out, but for the differences that are named here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, Garbled, Refused
from ccproxy_sanic.translate import passthrough
from ccproxy_sanic.translate.passthrough import PassThrough
from ccproxy_sanic.translate.usage import Usage
from tests.support import grammar
from tests.support.messages_stream import (
    ANSWER,
    ASKED,
    END,
    GIVEN,
    START,
    STOP,
    TEXT,
    error,
    event,
    golden,
    renamed,
    run,
    stream,
)

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("name", "events"), golden(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_golden_stream_passes_but_for_the_model(name: str, events: list[dict[str, Any]], eol: bytes) -> None:
    ending = [one for one in events if one["type"] != "error"]
    machine, out = run(stream(events, eol=eol))
    assert out == renamed(stream(ending, eol=eol))
    assert machine.started
    assert (machine.upstream_id, machine.upstream_model) == (events[0]["message"]["id"], GIVEN)
    if len(ending) == len(events):
        (delta,) = [one for one in events if one["type"] == "message_delta"]
        assert machine.done
        assert machine.fault is None
        assert machine.stop_reason == delta["delta"]["stop_reason"]
        assert machine.usage.output_tokens == delta["usage"]["output_tokens"]
    else:
        said = events[-1]["error"]
        assert machine.fault is not None
        assert (machine.fault.type, machine.fault.message) == (said["type"], said["message"])


def test_the_form_of_the_bytes_stays() -> None:
    start = b'id: 7\nevent:message_start\ndata:{ "message" : {"usage":{},"model" :"up-model", "x":"\\u00e9"} }\n\n'
    rest = b'event: content_block_delta\ndata: {"odd" : 1}\nretry: 5\n\n: comment\n\n\n' + PING + stream([END, STOP])
    _, out = run(start + rest)
    assert out == renamed(start) + rest


def test_only_the_model_of_the_message_is_renamed() -> None:
    start = {**START, "model": GIVEN, "message": {**START["message"], "container": {"model": GIVEN}}}
    block = event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f'"{GIVEN}"'}})
    _, out = run(event(start) + block + stream([END, STOP]))
    found = grammar.parse(out)
    assert found[0] == {**start, "message": {**start["message"], "model": ASKED}}
    assert block in out


def test_a_start_without_a_model_passes() -> None:
    start = event({"type": "message_start", "message": {"id": "m"}})
    machine, out = run(start + stream([*TEXT, END, STOP]))
    assert out.startswith(start)
    assert machine.upstream_model is None


def test_data_in_several_lines_is_put_into_one_where_it_changes() -> None:
    _, out = run(b'event: message_start\ndata: {"message":\nid: 3\ndata: {"model":"up-model"}}\n\n' + stream([STOP]))
    assert out == b'event: message_start\ndata: {"message": {"model":"claude-asked"}}\nid: 3\n\n' + stream([STOP])


def test_whole_events_leave_and_the_rest_waits() -> None:
    machine = PassThrough(ASKED)
    data = renamed(stream())
    assert machine.feed(stream([START]) + event(TEXT[0])[:20]) == renamed(stream([START]))
    assert not machine.spoken
    assert machine.feed(event(TEXT[0])[20:-1]) == b""
    assert machine.feed(b"\n" + event(TEXT[1]) + event(TEXT[2])[:-1]) == stream(TEXT[:2])
    assert machine.spoken
    assert machine.feed(b"\n") == event(TEXT[2])
    assert machine.feed(stream([END, STOP])) == stream([END, STOP])
    assert machine.done
    assert data.endswith(stream([END, STOP]))


def test_a_read_of_whole_events_with_nothing_to_note_is_handed_on_as_it_is() -> None:
    machine = PassThrough(ASKED)
    machine.feed(stream(ANSWER[:2]))
    for eol in (b"\n", b"\r\n"):
        read = stream([TEXT[1]] * 3, eol=eol)
        assert machine.feed(read) is read
    noted = stream([TEXT[1], END])
    assert machine.feed(noted) == noted
    assert machine.stop_reason == "end_turn"


def test_an_event_that_ends_in_cr_leaves_at_once_and_its_lf_later() -> None:
    machine = PassThrough(ASKED)
    start, block = stream([START], eol=b"\r\n"), event(TEXT[0], eol=b"\r\n")
    assert machine.feed(start[:-1]) == renamed(start)[:-1]
    assert machine.feed(b"\n") == b"\n"
    assert machine.feed(block[:-1]) == block[:-1]
    assert machine.feed(block[-1:] + block) == block[-1:] + block
    delta = event(TEXT[1], eol=b"\r\n")
    assert machine.feed(delta[:-1]) == delta[:-1]
    assert machine.feed(delta[-1:] + delta[:9]) == b"\n"
    assert machine.feed(delta[9:]) == delta


def test_blank_lines_too_many_leave_with_their_read() -> None:
    machine = PassThrough(ASKED)
    machine.feed(stream(ANSWER[:2]))
    for more in (b"\n", b"\r\n", b"\r", b"\n\n"):
        assert machine.feed(more) == more
        assert machine.feed(more + event(TEXT[1]) + more) == more + event(TEXT[1]) + more


def test_the_lf_of_a_message_start_that_is_left_out_is_left_out_too() -> None:
    start, block = stream([START], eol=b"\r\n"), stream([TEXT[0]], eol=b"\r\n")
    machine = PassThrough(ASKED, opened=True)
    assert machine.feed(start[:-1]) == b""
    assert machine.feed(start[-1:] + block) == block
    assert machine.feed(start[:-1]) == b""  # another one, while content flows
    assert machine.feed(b"\n\n") == b"\n"
    assert machine.feed(block) == block


def test_what_stands_before_message_start_is_left_out_so_that_an_error_can_be_a_status() -> None:
    early = b"\xef\xbb\xbf\r\n: OPENROUTER PROCESSING\n\n" + PING + b'event: later\ndata: {"type":"later"}\n\n\n'
    machine = PassThrough(ASKED)
    assert machine.feed(early) == b""
    assert machine.feed(event(error("overloaded_error", "Busy", details={"a": 1}))) == b""
    assert machine.fault is not None
    assert (machine.fault.status, machine.fault.type, machine.fault.message) == (529, "overloaded_error", "Busy")
    assert machine.fault.details == {"a": 1}
    assert run(early + stream())[1] == renamed(stream())


def test_an_error_in_the_middle_becomes_the_fault_and_events_before_it_leave() -> None:
    machine, out = run(stream([START, *TEXT[:2], error("rate_limit_error", "Slow down")]) + stream([END, STOP]))
    assert out == renamed(stream([START, *TEXT[:2]]))
    assert machine.fault is not None
    assert (machine.fault.status, machine.fault.type, machine.fault.message) == (429, "rate_limit_error", "Slow down")
    assert machine.feed(stream([STOP])) == machine.close() == b""


def test_an_error_without_a_name_is_an_error_too() -> None:
    machine, out = run(stream(ANSWER[:3]) + b'data: {"error":{"message":"boom","code":503}}\n\n')
    assert out == renamed(stream(ANSWER[:3]))
    assert machine.fault is not None
    assert (machine.fault.status, machine.fault.message) == (529, "boom")


def test_nothing_follows_message_stop() -> None:
    machine, out = run(stream() + b"data: [DONE]\n\n" + PING)
    assert out == renamed(stream())
    assert machine.feed(PING) == machine.close() == b""


def test_message_start_is_left_out_where_another_upstreams_has_left() -> None:
    machine, out = run(stream(), opened=True)
    assert out == stream([*TEXT, END, STOP])
    assert (machine.started, machine.upstream_model, machine.usage.input_tokens) == (True, GIVEN, 10)
    machine, out = run(
        json.dumps({**START["message"], "content": [{"type": "text", "text": "x"}]}).encode(), opened=True
    )
    assert grammar.parse(out)[0]["type"] == "content_block_start"


def test_a_nameless_event_before_message_start_is_left_out_of_a_named_stream_too() -> None:
    machine = PassThrough(ASKED)
    assert machine.feed(b'event: later\ndata: {"type":"later"}\n\ndata: {"type":"other"}\n\n') == b""
    assert machine.feed(stream()) == renamed(stream())


@pytest.mark.parametrize("late", [*TEXT, END, STOP])
def test_a_stream_that_does_not_begin_with_message_start_is_garbled(late: dict[str, Any]) -> None:
    machine, out = run(stream([late]))
    assert out == b""
    assert isinstance(machine.fault, Garbled)
    assert (machine.started, machine.spoken) == (False, False)


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", PING, b"<html>\n\n</html>", b"data: [DONE]\n\n", b"event: x\n\n", b"da"]
)
def test_a_stream_without_an_answer_is_broken(data: bytes) -> None:
    machine, out = run(data)
    assert out == b""
    assert isinstance(machine.fault, Broken)
    assert not machine.started


@pytest.mark.parametrize("length", range(1, 6))
def test_a_stream_that_ends_early_is_broken_and_nothing_is_added(length: int) -> None:
    for half in (b"", event(ANSWER[length])[:-30] if length < 5 else b"event: message_st"):
        machine, out = run(stream(ANSWER[:length]) + half)
        assert out == renamed(stream(ANSWER[:length]))
        assert isinstance(machine.fault, Broken)
        assert not machine.done
        assert machine.spoken == (length > 1)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
def test_a_last_event_may_lack_its_blank_line(end: bytes) -> None:
    machine, out = run(stream().rstrip(b"\n") + end)
    assert machine.done
    assert grammar.parse(out) == grammar.parse(renamed(stream()))
    machine, out = run(stream([START, error("api_error", "x")]).rstrip(b"\n") + end)
    assert out == renamed(stream([START]))
    assert isinstance(machine.fault, Refused)


@pytest.mark.parametrize(
    "garbled",
    [
        b"event: message_start\ndata: {oops\n\n",
        b"event: message_start\ndata: []\n\n",
        b'event: message_start\ndata: {"message":[]}\n\n',
        b'event: message_start\ndata: {"message":{"id":"\\ud800"}}\n\n',
        b"data: oops\n\n",
        b"data: 5\n\n",
    ],
)
def test_an_event_that_must_be_read_and_cannot_is_garbled(garbled: bytes) -> None:
    machine, out = run(garbled + stream())
    assert out == b""
    assert isinstance(machine.fault, Garbled)


def test_a_delta_that_cannot_be_read_is_garbled_and_what_came_before_leaves() -> None:
    machine, out = run(stream([START, *TEXT]) + b"event: message_delta\ndata: {\n\n" + stream([STOP]))
    assert out == renamed(stream([START, *TEXT]))
    assert isinstance(machine.fault, Garbled)


def test_an_event_without_end_is_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passthrough, "LIMIT", 200)
    for data in (b"event: x\ndata: " + b"a" * 250, b'{"content":' + b"[" * 250):
        machine = PassThrough(ASKED)
        assert b"".join(machine.feed(data[at : at + 10]) for at in range(0, len(data), 10)) == b""
        assert isinstance(machine.fault, Garbled)


# streams without names


def test_a_stream_without_names_gets_them() -> None:
    machine, out = run(stream(named=False))
    assert out == renamed(stream())
    assert (machine.done, machine.spoken, machine.usage.output_tokens) == (True, True, 7)


def test_the_name_is_put_before_the_data_and_the_rest_stays() -> None:
    data = b": hm\nevent: message\nid: 3\ndata:" + json.dumps(START).encode() + b"\r\n\r\n"
    rest = b'data: {"type":"content_block_start"}\n\ndata: {"type":"x y"}\n\ndata: {"type":"new_kind"}\n\n'
    ending = stream([END, STOP], named=False)
    _, out = run(data + rest + b"data: [DONE]\n\n" + ending)
    assert out == (
        renamed(data.replace(b"data:", b"event: message_start\ndata:"))
        + b'event: content_block_start\ndata: {"type":"content_block_start"}\n\n'
        + b'data: {"type":"x y"}\n\nevent: new_kind\ndata: {"type":"new_kind"}\n\ndata: [DONE]\n\n'
        + stream([END, STOP])
    )


def test_an_error_of_a_stream_without_names_is_the_fault() -> None:
    machine, out = run(stream([START, *TEXT, error("api_error", "boom")], named=False))
    assert out == renamed(stream([START, *TEXT]))
    assert machine.fault is not None
    assert machine.fault.message == "boom"


def test_lone_surrogates_in_a_stream_without_names_do_not_break_it() -> None:
    half = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}\n\n'
    _, out = run(stream(ANSWER[:2], named=False) + half + stream([END, STOP], named=False))
    assert b"event: content_block_delta\n" + half in out


@pytest.mark.parametrize("length", [1, 2])
def test_a_nameless_event_of_a_named_stream_stays_unless_it_is_one_that_clients_wait_for(length: int) -> None:
    odd = b"data: oops\n\ndata: error oops\n\n" + event(TEXT[1], named=False)
    machine, out = run(stream(ANSWER[:length]) + odd + event(END, named=False) + event(STOP, named=False))
    assert out == renamed(stream(ANSWER[:length])) + odd + stream([END, STOP])
    assert machine.done


# what is noted


@pytest.mark.parametrize("text", ["message_stop", "event: error", '{"type":"error"}', "\n\nevent: message_stop\n"])
def test_a_word_of_the_protocol_in_a_text_changes_nothing(text: str) -> None:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    for named in (True, False):
        machine, out = run(stream([START, TEXT[0], delta, delta, TEXT[2], END, STOP], named=named))
        assert out == renamed(stream([START, TEXT[0], delta, delta, TEXT[2], END, STOP]))
        assert machine.done


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_in_a_read_of_many_events_those_that_count_are_found(eol: bytes) -> None:
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "error: message_stop"}}
    other = {"type": "later", "says": "no error"}
    usage = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}}
    read = stream([START, TEXT[0], *[TEXT[1], said, said, other, TEXT[1], usage] * 3, TEXT[2], END, STOP], eol=eol)
    machine, out = run(read)
    assert out == renamed(read)
    assert (machine.done, machine.stop_reason, machine.usage.output_tokens) == (True, "end_turn", 7)
    machine, out = run(read + read)
    assert out == renamed(read)
    at = read.index(event(END, eol=eol))
    machine, out = run(read[:at] + event(error("api_error", "x"), eol=eol) + read[at:])
    assert out == renamed(read[:at])
    assert isinstance(machine.fault, Refused)


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_called_what_its_last_name_says(eol: bytes) -> None:
    odd = eol.join(
        [b"event: content_block_delta", b"event: message_delta", b"data: " + json.dumps(END).encode(), b"", b""]
    )
    machine, out = run(stream(ANSWER[:4]) + odd + event(STOP))
    assert out == renamed(stream(ANSWER[:4])) + odd + event(STOP)
    assert machine.stop_reason == "end_turn"


def test_spoken_is_the_first_content_and_not_before() -> None:
    machine = PassThrough(ASKED)
    machine.feed(stream([START]) + PING)
    assert (machine.started, machine.spoken) == (True, False)
    machine.feed(event(TEXT[0]))
    assert machine.spoken
    assert not machine.finishing
    machine.feed(stream([*TEXT[1:], END]))
    assert not machine.finishing


def test_counts_are_totals_and_a_zero_keeps_what_was() -> None:
    delta = {
        "input_tokens": 0,
        "cache_read_input_tokens": None,
        "cache_creation_input_tokens": 3,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    start = {
        **START,
        "message": {**START["message"], "usage": {**START["message"]["usage"], "service_tier": "priority"}},
    }
    machine, _ = run(stream([start, *TEXT, {**END, "usage": delta}, STOP]))
    assert machine.usage == Usage(10, 3, 4, 7, 2, "priority", known=True)
    machine, _ = run(stream([start, *TEXT, {**END, "usage": {"input_tokens": 20, "output_tokens": 5}}, STOP]))
    assert machine.usage == Usage(20, 0, 4, 5, None, "priority", known=True)


@pytest.mark.parametrize(
    "usage", [None, [], "x", {"input_tokens": "9", "output_tokens": -1, "service_tier": 5}, {"a": 1}]
)
def test_usage_of_a_wrong_form_counts_nothing(usage: Any) -> None:
    start = {**START, "message": {**START["message"], "usage": usage}}
    machine, _ = run(stream([start, *TEXT, {"type": "message_delta", "usage": usage}, STOP]))
    assert machine.done
    assert machine.usage == Usage(known=isinstance(usage, dict))
    assert machine.stop_reason is None


def test_the_machine_says_what_it_is_doing() -> None:
    machine = PassThrough(ASKED)
    assert repr(machine) == "<PassThrough new, held 0>"
    machine.feed(stream([START]) + b"even")
    assert repr(machine) == "<PassThrough started, held 4>"
    assert repr(run(stream())[0]) == "<PassThrough done, held 0>"
    assert "fault" in repr(run(b"")[0])
