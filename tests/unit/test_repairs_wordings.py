"""Refusals as servers really word them, each with what it changes (protocol.md 5.6, peers.md part 4)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ccproxy_sanic.profiles import from_switches
from ccproxy_sanic.translate import faults
from ccproxy_sanic.translate.second_try import cures
from tests.support.refusals import FIELDS, Wording
from tests.support.refusals_of_content import CONTENT

WORDINGS = [*FIELDS, *CONTENT]


def first_cure(wording: Wording) -> Any:
    said = wording.said
    body = {"error": {"message": said, "type": "invalid_request_error"}} if isinstance(said, str) else said
    fault = faults.from_upstream(wording.status, {}, msgspec.json.encode(body), asked=40_000)
    return next(cures(fault, wording.api, from_switches(dict(wording.given))), None)


@pytest.mark.parametrize("wording", WORDINGS, ids=lambda one: f"{one.server}: {str(one.said)[:50]}")
def test_a_known_wording_changes_this(wording: Wording) -> None:
    cure = first_cure(wording)
    assert cure is not None
    assert (cure.switches, cure.lasts) == (wording.made, wording.lasts)


@pytest.mark.parametrize("wording", WORDINGS, ids=lambda one: f"{one.server}: {str(one.said)[:50]}")
def test_what_is_changed_already_is_not_changed_again(wording: Wording) -> None:
    """Else a server that repeats itself would be asked without end."""
    cure = first_cure(wording)
    again = first_cure(wording._replace(given={**wording.given, **cure.switches}))
    assert again is None or again.switches != cure.switches


VAGUE = [
    "Bad Request",
    "Provider returned error",
    "Invalid request",
    "The parameter is invalid.",
    "temperature",
    "Invalid value for temperature",
    "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 200",
    "Missing required parameter: 'messages[1].content'.",
    "messages.0: unknown error",
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
    '"gemma3" does not support tools',
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    "Invalid schema for function 'f': In context=('properties', 'stop'), 'additionalProperties' is required",
    "tools.0.function.parameters.properties.temperature: Extra inputs are not permitted",
    "tools.3.custom.input_examples: Extra inputs are not permitted",
    "Unsupported parameter: 'frobnicate' is not supported with this model.",
    "Unsupported value: 'stream' does not support true with this model.",
    "No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai",
    "x" * 1_000 + "Unsupported parameter: 'temperature' is not supported with this model.",
]


@pytest.mark.parametrize("text", VAGUE)
def test_what_names_nothing_that_is_sent_is_final(text: str) -> None:
    for api in ("chat", "responses", "messages"):
        assert first_cure(Wording("any", text, {}, api=api)) is None  # type: ignore[arg-type]
