"""The benches' own tools: bodies, the floor's translation, and load generator and upstream against each other."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import compare
from bench.macro import bodies, tools
from bench.macro.floor_stream import Translator
from bench.macro.floor_wire import decode_request, to_chat, to_message
from bench.macro.rounds import Bench
from bench.macro.scenarios import SCENARIOS, Scenario
from bench.macro.tools import CannotBench
from bench.micro.answers import CHUNKS, STREAMS, reads
from tests.support.proxy import events, text_of

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("cc"), reason="the macro benches need Linux and a compiler"
)


def test_the_agents_request_is_what_it_is_called() -> None:
    request = json.loads(bodies.agent(bodies.mark()))
    assert 100_000 < len(bodies.agent(bodies.mark())) < 110_000
    assert (len(request["tools"]), len(request["messages"])) == (20, 40)
    assert request["messages"][-1]["content"].endswith("id=0000000000@@")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_body_has_one_number_for_the_load_generator(name: str) -> None:
    assert [make().count(b"id=0000000000@@") for make in SCENARIOS[name].bodies] == [1] * len(SCENARIOS[name].bodies)


def test_the_floor_translates_tools_and_their_results() -> None:
    sent = json.loads(to_chat(decode_request(bodies.agent(bodies.mark(), stream=True)), "m"))
    assert [message["role"] for message in sent["messages"][:4]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][2]["tool_calls"][0]["id"] == sent["messages"][3]["tool_call_id"]
    assert len(sent["tools"]) == bodies.AGENT_TOOLS
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


def test_the_floor_answers_with_a_message() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    choice = {"message": {"content": "Hi", "tool_calls": [call]}, "finish_reason": "tool_calls"}
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode()
    message = json.loads(to_message(body, "m"))
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert (message["content"][1]["input"], message["stop_reason"]) == ({"a": 1}, "tool_use")


@pytest.mark.parametrize("each", [1, 7, 500])
@pytest.mark.parametrize("kind", ["text", "tool"])
def test_the_floors_stream_is_whole_however_it_is_cut(kind: str, each: int) -> None:
    translator = Translator("m")
    pairs = events(b"".join(map(translator.feed, reads(STREAMS[kind], each))))
    names = [name for name, _ in pairs]
    assert translator.done
    assert (names[0], names[1], names[-3:]) == (
        "message_start",
        "content_block_start",
        ["content_block_stop", "message_delta", "message_stop"],
    )
    assert names.count("content_block_delta") == pytest.approx(CHUNKS, abs=10)
    if kind == "tool":
        said = "".join(data["delta"]["partial_json"] for name, data in pairs if name == "content_block_delta")
        assert json.loads(said)["command"].startswith("echo 'line 0'")
    else:
        assert text_of(pairs).startswith(" the proxy translates")


def test_every_peer_can_be_read_and_names_what_it_needs() -> None:
    peers = compare.known()
    assert {"nginx", "litellm", "claude-code-router", "ferrogw", "vllm-router"} <= set(peers)
    assert {peer.speaks for peer in peers.values()} == set(compare.PATHS)


def test_a_chat_peer_is_asked_in_its_api_with_its_model() -> None:
    peer = compare.known()["ferrogw"]
    asked = compare.asked(SCENARIOS["agent"], peer)
    sent = json.loads(asked.bodies[0]())
    assert (sent["model"], sent["messages"][0]["role"]) == (peer.model, "system")
    assert asked.options["end-mark"] == "data: [DONE]"


def test_without_a_compiler_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "BUILT", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(CannotBench, match="C compiler"):
        tools.build("load")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    running = Bench(tmp_path_factory.mktemp("bench"))
    yield running
    running.stop()


def asking(kind: str, n: int, pace: int = 0, **fields: Any) -> Scenario:
    make = lambda: bodies.small(bodies.mark(kind, n, pace), **fields)  # noqa: E731
    return Scenario("", (make,), 4, requests=40)


@linux
@pytest.mark.parametrize(
    ("scenario", "chunks"),
    [
        pytest.param(asking("text", 20), 0, id="whole"),
        pytest.param(asking("text", 20, stream=True), 800, id="stream"),
        pytest.param(asking("burst", 20, stream=True)._replace(one_by_one=True), 800, id="burst"),
        pytest.param(asking("text", 5, 1, stream=True), 200, id="paced"),
    ],
)
def test_load_generator_and_upstream_agree(bench: Bench, scenario: Scenario, chunks: int) -> None:
    done = bench.round(scenario, bench.running["direct"], 0.0)
    assert done.faults == []
    assert (done.load.ok, done.load.chunks, done.served.messages) == (40, chunks, 40)


@linux
def test_a_burst_is_read_chunk_by_chunk_however_fast_its_reader_is(bench: Bench) -> None:
    burst = asking("burst", 20, stream=True)._replace(one_by_one=True)
    done = bench.round(burst, bench.running["direct"], 0.0)
    assert done.load.gap.n >= 20 * (40 - done.served.unseen)  # 21 reads of each stream that did not have to wait


@linux
def test_a_burst_goes_on_when_nobody_tells_what_was_read(bench: Bench) -> None:
    untold = asking("burst", 2, stream=True)._replace(requests=4)
    done = bench.round(untold, bench.running["direct"], 0.0)
    assert done.faults == []
    assert (done.load.ok, done.load.chunks, done.served.unseen) == (4, 8, 4 * 2)  # the second chunk and the end


@linux
def test_clients_that_leave_are_counted_at_both_ends(bench: Bench) -> None:
    leaving = asking("text", 50, 1, stream=True)._replace(options={"close-after": 2})
    done = bench.round(leaving, bench.running["direct"], 0.0)
    assert done.faults == []
    assert (done.load.left, done.load.ok) == (40, 0)


@linux
def test_a_stream_without_its_end_mark_is_an_error(bench: Bench) -> None:
    scenario = asking("text", 5, stream=True)._replace(options={"end-mark": "event: never"})
    done = bench.round(scenario, bench.running["direct"], 0.0)
    assert done.load.errors == {"no_end": 40}
    assert done.faults[0] == "40 of 40 requests ended in no_end"


@linux
def test_equal_requests_are_noticed(bench: Bench) -> None:
    scenario = asking("text", 5)._replace(options={"same": True})
    assert bench.round(scenario, bench.running["direct"], 0.0).faults == ["the upstream saw 39 requests twice"]
