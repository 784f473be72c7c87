"""What the demo model remembers, and what it refuses to look at: pure, without a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ccproxy_sanic.demo import request, scenarios
from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.plan import Plan

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def plan(memory: scenarios.Memory, *messages: Any, model: str = "any") -> Plan:
    body = msgspec.json.encode({"model": model, "messages": messages})
    return scenarios.choose(request.decode(body), body, memory)


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def fails(memory: scenarios.Memory, prompt: str, **options: Any) -> bool:
    return plan(memory, user(prompt), **options).fault is not None


def test_after_the_first_wrong_answers_comes_a_text_and_then_all_again() -> None:
    memory: scenarios.Memory = {}
    seen = [fails(memory, "[demo:error status=429 first=2]") for _ in range(6)]
    assert seen == [True, True, False] * 2
    assert memory == {}


def test_each_marker_and_each_model_is_counted_by_itself() -> None:
    memory: scenarios.Memory = {}
    asked = [("[demo:error first=1]", "a"), ("[demo:error first=1]", "b"), ("[demo:error status=429 first=1]", "a")]
    assert all(fails(memory, prompt, model=model) for prompt, model in asked)
    assert not any(fails(memory, prompt, model=model) for prompt, model in asked)


def test_without_the_option_nothing_is_remembered() -> None:
    memory: scenarios.Memory = {}
    assert all(fails(memory, "[demo:error]") for _ in range(3))
    assert memory == {}


def test_the_memory_is_bounded() -> None:
    memory: scenarios.Memory = {}
    for number in range(scenarios.MOST_MARKERS + 10):
        fails(memory, f"[demo:error message={number} first=1]")
    assert len(memory) == scenarios.MOST_MARKERS
    assert fails(memory, "[demo:error message=0 first=1]")  # the oldest is forgotten


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_a_picture_is_taken_from_a_user_only(role: str) -> None:
    assert plan({}, user([PICTURE])).text
    with pytest.raises(Fault, match="only allowed for messages with role 'user'"):
        plan({}, {"role": role, "content": [PICTURE]}, user("Hello"))
