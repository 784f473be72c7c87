"""Anthropic's TypeScript SDK, from npm, against the real server process (`make e2e-ts`)."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.support import npm
from tests.support.quiet import assert_quiet
from tests.support.server_process import ROOT, ServerProcess, clean_environment

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(900)]
SCRIPT = ROOT / "tests" / "data" / "ts" / "sdk.mjs"


@pytest.fixture(scope="module")
def seen(embedded: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script saw."""
    home = npm.install("npm-sdk", "@anthropic-ai/sdk@1.12.0", fallback="@anthropic-ai/sdk")
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run(
        [node, str(SCRIPT), embedded.url, str(home)],
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


async def test_leaving_leaves_nothing_behind(seen: dict[str, Any], embedded: ServerProcess) -> None:
    assert seen["aborted"] == "APIUserAbortError"
    await assert_quiet(embedded.url)
