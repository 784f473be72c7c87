"""Anthropic's TypeScript SDK, from npm, against the real server process (`make e2e-ts`)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.property.test_stream_any_chunks import streams
from tests.support import grammar, npm
from tests.support.quiet import assert_quiet
from tests.support.replies import run, spec, sse
from tests.support.server_process import ROOT, ServerProcess, clean_environment
from tests.unit.test_stream_vectors import cases, spec_of

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(900)]
SCRIPT = ROOT / "tests" / "data" / "ts" / "sdk.mjs"
READER = SCRIPT.with_name("streams.mjs")


@pytest.fixture(scope="module")
def sdk() -> tuple[str, Path]:
    """Node, and the folder that the SDK is installed in."""
    home = npm.install("npm-sdk", "@anthropic-ai/sdk@1.12.0", fallback="@anthropic-ai/sdk")
    node = shutil.which("node")
    assert node is not None
    return node, home


@pytest.fixture(scope="module")
def seen(spoken: ServerProcess, sdk: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script saw."""
    node, home = sdk
    done = subprocess.run(
        [node, str(SCRIPT), spoken.url, str(home)],
        env=clean_environment(tmp_path_factory.mktemp("node")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def texts(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def test_create_and_stream(seen: dict[str, Any]) -> None:
    assert '"Hello there"' in texts(seen["created"])
    assert seen["created"]["stop_reason"] == "end_turn"
    streamed = seen["streamed"]
    assert streamed["text"] == texts(streamed["message"]) == " ".join(f"word{n}" for n in range(20))
    assert streamed["pieces"] >= 1
    assert streamed["message"]["usage"]["output_tokens"] == 20


def test_thinking_comes_before_the_text(seen: dict[str, Any]) -> None:
    assert [block["type"] for block in seen["thinking"]["content"]] == ["thinking", "text"]
    assert seen["thinking"]["content"][0]["signature"]


def test_a_loop_of_three_turns_with_parallel_tools(seen: dict[str, Any]) -> None:
    *turns, final = seen["loop"]
    assert len(turns) == 3
    for turn in turns:
        calls = [(block["name"], block["input"]) for block in turn["content"] if block["type"] == "tool_use"]
        assert calls == [("get_weather", {"city": "Paris"}), ("get_time", {})]
        assert turn["stop_reason"] == "tool_use"
    ids = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    assert len(set(ids)) == 6
    assert texts(final).count("did get_weather") == 3


def test_errors(seen: dict[str, Any]) -> None:
    assert seen["limited"]["name"] == "RateLimitError"
    assert seen["limited"]["type"] == "rate_limit_error"
    assert seen["limited"]["id"]
    assert seen["broken"]["name"] == "APIError"


async def test_leaving_leaves_nothing_behind(seen: dict[str, Any], spoken: ServerProcess) -> None:
    assert seen["aborted"] == "APIUserAbortError"
    await assert_quiet(spoken.url)


def generated(count: int) -> list[list[Any]]:
    """The same chunk lists every time, of all that an upstream may send."""
    found: list[list[Any]] = []

    @seed(1)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(streams)
    def collect(chunks: list[Any]) -> None:
        found.append(chunks)

    collect()
    return found


def test_it_reads_every_stream_that_the_translator_makes(sdk: tuple[str, Path], tmp_path: Path) -> None:
    vectors = [case.values[0] for case in cases("stream")]
    runs = [run(sse(case["chunks"]), spec_of(case["context"])) for case in vectors]
    runs += [run(sse(chunks), spec(**more)) for chunks in generated(150) for more in ({}, {"lenient_eof": True})]
    runs = [(machine, out) for machine, out in runs if machine.started]  # what has not begun is answered with a status
    assert sum(machine.done for machine, _ in runs) > 30
    assert sum(not machine.done for machine, _ in runs) > 30
    done = subprocess.run(
        [sdk[0], str(READER), str(sdk[1])],
        env=clean_environment(tmp_path),
        input=json.dumps([base64.b64encode(out).decode() for _, out in runs]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for (_, out), seen in zip(runs, json.loads(done.stdout), strict=True):
        events = grammar.parse(out)
        if events[-1]["type"] == "error":
            assert (seen.get("api"), seen.get("type")) == (True, events[-1]["error"]["type"]), seen
            continue
        ours = grammar.message_of(events)
        assert "message" in seen, (seen, events)
        for mine, theirs in zip(ours["content"], seen["message"]["content"], strict=True):
            if isinstance(mine.get("input"), str):  # cut at the limit: it makes of the text what it can
                mine.pop("input")
            assert {key: theirs[key] for key in mine} == mine
        for member in ("id", "model", "role", "stop_reason", "stop_sequence", "stop_details", "usage"):
            wanted = ours[member]
            got = seen["message"][member]
            assert {key: got[key] for key in wanted} == wanted if isinstance(wanted, dict) else got == wanted, member
