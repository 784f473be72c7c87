"""Reasoning items of a Responses answer: what is shown, and what their signatures carry (protocol.md 2.3, 8)."""

from __future__ import annotations

from typing import Any

from ccproxy_sanic.translate.responses_stream import ResponsesTranslator
from tests.support import grammar
from tests.support import responses as upstream
from tests.support.replies import spec
from tests.support.responses import (
    added,
    answer,
    blocks,
    call,
    created,
    done,
    ended,
    message,
    read,
    reasoning,
    sse,
    told,
    unstreamed,
)

HI = message("Hi")


class Signer:
    """Keeps what signatures carry."""

    def __init__(self) -> None:
        self.carried: list[Any] = []

    def __call__(self, kind: str, data: object) -> str:
        self.carried.append((kind, data))
        return "sig_X"


def test_summary_parts_are_set_off_by_blank_lines_whether_announced_or_not() -> None:
    item = reasoning("First", "Second")
    for found in (told(0, item), [event for event in told(0, item) if "part" not in event], [done(0, item)]):
        assert blocks([*found, ended([item])]) == [("thinking", "First\n\nSecond", "sig_X")]


def test_the_encrypted_content_of_the_finished_item_is_what_counts() -> None:
    signer = Signer()
    item = reasoning("Hm", encrypted="whole")
    first = added(0, item)
    first["item"] = {**first["item"], "encrypted_content": "half"}
    read([first, *told(0, item)[1:], *told(1, HI), ended([item, HI])], sign=signer)
    assert signer.carried == [("oai", {"id": "rs_1", "encrypted_content": "whole"})]


def test_the_signature_waits_for_the_phase_of_the_message_behind_it() -> None:
    signer = Signer()
    machine = ResponsesTranslator(spec(sign=signer))
    thought = reasoning("Hm")
    out = machine.feed(sse([*created(), *told(0, thought)]))
    assert grammar.parse(out)[-1]["delta"]["type"] == "thinking_delta"
    item = message("x", phase="commentary")
    machine.feed(sse([*told(1, item), ended([thought, item])]))
    assert signer.carried == [("oai", {"id": "rs_1", "encrypted_content": "gAAA", "phase": "commentary"})]


def test_a_call_behind_reasoning_leaves_the_signature_without_a_phase() -> None:
    signer = Signer()
    read(answer(reasoning("Hm"), call("Bash", "{}"), message("x", phase="final_answer")), sign=signer)
    assert signer.carried == [("oai", {"id": "rs_1", "encrypted_content": "gAAA"})]


def test_phases_of_messages_without_reasoning() -> None:
    first = message("I look", phase="commentary")
    last = message("Done", item_id="msg_2", phase="final_answer")
    for items, carried in (
        ([last], []),
        ([first], ["commentary"]),
        ([first, last], ["commentary", "final_answer"]),
        ([first, call("Bash", "{}"), last], ["commentary"]),
    ):
        signer = Signer()
        read(answer(*items), sign=signer)
        assert signer.carried == [("oai", {"phase": phase}) for phase in carried]
        signer = Signer()
        found = blocks(answer(*items), sign=signer, thinking="drop")
        assert signer.carried == []
        assert not [block for block in found if block[0] == "thinking"]


def test_reasoning_that_the_client_does_not_see() -> None:
    signer = Signer()
    plain = upstream.thinking("Hm")
    assert blocks(answer(plain, HI), thinking="omit", sign=signer)[0] == ("thinking", "", "sig_X")
    assert signer.carried == [("plain", "Hm")]  # without encrypted content the text itself travels
    assert blocks(answer(plain, reasoning("So"), HI), thinking="drop") == [("text", "Hi")]


def test_the_same_thoughts_in_both_forms_are_shown_once() -> None:
    item = reasoning("Summary", content=[{"type": "reasoning_text", "text": "At length"}])
    assert blocks(answer(item)) == [("thinking", "Summary", "sig_X")]
    assert unstreamed(upstream.response([item]))["content"][0]["thinking"] == "Summary"


def test_encrypted_content_that_comes_late_is_carried_by_a_block_of_its_own() -> None:
    signer = Signer()
    item = reasoning("Hm")
    begin, finish = told(0, item)[:-1], told(0, item)[-1:]
    found = blocks([*begin, *told(1, HI), *finish, ended([item, HI])], sign=signer)
    assert found == [("thinking", "Hm", "sig_X"), ("text", "Hi"), ("thinking", "", "sig_X")]
    assert signer.carried == [("plain", ""), ("oai", {"id": "rs_1", "encrypted_content": "gAAA"})]
