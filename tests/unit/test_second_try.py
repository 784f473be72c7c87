"""Refusals that say which request would have been taken (protocol.md 5.6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.errors import Broken, PromptTooLong, ProxyError, Refused, Throttled
from ccproxy_sanic.profiles import BUILTIN, GENERIC, Profile, from_switches
from ccproxy_sanic.translate.adjustments import render
from ccproxy_sanic.translate.effort_repairs import LADDER, narrowed
from ccproxy_sanic.translate.repairs import REPAIRS, Api
from ccproxy_sanic.translate.second_try import Cure, cures, noted

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
TEMPERATURE = "Unsupported parameter: 'temperature' is not supported with this model."
PLAIN = from_switches({})


def first(fault: ProxyError, api: Api, profile: Profile = PLAIN, *, forced: bool = False) -> Cure | None:
    return next(cures(fault, api, profile, forced=forced), None)


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
    cure = first(fault, api)
    assert cure is not None
    assert (cure.switches, cure.lasts) == (switches, lasts)


@pytest.mark.parametrize(
    ("fault", "api"),
    [
        (Refused(ONLY, status=500), "chat"),
        (Refused(ONLY, status=400), "responses"),
        (Refused(SUMMARY, status=400), "chat"),
        (Refused("Function tools are not supported.", status=400), "chat"),
        (Refused("use /v1/responses", status=400), "chat"),
        (Refused("x" * 3_000 + ONLY, status=400), "chat"),
        (Refused(TEMPERATURE, status=400), "messages"),
        (Refused(TEMPERATURE, status=500), "chat"),
        (Refused(TEMPERATURE, status=403), "chat"),
        (Throttled(TEMPERATURE), "chat"),
        (Broken(ONLY), "chat"),
    ],
)
def test_anything_else_is_final(fault: ProxyError, api: Api) -> None:
    assert first(fault, api) is None


def test_who_forces_chat_gets_no_reasoning_beside_tools() -> None:
    """The other way out that the same words name."""
    cure = first(Refused(TOOLS, status=400), "chat", forced=True)
    assert cure is not None
    assert cure.switches == {"effort_with_tools": "none", "effort": {"none": {"reasoning_effort": "none"}}}


def test_an_answer_that_would_have_hardly_any_room_is_not_asked_for() -> None:
    """The client has to know that its conversation is too long."""
    words = "input length and `max_tokens` exceed context limit: {} + 20000 > 32768, decrease input length"
    roomy, tight = (PromptTooLong(words.format(prompt)) for prompt in (31_744, 31_745))
    cure = first(roomy, "chat")
    assert cure is not None
    assert (cure.switches, cure.lasts) == ({"max_output": 1024}, False)
    assert first(tight, "chat") is None


def test_all_fields_that_a_text_names_are_one_repair() -> None:
    text = "temperature: Extra inputs are not permitted; stream_options: Extra inputs are not permitted; x: no"
    cure = first(Refused(text, status=400), "chat")
    assert cure == Cure("temperature+stream_options", {"temperature": False, "stream_options": False})


def test_every_switch_of_a_repair_is_one() -> None:
    fixed = [repair.switches for repair in REPAIRS if not callable(repair.switches)]
    assert {name for switches in fixed for name in switches} <= set(Profile.__struct_fields__)


def test_a_repair_is_told_to_the_client() -> None:
    told = noted([Cure("temperature", {"temperature": False}), Cure("max_output", {"max_output": 7})])
    assert render(told, 9) == "request_repaired=temperature, request_repaired=max_output"


WORDS = st.sampled_from(["none", *LADDER, "default"])


@given(st.sets(WORDS, min_size=1), st.dictionaries(WORDS, WORDS))
def test_a_narrowed_table_says_only_what_is_allowed_and_keeps_no_reasoning_low(
    allowed: set[str], levels: dict[str, str]
) -> None:
    table = {level: {"reasoning_effort": word, "more": 1} for level, word in levels.items()}
    rows = narrowed(table, allowed)
    assert {row["reasoning_effort"] for row in rows.values()} <= allowed
    assert all(row["more"] == 1 for row in rows.values())
    for level, word in levels.items():
        if word == "none" and level in rows:
            assert rows[level]["reasoning_effort"] in ("none", "minimal")
        if word in allowed:
            assert rows[level] == table[level]


@given(st.text(max_size=300), st.sampled_from(["chat", "responses", "messages"]), st.sampled_from([400, 404, 500]))
def test_no_text_breaks_it_and_every_cure_makes_a_profile(text: str, api: Api, status: int) -> None:
    for prefix in (
        "",
        "Unsupported parameter: ",
        "max_tokens: 9 > 3, which is the maximum ",
        "reasoning_effort must be one of ",
    ):
        for cure in cures(Refused(prefix + text, status=status), api, PLAIN):
            BUILTIN.finished(GENERIC, dict(cure.switches))
            msgspec.structs.replace(PLAIN, **cure.switches)
