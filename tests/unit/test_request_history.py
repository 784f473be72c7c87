"""A conversation that came before: its beginning is decoded and translated once, and nothing tells whether it was."""

from __future__ import annotations

import gc
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import builtin, from_switches
from ccproxy_sanic.translate import carrier
from ccproxy_sanic.translate.passthrough_body import body_for
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire import openai_chat, openai_responses
from ccproxy_sanic.wire.anthropic import BEGINNINGS, GROWTH, beginnings, decode_count_request, decode_request
from tests.support.forgetting import forget
from tests.support.translation import WEATHER, assistant, result, system, text, use, user

LONG = "A long system prompt. " * 1000
OPENAI = builtin("openai")
OURS = carrier.sign(b"key", "openai", "gpt", "plain", "")


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    forget()
    yield
    forget()


def turns(count: int, start: int = 0) -> list[Any]:
    found: list[Any] = [] if start else [user("begin")]
    for number in range(start, start + count):
        call = f"toolu_{number}"
        found += [assistant(text("so"), use(call, "get_weather", at=number)), user(result(call, f"{number} \\ é"))]
    return found


def raw(messages: list[Any], **fields: Any) -> bytes:
    """As Claude Code writes it: compact, messages last."""
    request = {"model": "m", "max_tokens": 64, "system": LONG, "tools": [WEATHER], **fields, "messages": messages}
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()


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


def test_the_beginning_is_read_once() -> None:
    first = known(raw(turns(5)))
    longer = decode_request(raw([*turns(5), *turns(2, 5)]))
    assert first.beginning is longer.beginning is not None
    assert longer.beginning.count == 7  # two assistant messages, and what is behind them, are left out
    same = [one is other for one, other in zip(first.messages, longer.messages, strict=False)]
    assert same == [True] * 7 + [False] * 4
    assert len(longer.messages) == 15
    assert longer.tools is first.tools


def test_what_comes_once_is_not_remembered() -> None:
    assert decode_request(raw(turns(5))).beginning is None
    assert decode_request(raw(turns(5))).beginning is not None


@pytest.mark.parametrize("more", [0, 1, 3])
def test_the_same_bytes_leave(more: int) -> None:
    known(raw(turns(9 - more)))
    request = decode_request(raw(turns(9)))
    assert request.beginning is not None
    assert request.beginning.made
    warm = sent(request)
    assert warm == cold(raw(turns(9)))
    assert len(json.loads(warm)["messages"]) == 20


def test_more_is_remembered_when_a_conversation_has_grown() -> None:
    counts = []
    for size in range(4, 24):
        request = decode_request(raw(turns(size)))
        sent(request)
        counts.append(request.beginning.count if request.beginning else 0)
        assert 0 <= len(request.messages) - counts[-1] <= GROWTH or not counts[-1]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert beginnings.find(raw(turns(4))) is None  # what it was is forgotten


@pytest.mark.parametrize(
    "end",
    [
        b',{"role":"user"}]}',
        b',{"role":"user","content":[{"type":"text"}]}]}',
        b',{"role":"user","content":5}]}',
        b",5]}",
        b",]}",
        b"]",
        b"]}}",
        b"]]}",
        b',{"role":"user","content":"\xff"}]}',
        b',{"role":"user","content":"\\ud800"},]}',
        b'],"max_tokens":"x","stop_sequences":[]}',
    ],
)
def test_what_is_wrong_behind_a_known_beginning_is_said_as_ever(end: bytes) -> None:
    damaged = raw(turns(6))[:-2] + end
    with pytest.raises(InvalidRequest) as first:
        decode_request(damaged)
    assert known(raw(turns(6))).beginning is not None
    with pytest.raises(InvalidRequest) as again:
        decode_request(damaged)
    assert first.value.message == again.value.message


@pytest.mark.parametrize(
    "end",
    [
        b'],"messages":[{"role":"user","content":"only this"}]}',
        b'],"max_tokens":5,"extra":[]}',
        b'],"extra":[{"a":1},{"role":"assistant","content":"no message"}]}',
        b',{"role":"user","content":"\\ud800"}]}',
        b',{"role":"user","content":[{"type":"hologram","text":5}]}]}',
        b' ,{"role":"user","content":"on"} ] }\n',
    ],
)
def test_what_is_unusual_behind_a_known_beginning_is_read_as_ever(end: bytes) -> None:
    unusual = raw(turns(6))[:-2] + end
    first = decode_request(unusual)
    assert known(raw(turns(6))).beginning is not None
    again = decode_request(unusual)
    assert msgspec.json.encode(first.messages) == msgspec.json.encode(again.messages)
    assert (first.max_tokens, first.repaired, first.special) == (again.max_tokens, again.repaired, again.special)
    assert sent(again) == cold(unusual)


@pytest.mark.parametrize("size", [2, 4, 40])
def test_an_array_at_the_end_that_looks_like_messages_is_none(size: int) -> None:
    request = raw(turns(6))[:-1] + b',"extra":[{"a":1}' + size * b',{"role":"assistant","content":"z"}' + b"]}"
    messages = [decode_request(request).messages for _ in range(4)]
    assert messages == [messages[0]] * 4
    assert len(messages[0]) == 13


@pytest.mark.parametrize(
    "request_",
    [
        raw(turns(6), system="short"),
        raw([user("x" * 40_000), *turns(1, 1)]),
        raw([*turns(6), user("x" * 90_000)]),
        raw([*turns(3), user("x" * 6_000)], system="x" * 11_000),
        raw(turns(6))[:-1] + b',"stream":true}',
        raw(turns(6)).replace(b'"role":"assistant"', b'"role": "assistant"'),
        raw([*turns(6), user("-")]).replace(b'"-"', b'"\\ud800"'),
    ],
    ids=["short", "no turns", "half is new", "short beginning", "other end", "other spelling", "repaired"],
)
def test_what_is_not_worth_it_is_not_remembered(request_: bytes) -> None:
    for _ in range(3):
        assert decode_request(request_).beginning is None


def test_a_client_cannot_say_that_it_is_known() -> None:
    found: Any = decode_request(raw([user("x")], beginning=1, special=1, rare=1, repaired=1))
    assert (found.beginning, found.special, found.rare, found.repaired) == (None, False, False, False)


def test_tokens_are_counted_without_it() -> None:
    known(raw(turns(6)))
    assert decode_count_request(raw(turns(6))).beginning is None


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


@pytest.mark.parametrize("end", [[user("on")], FOREIGN, THOUGHT])
@pytest.mark.parametrize("start", [[user("begin")], [user("ppx1.")], [user("x"), *FOREIGN], [user("x"), *THOUGHT]])
def test_a_known_beginning_passes_through_in_the_same_bytes(start: list[Any], end: list[Any]) -> None:
    talk = [*start, *turns(6, 1)]
    for messages in (talk, [*talk, *end], [*talk, *turns(1, 7), *end]):
        request = raw(messages)
        beginning = known(request).beginning
        assert beginning is not None
        for own_ids in (False, True, False, True):
            alone = body_for(request, "up", own_ids=own_ids)
            assert body_for(request, "up", own_ids=own_ids, beginning=beginning) == alone


def test_a_model_that_is_named_twice_is_replaced_twice_each_time() -> None:
    request = raw(turns(6)).replace(b'{"model":"m",', b'{"model":"m","model":"n",')
    beginning = known(request).beginning
    for _ in range(3):
        assert body_for(request, "up", beginning=beginning)[0].count(b'"model":"up"') == 2


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


@pytest.mark.parametrize("talk", [[user("-"), *turns(6, 1)], [*turns(6), assistant("so"), user("-")]])
def test_what_was_repaired_is_so_again(talk: list[Any]) -> None:
    broken = raw(talk).replace(b'"-"', b'"\\ud800"')
    for request, repaired in ((broken, True), (raw(talk), False), (broken, True)):
        found = known(request)
        assert found.repaired is repaired
        assert ("\ufffd" in str(found.messages)) is repaired


def test_memory_has_a_bound() -> None:
    tracemalloc.start()
    try:
        for number in range(150):
            known(raw([user(random.Random(number).randbytes(40_000).hex()), *turns(40, 1)]))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert BEGINNINGS / 2 < held < 1.2 * BEGINNINGS


def test_a_conversation_that_grows_holds_on_to_nothing_it_was() -> None:
    tracemalloc.start()
    try:
        for size in range(4, 200, 2):
            sent(decode_request(raw(turns(size))))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 10 * len(raw(turns(200))), held
