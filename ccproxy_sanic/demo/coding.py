"""The scripted coding session: write a file, read it, run it, edit it, two tools at once, then a summary.

Rule: the step is the number of tool results in the turn so far, so the session needs no memory and may be resumed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ccproxy_sanic.demo.plan import Call, Plan
from ccproxy_sanic.demo.request import ChatRequest, Function

# Role in the script -> tool names of well-known clients, then (meaning -> parameter names) in the same manner.
TOOLS: Final = {
    "write": ("Write", "write_file", "create_file", "write"),
    "read": ("Read", "read_file", "view_file", "read"),
    "shell": ("Bash", "bash", "run_terminal_cmd", "execute_command", "shell"),
    "edit": ("Edit", "edit_file", "replace_in_file", "str_replace", "edit"),
}
PARAMETERS: Final = {
    "path": ("file_path", "path", "filename", "target_file"),
    "content": ("content", "file_text", "text", "contents"),
    "old": ("old_string", "old_str", "old_text"),
    "new": ("new_string", "new_str", "new_text"),
    "command": ("command", "cmd", "script"),
    "note": ("description", "explanation"),
}
DIRECTORY: Final = re.compile(
    r"^[ \t*-]*(?:(?:primary|current)[ \t]+)?(?:working[ \t]+directory|cwd)[ \t]*:[ \t]*`?(/[^\n`]*?)`?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
SCRIPT: Final = '#!/bin/sh\n# Written by the demo model.\nname="${1:-world}"\necho "Hello, $name"\n'
README: Final = "# greet\n\nRun `sh greet.sh NAME`.\n"


def _write(where: str) -> list[tuple[str, dict[str, str]]]:
    return [("write", {"path": f"{where}/greet.sh", "content": SCRIPT})]


def _read(where: str) -> list[tuple[str, dict[str, str]]]:
    return [("read", {"path": f"{where}/greet.sh"})]


def _run(where: str) -> list[tuple[str, dict[str, str]]]:
    return [("shell", {"command": f"sh '{where}/greet.sh' demo", "note": "Run the script"})]


def _edit(where: str) -> list[tuple[str, dict[str, str]]]:
    return [("edit", {"path": f"{where}/greet.sh", "old": 'echo "Hello, $name"', "new": 'echo "Welcome, $name"'})]


def _both(where: str) -> list[tuple[str, dict[str, str]]]:
    run = f"sh '{where}/greet.sh' demo | tee '{where}/greeting.txt'"
    return [
        ("shell", {"command": run, "note": "Run the edited script"}),
        ("write", {"path": f"{where}/README.md", "content": README}),
    ]


STEPS: Final[tuple[tuple[int, str, Callable[[str], list[tuple[str, dict[str, str]]]]], ...]] = (
    (0, "I'll write a small script.", _write),
    (1, "Let me read it back.", _read),
    (2, "Now I'll run it.", _run),
    (3, "It works. A friendlier greeting is better:", _edit),
    (4, "I'll run it again and write a README at the same time.", _both),
)


def plan(request: ChatRequest, options: dict[str, str]) -> Plan:
    """The next step.  ``dir`` in the marker wins over the directory that the conversation's environment names."""
    where = (options.get("dir") or directory(request) or ".").rstrip("/")
    results = [message.text() for message in request.turn() if message.role == "tool"]
    declared = request.functions()
    for at, say, step in STEPS:
        if at == len(results):
            wanted = [_call(declared, role, values) for role, values in step(where)]
            if calls := [call for call in wanted if call is not None]:
                return Plan(reasoning=f"Step {at + 1} of {len(STEPS)}.", text=say, calls=calls)
            return Plan(text=f"The next step needs one of {', '.join(TOOLS[step(where)[0][0]])}; none is declared.")
    seen = " / ".join(line.strip().splitlines()[0][:80] for line in results if line.strip())
    return Plan(text=f"Coding session finished after {len(results)} tool results. What the tools said: {seen}")


def directory(request: ChatRequest) -> str | None:
    """The working directory that the client tells the model about (claude-code.md 3: the ``# Environment`` text)."""
    for message in request.messages:
        if message.role in ("system", "developer", "user") and (found := DIRECTORY.search(message.text())):
            return found[1]
    return None


def _call(declared: dict[str, Function], role: str, values: dict[str, str]) -> Call | None:
    """The call in the client's own names; None if it declares no such tool."""
    name = next((name for name in TOOLS[role] if name in declared), None)
    if name is None:
        return None
    properties: dict[str, Any] = (declared[name].parameters or {}).get("properties", {})
    named = {
        next((alias for alias in PARAMETERS[key] if alias in properties), None): value for key, value in values.items()
    }
    return Call(name, {alias: value for alias, value in named.items() if alias is not None})
