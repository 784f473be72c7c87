"""The tables of protocol.md 3.2 and 3.3, row by row, in both ways of asking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.translate import stop, usage
from ccproxy_sanic.translate.response import to_message
from ccproxy_sanic.translate.stop import Finish
from tests.support.replies import DONE, chunk, message, spec

CALL = {"index": 0, "id": "c1", "function": {"name": "Bash", "arguments": "{}"}}
FILTERED = {"type": "refusal", "category": None, "explanation": "The upstream content filter stopped this response."}


def both(said: dict[str, Any], choice: dict[str, Any], more: dict[str, Any] | None = None, **changes: Any) -> Any:
    """The message of a stream and of a whole answer, which must be the same but for the service tier."""
    top = more or {}
    streamed = message([chunk(said), {"choices": [{"index": 0, "delta": {}, **choice}], **top}, DONE], **changes)
    body = {"choices": [{"index": 0, "message": said, **choice}], **top}
    whole = json.loads(to_message(json.dumps(body).encode(), spec(**changes)).message)
    tier = whole["usage"].pop("service_tier", None)
    assert streamed == whole
    return whole | {"tier": tier}


@pytest.mark.parametrize(
    ("finish", "plain", "with_call"),
    [
        ("stop", "end_turn", "tool_use"),
        ("tool_calls", "end_turn", "tool_use"),
        ("function_call", "end_turn", "tool_use"),
        ("load", "end_turn", "tool_use"),
        ("abort", "end_turn", "tool_use"),
        ("eos", "end_turn", "tool_use"),
        ("end_turn", "end_turn", "tool_use"),
        ("null", "end_turn", "tool_use"),
        ("None", "end_turn", "tool_use"),
        ("", "end_turn", "tool_use"),
        (None, "end_turn", "tool_use"),
        ("never seen", "end_turn", "tool_use"),
        ("length", "max_tokens", "max_tokens"),
        ("MAX_TOKENS", "max_tokens", "max_tokens"),
        ("model_length", "model_context_window_exceeded", "model_context_window_exceeded"),
        ("model_context_window_exceeded", "model_context_window_exceeded", "model_context_window_exceeded"),
        ("content_filter", "refusal", "refusal"),
        ("SAFETY", "refusal", "refusal"),
        ("RECITATION", "refusal", "refusal"),
        ("BLOCKLIST", "refusal", "refusal"),
        ("PROHIBITED_CONTENT", "refusal", "refusal"),
        ("SPII", "refusal", "refusal"),
        ("IMAGE_SAFETY", "refusal", "refusal"),
        ("sensitive", "refusal", "refusal"),
        ("refusal", "refusal", "refusal"),
    ],
)
def test_finish_reasons(finish: str | None, plain: str, with_call: str) -> None:
    out = both({"content": "a"}, {"finish_reason": finish})
    assert out["stop_reason"] == plain
    assert out["stop_details"] == (FILTERED if plain == "refusal" else None)
    assert both({"tool_calls": [CALL]}, {"finish_reason": finish})["stop_reason"] == with_call


def test_every_row_of_the_table_is_tested_here() -> None:
    (mark,) = test_finish_reasons.pytestmark  # type: ignore[attr-defined]
    tested = {row[0].lower() for row in mark.args[1] if row[0]}
    faulty = {name for name, finish in stop.FINISH.items() if finish in (Finish.ERROR, Finish.OVERLOADED)}
    assert set(stop.FINISH) <= tested | faulty
    assert faulty == {"error", "network_error", "insufficient_system_resource"}


def test_a_call_that_was_not_usable_does_not_count() -> None:
    nameless = {"index": 0, "function": {"arguments": "{}"}}
    assert both({"tool_calls": [nameless]}, {"finish_reason": "tool_calls"})["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("choice", "sequence"),
    [
        ({"stop_reason": "END"}, "END"),
        ({"matched_stop": "END"}, "END"),
        ({"stop_reason": None, "matched_stop": "END"}, "END"),
        ({"stop_reason": 128_009}, None),
        ({"matched_stop": [1]}, None),
        ({"stop_reason": "<|im_end|>"}, None),
        ({}, None),
    ],
)
def test_a_named_stop_sequence(choice: dict[str, Any], sequence: str | None) -> None:
    out = both({"content": "a"}, {"finish_reason": "stop", **choice}, stop_sequences=("END", "FIN"))
    assert (out["stop_reason"], out["stop_sequence"]) == ("stop_sequence" if sequence else "end_turn", sequence)


def test_precedence() -> None:
    named = {"stop_reason": "END"}
    both_said = {"content": "a", "refusal": "No", "tool_calls": [CALL]}

    def reason(said: dict[str, Any], choice: dict[str, Any]) -> tuple[Any, ...]:
        out = both(said, choice, stop_sequences=("END",))
        return out["stop_reason"], out["stop_sequence"]

    for finish in ("content_filter", "length", "stop"):
        streamed = message([chunk(both_said), chunk(finish=finish), DONE])
        assert streamed["stop_details"]["explanation"] == "No"
    said = {"content": "a", "tool_calls": [CALL]}
    assert reason(said, {"finish_reason": "content_filter", **named}) == ("refusal", None)
    assert reason(said, {"finish_reason": "length", **named}) == ("max_tokens", None)
    assert reason(said, {"finish_reason": "model_length", **named}) == ("model_context_window_exceeded", None)
    assert reason(said, {"finish_reason": "stop", **named}) == ("tool_use", None)
    assert reason({"content": "a"}, {"finish_reason": "stop", **named}) == ("stop_sequence", "END")


@pytest.mark.parametrize("first", ["length", "stop"])
def test_of_two_finish_reasons_the_graver_one_counts(first: str) -> None:
    second = {"length": "stop", "stop": "length"}[first]
    chunks = [chunk({"content": "a"}), chunk(finish=first), chunk(finish=second), DONE]
    assert message(chunks)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 2}}, (9, 0, 0, 2, None)),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}}, (5, 0, 4, 0, None)),
        (
            {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}}},
            (2, 3, 4, 0, None),
        ),
        ({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}}, (0, 0, 4, 0, None)),
        (
            {"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 5}},
            (5, 0, 4, 0, None),
        ),
        ({"usage": {"prompt_tokens": 9, "cached_tokens": 4}}, (5, 0, 4, 0, None)),
        (
            {"usage": {"completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 15}}},
            (0, 0, 0, 20, 15),
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 2,
                    "total_tokens": 26,
                    "completion_tokens_details": {"reasoning_tokens": 15},
                }
            },
            (9, 0, 0, 17, 15),
        ),
        ({"usage": {"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 0}}}, (0, 0, 0, 2, None)),
        ({"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}}, (9, 0, 0, 2, None)),
        ({"timings": {"prompt_n": 9, "predicted_n": 2, "cache_n": 4}}, (9, 0, 4, 2, None)),
        ({"timings": {"predicted_ms": 1.5}}, (0, 0, 0, 0, None)),
        ({"prompt_eval_count": 9, "eval_count": 2}, (9, 0, 0, 2, None)),
        ({"eval_count": 2}, (0, 0, 0, 2, None)),
        ({"usage": {"prompt_tokens": "9", "completion_tokens": 2.0}}, (9, 0, 0, 2, None)),
        ({"usage": {"prompt_tokens": "x", "completion_tokens": -2, "prompt_tokens_details": 5}}, (0, 0, 0, 0, None)),
        ({"usage": {"prompt_tokens": True, "completion_tokens": None}}, (0, 0, 0, 0, None)),
        ({"usage": {}}, (0, 0, 0, 0, None)),
        ({"usage": None}, (0, 0, 0, 0, None)),
        ({"usage": {"prompt_tokens": 1}, "timings": {"prompt_n": 9, "predicted_n": 2}}, (1, 0, 0, 0, None)),
    ],
)
def test_usage(more: dict[str, Any], counts: tuple[Any, ...]) -> None:
    found = both({"content": "a"}, {"finish_reason": "stop"}, more)["usage"]
    fresh, written, cached, output, thinking = counts
    expected = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": output,
    }
    if thinking is not None:
        expected["output_tokens_details"] = {"thinking_tokens": thinking}
    assert found == expected


def test_usage_inside_the_choice() -> None:
    choice = {"finish_reason": "stop", "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    assert both({"content": "a"}, choice)["usage"]["input_tokens"] == 9


def test_fallbacks_never_replace_what_was_reported() -> None:
    chunks = [
        chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": 2}),
        chunk(finish="stop", timings={"prompt_n": 1, "predicted_n": 1}),
        DONE,
    ]
    assert message(chunks)["usage"]["input_tokens"] == 9


@pytest.mark.parametrize(
    ("upstream", "ours"),
    [
        ("priority", "priority"),
        ("fast", "priority"),
        ("default", "standard"),
        ("flex", "standard"),
        ("", None),
        (None, None),
    ],
)
def test_service_tier(upstream: str | None, ours: str | None) -> None:
    more = {"service_tier": upstream, "usage": {"prompt_tokens": 1}}
    assert both({"content": "a"}, {"finish_reason": "stop"}, more)["tier"] == ours


def test_a_number_too_large_to_be_one_counts_as_none() -> None:
    assert usage.read({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, None).input_tokens == 0


@pytest.mark.parametrize(
    ("said", "usd"),
    [(0.25, 0.25), (0, 0.0), (3, 3.0), (None, None), (-1.0, None), (True, None), ("0.25", None), (1e9, None)],
)
def test_an_upstream_that_says_what_it_costs_is_believed_within_reason(said: Any, usd: float | None) -> None:
    counts = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "cost": said}
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]}
    assert to_message(json.dumps(whole | {"usage": counts}).encode(), spec()).usage.cost == usd
    assert usage.read(counts, None).cost == usage.read_responses(counts, None).cost == usd
    assert "cost" not in both({"content": "a"}, {"finish_reason": "stop"}, {"usage": counts})["usage"]
