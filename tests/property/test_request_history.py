"""A conversation is read as if it had never come before, whatever came before it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import BUILTIN, builtin
from ccproxy_sanic.translate.passthrough_body import body_for
from ccproxy_sanic.wire.anthropic import decode_request
from tests.property import test_request_properties as chat
from tests.property.test_request_memory import CHAT, RESPONSES, TOOLS, outcome
from tests.property.test_responses_request import agents
from tests.support.conversations import LONG, ORDERS, raw
from tests.support.forgetting import forget

talks = st.lists(st.one_of(chat.messages, agents), min_size=2, max_size=3).map(
    lambda found: [message for talk in found for message in talk]
)


def said(request: dict[str, Any], order: str) -> bytes:
    """Long enough to be remembered in any order: by what the first user says, or by the system prompt."""
    talk = [{"role": "user", "content": "long " * 8000}, *request.pop("messages")]
    return raw(talk, order, **{"tools": None, **request})


def marked(messages: list[Any]) -> list[Any]:
    """With a cache mark on the last block of each of the last two users' messages that have blocks."""
    found = json.loads(json.dumps(messages))
    users = [one for one in found if one["role"] == "user" and isinstance(one["content"], list) and one["content"]]
    for one in users[-2:]:
        one["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return found


def seen(body: bytes, *how: Any) -> Any:
    """What is decoded, what leaves for either kind of upstream, and what answers must know, or the refusal."""
    profile, api, strict = how
    try:
        request: Any = decode_request(body)
    except InvalidRequest as refusal:
        return refusal.message
    names = [name for name in request.__struct_fields__ if name not in ("beginning", "rest")]
    passed = [body_for(body, "up", own_ids=strict, beginning=beginning) for beginning in (request.beginning, None)]
    assert passed[0] == passed[1]
    assert body_for(body, "up", own_ids=strict, beginning=request.beginning) == passed[0]
    return [getattr(request, name) for name in names], outcome(body, profile, api, strict), passed


fields = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.sampled_from([TOOLS[:3], TOOLS[:3][::-1], TOOLS[:1]]),
        "system": st.sampled_from(["short", LONG, [{"type": "text", "text": "x-anthropic-billing-header: a"}], None]),
        "model": st.sampled_from(["m", "n"]),
        "max_tokens": st.sampled_from([64, 65]),
        "stream": st.booleans(),
        "context_management": st.just({"edits": []}),
        "tool_choice": st.just({"type": "auto"}),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    talk=talks,
    other=st.integers(0, 20),
    first=fields,
    later=fields,
    order=st.sampled_from([*ORDERS]),
    profiles=st.lists(st.sampled_from(BUILTIN.names()).map(builtin), min_size=1, max_size=2),
    api=st.sampled_from([CHAT, RESPONSES]),
    strict=st.booleans(),
)
def test_a_growing_conversation_is_read_as_if_it_was_new(
    talk: list[Any], other: int, first: Any, later: Any, order: str, profiles: list[Any], api: Any, strict: bool
) -> None:
    forget()
    sizes = [*range(2, len(talk) + 1, 2), len(talk)]
    requests = [said({"messages": marked(talk[:size]), **first}, order) for size in sizes]
    changed = [*talk[: other % len(talk)], {"role": "user", "content": "changed"}, *talk[other % len(talk) :]]
    requests += [said({"messages": messages, **later}, order) for messages in (talk, changed, talk)]
    requests += [requests[-1], requests[len(sizes) - 1]]
    cases = [(body, profile, api, strict) for body in requests for profile in profiles]
    warm = [seen(*case) for case in cases]
    for case, found in zip(cases, warm, strict=True):
        forget()
        assert found == seen(*case)


PIECES = [
    *(b'"', b"]", b"}", b",", b"[", b"{", b"\\", b"\xff", b" ", b"0", b'"a":1,', b'"rest":[],', b"]}", b"[]"),
    *(b'"messages":[],', b'"messages":[{"role":"user","content":"x"}],', b',{"role":"user","content":"x"}'),
    *(b'"system":"x",', b'"tools":[],', b'"model":"n",', b'"max_tokens":1,', b'],"b":[1', b'},{"role":"assistant"'),
]


@settings(max_examples=400, deadline=None)
@given(
    talk=talks,
    order=st.sampled_from([*ORDERS]),
    at=st.one_of(st.integers(0, 600), st.floats(0, 1)),
    cut=st.integers(0, 5),
    piece=st.sampled_from(PIECES) | st.binary(max_size=2),
)
def test_what_is_damaged_or_changed_anywhere_is_what_it_would_be(
    talk: list[Any], order: str, at: float, cut: int, piece: bytes
) -> None:
    whole = said({"messages": [*talk, *talk[-2:]], "stream": True}, order)
    place = int(at * len(whole)) if isinstance(at, float) else len(whole) - at
    if order != "last" and not isinstance(at, float):  # around the end of the messages
        place = whole.index(b'"system"') + 100 - at
    damaged = whole[:place] + piece + whole[place + cut :]
    how = builtin("openai"), CHAT, False
    forget()
    cold = seen(damaged, *how)
    forget()
    for _ in range(3):
        seen(whole, *how)
    assert seen(damaged, *how) == cold
    assert seen(damaged, *how) == cold
