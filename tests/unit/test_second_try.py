"""Refusals that say which request would have been taken (protocol.md 5.6)."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy_sanic.errors import Broken, ProxyError, Refused
from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.translate.second_try import REPAIRS, Api, repair_of

TOOLS = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function tools,"
    " use /v1/responses or set reasoning_effort to 'none'."
)
ONLY = "This model is only supported in v1/responses and not in v1/chat/completions."
SUMMARY = (
    "Your organization must be verified to generate reasoning summaries. Please go to: the settings and click on "
    "Verify Organization."
)
FOREIGN = (
    "The encrypted content for item rs_68 could not be verified. Reason: Encrypted content could not be decrypted."
)


@pytest.mark.parametrize(
    ("fault", "api", "switches", "lasts"),
    [
        (Refused(TOOLS, status=400), "chat", {"api": "responses"}, True),
        (Refused(f"litellm.BadRequestError: {TOOLS}", status=400), "chat", {"api": "responses"}, True),
        (Refused(ONLY, status=404), "chat", {"api": "responses"}, True),
        (Refused(SUMMARY, status=400), "responses", {"reasoning_summary": False}, True),
        (
            Refused("Encrypted content is not supported with this model.", status=400),
            "responses",
            {"encrypted_reasoning": False},
            True,
        ),
        (Refused(FOREIGN, status=400), "responses", {"encrypted_reasoning": False}, False),
        (
            Refused("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", status=400),
            "messages",
            {"tool_ids": "anthropic"},
            True,
        ),
    ],
)
def test_a_known_wording_names_the_repair(fault: ProxyError, api: Api, switches: dict[str, Any], lasts: bool) -> None:
    repair = repair_of(fault, api)
    assert repair is not None
    assert (repair.switches, repair.lasts) == (switches, lasts)


@pytest.mark.parametrize(
    ("fault", "api"),
    [
        (Refused(ONLY, status=500), "chat"),
        (Refused(ONLY, status=400), "responses"),
        (Refused(SUMMARY, status=400), "chat"),
        (Refused("Function tools are not supported.", status=400), "chat"),
        (Refused("use /v1/responses", status=400), "chat"),
        (Refused("x" * 3_000 + ONLY, status=400), "chat"),
        (Broken(ONLY), "chat"),
    ],
)
def test_anything_else_is_final(fault: ProxyError, api: Api) -> None:
    assert repair_of(fault, api) is None


def test_every_switch_of_a_repair_is_one() -> None:
    assert {name for repair in REPAIRS for name in repair.switches} <= set(Profile.__struct_fields__)
