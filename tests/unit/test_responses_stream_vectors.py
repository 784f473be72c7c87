"""Every golden case of Responses answers: streams, whole responses and errors, in all the ways to ask for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import pydantic
import pytest
from openai.types import responses as theirs

from ccproxy_sanic import errors
from ccproxy_sanic.translate import faults
from ccproxy_sanic.translate.responses_reply import to_message
from tests.support import grammar, replies, responses, sdk_reader

ROOT = Path(__file__).parents[1] / "data/responses"
_EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(theirs.ResponseStreamEvent)
_RESPONSE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(theirs.Response)


def cases(folder: str) -> list[Any]:
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted((ROOT / folder).glob("*.json"))]


def spec_of(context: dict[str, Any], signed: list[Any]) -> Any:
    def sign(kind: str, data: object) -> str:
        signed.append([kind, data])
        return "sig_X"

    stops = tuple(context.get("stop_sequences", ()))
    return replies.spec(
        model=context["model"],
        tools=frozenset(context.get("tools", ())),
        stop_sequences=stops,
        enforce_stops=stops,
        names=context.get("names", {}),
        used_tool_ids=frozenset(context.get("used_tool_ids", ())),
        thinking=context.get("thinking", "show"),
        sign=sign,
    )


def fault_of(fault: errors.ProxyError) -> dict[str, Any]:
    return {"status": fault.status, "type": fault.type, "message": fault.message}


def test_there_are_enough_cases() -> None:
    assert len(cases("stream")) >= 25
    assert len(cases("response")) >= 12
    assert len(cases("error")) >= 8


@pytest.mark.parametrize("case", cases("stream"))
def test_stream(case: dict[str, Any]) -> None:
    signed: list[Any] = []
    machine, out = responses.run(responses.sse(case["upstream"]), spec_of(case["context"], signed))
    found = grammar.parse(out)
    assert grammar.normal(found) == case["events"]
    assert signed == case["signed"]
    if "error" in case:
        assert machine.fault is not None
        assert fault_of(machine.fault) == case["error"]
    else:
        grammar.check(found)


@pytest.mark.parametrize("case", cases("stream"))
def test_the_upstream_s_side_of_a_stream_is_what_its_own_types_say(case: dict[str, Any]) -> None:
    if "odd" not in case:
        for event in case["upstream"]:
            _EVENT.validate_python(event)


@pytest.mark.parametrize("case", cases("stream"))
def test_the_sdk_puts_a_stream_together(case: dict[str, Any]) -> None:
    _, out = responses.run(responses.sse(case["upstream"]), spec_of(case["context"], []))
    events = grammar.parse(out)
    snapshot = sdk_reader.accumulate(events)
    if not events or events[-1]["type"] == "error":
        return
    ours, sdk = grammar.message_of(events), json.loads(snapshot.model_dump_json())
    assert sdk["stop_reason"] == ours["stop_reason"]
    for mine, his in zip(ours["content"], sdk["content"], strict=True):
        if not isinstance(mine.get("input"), str):  # cut at the limit
            assert {key: his[key] for key in mine} == mine


@pytest.mark.parametrize("case", cases("stream"))
def test_a_stream_says_the_same_byte_by_byte_and_without_event_lines(case: dict[str, Any]) -> None:
    body = responses.sse(case["upstream"])
    _, out = responses.run(body, spec_of(case["context"], []))
    assert responses.run(body, spec_of(case["context"], []), range(1, len(body)))[1] == out
    plain = b"\n".join(line for line in body.split(b"\n") if not line.startswith(b"event:"))
    assert responses.run(plain, spec_of(case["context"], []))[1] == out


@pytest.mark.parametrize("case", cases("stream"))
def test_a_stream_as_body_of_a_plain_request_says_the_same(case: dict[str, Any]) -> None:
    signed: list[Any] = []
    body, spec = responses.sse(case["upstream"]), spec_of(case["context"], signed)
    if "error" in case or case["events"][-1]["type"] == "error":
        with pytest.raises(errors.ProxyError):
            to_message(body, spec)
        return
    found = json.loads(to_message(body, spec).message)
    found["usage"].pop("service_tier", None)  # message_delta has none
    _, out = responses.run(body, spec_of(case["context"], []))
    assert found == whole_of(grammar.message_of(grammar.parse(out)))
    assert signed == case["signed"]


def whole_of(message: dict[str, Any]) -> dict[str, Any]:
    """A streamed message as a whole one: arguments that were cut at the limit are none."""
    for block in message["content"]:
        if isinstance(block.get("input"), str):
            block["input"] = {"_raw_arguments": block["input"]}
    return message


@pytest.mark.parametrize("case", cases("response"))
def test_response(case: dict[str, Any]) -> None:
    signed: list[Any] = []
    if "odd" not in case:
        _RESPONSE.validate_python(case["upstream"])
    anthropic.types.Message.model_validate(case["anthropic"])
    reply = to_message(json.dumps(case["upstream"]).encode(), spec_of(case["context"], signed))
    assert json.loads(reply.message) == case["anthropic"]
    assert signed == case["signed"]


@pytest.mark.parametrize("case", cases("response"))
def test_a_response_as_json_body_of_a_stream_request_says_the_same(case: dict[str, Any]) -> None:
    machine, out = responses.run(json.dumps(case["upstream"]).encode(), spec_of(case["context"], []))
    assert machine.done
    found = grammar.parse(out)
    grammar.check(found)
    expected = json.loads(json.dumps(case["anthropic"]))
    expected["usage"].pop("service_tier", None)
    assert whole_of(grammar.message_of(found)) == expected


@pytest.mark.parametrize("case", cases("error"))
def test_error(case: dict[str, Any]) -> None:
    upstream = case["upstream"]
    if "events" in upstream:
        fault = responses.fault(upstream["events"])
    elif "body" in upstream and "status" not in upstream:
        with pytest.raises(errors.ProxyError) as caught:
            to_message(json.dumps(upstream["body"]).encode(), replies.spec())
        fault = caught.value
    else:
        body = json.dumps(upstream["body"]).encode()
        fault = faults.from_upstream(upstream["status"], upstream["headers"], body)
    assert {**fault_of(fault), "headers": errors.headers_of(fault)} == case["anthropic"]
