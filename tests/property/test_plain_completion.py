"""A completion that is read as the usual one gives the same answer as by the way of all others."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.translate.whole_reply import Reply, message_of, plain_message
from ccproxy_sanic.wire.openai_chat_reply import decode_body
from tests.support.replies import spec

words = st.sampled_from(["Hi", "", " ", "<think>a</think> b", "<b>", "a END b", "naïve"])
maybe = st.none() | words
counts = st.integers(0, 40)
calls = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["c1", "c1", "used", "", None]),
        "function": st.fixed_dictionaries(
            {
                "name": st.sampled_from(["Bash", "long_1", "", None]),
                "arguments": st.sampled_from(['{"a":1}', "{", "", {}]),
            }
        ),
    },
    optional={"extra_content": st.sampled_from([None, {"google": {"thought_signature": "s"}}])},
)
messages = st.fixed_dictionaries(
    {"content": maybe},
    optional={
        "refusal": maybe,
        "reasoning_content": maybe,
        "reasoning": maybe,
        "reasoning_details": st.sampled_from([None, [{"type": "reasoning.encrypted", "data": "d"}]]),
        "tool_calls": st.none() | st.lists(calls, max_size=2),
        "function_call": st.sampled_from([None, None, {"name": "Bash", "arguments": "{}"}]),
    },
)
finishes = st.sampled_from(
    ["stop", "stop", "tool_calls", "length", "content_filter", "LENGTH", "error", "null", "", None]
)
usages = st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts},
    optional={
        "total_tokens": counts,
        "prompt_tokens_details": st.fixed_dictionaries(
            {}, optional={"cached_tokens": counts, "cache_write_tokens": counts}
        ),
        "completion_tokens_details": st.fixed_dictionaries({}, optional={"reasoning_tokens": counts}),
        "prompt_cache_hit_tokens": counts,
        "cached_tokens": counts,
    },
)
usual = st.builds(
    lambda message, finish, usage, tier: {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage,
        "service_tier": tier,
    },
    *(messages, finishes, usages, st.sampled_from([None, "default", "priority"])),
)
# what makes it unusual: another value somewhere
CHOICE = ("choices", 0)
places = st.sampled_from(
    [
        *((name,) for name in ("id", "model", "service_tier", "choices", "usage", "error", "timings", "x_groq", "z")),
        *((*CHOICE, name) for name in ("index", "message", "delta", "finish_reason", "stop_reason", "error", "usage")),
        *((*CHOICE, "message", name) for name in ("content", "refusal", "reasoning", "reasoning_text", "tool_calls")),
        *(("usage", name) for name in ("prompt_tokens", "total_tokens", "prompt_tokens_details", "cached_tokens")),
        ("usage", "completion_tokens_details", "reasoning_tokens"),
        ("choices", 1),
    ]
)
odd = st.sampled_from(
    [None, 0, 5, 2.0, -1, True, "7", "END", "", "é\ud83d", [], ["x"], {}, {"text": "x"}, {"message": "boom"}]
)


def changed(found: Any, place: tuple[Any, ...], value: Any) -> Any:
    """What was found with another value at a place, if there is such a place."""
    if not place:
        return value
    key, rest = place[0], place[1:]
    if isinstance(found, dict) and isinstance(key, str):
        return found | {key: changed(found.get(key, {}), rest, value)}
    if isinstance(found, list) and isinstance(key, int):
        return [*found[:key], *(changed(inner, rest, value) for inner in found[key:] or [{}])]
    return found


completions = st.builds(
    lambda completion, changes: reduce(lambda found, change: changed(found, *change), changes, completion),
    usual,
    st.lists(st.tuples(places, odd), max_size=2),
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "thinking": st.sampled_from(["show", "omit", "drop"]),
        "think_tags": st.booleans(),
        "enforce_stops": st.just(("END",)),
        "stop_sequences": st.just(("END",)),
        "names": st.just({"long_1": "long_name"}),
        "used_tool_ids": st.just(frozenset({"used"})),
    },
)
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
SAID = {"role": "assistant", "content": "Hi"}


def in_full(body: bytes, changes: dict[str, Any]) -> Reply | type[ProxyError]:
    (completion,), _ = decode_body(body)
    try:
        return message_of(completion, spec(**changes))
    except ProxyError as fault:
        return type(fault)


@given(completions, specs)
@example({"choices": [{"message": {"content": "", "refusal": "no"}, "finish_reason": "stop"}], "usage": USAGE}, {})
def test_it_is_the_same_answer(completion: dict[str, Any], changes: dict[str, Any]) -> None:
    body = json.dumps(completion).encode()
    plain = plain_message(body, spec(**changes))
    assert plain is None or plain == in_full(body, changes)


@pytest.mark.parametrize(
    ("said", "more"),
    [
        pytest.param({"refusal": None, "annotations": []}, {"service_tier": "default"}, id="openai"),
        pytest.param({"reasoning_content": "Hm"}, {"system_fingerprint": "fp"}, id="deepseek"),
        pytest.param(
            {"reasoning_content": None, "tool_calls": [], "audio": None}, {"prompt_logprobs": None}, id="vllm"
        ),
        pytest.param(
            {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}, {}, id="openrouter"
        ),
        pytest.param({"tool_calls": [{"id": "c", "function": {"name": "Bash", "arguments": "{}"}}]}, {}, id="a call"),
        pytest.param({}, {"timings": {"prompt_n": 1, "predicted_n": 2}}, id="llama.cpp"),
        pytest.param({}, {"x_groq": {"id": "req_1"}}, id="groq"),
    ],
)
def test_what_servers_send_as_a_rule_is_usual(said: dict[str, Any], more: dict[str, Any]) -> None:
    choice = {"index": 0, "message": SAID | said, "finish_reason": "stop", "logprobs": None, "stop_reason": None}
    body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}).encode()
    assert plain_message(body, spec()) == in_full(body, {})


@pytest.mark.parametrize(
    "completion",
    [
        {"choices": [{"message": SAID, "finish_reason": "error"}], "usage": USAGE},
        {"choices": [{"message": SAID, "finish_reason": "stop", "error": {"message": "boom"}}], "usage": USAGE},
        {"choices": [{"message": SAID}], "usage": USAGE, "error": {"message": "boom"}},
        {"choices": [], "usage": USAGE},
    ],
)
def test_a_failure_is_never_usual(completion: dict[str, Any]) -> None:
    body = json.dumps(completion).encode()
    assert plain_message(body, spec()) is None
    assert isinstance(in_full(body, {}), type)
