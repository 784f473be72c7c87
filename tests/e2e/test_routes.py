"""Rules, keys and sessions: which upstream a request goes to, and with what (docs/routes.md)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxy import message, serving
from tests.support.routes import routed, routes_text
from tests.support.upstream import Received, Reply, ScriptedUpstream, reply_json, text_stream

WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
SESSION = "x-claude-code-session-id"


def fine(received: Received) -> Reply:
    return text_stream("ok") if received.json().get("stream") else reply_json(WHOLE)


def key_of(received: Received) -> str:
    return received.headers["authorization"].removeprefix("Bearer ")


async def test_rules_send_requests_by_model_role_size_thinking_and_images(tmp_path: Path) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    rules: list[dict[str, Any]] = [
        {"name": "images", "images": True, "targets": [{"upstream": "a", "model": "sees"}]},
        {"name": "agents", "role": "subagent", "targets": [{"upstream": "a", "model": "cheap"}]},
        {"name": "long", "over_tokens": 1000, "targets": [{"upstream": "a", "model": "wide"}]},
        {"name": "thinks", "thinking": True, "targets": [{"upstream": "a", "model": "deep"}]},
        {"name": "haiku", "model": "*haiku*", "targets": [{"upstream": "a", "model": "small"}]},
        {"name": "rest", "targets": [{"upstream": "a"}]},
    ]
    asked: list[tuple[dict[str, Any], dict[str, str], str]] = [
        (message(messages=[{"role": "user", "content": [image]}]), {}, "sees"),
        (message(), {SESSION: "s", "x-claude-code-agent-id": "1"}, "cheap"),
        (message(messages=[{"role": "user", "content": "word " * 2000}]), {}, "wide"),
        (message(thinking={"type": "adaptive"}), {}, "deep"),
        (message(model="claude-haiku-5-5"), {}, "small"),
        (message(model="my-model[1m]"), {}, "my-model"),
    ]
    async with ScriptedUpstream(fine) as a:
        async with routed(tmp_path, {"a": {"base_url": a.base_url}}, *rules) as proxy:
            for body, headers, model in asked:
                response = await proxy.post(body, headers=headers)
                assert response.headers["x-upstream-model"] == model
                assert a.requests[-1].json()["model"] == model
            listed = (await proxy.client.get("/v1/models")).json()["data"]
            assert {entry["owned_by"] for entry in listed} == {"a"}


async def test_an_upstream_gets_its_own_key_headers_and_no_others(tmp_path: Path) -> None:
    async with ScriptedUpstream(fine) as a, ScriptedUpstream(fine) as b:
        upstreams = {
            "a": {"base_url": a.base_url, "key_env": "KEY_A", "headers": {"x-title": "ours"}},
            "b": {"base_url": b.base_url},
        }
        rules = ({"model": "to-a", "targets": [{"upstream": "a"}]}, {"targets": [{"upstream": "b"}]})
        async with routed(tmp_path, upstreams, *rules, KEY_A="sk-only-for-a") as proxy:
            for model in ("to-a", "to-b"):
                response = await proxy.post(message(model=model), headers={"x-api-key": "the clients own"})
                assert response.status_code == 200
            (to_a,), (to_b,) = a.requests, b.requests
            assert (key_of(to_a), to_a.headers["x-title"]) == ("sk-only-for-a", "ours")
            assert not {"authorization", "x-api-key", "x-title"} & set(to_b.headers)


async def test_keys_take_turns_and_one_that_is_refused_rests(tmp_path: Path) -> None:
    def choosy(received: Received) -> Reply:
        if key_of(received) == "key-bad-123456":
            return reply_json({"error": {"message": "Incorrect API key provided"}}, 401)
        return fine(received)

    async with ScriptedUpstream(choosy) as a:
        upstreams = {"a": {"base_url": a.base_url, "key_env": ["K1", "K2", "K3"]}}
        keys = {"K1": "key-bad-123456", "K2": "key-two-123456", "K3": "key-three-123456"}
        async with routed(tmp_path, upstreams, **keys) as proxy:
            ways = [(await proxy.post()).headers["x-ccproxy-route"] for _ in range(9)]
            used = Counter(key_of(received) for received in a.requests)
            assert used["key-bad-123456"] == 1
            assert used["key-two-123456"] >= 4
            assert used["key-three-123456"] >= 4
            assert sorted(set(ways)) == ["a/m-a", "a/m-a;failed=401, a/m-a"]


@pytest.mark.parametrize("code", [401, 403, 402, 429])
async def test_without_a_good_key_the_next_target_answers(code: int, tmp_path: Path) -> None:
    async with ScriptedUpstream([reply_json({"error": {"message": "no"}}, code)]) as a, ScriptedUpstream(fine) as b:
        upstreams = {"a": {"base_url": a.base_url, "key_env": ["K1", "K2"]}, "b": {"base_url": b.base_url}}
        keys = {"K1": "key-one-123456", "K2": "key-two-123456"}
        async with routed(tmp_path, upstreams, **keys) as proxy:
            response = await proxy.post()
            assert response.headers["x-ccproxy-route"] == f"a/m-a;failed={code}, a/m-a;failed={code}, b/m-b"
            assert {key_of(received) for received in a.requests} == set(keys.values())
            again = await proxy.post()  # both keys rest: nobody waits for them
            assert again.headers["x-ccproxy-route"] == "b/m-b"


async def test_a_key_that_rests_is_used_all_the_same_where_there_is_nothing_else(tmp_path: Path) -> None:
    replies = [reply_json({"error": {"message": "slow down"}}, 429), reply_json(WHOLE)]
    async with ScriptedUpstream(replies) as a:
        settings = {"K1": "key-one-123456", "PROVIDER_MAX_RETRIES": "0"}
        async with routed(tmp_path, {"a": {"base_url": a.base_url, "key_env": "K1"}}, **settings) as proxy:
            assert (await proxy.post()).status_code == 429
            assert (await proxy.post()).status_code == 200


async def test_a_session_keeps_its_target_and_others_are_balanced(tmp_path: Path) -> None:
    async with ScriptedUpstream(fine) as a, ScriptedUpstream(fine) as b:
        upstreams = {"a": {"base_url": a.base_url}, "b": {"base_url": b.base_url}}
        targets = [{"upstream": "a", "model": "m", "weight": 1}, {"upstream": "b", "model": "m", "weight": 1}]
        async with routed(tmp_path, upstreams, {"targets": targets}) as proxy:
            for session in range(12):
                ways = set()
                for _ in range(3):
                    ways.add((await proxy.post(headers={SESSION: f"session-{session}"})).headers["x-ccproxy-route"])
                assert len(ways) == 1
            assert len(a.requests) > 0
            assert len(b.requests) > 0


async def test_a_session_stays_where_it_found_an_answer(tmp_path: Path) -> None:
    replies = [reply_json({"error": {"message": "down"}}, 500), reply_json(WHOLE)]
    async with ScriptedUpstream(replies) as a, ScriptedUpstream(fine) as b:
        async with routed(tmp_path, {"a": {"base_url": a.base_url}, "b": {"base_url": b.base_url}}) as proxy:
            headers = {SESSION: "s-1"}
            assert "b/m-b" in (await proxy.post(headers=headers)).headers["x-ccproxy-route"]
            assert (await proxy.post(headers=headers)).headers["x-ccproxy-route"] == "b/m-b"
            assert (await proxy.post(headers={SESSION: "s-2"})).headers["x-ccproxy-route"] == "a/m-a"


async def test_the_environments_upstream_is_the_default_of_a_routes_file(tmp_path: Path) -> None:
    async with ScriptedUpstream(fine) as env, ScriptedUpstream(fine) as a:
        path = tmp_path / "routes.json"
        rules = ({"model": "special", "targets": [{"upstream": "a"}, {"upstream": "default"}]},)
        path.write_text(routes_text({"a": {"base_url": a.base_url}}, *rules))
        async with serving(env.base_url, CCPROXY_ROUTES=str(path), BIG_MODEL_NAME="big") as proxy:
            assert (await proxy.post(message(model="special"))).headers["x-ccproxy-route"] == "a/special"
            response = await proxy.post(message(model="claude-opus-5-5"))
            assert response.headers["x-ccproxy-route"] == "default/big"
            assert env.requests[0].json()["model"] == "big"
