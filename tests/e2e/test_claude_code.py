"""Claude Code itself, from npm, in print mode through the proxy against the demo model (`make e2e-claude`).

How it is run unattended: claude-code.md 10.  Its requests hold its own prompts: nothing of them is printed or kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.pictures import png
from tests.support.quiet import assert_quiet
from tests.support.server_process import ServerProcess, serve

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(900)]
PACKAGE = "@anthropic-ai/claude-code"
VERSION = "2.1.328"
SESSION_WITHIN = 120.0
LINE_LIMIT = 64 * 1024 * 1024
CALLS_LIMIT = 30  # a client that loses a call asks for ever (claude-code.md 4)
FLAGS = (
    *("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
    *("--include-partial-messages", "--dangerously-skip-permissions"),
)


@dataclass
class Session:
    """The events of one run, in the order they came."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def blocks(self, role: str, kind: str) -> list[dict[str, Any]]:
        return [
            block
            for event in self.of(role)
            if isinstance(content := event["message"]["content"], list)
            for block in content
            if block["type"] == kind
        ]

    @property
    def result(self) -> dict[str, Any]:
        return self.of("result")[-1]

    @property
    def retries(self) -> list[dict[str, Any]]:
        return [event for event in self.of("system") if event.get("subtype") == "api_retry"]

    def transcript(self) -> Iterable[str]:
        """What happened, for people."""
        for event in self.events:
            match event["type"]:
                case "assistant" | "user" if isinstance(content := event["message"]["content"], list):
                    for block in content:
                        if (
                            event["type"] == "assistant" or block["type"] == "tool_result"
                        ):  # its own prompts stay unsaid
                            yield f"{event['type']:10}| {_describe(block)}"
                case "system" if event.get("subtype") == "api_retry":
                    yield f"{'retry':10}| {event}"
                case "result":
                    yield f"{'result':10}| {event['subtype']}, {event['num_turns']} turns, usage {_usage(event)}"


def _usage(event: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in event["usage"].items() if name.endswith("_tokens"))


def _describe(block: dict[str, Any]) -> str:
    match block["type"]:
        case "tool_use":
            return f"{block['name']} {json.dumps(block['input'])}"
        case "tool_result":
            content = block["content"]
            return f"-> {(content if isinstance(content, str) else json.dumps(content))[:200]!r}"
        case "thinking":
            return f"(thinks) {block['thinking']}"
        case _:
            return str(block.get("text", block["type"]))[:400]


@dataclass
class Claude:
    binary: Path
    home: Path
    workspace: Path

    def environment(self, url: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "dummy",
            "NO_PROXY": "*",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
        }

    async def run(self, url: str, *prompts: str) -> Session:
        """One session: each prompt is sent when the one before has its result."""
        process = await asyncio.create_subprocess_exec(
            str(self.binary),
            *FLAGS,
            cwd=self.workspace,
            env=self.environment(url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        session = Session()
        errors = asyncio.ensure_future(process.stderr.read())
        try:
            async with asyncio.timeout(SESSION_WITHIN):
                for prompt in prompts:
                    message = {"type": "user", "message": {"role": "user", "content": prompt}}
                    process.stdin.write(json.dumps(message).encode() + b"\n")
                    await process.stdin.drain()
                    while line := await process.stdout.readline():
                        event = json.loads(line)
                        session.events.append(event)
                        assert len(session.blocks("assistant", "tool_use")) < CALLS_LIMIT, "the client runs in circles"
                        if event["type"] == "result":
                            break
                process.stdin.close()
                await process.stdout.read()
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            stderr = (await errors).decode(errors="replace")
            print("", *session.transcript(), sep="\n")
        assert session.of("result"), stderr
        assert (code != 0) == session.result["is_error"], stderr
        return session


@pytest.fixture(scope="module")
def binary() -> Path:
    home = npm.install("claude-code", f"{PACKAGE}@{VERSION}", fallback=PACKAGE)
    return home / "node_modules" / ".bin" / "claude"


@pytest.fixture
def claude(binary: Path, tmp_path: Path) -> Claude:
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    home.mkdir()
    workspace.mkdir()
    return Claude(binary, home, workspace)


@pytest.mark.parametrize(
    ("spoken", "quirk"),
    [("chat", "none"), ("chat", "numbered-ids"), ("chat", "same-index"), ("responses", "none"), ("messages", "none")],
    indirect=["spoken"],
)
async def test_a_coding_session_leaves_the_files_it_should(claude: Claude, spoken: ServerProcess, quirk: str) -> None:
    """Whatever the upstream makes of call ids and indexes: a client that sees an id twice loses the call."""
    session = await claude.run(spoken.url, f"Please build the greeting script. [demo:coding quirk={quirk}]")
    used = [block["name"] for block in session.blocks("assistant", "tool_use")]
    assert used == ["Write", "Read", "Bash", "Edit", "Bash", "Write"]
    failed = [block for block in session.blocks("user", "tool_result") if block.get("is_error")]
    assert not failed
    assert not session.retries
    place = claude.workspace
    assert sorted(path.name for path in place.iterdir()) == ["README.md", "greet.sh", "greeting.txt"]
    assert (place / "greeting.txt").read_text() == "Welcome, demo\n"
    assert 'echo "Welcome, $name"' in (place / "greet.sh").read_text()
    assert session.result["subtype"] == "success"
    final = session.result["result"]
    assert final.startswith("Coding session finished after 6 tool results.")
    assert "Hello, demo" in final
    assert "Welcome, demo" in final
    assert session.result["usage"]["output_tokens"] > 0
    await assert_quiet(spoken.url)


async def test_a_conversation_goes_on_after_its_tools(claude: Claude, spoken: ServerProcess) -> None:
    session = await claude.run(spoken.url, "[demo:tool name=Bash command=pwd]", "What did you do?")
    first, second = session.of("result")
    assert str(claude.workspace) in first["result"]
    assert '"What did you do?"' in second["result"]
    assert not session.retries
    await assert_quiet(spoken.url)


async def test_thinking_is_shown(claude: Claude, spoken: ServerProcess) -> None:
    session = await claude.run(spoken.url, "[demo:think]")
    assert any("does not reason" in block["thinking"] for block in session.blocks("assistant", "thinking"))
    assert session.result["result"] == "That was the reasoning; this is the answer."
    await assert_quiet(spoken.url)


async def test_a_full_context_is_healed_by_compaction(claude: Claude, spoken: ServerProcess) -> None:
    """The client must understand the refusal: it then sums up by itself and asks again (claude-code.md 6)."""
    session = await claude.run(spoken.url, "[demo:long n=8000]", "Go on. [demo:overflow limit=24000]", "Still there?")
    assert any(event.get("subtype") == "compact_boundary" for event in session.of("system"))
    assert [event["is_error"] for event in session.of("result")] == [False, False, False]
    assert '"Still there?"' in session.result["result"]
    await assert_quiet(spoken.url)


async def test_an_upstream_fault_is_shown_in_its_own_words(claude: Claude, spoken: ServerProcess) -> None:
    session = await claude.run(spoken.url, '[demo:error status=402 message="Out of credit"]')
    assert session.result["is_error"]
    assert "Out of credit" in session.result["result"]
    assert not session.retries
    await assert_quiet(spoken.url)


async def test_a_slow_upstream_is_waited_for(claude: Claude, tmp_path: Path) -> None:
    """The proxy commits and pings meanwhile; the client must neither retry nor give up."""
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder, {"CCPROXY_PING_AFTER": "1", "CCPROXY_PING_EVERY": "1"}) as server:
        session = await claude.run(server.url, "[demo:hang seconds=8]")
        assert "Once upon a time" in session.result["result"]
        assert not session.retries
        await assert_quiet(server.url)


async def test_an_image_read_from_disk_reaches_the_model(claude: Claude, spoken: ServerProcess) -> None:
    """Its place is inside a tool's result, where no OpenAI server takes one: the demo refuses it but from a user."""
    picture = png(64, 64)
    (claude.workspace / "dot.png").write_bytes(picture)
    session = await claude.run(spoken.url, f"[demo:tool name=Read file_path={claude.workspace}/dot.png]")
    [shown] = session.blocks("user", "tool_result")
    assert [part["type"] for part in shown["content"]] == ["image"]
    assert re.search(r"I received 1 image \(image/\w+, \d+ bytes\)", session.result["result"])
    assert not session.retries
    await assert_quiet(spoken.url)


async def test_a_rate_limit_is_waited_for(claude: Claude, spoken: ServerProcess) -> None:
    session = await claude.run(spoken.url, "Hello. [demo:error status=429 retry_after=2 first=2]")
    assert [retry["error_status"] for retry in session.retries] == [429, 429]
    assert all(2000 <= retry["retry_delay_ms"] < 4000 for retry in session.retries)
    assert not session.result["is_error"]
    assert "You said" in session.result["result"]
    await assert_quiet(spoken.url)


async def test_a_stream_that_is_cut_is_asked_for_again(claude: Claude, spoken: ServerProcess) -> None:
    """After text the proxy can only send an ``error`` event: the client drops the part and asks once more, whole."""
    session = await claude.run(spoken.url, "Hello. [demo:drop after=3 first=1]")
    assert not session.result["is_error"]
    assert "You said" in session.result["result"]
    assert "Once upon" not in session.result["result"]
    await assert_quiet(spoken.url)


async def test_a_connection_lost_before_the_answer_is_retried(claude: Claude, spoken: ServerProcess) -> None:
    """Twice, because the first may be a kept connection that has just closed: the proxy asks again by itself."""
    session = await claude.run(spoken.url, "Hello. [demo:drop after=0 first=2]")
    assert session.retries
    assert not session.result["is_error"]
    assert "You said" in session.result["result"]
    await assert_quiet(spoken.url)
