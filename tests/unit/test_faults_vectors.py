"""Every golden case of an upstream error, byte for byte what a client gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ccproxy_sanic.errors import as_response
from ccproxy_sanic.translate.faults import from_upstream

_OWN = Path(__file__).parents[1] / "data" / "vectors" / "error"
_SHARED = Path(__file__).parents[3] / "shared" / "vectors" / "error"
CASES = [*sorted(_OWN.glob("*.json")), *sorted(_SHARED.glob("*.json"))]


def test_there_are_cases() -> None:
    assert any(path.parent == _OWN for path in CASES)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parents[2].name}-{path.stem}")
def test_an_upstream_error_becomes_the_golden_answer(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_bytes())
    upstream, wanted = case["upstream"], case["anthropic"]
    body = upstream["body"].encode() if isinstance(upstream["body"], str) else msgspec.json.encode(upstream["body"])
    error = from_upstream(upstream["status"], upstream["headers"], body)
    status, headers, answer = as_response(error, "req_X")
    assert (status, headers, json.loads(answer)) == (wanted["status"], wanted["headers"], wanted["body"])
