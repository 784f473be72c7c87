"""A target that fails before the first content hands over to the next (docs/routes.md): the whole matrix of faults."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import routes
from tests.support.proxy import Proxy, events, message, text_of
from tests.support.upstream import CUT, Received, Reply, ScriptedUpstream, delta, reply_json, sse, text_stream

routed = partial(
    routes.routed, PROVIDER_MAX_RETRIES="0"
)  # exactly one upstream call a hop; test_retries has the others
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "second"}, "finish_reason": "stop"}]}
OVERFLOW = {"error": {"message": "This model's maximum context length is 8 tokens. However, you requested 9 tokens."}}
ROLE = delta(role="assistant", content="")


def second(received: Received) -> Reply:
    return text_stream("sec", "ond") if received.json().get("stream") else reply_json(WHOLE)


def status(code: int, body: Any = None) -> Reply:
    return reply_json(body or {"error": {"message": f"no: {code}"}}, code)


def broken(received: Received) -> Reply:
    """Content, then the connection is gone."""
    if received.json().get("stream"):
        return sse(ROLE, delta(content="first"), CUT)
    return [reply_json(WHOLE)[0][:-20], CUT]  # type: ignore[index]


# the first target's fault -> how it is called in x-ccproxy-route
FAULTS: dict[str, tuple[Callable[[Received], Reply], str]] = {
    "429": (lambda received: status(429), "429"),
    "500": (lambda received: status(500), "500"),
    "503": (lambda received: status(503), "503"),
    "overloaded": (lambda received: status(529, {"error": {"type": "overloaded_error", "message": "busy"}}), "529"),
    "silence": (lambda received: [5.0], "timeout"),
    "overflow": (lambda received: status(400, OVERFLOW), "overflow"),
    "garbage": (lambda received: [b"SSH-2.0-OpenSSH\r\n", CUT], "garbled"),
    "closed": (lambda received: [CUT], "broken"),
}


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nobody listens, and nobody will while the test runs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


async def answered_by_second(proxy: Proxy, *, stream: bool) -> str:
    """Ask; the second target answers, in one well-formed message.  Returns the way."""
    response = await proxy.post(message(stream=stream))
    assert response.status_code == 200, response.text
    if not stream:
        assert response.json()["content"][0]["text"] == "second"
        return str(response.headers["x-ccproxy-route"])
    said = events(response.content)
    assert [name for name, _ in said].count("message_start") == 1
    assert said[-1][0] == "message_stop"
    assert text_of(said) == "second"
    return str(response.headers["x-ccproxy-route"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_next_target_answers_after(fault: str, stream: bool, tmp_path: Path) -> None:
    reply, word = FAULTS[fault]
    async with ScriptedUpstream(reply) as one, ScriptedUpstream(second) as two:
        upstreams = {"one": {"base_url": one.base_url, "first_byte_timeout": 0.3}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams) as proxy:
            way = await answered_by_second(proxy, stream=stream)
            assert way == f"one/m-one;failed={word}, two/m-two"
            assert (len(one.requests), len(two.requests)) == (1, 1)
            assert (one.requests[0].json()["model"], two.requests[0].json()["model"]) == ("m-one", "m-two")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_next_target_answers_after_a_refused_connection(
    stream: bool, tmp_path: Path, closed_port: str
) -> None:
    async with ScriptedUpstream(second) as two:
        async with routed(tmp_path, {"one": {"base_url": closed_port}, "two": {"base_url": two.base_url}}) as proxy:
            way = await answered_by_second(proxy, stream=stream)
            assert way == "one/m-one;failed=unreachable, two/m-two"
            assert len(two.requests) == 1


async def test_a_stream_that_breaks_after_its_first_content_ends_there(tmp_path: Path) -> None:
    async with ScriptedUpstream(broken) as one, ScriptedUpstream(second) as two:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            response = await proxy.post(message(stream=True))
            said = events(response.content)
            assert text_of(said) == "first"
            assert said[-1][0] == "error"
            assert (len(one.requests), len(two.requests)) == (1, 0)
            assert response.headers["x-ccproxy-route"] == "one/m-one"


async def test_a_whole_answer_that_breaks_has_shown_the_client_nothing_yet(tmp_path: Path) -> None:
    async with ScriptedUpstream(broken) as one, ScriptedUpstream(second) as two:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            assert await answered_by_second(proxy, stream=False) == "one/m-one;failed=broken, two/m-two"
            assert (len(one.requests), len(two.requests)) == (1, 1)


@pytest.mark.parametrize(
    "beginning",
    [
        sse(ROLE, CUT),
        sse(ROLE, {"error": {"message": "engine died", "code": 500}}),
        sse({"error": {"message": "overloaded", "code": 529}}),
        sse(CUT),
    ],
    ids=["role, then cut", "role, then an error", "an error", "a head only"],
)
async def test_a_stream_that_fails_before_its_first_content_is_made_by_the_next(
    beginning: Reply, tmp_path: Path
) -> None:
    async with ScriptedUpstream([beginning]) as one, ScriptedUpstream(second) as two:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            await answered_by_second(proxy, stream=True)
            assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_a_stream_that_a_ping_has_begun_goes_on_with_the_next_target(tmp_path: Path) -> None:
    fails = asyncio.Event()
    async with (
        ScriptedUpstream(lambda received: [fails, *status(500)]) as one,
        ScriptedUpstream(second) as two,
    ):
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            asked = asyncio.ensure_future(proxy.post(message(stream=True)))
            await one.until(open=1)
            proxy.tick(11)
            fails.set()
            response = await asked
            assert response.content.startswith(b"event: ping\n")
            said = events(response.content)
            assert (text_of(said), said[-1][0]) == ("second", "message_stop")
            assert [name for name, _ in said].count("message_start") == 1


@pytest.mark.parametrize("share", ["off", "on"])
async def test_the_next_target_of_a_stream_that_a_ping_has_begun_does_not_start_the_message_again(
    share: str, tmp_path: Path
) -> None:
    begins, fails = asyncio.Event(), asyncio.Event()
    async with ScriptedUpstream([sse(begins, ROLE, fails, CUT)]) as one, ScriptedUpstream(second) as two:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            body, headers, read = message(stream=True), {"x-ccproxy-share": share}, b""
            pinging = asyncio.ensure_future(_pinged(proxy, one, begins))
            async with proxy.client.stream("POST", "/v1/messages", json=body, headers=headers) as response:
                async for block in response.aiter_bytes():
                    read += block
                    if b"message_start" in read:
                        fails.set()
            await pinging
            said = events(read)
            assert (text_of(said), said[-1][0]) == ("second", "message_stop")
            assert [name for name, _ in said].count("message_start") == 1


async def _pinged(proxy: Proxy, upstream: ScriptedUpstream, then: asyncio.Event) -> None:
    await upstream.until(open=1)
    proxy.tick(11)
    then.set()


@pytest.mark.parametrize("code", [400, 404, 413, 422])
async def test_what_any_upstream_would_refuse_is_refused_at_once(code: int, tmp_path: Path) -> None:
    async with ScriptedUpstream([status(code)]) as one, ScriptedUpstream(second) as two:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            response = await proxy.post()
            assert response.status_code == (400 if code == 422 else code)
            assert response.headers["x-ccproxy-route"] == f"one/m-one;failed={code}"
            assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_when_all_fail_the_last_word_counts(tmp_path: Path) -> None:
    async with ScriptedUpstream([status(429)]) as one, ScriptedUpstream([status(503)]) as two:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}) as proxy:
            response = await proxy.post()
            assert response.status_code == 529
            assert response.headers["x-ccproxy-route"] == "one/m-one;failed=429, two/m-two;failed=503"
            assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_a_fallback_that_can_not_take_the_request_does_not_hide_the_fault_before_it(tmp_path: Path) -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    body = message(messages=[{"role": "user", "content": [pdf]}])
    async with ScriptedUpstream([status(503)]) as one, ScriptedUpstream(second) as two:
        upstreams = {"one": {"base_url": one.base_url, "profile": "openai"}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams) as proxy:
            response = await proxy.post(body)
            assert response.status_code == 529, response.text
            assert response.headers["x-ccproxy-route"] == "one/m-one;failed=503, two/m-two;failed=unfit"
            assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_two_models_of_one_upstream_are_two_targets_unless_nobody_is_there(
    tmp_path: Path, closed_port: str
) -> None:
    def by_model(received: Received) -> Reply:
        return status(503) if received.json()["model"] == "large" else second(received)

    rule = {"targets": [{"upstream": "one", "model": "large"}, {"upstream": "one", "model": "small"}]}
    async with ScriptedUpstream(by_model) as one:
        async with routed(tmp_path, {"one": {"base_url": one.base_url}}, rule) as proxy:
            assert await answered_by_second(proxy, stream=True) == "one/large;failed=503, one/small"
            assert len(one.requests) == 2
    async with routed(tmp_path, {"one": {"base_url": closed_port}}, rule) as proxy:
        response = await proxy.post()
        assert response.headers["x-ccproxy-route"] == "one/large;failed=unreachable"


async def test_every_hop_is_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    async with ScriptedUpstream([status(500)]) as one, ScriptedUpstream(second) as two:
        upstreams = {"one": {"base_url": one.base_url}, "two": {"base_url": two.base_url}}
        async with routed(tmp_path, upstreams, LOG_FILE_PATH=str(log)) as proxy:
            await answered_by_second(proxy, stream=False)
    line = next(line for line in map(json.loads, log.read_text().splitlines()) if line.get("path") == "/v1/messages")
    assert (line["route"], line["hops"], line["retries"]) == ("all", ["one/m-one;failed=500", "two/m-two"], 1)
