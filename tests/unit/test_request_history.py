"""A conversation that came before: its beginning is translated once, and nothing tells whether it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import builtin, from_switches
from ccproxy_sanic.translate import carrier
from ccproxy_sanic.translate.passthrough_body import body_for
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire import openai_chat, openai_responses
from ccproxy_sanic.wire.anthropic import decode_request
from tests.support.conversations import ORDERS, raw, turns
from tests.support.forgetting import forget
from tests.support.translation import assistant, result, system, text, use, user

OPENAI = builtin("openai")
OURS = carrier.sign(b"key", "openai", "gpt", "plain", "")


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    forget()
    yield
    forget()


def known(request: bytes) -> Any:
    """The request, after it came often enough to be known."""
    for _ in range(2):
        sent(decode_request(request))
    return decode_request(request)


def sent(request: Any) -> bytes:
    """What leaves, or the refusal."""
    try:
        return openai_chat.encode(to_chat(request, model="m", profile=OPENAI).request)
    except InvalidRequest as refusal:
        return refusal.message.encode()


def cold(request: bytes) -> bytes:
    forget()
    return sent(decode_request(request))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("more", [0, 1, 3])
def test_the_same_bytes_leave(order: str, more: int) -> None:
    known(raw(turns(9 - more, size=20_000), order))
    whole = raw(turns(9, size=20_000), order)
    request = decode_request(whole)
    assert request.beginning is not None
    assert request.beginning.made
    warm = sent(request)
    assert warm == cold(whole)
    assert len(json.loads(warm)["messages"]) == 20


@pytest.mark.parametrize("profile", ["openai", "mistral", "gemini", "openrouter"])
@pytest.mark.parametrize("api", [to_chat, to_responses])
def test_what_stands_behind_the_messages_may_change(profile: str, api: Any) -> None:
    """Where tools and system prompt follow, one beginning serves them all: renamed tools, instructions, marks."""
    odd = "an odd name" * 8
    calls = [assistant(use("toolu_x", odd)), user(result("toolu_x"))]
    talk = [*turns(6, size=20_000), *calls, system("told"), *turns(4, 6, size=20_000)]
    marked = [text("prompt", cache_control={"type": "ephemeral"}), text("x-anthropic-billing-header: a\nb")]
    schema = {"type": "object", "properties": {"at": {"type": "string", "const": "c"}}}
    others: list[dict[str, Any]] = [
        {},
        {"system": None},
        {"system": marked},
        {"tools": None},
        {"tools": [{"name": odd.replace(" ", "_")[:64], "input_schema": schema}, {"name": "f", "defer_loading": True}]},
        {"tools": [{"name": "get_weather", "input_schema": schema}], "tool_choice": {"type": "any"}},
        {"model": "n", "max_tokens": 5, "stream": True, "stop_sequences": ["x"], "temperature": 0.5},
    ]
    encode: Any = openai_chat.encode if api is to_chat else openai_responses.encode

    def outcome(fields: dict[str, Any]) -> Any:
        request: Any = decode_request(raw(talk, "claude-code", **fields))
        done = api(request, model="m", profile=builtin(profile))
        return request.beginning, (encode(done.request), done.adjustments, done.names, done.used_tool_ids, done.tools)

    for _ in range(2):
        outcome({})
    found = [outcome(fields) for fields in [*others, *others]]
    assert found[0][0] is not None
    assert [beginning is found[0][0] for beginning, _ in found] == [*[True] * 6, False] * 2  # the model stands before
    for fields, (_, warm) in zip([*others, *others], found, strict=True):
        forget()
        assert warm == outcome(fields)[1]


@pytest.mark.parametrize(
    "said",
    [
        [assistant(text(" ")), user("and")],  # of this turn nothing is left: it does not divide what is around it
        [assistant(), user("and")],
        [assistant("a"), assistant("b"), user("and")],
        [assistant("a"), user("x"), system("cleared", clear_at="next_user_message"), assistant("b"), user("and")],
        [assistant("a"), system("told"), user("and")],
        [assistant(use("c1")), user(result("other")), assistant("b"), user("x")],
        [assistant(use("c1")), user("x"), assistant("b"), user("x")],
    ],
)
@pytest.mark.parametrize("behind", range(4))
def test_wherever_it_ends(said: list[Any], behind: int) -> None:
    conversation = [*turns(5), *said, *turns(behind, 5)]
    requests = [raw(conversation[:size]) for size in range(10, len(conversation) + 1)]
    warm = [sent(known(request)) for request in requests]
    assert warm == [cold(request) for request in requests]


def outcomes(messages: list[Any], **asked: Any) -> tuple[list[Any], Any]:
    """What comes out again and again, and what comes out of the same when nothing is known."""

    def outcome() -> Any:
        try:
            done = to_chat(decode_request(raw(messages)), model="m", **asked)
        except InvalidRequest as refusal:
            return refusal.message
        return openai_chat.encode(done.request), done.adjustments, done.names, done.used_tool_ids

    warm = [outcome() for _ in range(4)]
    forget()
    return warm, outcome()


@pytest.mark.parametrize("mid_system", ["hoist", "stay", "user"])
def test_system_messages_in_it_go_where_they_went(mid_system: str) -> None:
    talk = [user("begin"), system("one"), *turns(3, 1), system("two"), *turns(3, 4)]
    warm, alone = outcomes(talk, profile=from_switches({"mid_system": mid_system}))
    assert warm == [alone] * 4
    assert alone[0].count(b"one") == alone[0].count(b"two") == 1


@pytest.mark.parametrize("profile", ["openai-breakpoints", "openrouter"])
def test_cache_marks_are_counted_in_all_of_it(profile: str) -> None:
    marked = [user(text("x", cache_control={"type": "ephemeral"})), assistant("y")]
    warm, alone = outcomes([*marked * 7, user("on")], profile=builtin(profile))
    assert warm == [alone] * 4


def test_what_is_mended_for_one_is_refused_for_who_is_strict() -> None:
    request = known(raw([user("begin"), assistant(use("lost")), user("x"), *turns(6, 1)]))
    assert request.beginning.made
    assert b"(no result)" in sent(request)
    with pytest.raises(InvalidRequest, match="without `tool_result` blocks"):
        to_chat(request, model="m", profile=OPENAI, strict=True)


def test_each_upstream_has_its_own_reading() -> None:
    request = known(raw(turns(6)))
    others = [builtin(name) for name in ("deepseek", "mistral", "gemini", "openrouter", "ollama", "generic")]
    for _ in range(2):
        for profile in others:
            warm = openai_chat.encode(to_chat(request, model="m", profile=profile).request)
            forget()
            fresh = decode_request(raw(turns(6)))
            assert warm == openai_chat.encode(to_chat(fresh, model="m", profile=profile).request)
    assert 0 < len(request.beginning.made) <= 5


def test_the_responses_api_reads_it_once_too() -> None:
    request, profile = known(raw(turns(6))), builtin("openai-reasoning")
    before = set(request.beginning.made)
    found = [openai_responses.encode(to_responses(request, model="m", profile=profile).request) for _ in range(3)]
    assert len(set(request.beginning.made) - before) == 1
    forget()
    fresh = to_responses(decode_request(raw(turns(6))), model="m", profile=profile)
    assert set(found) == {openai_responses.encode(fresh.request)}


FOREIGN = [assistant(use("functions.f:0")), user(result("functions.f:0"))]
THOUGHT = [assistant({"type": "thinking", "thinking": "hm", "signature": OURS}, text("so")), user("on")]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("end", [[user("on")], FOREIGN, THOUGHT])
@pytest.mark.parametrize("start", [[user("begin")], [user("ppx1.")], [user("x"), *FOREIGN], [user("x"), *THOUGHT]])
def test_a_known_beginning_passes_through_in_the_same_bytes(start: list[Any], end: list[Any], order: str) -> None:
    talk = [*start, *turns(6, 1, size=20_000)]
    for messages in (talk, [*talk, *end], [*talk, *turns(1, 7), *end]):
        request = raw(messages, order, stream=True)
        beginning = known(request).beginning
        assert beginning is not None
        for own_ids in (False, True, False, True):
            alone = body_for(request, "up", own_ids=own_ids)
            assert body_for(request, "up", own_ids=own_ids, beginning=beginning) == alone


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "change",
    [
        (b'"max_tokens":64', b'"max_tokens":64,"model":"n"'),
        (b'"system":', b'"mod\\u0065l":"n","system":'),
        (b'"tools":', b'"model":"n","tools":'),
        (b'"content":"begin"', b'"content":"begin","model":"n"'),
        (b'"content":"so long"', b'"content":"so long","model":"n"'),
        (b'"content":"so long"', b'"content":[{"type":"tool_use","id":"a.b","name":"f","input":{"model":"n"}}]'),
        (b'"stream":true', b'"stream":true,"metadata":{"user_id":"ppx1."}'),
        (b'"stream":true', b'"stream":false'),
        (b'"model":"m"', b'"model" : "another"'),
    ],
)
def test_what_is_changed_around_a_known_beginning_passes_through_too(order: str, change: tuple[bytes, bytes]) -> None:
    plain = raw([*turns(9, size=20_000), assistant("so long"), user("on")], order, stream=True)
    changed = plain.replace(*change)
    assert changed != plain
    for request in (plain, changed, plain, plain, changed, changed, changed, plain, changed):
        found: Any = decode_request(request)
        alone = body_for(request, "up")
        assert body_for(request, "up", beginning=found.beginning) == alone


def test_what_carried_thoughts_mean_is_each_upstreams_own() -> None:
    hidden = assistant({"type": "thinking", "thinking": "", "signature": OURS}, text("so"))
    talk, profile = raw([user("begin"), hidden, *turns(6)]), builtin("deepseek")
    request = known(talk)
    openers = [lambda _: ("plain", "one"), lambda _: ("plain", "two"), None]
    found = [
        openai_chat.encode(to_chat(request, model="m", profile=profile, unsign=opener).request)
        for opener in openers * 2
    ]
    assert found[:3] == found[3:]
    forget()
    fresh = decode_request(talk)
    assert len(set(found)) == 3
    assert found[:3] == [
        openai_chat.encode(to_chat(fresh, model="m", profile=profile, unsign=opener).request) for opener in openers
    ]


def test_what_is_said_of_tools_behind_it_holds() -> None:
    beginning = known(raw(turns(6)))
    assert not beginning.special
    removed = {"type": "tool_removal", "tool": {"name": "get_weather"}}
    request = decode_request(raw([*turns(6), assistant("so"), user(text("x"), removed)]))
    assert request.beginning is beginning.beginning is not None
    assert to_chat(request, model="m", profile=OPENAI).tools == frozenset()
