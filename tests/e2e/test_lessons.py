"""A refusal that names what it rejects is repaired, retried once and remembered (issue 6, item 3)."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic import cli
from ccproxy_sanic.learning.lessons import FILE, LASTS
from tests.support.proxy import Proxy, events, message, serving, text_of
from tests.support.routes import routed
from tests.support.upstream import Received, Reply, ScriptedUpstream, reply_json, sse, text_stream

ANSWER = reply_json(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
)
UNSUPPORTED = "Unsupported parameter: '{}' is not supported with this model."
LIMIT = 8192
WARM = message(model="m", temperature=0.5)


def refusal(text: str, status: int = 400) -> Reply:
    return reply_json(
        {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": None}}, status
    )


def good(received: Received) -> Reply:
    return text_stream("hi") if received.json().get("stream") else ANSWER


def refusing(*fields: str) -> Callable[[Received], Reply]:
    """A server that names the first of these fields that a request has."""

    def answer(received: Received) -> Reply:
        found = next((field for field in fields if field in received.json()), None)
        return good(received) if found is None else refusal(UNSUPPORTED.format(found))

    return answer


def limited(received: Received) -> Reply:
    asked = received.json()["max_tokens"]
    if asked <= LIMIT:
        return good(received)
    return refusal(f"Invalid max_tokens value, the valid range of max_tokens is [1, {LIMIT}]")


async def told(proxy: Proxy, body: dict[str, Any]) -> str:
    """The adjustments of a request that is answered."""
    response = await proxy.post(body)
    assert response.status_code == 200, response.text
    if body.get("stream"):
        assert text_of(events(response.content)) == "hi"
    return response.headers.get("x-ccproxy-adjustments", "")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_fields_that_are_refused_one_by_one_are_left_out_once_and_for_all(stream: bool) -> None:
    body = message(model="m", temperature=0.5, top_p=0.9, stop_sequences=["END"], stream=stream)
    async with ScriptedUpstream(refusing("max_tokens", "temperature", "top_p", "stop")) as upstream:
        async with serving(upstream.base_url) as proxy:
            first = await told(proxy, body)
            assert len(upstream.requests) == 5
            for repaired in ("max_tokens", "temperature", "top_p", "stop"):
                assert f"request_repaired={repaired}" in first
            again = await told(proxy, body)
            assert len(upstream.requests) == 6
            assert "request_repaired" not in again
            for kept in ("sampling_dropped=temperature", "sampling_dropped=top_p", "stops_enforced=stop_sequences"):
                assert kept in first
                assert kept in again
            await told(proxy, body | {"model": "another"})
            assert len(upstream.requests) == 11
            assert [one.kind for one in proxy.runtime.profiles.statistics()][:2] == ["max_tokens", "temperature"]
    assert upstream.requests[5].json()["max_completion_tokens"] == 64


async def test_max_tokens_are_lowered_to_the_number_that_the_refusal_names() -> None:
    async with ScriptedUpstream(limited) as upstream:
        async with serving(upstream.base_url) as proxy:
            assert "request_repaired=max_output" in await told(proxy, message(max_tokens=40_000))
            assert await told(proxy, message(max_tokens=30_000)) == "max_tokens_clamped=max_tokens"
            assert await told(proxy, message(max_tokens=100)) == ""
    assert [received.json()["max_tokens"] for received in upstream.requests] == [40_000, LIMIT, LIMIT, 100]


async def test_a_refusal_inside_a_stream_is_one_too() -> None:
    """llama.cpp sends its head before it has looked at the request (real-upstream.md quirk 3)."""

    def late(received: Received) -> Reply:
        if b"image_url" not in received.body:
            return good(received)
        text = "image input is not supported - hint: you may need to provide the mmproj"
        return sse({"error": {"code": 500, "message": text, "type": "server_error"}})

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    body = message(model="m", stream=True, messages=[{"role": "user", "content": [image]}])
    async with ScriptedUpstream(late) as upstream:
        async with serving(upstream.base_url) as proxy:
            for _ in range(2):
                response = await proxy.post(body)
                assert text_of(events(response.content)) == "hi"
            assert len(upstream.requests) == 3
            assert [one.kind for one in proxy.runtime.profiles.statistics()] == ["images"]


async def test_an_answer_that_does_not_fit_into_the_window_is_shortened_for_that_request_only() -> None:
    def window(received: Received) -> Reply:
        asked = received.json()["max_tokens"]
        if asked <= 30_000:
            return good(received)
        return refusal(
            f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length is "
            f"32768 tokens and your request has 2768 input tokens ({asked} > 32768 - 2768)."
        )

    async with ScriptedUpstream(window) as upstream:
        async with serving(upstream.base_url) as proxy:
            for _ in range(2):
                assert "request_repaired=context" in await told(proxy, message(max_tokens=40_000))
            assert proxy.runtime.profiles.statistics() == ()
    assert [received.json()["max_tokens"] for received in upstream.requests] == [40_000, 30_000] * 2


async def test_a_refusal_that_only_sounds_like_one_teaches_nothing() -> None:
    """It may quote the client."""
    async with ScriptedUpstream([refusal(f"I don't like the prompt: {UNSUPPORTED.format('temperature')}")]) as upstream:
        async with serving(upstream.base_url) as proxy:
            for _ in range(2):
                response = await proxy.post(message(temperature=0.5))
                assert response.status_code == 400
            assert proxy.runtime.profiles.statistics() == ()
            await proxy.post(message())
    assert ["temperature" in received.json() for received in upstream.requests] == [True, False, True, False, False]


async def test_a_server_that_refuses_everything_is_asked_a_few_times_only() -> None:
    def never(received: Received) -> Reply:
        body = received.json()
        fields = [
            field for field in ("temperature", "top_p", "stop", "max_tokens", "max_completion_tokens") if field in body
        ]
        return refusal(UNSUPPORTED.format(fields[0]))

    async with ScriptedUpstream(never) as upstream:
        async with serving(upstream.base_url) as proxy:
            response = await proxy.post(message(temperature=0.5, top_p=0.9, stop_sequences=["END"]))
            assert response.status_code == 400
            assert "max_tokens" in response.json()["error"]["message"]
            assert 4 <= len(upstream.requests) <= 7
            assert proxy.runtime.profiles.statistics() == ()


async def test_a_lesson_is_tried_again_after_a_week() -> None:
    async with ScriptedUpstream(refusing("temperature")) as upstream:
        async with serving(upstream.base_url) as proxy:
            book = proxy.runtime.profiles.lessons
            for _ in range(2):
                await told(proxy, WARM)
            [lesson] = proxy.runtime.profiles.statistics()
            assert (lesson.base_url, lesson.model) == (upstream.base_url, "m")
            assert (lesson.kind, lesson.switches) == ("temperature", {"temperature": False})
            assert 0 <= lesson.age < 60
            assert LASTS - 60 < lesson.expires_in <= LASTS
            clock = book.now
            book.now = lambda: clock() + LASTS
            assert "request_repaired=temperature" in await told(proxy, WARM)
    assert ["temperature" in received.json() for received in upstream.requests] == [True, False, False, True, False]


async def test_lessons_survive_a_restart_where_a_folder_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"CCPROXY_STATE_DIR": str(tmp_path / "state")}
    async with ScriptedUpstream(refusing("temperature")) as upstream:
        async with serving(upstream.base_url, **state) as proxy:
            await told(proxy, WARM)
        async with serving(upstream.base_url, **state) as proxy:
            assert await told(proxy, WARM) == "sampling_dropped=temperature"
        async with serving(upstream.base_url) as proxy:
            assert "request_repaired" in await told(proxy, WARM)
        assert len(upstream.requests) == 5
    path = tmp_path / "state" / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [kept] = json.loads(path.read_text())["lessons"]
    assert set(kept) == {"base_url", "model", "kind", "switches", "learned_at"}
    assert "Hello" not in path.read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCPROXY_STATE_DIR", state["CCPROXY_STATE_DIR"])
    assert cli.main(["profiles"]) == 0
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line[:3] == [upstream.base_url, "m", "temperature"]
    assert line[-3:] == ["temperature", "=", "false"]
    assert cli.main(["profiles", "explain", upstream.base_url, "m"]) == 0
    out = capsys.readouterr().out
    assert "its server, " in out
    assert '"temperature": 0.7' not in out.partition("is sent to")[2]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": 9, "lessons": []}'])
async def test_a_file_of_something_else_stops_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with ScriptedUpstream(refusing("temperature")) as upstream:
        async with serving(upstream.base_url, CCPROXY_STATE_DIR=str(tmp_path)) as proxy:
            assert "request_repaired" in await told(proxy, message(temperature=0.5))
    assert json.loads((tmp_path / FILE).read_text())["version"] == 1


async def test_another_target_is_asked_only_when_the_first_can_not_be_repaired(tmp_path: Path) -> None:
    async with ScriptedUpstream(limited) as picky, ScriptedUpstream([ANSWER]) as other:
        upstreams = {"picky": {"base_url": picky.base_url}, "other": {"base_url": other.base_url}}
        async with routed(tmp_path, upstreams) as proxy:
            response = await proxy.post(message(max_tokens=40_000))
            assert response.status_code == 200, response.text
            assert response.headers["x-ccproxy-route"] == "picky/m-picky;failed=overflow, picky/m-picky"
    assert (len(picky.requests), len(other.requests)) == (2, 0)
