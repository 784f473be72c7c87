"""The official SDK's own client reads our streams; and what a long stream costs is counted, not timed."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest

from ccproxy_sanic.translate import arguments, tool_slots
from ccproxy_sanic.translate.stream import StreamTranslator
from tests.support import grammar
from tests.support.replies import DONE, chunk, run, spec, sse, tool
from tests.unit.test_stream_vectors import cases, spec_of


@pytest.mark.parametrize("case", cases("stream"))
def test_the_sdk_client_reads_the_golden_streams(case: dict[str, Any]) -> None:
    _, out = run(sse(case["chunks"]), spec_of(case["context"]))

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=out)

    client = anthropic.Anthropic(
        api_key="k",
        base_url="http://test.invalid",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )
    ours = grammar.message_of(grammar.parse(out))
    with client.messages.stream(max_tokens=9, model="m", messages=[{"role": "user", "content": "x"}]) as stream:
        if case["events"][-1]["type"] == "error":
            with pytest.raises(anthropic.APIStatusError) as caught:
                stream.get_final_message()
            assert caught.value.type == case["events"][-1]["error"]["type"]
            return
        theirs = json.loads(stream.get_final_message().model_dump_json())
    assert theirs["stop_reason"] == ours["stop_reason"]
    for mine, his in zip(ours["content"], theirs["content"], strict=True):
        if not isinstance(mine.get("input"), str):  # cut at the limit
            assert {key: his[key] for key in mine} == mine


def test_a_long_argument_in_small_pieces_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []

    class Counting(arguments.Automaton):
        def feed(self, piece: str) -> bool:
            fed.append(len(piece))
            return super().feed(piece)

    monkeypatch.setattr(tool_slots, "Automaton", Counting)
    text = json.dumps({"content": "x = 1\n" * 17_000})
    assert len(text) > 100_000
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    machine, out = run(sse([tool(call_id="c1", name="Bash"), *(tool(piece) for piece in pieces), DONE]))
    assert machine.done
    assert sum(fed) == len(text)
    assert len(fed) == len(pieces)
    # every piece is written once, in a frame of a constant size: nothing is sent again either
    assert len(out) < len(pieces) * 200
    assert grammar.message_of(grammar.parse(out))["content"][0]["input"] == json.loads(text)


def test_arguments_that_wait_are_joined_once() -> None:
    text = json.dumps({"content": "y" * 20_000})
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    waiting = [tool(piece, index=1, call_id="c2", name="Bash") for piece in pieces]
    _, out = run(sse([tool("{", call_id="c1", name="Bash"), *waiting, tool("}"), DONE]))
    deltas = [e["delta"]["partial_json"] for e in grammar.parse(out) if e["type"] == "content_block_delta"]
    assert deltas == ["{", "}", text]


def test_one_read_makes_one_block_of_bytes() -> None:
    machine = StreamTranslator(spec())
    out = machine.feed(sse([chunk({"content": str(number)}) for number in range(20)]))
    assert [e["delta"]["text"] for e in grammar.parse(out) if e["type"] == "content_block_delta"] == [
        str(number) for number in range(20)
    ]
