"""Every golden request case, of our own copy and of the shared folder where that exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import BUILTIN
from tests.support.translation import translate, wire

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "tests" / "data" / "vectors" / "request", ROOT.parent / "shared" / "vectors" / "request")
CASES = [path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.glob("*.json"))]
# Wording is compared only where clients act on it or the protocol page quotes it (README of the cases).
QUOTED = (
    *("Field required", "at least one message is required", "Input should be 'user' or 'assistant'", "range: 0..1"),
    *('first message must use the "user" role', "`tool_use` ids were found", "unexpected `tool_use_id`"),
    *("assistant message prefill", "tool_use ids must be unique", "budget_tokens", "Tool names must be unique"),
    *("must contain non-whitespace", "Thinking may not be enabled", "mcp_servers is not supported"),
)


def normal(request: dict[str, Any]) -> dict[str, Any]:
    for message in request["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return request


def test_there_are_cases() -> None:
    assert len(CASES) >= 27


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_request_case(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    profile = case.get("profile") or "openai"
    if isinstance(profile, str) and profile not in BUILTIN.names():
        pytest.xfail(f"there is no profile {profile} yet")
    if "error" in case:
        with pytest.raises(InvalidRequest) as caught:
            translate(case["anthropic"], profile, strict=case.get("strict", False))
        if any(words in case["error"] for words in QUOTED):
            assert caught.value.message == case["error"]
        return
    done = translate(case["anthropic"], profile, strict=case.get("strict", False))
    assert normal(wire(done)) == normal(case["openai"])
    assert done.adjustments or not case.get("warnings")
