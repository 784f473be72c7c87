"""The short way gives what the long way gives, wherever it is taken."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_sanic.profiles import BUILTIN, builtin, from_switches
from ccproxy_sanic.translate.assistant import ChatDraft
from ccproxy_sanic.translate.messages import ChatSide
from ccproxy_sanic.wire import spans
from tests.property import test_request_properties as chat
from tests.property.test_request_memory import CHAT, outcome
from tests.property.test_responses_request import agents

words = st.sampled_from(["a", "b ", "", " \n", "Error: c"])
marks = st.sampled_from([{}, {}, {}, {"cache_control": {"type": "ephemeral"}}])
plain_texts = st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, words, marks)


@st.composite
def ordinary(draw: st.DrawFn) -> list[Any]:
    """As agents speak: text, calls, their results, text; now and then something of it is not so."""
    messages: list[Any] = [{"role": "user", "content": draw(words | st.lists(plain_texts))}]
    odd = draw(st.sampled_from(["", "long", "twice", "other", "behind", "missing", "again"]))
    for turn in range(draw(st.integers(1, 3))):
        ids = [f"{turn}-{number}" + "x" * 60 * (odd == "long") for number in range(draw(st.integers(0, 2)))]
        ids = ids[:1] * len(ids) if odd == "twice" else ids
        calls = [{"type": "tool_use", "id": one, "name": draw(chat.names), "input": {}} for one in ids]
        results = [
            {
                "type": "tool_result",
                "tool_use_id": draw(st.sampled_from(ids)) if odd == "other" else one,
                "content": draw(words),
                "is_error": draw(st.sampled_from([None, False, True])),
                **draw(marks),
            }
            for one in ids[odd == "missing" :]
        ]
        results += results[: odd == "again"]
        said, heard, more = (draw(st.lists(plain_texts, max_size=2)) for _ in range(3))
        turned = [*said, *calls, *more] if odd == "behind" else [*said, *calls]
        answered = [*heard, *results, *more] if odd == "behind" else [*results, *heard]
        messages.append({"role": "assistant", "content": turned})
        messages.append({"role": "user", "content": answered if draw(st.integers(0, 5)) else draw(words)})
    return messages


def same(messages: Any, profile: Any, strict: bool) -> None:
    raw = json.dumps({"model": "m", "max_tokens": 64, "messages": messages}).encode()
    short = outcome(raw, profile, CHAT, strict)
    with (
        mock.patch.object(ChatDraft, "at_once", staticmethod(lambda *_: None)),
        mock.patch.object(ChatSide, "at_once", staticmethod(lambda *_: None)),
    ):
        assert outcome(raw, profile, CHAT, strict) == short


# each a way in which profiles differ here
PROFILES = st.sampled_from(["openai", "openai-breakpoints", "openrouter", "mistral", "gemini", "deepseek"]).map(builtin)
GOOGLE = {"thought_signatures": True, "thought_signature_filler": "x"}
SWITCHES = st.sampled_from([{"null_content": False}, {"bridge_after_tool": True}, {"parts": False}, GOOGLE]).map(
    from_switches
)


@settings(max_examples=500, deadline=None)
@given(messages=ordinary(), profile=PROFILES | SWITCHES, strict=st.booleans())
def test_turns_and_sides_are_the_same_at_once_and_block_by_block(messages: Any, profile: Any, strict: bool) -> None:
    same(messages, profile, strict)


@settings(max_examples=100, deadline=None)
@given(messages=agents | chat.messages, profile=st.sampled_from(BUILTIN.names()).map(builtin), strict=st.booleans())
def test_whatever_is_in_a_conversation_it_is_the_same(messages: Any, profile: Any, strict: bool) -> None:
    same(messages, profile, strict)


values = st.recursive(
    st.sampled_from(["model", "a", '"model', 'say "model', "\\", "é", 1, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", '"model', "x"]), inner),
    max_leaves=6,
)


def named(value: Any) -> list[Any]:
    """All values of members called model."""
    if isinstance(value, list):
        return [found for one in value for found in named(one)]
    if not isinstance(value, dict):
        return []
    return [found for key, one in value.items() for found in ([one] if key == "model" else []) + named(one)]


@settings(max_examples=300, deadline=None)
@given(value=st.dictionaries(st.sampled_from(["model", "x", "y"]), values), spaced=st.booleans(), plain=st.booleans())
def test_a_value_that_is_the_sole_one_of_its_key_is(value: Any, spaced: bool, plain: bool) -> None:
    text = json.dumps(value, ensure_ascii=plain, indent=1 if spaced else None).encode()
    place = spans.sole(text, b"model")
    if place is not None:
        assert named(value) == [json.loads(text[slice(*place)])]
    elif value.get("model") == "a" and b"\\" not in text:
        assert text.count(b'"model"') > 1
