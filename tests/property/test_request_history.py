"""A conversation is read as if it had never come before, whatever came before it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic.profiles import BUILTIN, builtin
from tests.property import test_request_properties as chat
from tests.property.test_request_memory import CHAT, RESPONSES, TOOLS, outcome
from tests.property.test_responses_request import agents
from tests.support.forgetting import forget

LONG = "A long system prompt. " * 1000
talks = st.lists(st.one_of(chat.messages, agents), min_size=2, max_size=3).map(
    lambda found: [message for talk in found for message in talk]
)


def compact(messages: list[Any], **fields: Any) -> bytes:
    request = {"model": "m", "max_tokens": 64, "system": LONG, **fields, "messages": messages}
    return json.dumps(request, separators=(",", ":")).encode()


@settings(max_examples=120, deadline=None)
@given(
    talk=talks,
    other=st.integers(0, 20),
    fields=st.fixed_dictionaries({}, optional={"tools": st.just(TOOLS[:3]), "stream": st.booleans()}),
    profiles=st.lists(st.sampled_from(BUILTIN.names()).map(builtin), min_size=1, max_size=2),
    api=st.sampled_from([CHAT, RESPONSES]),
    strict=st.booleans(),
)
def test_a_growing_conversation_is_read_as_if_it_was_new(
    talk: list[Any], other: int, fields: Any, profiles: list[Any], api: Any, strict: bool
) -> None:
    forget()
    sizes = [*range(2, len(talk) + 1, 2), len(talk)]
    requests = [compact(talk[:size], **fields) for size in sizes]
    changed = [*talk[: other % len(talk)], {"role": "user", "content": "changed"}, *talk[other % len(talk) :]]
    requests += [compact(changed, **fields), requests[-1]]
    cases = [(raw, profile, api, strict) for raw in requests for profile in profiles]
    warm = [outcome(*case) for case in cases]
    for case, found in zip(cases, warm, strict=True):
        forget()
        assert found == outcome(*case)


@settings(max_examples=200, deadline=None)
@given(talk=talks, at=st.integers(1, 300), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_end_is_what_it_would_be(talk: list[Any], at: int, byte: int, cut: bool) -> None:
    whole = compact(talk)
    damaged = bytearray(whole[:-at] if cut else whole)
    damaged[-at] = byte
    case = (bytes(damaged), builtin("openai"), CHAT, False)
    forget()
    cold = outcome(*case)
    for _ in range(3):
        outcome(whole, *case[1:])
    assert outcome(*case) == cold
    assert outcome(*case) == cold
