"""Every golden Responses request: our translation of it, and both SDKs' own types on either side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from pydantic import TypeAdapter

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import resolve
from tests.support.translation_responses import check_types, respond, wire

CASES = sorted((Path(__file__).parents[1] / "data" / "responses" / "request").glob("*.json"))
WHOLE, STREAMED = TypeAdapter(MessageCreateParamsNonStreaming), TypeAdapter(MessageCreateParamsStreaming)


def exhaust(value: Any) -> None:
    """pydantic checks iterables only while they are read."""
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for inner in value:
            exhaust(inner)


def test_there_are_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_responses_request_case(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    asked = case["anthropic"]
    exhaust((STREAMED if asked.get("stream") else WHOLE).validate_python(asked))
    profile = resolve(case["at"], asked["model"]) if "at" in case else case["profile"]
    carriers = {signature: (kind, data) for signature, (kind, data) in case.get("carriers", {}).items()}
    more = {"strict": case.get("strict", False), "session": case.get("session"), "carriers": carriers}
    if "error" in case:
        with pytest.raises(InvalidRequest) as caught:
            respond(asked, profile, **more)
        assert caught.value.message == case["error"]
        return
    check_types(case["responses"])
    done = respond(asked, profile, **more)
    assert wire(done) == case["responses"]
    assert [f"{one.code} {one.path}" for one in done.adjustments] == case.get("adjustments", [])
