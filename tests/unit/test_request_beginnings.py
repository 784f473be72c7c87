"""A conversation that came before: only what is new in it is decoded, and nothing tells that it was so."""

from __future__ import annotations

import gc
import json
import random
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import builtin
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire import beginnings
from ccproxy_sanic.wire.anthropic import decode_count_request, decode_request
from ccproxy_sanic.wire.beginnings import GROWTH, KNOWN, ONCE
from ccproxy_sanic.wire.prefixes import LONGEST
from tests.support.conversations import ORDERS, raw, turns
from tests.support.forgetting import forget
from tests.support.translation import WEATHER, assistant, result, text, use, user

LONG_TURN = 20_000
ENDS = [
    b',{"role":"user"}]}',
    b',{"role":"user","content":[{"type":"text"}]}]}',
    b',{"role":"user","content":5}]}',
    b",5]}",
    b",]}",
    b"]",
    b"]}}",
    b"]]}",
    b"]}]}",
    b"}]}",
    b',{"role":"user","content":"\xff"}]}',
    b',{"role":"user","content":"\\ud800"},]}',
    b'],"max_tokens":"x","stop_sequences":[]}',
    b'],"extra":"\xff"}',
    b'],"extra":[}',
    b'],"system":[{"type":"text"}]}',
]
UNUSUAL = [
    b'],"messages":[{"role":"user","content":"only this"}]}',
    b'],"mess\\u0061ges":[{"role":"user","content":"only this"}]}',
    b'],"rest":[{"role":"user","content":"no message"}]}',
    b'],"rest":[],"messages":[{"role":"user","content":"only this"}],"rest":5}',
    b'],"max_tokens":5,"extra":[]}',
    b'],"extra":[{"a":1},{"role":"assistant","content":"no message"}]}',
    b'],"system":null,"tools":null}',
    b'],"system":"another","tools":[{"name":"other","input_schema":{"messages":[{"role":"assistant"}]}}],"model":"n"}',
    b',{"role":"user","content":"\\ud800"}]}',
    b',{"role":"user","content":[{"type":"hologram","text":5}]}]}',
    b',{"content":"on","role":"user"}]}',
    b',{"role":"user","content":"\xe2\x82\xac"}]}',
    b' ,{"role":"user","content":"on"} ] }\n',
    b'],"compaction":{},"repaired":1,"special":1,"rare":1,"beginning":1}',
]


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    forget()
    yield
    forget()


def seen(body: bytes) -> Any:
    """All that a request says but for what is known of it, or its refusal."""
    try:
        request = decode_request(body)
    except InvalidRequest as refusal:
        return refusal.message
    return {name: getattr(request, name) for name in request.__struct_fields__ if name not in ("beginning", "rest")}


def known(body: bytes) -> Any:
    """The request, after it came often enough to be known."""
    for _ in range(2):
        decode_request(body)
    return decode_request(body)


def as_ever(plain: bytes, other: bytes) -> Any:
    """What ``other`` says; the same whether ``plain``, which may begin or end as it does, was before it or not."""
    forget()
    cold = seen(other)
    forget()
    assert known(plain).beginning is not None
    assert [seen(other) for _ in range(4)] == [cold] * 4
    assert known(plain).beginning is not None
    return cold


def long_turns(count: int, start: int = 0) -> list[Any]:
    return turns(count, start, LONG_TURN)


@pytest.mark.parametrize("order", ORDERS)
def test_the_beginning_is_read_once(order: str) -> None:
    first = known(raw(long_turns(7), order))
    longer = decode_request(raw(long_turns(9), order))
    assert first.beginning is longer.beginning is not None
    assert len(longer.beginning.messages) == 11  # two assistant messages, and what is behind them, are left out
    same = [one is other for one, other in zip(first.messages, longer.messages, strict=False)]
    assert same == [True] * 11 + [False] * 4
    assert len(longer.messages) == 19
    assert longer.tools is first.tools


@pytest.mark.parametrize("order", ORDERS)
def test_what_comes_once_is_not_remembered(order: str) -> None:
    assert decode_request(raw(long_turns(7), order)).beginning is None
    assert decode_request(raw(long_turns(7), order)).beginning is not None


@pytest.mark.parametrize("order", ORDERS)
def test_what_only_looks_as_if_it_had_come_before_is_not_remembered(order: str) -> None:
    """Conversations that differ in one word, and in nothing that is as long as a window."""
    for number in range(1000, 1030):
        fresh = [user(f"begin {number}"), *long_turns(6, 1)]
        assert decode_request(raw(fresh, order)).beginning is None
    assert decode_request(raw(fresh, order)).beginning is not None


@pytest.mark.parametrize("order", ORDERS)
def test_one_in_use_outlasts_those_that_look_like_it(order: str) -> None:
    talk = known(raw([user("begin 1000"), *long_turns(6, 1)], order)).beginning
    for number in range(1001, 1200):
        decode_request(raw([user(f"begin {number}"), *long_turns(6, 1)], order))
        if not number % 20:
            assert decode_request(raw([user("begin 1000"), *long_turns(7, 1)], order)).beginning is talk


@pytest.mark.parametrize("order", ORDERS)
def test_more_is_remembered_when_a_conversation_has_grown(order: str) -> None:
    counts = []
    for size in range(4, 24):
        request = decode_request(raw(long_turns(size), order))
        counts.append(len(request.beginning.messages) if request.beginning else 0)
        assert 0 <= len(request.messages) - counts[-1] <= GROWTH or not counts[-1]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert beginnings.known.find(raw(long_turns(4), order)) is None  # what it was is forgotten


@pytest.mark.parametrize("order", ORDERS)
def test_when_a_conversation_has_become_too_long_what_is_known_of_it_stays(order: str) -> None:
    talk = turns(60, size=60_000)
    requests = [decode_request(raw(talk[:size], order)) for size in range(41, 121, 8)]
    assert len(raw(talk[:113], order)) > LONGEST > len(raw(talk[:41], order))
    assert requests[-1].beginning is requests[-5].beginning is not None
    assert requests[-1].messages == as_ever(raw(talk[:41], order), raw(talk[:113], order))["messages"]


@pytest.mark.parametrize("end", ENDS)
def test_what_is_wrong_behind_a_known_beginning_is_said_as_ever(end: bytes) -> None:
    plain = raw(long_turns(6))
    assert isinstance(as_ever(plain, plain[:-2] + end), str)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("blank", [b"", b" ", b"\n"])
def test_nothing_but_the_end_behind_a_known_beginning_is_no_json(order: str, blank: bytes) -> None:
    plain = raw(long_turns(6), order, stream=True)
    beginning = known(plain).beginning
    start = plain[: beginning.size] + blank + b"]"
    for behind in (b"}", b',"system":"x"' + bytes(beginning.tail), bytes(beginning.tail)):
        assert "not valid JSON" in as_ever(plain, start + behind)


@pytest.mark.parametrize("end", UNUSUAL)
def test_what_is_unusual_behind_a_known_beginning_is_read_as_ever(end: bytes) -> None:
    plain = raw(long_turns(6))
    assert isinstance(as_ever(plain, plain[:-2] + end), dict)


@pytest.mark.parametrize("order", ["claude-code", "sdk"])
@pytest.mark.parametrize("end", [end[:-1] for end in (*ENDS, *UNUSUAL) if end.endswith(b"}")])
def test_what_is_odd_between_a_known_beginning_and_a_known_end_is_read_as_ever(order: str, end: bytes) -> None:
    talk = long_turns(6)
    plain = raw(talk, order, stream=True)
    before, _, behind = plain.rpartition(b'"}]}],')
    assert behind.startswith((b'"system"', b'"model"'))
    as_ever(plain, before + b'"}]}' + end + b"," + behind)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'"max_tokens":64', b'"max_tokens":65'),
        (b'"max_tokens":64', b'"max_tokens":"64"'),
        (b'"max_tokens":64', b'"max_tokens":64,"max_tokens":5'),
        (b'"max_tokens":64', b'"max":64'),
        (b'"model":"m"', b'"model":"another"'),
        (b'"model":"m"', b'"model":null'),
        (b'"model":"m"', b'"model":"m","messages":[]'),
        (b'"system":', b'"messages":[{"role":"user","content":"x"}],"system":'),
        (b'"system":', b'"no":[],"system":'),
        (b'"system":', b'"system":[{"type":"text"}],"system":'),
        (b'"system":"A', b'"system":"B'),
        (b'"tools":[', b'"tools":[{"name":"more"},'),
        (b'"tools":[', b'"tools":[5,'),
        (b'"tools":', b'"tools":[],"tools":'),
        (b'"stream":true', b'"stream":false'),
        (b'"stream":true', b'"stream":true,"output_config":{"format":{"type":"json_schema"}}'),
        (b'"stream":true', b'"stream":true,"context_management":{}'),
        (b'"stream":true', b'"messages":[],"stream":true'),
        (b'"stream":true', b'"stream":true}'),
        (b'"stream":true', b'"stream":true,'),
        (b"begin", b"began"),
        (b'"5 ', b'"\\ud800 '),
        (b'"at":3', b'"at":3,"messages":[{"role":"assistant","content":"x"}]'),
        (b'{"role":"user","content":[', b'{ "role":"user","content":['),
    ],
)
def test_whatever_changes_in_a_conversation_counts(order: str, one: bytes, other: bytes) -> None:
    plain = raw(long_turns(6), order, stream=True, thinking={"type": "adaptive"})
    assert one in plain
    as_ever(plain, plain.replace(one, other))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("key", [b'"max_tokens":64', b'"model":"m"', b'"messages":[{"role":"user","content":"x"}]'])
def test_a_body_with_a_key_twice_is_read_as_ever_each_time(order: str, key: bytes) -> None:
    for body in (b"{" + key + b"," + raw(long_turns(6), order)[1:], raw(long_turns(6), order)[:-1] + b"," + key + b"}"):
        forget()
        assert [seen(body) for _ in range(4)] == [seen(body)] * 4
        assert decode_request(body).beginning is None


@pytest.mark.parametrize("size", [2, 4, 40])
def test_an_array_at_the_end_that_looks_like_messages_is_none(size: int) -> None:
    request = raw(long_turns(6))[:-1] + b',"extra":[{"a":1}' + size * b',{"role":"assistant","content":"z"}' + b"]}"
    assert [len(decode_request(request).messages) for _ in range(4)] == [13] * 4


@pytest.mark.parametrize(
    "request_",
    [
        raw(turns(6), system="short"),
        raw([user("x" * 40_000), *turns(1, 1)]),
        raw([*turns(6), user("x" * 90_000)]),
        raw([*turns(3), user("x" * 6_000)], system="x" * 11_000),
        raw(turns(6), "claude-code"),
        raw(turns(6)).replace(b'"role":"assistant"', b'"role": "assistant"'),
        raw([*turns(6), user("-")]).replace(b'"-"', b'"\\ud800"'),
        raw(turns(6))[:-2] + b',{"role":"user","content":[{"type":"hologram","text":5}]}]}',
    ],
    ids=["short", "no turns", "half is new", "short beginning", "few", "other spelling", "repaired", "pruned"],
)
def test_what_is_not_worth_it_is_not_remembered(request_: bytes) -> None:
    for _ in range(3):
        assert decode_request(request_).beginning is None


def test_a_client_cannot_say_that_it_is_known() -> None:
    found: Any = decode_request(raw([user("x")], beginning=1, special=1, rare=1, repaired=1, rest=1))
    assert (found.beginning, found.special, found.rare, found.repaired) == (None, False, False, False)


def test_tokens_are_counted_without_it() -> None:
    known(raw(long_turns(6)))
    assert decode_count_request(raw(long_turns(6))).beginning is None


@pytest.mark.parametrize("order", ORDERS)
def test_special_blocks_and_rare_fields_are_told_wherever_they_are(order: str) -> None:
    removed = user(text("x"), {"type": "tool_removal", "tool": {"name": "get_weather"}})
    for messages, special in (
        (long_turns(6), False),
        ([*long_turns(6), assistant("so"), removed], True),
        ([removed, *long_turns(6, 1)], True),
    ):
        for rare in (None, {"edits": []}):
            request = known(raw(messages, order, context_management=rare))
            assert request.beginning is not None
            assert (request.special, request.rare) == (special, rare is not None)


@pytest.mark.parametrize("order", ORDERS)
def test_memory_has_a_bound(order: str) -> None:
    tracemalloc.start()
    try:
        for number in range(150):
            talk = [user(random.Random(number).randbytes(40_000).hex()), *turns(40, 1 + number * 1000)]
            request = known(raw(talk, order))
            assert request.beginning is not None
            for translated in (to_chat, to_responses):
                translated(request, model="m", profile=builtin("openai"))
            once = [user(random.Random(1000 + number).randbytes(40_000).hex()), *turns(40, 1 + number * 1001)]
            decode_request(raw(once, order))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert KNOWN + ONCE == 16 << 20
    assert 0.5 < held / (KNOWN + ONCE) < 1.1, held


@pytest.mark.parametrize("order", ORDERS)
def test_a_conversation_that_grows_holds_on_to_nothing_it_was(order: str) -> None:
    tracemalloc.start()
    try:
        for size in range(4, 200, 2):
            decode_request(raw(turns(size, size=500), order))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert beginnings.known.find(raw(turns(200, size=500), order)) is not None
    assert held < 10 * len(raw(turns(200, size=500), order)), held


def claude_codes(messages: list[Any], turn: int) -> bytes:
    """A request as Claude Code 2.1.328 sends it: the attribution changes, cache marks stand in the last two turns."""
    marked = json.loads(json.dumps(messages))
    for message in [one for one in marked if one["role"] == "user"][-2:]:
        if isinstance(message["content"], str):
            message["content"] = [text(message["content"])]
        message["content"][-1]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    request = {
        "model": "claude-opus-4-8",
        "messages": marked,
        "system": [
            text(f"x-anthropic-billing-header: cc_version=2.1.328; cch={turn:05x};"),
            text("You are Claude Code. " * 400, cache_control={"type": "ephemeral", "ttl": "1h"}),
        ],
        "tools": [WEATHER | {"name": f"tool_{number}", "description": "It does. " * 300} for number in range(20)],
        "metadata": {"user_id": json.dumps({"device_id": "d", "session_id": "s"})},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_session_of_claude_code_is_read_from_its_last_turns_on() -> None:
    talk: list[Any] = [user(text("<system-reminder>\nTools: …\n</system-reminder>"), text("Mend it. " * 2000))]
    talk.append({"role": "system", "content": "The date is 2026-11-23."})
    bodies = []
    for turn in range(40):
        call = f"toolu_{turn:024d}"
        thought = {"type": "thinking", "thinking": "hm " * 50, "signature": "c2ln"}
        talk.append(assistant(thought, text("I look."), use(call, "tool_3", file_path=f"/src/{turn}.py")))
        talk.append(user(result(call, f"{turn}→\t\u001b[1mdone\u001b[0m " * 300, is_error=turn % 5 == 0)))
        if turn % 7 == 3:
            talk.append({"role": "system", "content": [text("<system-reminder>\nSaved.\n</system-reminder>")]})
        bodies.append(claude_codes(talk, turn))
    requests: list[Any] = [decode_request(body) for body in bodies]
    counts = [len(request.beginning.messages) if request.beginning else 0 for request in requests]
    assert [bool(count) for count in counts] == [False, False, *[True] * 38]
    assert counts == sorted(counts)
    assert all(len(request.messages) - count <= GROWTH for count, request in zip(counts, requests, strict=True))
    read_again = [one.beginning is not other.beginning for one, other in pairwise(requests)]
    assert sum(read_again) < 20
    assert bytes(requests[-1].beginning.tail).startswith(b',"tools":[')  # the attribution before them changes
    shared = requests[-1].tools
    assert all(request.tools is shared for request in requests)
    warm = [seen(body) for body in bodies]
    for body, found in zip(bodies, warm, strict=True):
        forget()
        assert found == seen(body)
