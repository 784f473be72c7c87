"""The coding session, played against files: what the script asks for must really work in a workspace."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic.demo import coding, request, scenarios

PATH = {"file_path": {"type": "string"}}
CLAUDE_CODE = {
    "Write": PATH | {"content": {"type": "string"}},
    "Read": PATH,
    "Bash": {"command": {"type": "string"}, "description": {"type": "string"}},
    "Edit": PATH | {"old_string": {"type": "string"}, "new_string": {"type": "string"}},
}
OTHER = {
    "write_file": {"path": {}, "text": {}},
    "read_file": {"path": {}},
    "shell": {"cmd": {}},
    "edit_file": {"path": {}, "old_str": {}, "new_str": {}},
}


def tools(declared: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
        for name, properties in declared.items()
    ]


def run(name: str, given: dict[str, str]) -> str:
    """A client's tools, by the order of their parameters."""
    values = list(given.values())
    match name:
        case "Write" | "write_file":
            Path(values[0]).write_text(values[1])
            return "File created"
        case "Read" | "read_file":
            return Path(values[0]).read_text()
        case "Bash" | "shell":
            done = subprocess.run(values[0], shell=True, capture_output=True, text=True, check=True)
            return done.stdout
        case _:
            text = Path(values[0]).read_text()
            assert text.count(values[1]) == 1
            Path(values[0]).write_text(text.replace(values[1], values[2]))
            return "File edited"


def ask(messages: list[dict[str, Any]], declared: dict[str, dict[str, Any]]) -> scenarios.Plan:
    body = json.dumps({"model": "m", "messages": messages, "tools": tools(declared)}).encode()
    return scenarios.choose(request.decode(body), body, {})


@pytest.mark.parametrize("declared", [CLAUDE_CODE, OTHER], ids=["claude-code", "other"])
@pytest.mark.parametrize("told", ["marker", "environment"])
def test_the_session_leaves_working_files(tmp_path: Path, declared: dict[str, Any], told: str) -> None:
    place = tmp_path / "a workspace"
    place.mkdir()
    marker = f'[demo:coding dir="{place}"]' if told == "marker" else "[demo:coding]"
    environment = f"# Environment\n - Primary working directory: {place}\n - Platform: linux"
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Please do it. {marker}"}]
    if told == "environment":
        messages.append({"role": "system", "content": environment})
    used: list[list[str]] = []
    while (plan := ask(messages, declared)).calls:
        calls = [
            {"id": f"c{len(messages)}{at}", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
            for at, call in enumerate(plan.calls)
        ]
        messages.append({"role": "assistant", "content": plan.text, "tool_calls": calls})
        used.append([call.name for call in plan.calls])
        for call, made in zip(plan.calls, calls, strict=True):
            messages.append({"role": "tool", "tool_call_id": made["id"], "content": run(call.name, call.arguments)})
    write, read, shell, edit = declared
    assert used == [[write], [read], [shell], [edit], [shell, write]]
    assert plan.text.startswith("Coding session finished after 6 tool results.")
    assert "Hello, demo" in plan.text
    assert "Welcome, demo" in plan.text
    assert (place / "greeting.txt").read_text() == "Welcome, demo\n"
    assert "greet.sh" in (place / "README.md").read_text()


def test_a_client_without_the_tools_gets_a_text() -> None:
    plan = ask([{"role": "user", "content": "[demo:coding]"}], {"get_time": {}})
    assert plan.calls == []
    assert "none is declared" in plan.text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Working directory: /home/me/my project\nIs git: no", "/home/me/my project"),
        (" - Primary working directory: `/w`\n", "/w"),
        ("cwd: /srv/x", "/srv/x"),
        ("The working directory is wherever you are.", None),
    ],
)
def test_the_working_directory_is_found_in_the_environment_text(text: str, found: str | None) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "system", "content": text}]}).encode()
    assert coding.directory(request.decode(body)) == found
