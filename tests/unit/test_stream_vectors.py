"""Every golden case of streams and responses, here and in the shared collection where that exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.response import to_message
from tests.support import grammar, replies

ROOT = Path(__file__).parents[2]
PLACES = (ROOT / "tests/data/vectors", ROOT.parent / "shared/vectors")


def cases(folder: str) -> list[Any]:
    return [
        pytest.param(json.loads(path.read_text()), id=f"{place.parent.name}-{path.stem}")
        for place in PLACES
        for path in sorted((place / folder).glob("*.json"))
    ]


def spec_of(context: dict[str, Any]) -> ReplySpec:
    return replies.spec(
        model=context["model"],
        tools=frozenset(context.get("tools", ())),
        stop_sequences=tuple(context.get("stop_sequences", ())),
        names=context.get("names", {}),
        used_tool_ids=frozenset(context.get("used_tool_ids", ())),
    )


@pytest.mark.parametrize("case", cases("stream"))
def test_stream_vector(case: dict[str, Any]) -> None:
    _, out = replies.run(replies.sse(case["chunks"]), spec_of(case["context"]))
    found = grammar.parse(out)
    grammar.check(found)
    assert grammar.normal(found) == grammar.normal(case["events"])


@pytest.mark.parametrize("case", cases("stream"))
def test_the_golden_streams_are_legal_themselves(case: dict[str, Any]) -> None:
    grammar.check(case["events"])


@pytest.mark.parametrize("case", cases("response"))
def test_response_vector(case: dict[str, Any]) -> None:
    reply = to_message(json.dumps(case["openai"]).encode(), spec_of(case["context"]))
    assert json.loads(reply.message) == case["anthropic"]


@pytest.mark.parametrize("case", cases("response"))
def test_a_response_vector_as_json_body_of_a_stream_request_says_the_same(case: dict[str, Any]) -> None:
    _, out = replies.run(json.dumps(case["openai"]).encode(), spec_of(case["context"]))
    found = grammar.parse(out)
    grammar.check(found)
    message = grammar.message_of(found)
    expected = json.loads(json.dumps(case["anthropic"]))
    expected["usage"].pop("service_tier", None)  # message_delta has none
    assert message == expected


@pytest.mark.parametrize("case", cases("stream"))
def test_a_stream_vector_as_body_of_a_plain_request_says_the_same(case: dict[str, Any]) -> None:
    if case["events"][-1]["type"] == "error":
        with pytest.raises(ProxyError):
            to_message(replies.sse(case["chunks"]), spec_of(case["context"]))
        return
    reply = to_message(replies.sse(case["chunks"]), spec_of(case["context"]))
    expected = grammar.message_of(case["events"])
    for block in expected["content"]:
        if isinstance(block.get("input"), str):  # a call cut at the limit
            block["input"] = {"_raw_arguments": block["input"]}
    assert json.loads(reply.message) == expected
