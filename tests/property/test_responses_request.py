"""What holds for every Responses request: OpenAI's types, legal items, no text lost, equal bytes, a stable prefix."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles import BUILTIN, builtin, resolve
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire.anthropic import decode_request
from ccproxy_sanic.wire.openai_responses import encode
from tests.property import test_request_properties as chat
from tests.support.translation_responses import check_types

PROFILES = st.sampled_from(BUILTIN.names())
OPENAIS = st.sampled_from(["openai", "openai-breakpoints", "openai-reasoning", "azure"]).map(builtin) | st.sampled_from(
    ["gpt-5.4", "gpt-5", "o3", "gpt-4o"]
).map(lambda model: resolve("https://api.openai.com/v1", model))
signatures = st.sampled_from(["", "e", "ee", "eeee", "e" * 6])
thoughts = chat.block("thinking", thinking=chat.words, signature=signatures)
# turns as agents have them: thinking, calls and words, then results, some missing, some of other calls, and words
spoken = st.lists(
    chat.calls | thoughts | chat.texts, min_size=1, max_size=5, unique_by=lambda one: one.get("id") or id(one)
)
rounds = st.tuples(spoken, st.lists(chat.results | chat.texts, max_size=4)).map(
    lambda both: [{"role": "assistant", "content": both[0]}, {"role": "user", "content": both[1]}]
)
agents = st.lists(rounds, min_size=1, max_size=4).map(
    lambda found: [{"role": "user", "content": "begin"}, *(message for one in found for message in one)]
)
requests = chat.requests | st.builds(lambda request, talk: request | {"messages": talk}, chat.requests, agents)
PHASES = {0: "commentary", 1: "final_answer"}


def unsign(signature: str) -> tuple[str, Any] | None:
    """Every second signature is ours, every third of those carries a phase; reasoning has its signature for text."""
    size = len(signature)
    if size % 2:
        return None
    phase = {"phase": PHASES[size // 2 % 2]} if size % 3 == 0 else {}
    return "oai", {"id": f"rs_{size}", "encrypted_content": signature, **phase}


def translated(request: Any, profile: Any, **more: Any) -> dict[str, Any] | None:
    """The upstream's request, or None where it was refused."""
    try:
        decoded = decode_request(json.dumps(request).encode())
        done = to_responses(decoded, model="m", profile=profile, **{"unsign": unsign, **more})
    except InvalidRequest:
        return None
    sent: dict[str, Any] = json.loads(encode(done.request))
    return sent


@settings(max_examples=120, deadline=None)
@given(request=requests, profile=OPENAIS)
def test_what_openai_gets_is_of_openais_types(request: dict[str, Any], profile: Any) -> None:
    sent = translated(request, profile)
    if sent is None:
        return
    check_types(sent)
    assert ("tool_choice" in sent) <= ("tools" in sent)
    assert sent["max_output_tokens"] >= 16
    functions = [tool for tool in sent.get("tools", ()) if tool["type"] == "function"]
    assert all(len(tool["name"]) <= 64 for tool in functions)


@settings(max_examples=120, deadline=None)
@given(request=requests, profile=PROFILES, strict=st.booleans())
def test_every_call_has_one_output_behind_it_and_reasoning_what_it_led_to(
    request: dict[str, Any], profile: str, strict: bool
) -> None:
    sent = translated(request, builtin(profile), strict=strict)
    if sent is None:
        return
    pending: set[str] = set()
    seen: Counter[tuple[str, str]] = Counter()
    for item, following in zip(sent["input"], [*sent["input"][1:], None], strict=True):
        kind = item["type"]
        if kind == "reasoning":
            assert following is not None
            assert following["type"] in ("reasoning", "function_call") or following.get("role") == "assistant"
        elif kind == "function_call":
            assert isinstance(json.loads(item["arguments"]), dict)
            pending.add(item["call_id"])
        elif kind == "function_call_output":
            pending.remove(item["call_id"])
        elif item["role"] != "assistant":
            assert not pending, "something stands between a call and its output"
        if "call_id" in item:
            seen[kind, item["call_id"]] += 1
            assert 0 < len(item["call_id"]) <= 64
    assert not pending
    assert not [one for one, times in seen.items() if times != 1]
    assert sent["input"][-1].get("role") != "assistant"


@settings(max_examples=120, deadline=None)
@given(request=requests, profile=PROFILES)
def test_no_text_is_lost_or_doubled(request: dict[str, Any], profile: str) -> None:
    for message in request["messages"]:
        message.pop("clear_at", None)
    texts = [one for message in request["messages"] for one in chat._texts(message["content"])]
    for number, one in enumerate(texts):
        one["text"] = f"«{number}»"
    sent = translated(request, builtin(profile))
    if sent is not None:
        everything = json.dumps([sent["input"], sent.get("instructions")], ensure_ascii=False)
        assert [text for text in chat.wanted_texts(request) if everything.count(text) != 1] == []


@settings(max_examples=100, deadline=None)
@given(request=requests, profile=PROFILES)
def test_equal_requests_give_equal_bytes_and_are_left_alone(request: dict[str, Any], profile: str) -> None:
    raw = json.dumps(request).encode()
    more: dict[str, Any] = {"model": "m", "profile": builtin(profile), "session": "s", "unsign": unsign}
    try:
        decoded = decode_request(raw)
        first, again = to_responses(decoded, **more), to_responses(decoded, **more)
        fresh = to_responses(decode_request(raw), **more)
    except InvalidRequest:
        return
    assert encode(first.request) == encode(again.request) == encode(fresh.request)
    assert first.adjustments == again.adjustments


@settings(max_examples=120, deadline=None)
@given(request=requests, turn=spoken, profile=OPENAIS.filter(lambda one: one.cache == "none"))
def test_a_longer_conversation_begins_with_the_same_bytes(
    request: dict[str, Any], turn: list[Any], profile: Any
) -> None:
    """Providers cache by prefix.  What may change it is what the client asks to be cleared."""
    for message in request["messages"]:
        message.pop("clear_at", None)
    before = translated(request, profile)
    spoken = {"role": "assistant", "content": [*turn, {"type": "text", "text": "so"}]}
    after = translated(request | {"messages": [*request["messages"], spoken, request["messages"][0]]}, profile)
    if before is None or after is None:
        return
    assert before.get("instructions") == after.get("instructions")
    assert len(after["input"]) >= len(before["input"]) + 2
    start, longer = json.dumps(before["input"]), json.dumps(after["input"])
    assert longer.startswith(start[:-1])


@settings(max_examples=80, deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from([*chat.TOP, "metadata", "stop_sequences"]), chat.mess, max_size=4),
    content=st.lists(chat.mess, max_size=3),
    role=st.sampled_from(["user", "assistant", "system"]),
    profile=PROFILES,
    data=chat.junk,
)
def test_nonsense_is_refused_in_one_way_only(
    fields: dict[str, Any], content: list[Any], role: str, profile: str, data: Any
) -> None:
    spoken = [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "x"}]
    base = {
        "model": "m",
        "max_tokens": 5,
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": spoken},
            {"role": role, "content": content},
        ],
    }
    for kind in ("oai", "or", "gem", "plain"):
        translated(base | fields, builtin(profile), unsign=lambda _, kind=kind: (kind, data))
