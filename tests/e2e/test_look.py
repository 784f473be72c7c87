"""A local server names itself: the proxy looks once at start, nobody waits for it, and nothing is left of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ccproxy_sanic import settings
from ccproxy_sanic.learning import look
from ccproxy_sanic.server import build_app
from tests.support.proxy import DEFAULTS, Proxy, message, serving
from tests.support.upstream import CUT, NOBODY, Received, Reply, ScriptedUpstream, head, reply_json

ANSWER = reply_json(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
)
KEY = "sk-proj-0123456789abcdefghij"
ASKED = message(top_k=5)  # vLLM and llama.cpp take it, a server that is not known is not sent it


def listing(owner: str, **more: Any) -> Reply:
    return reply_json({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": owner, **more}]})


def ollama(received: Received) -> Reply:
    body = b"Ollama is running"
    return [head(200, len(body)) + body] if received.target == "/" else listing("ann")


async def looked(proxy: Proxy) -> str | None:
    """Which server was found, when the look is over."""
    for task in asyncio.all_tasks():
        if task.get_name() == "ccproxy:look":
            await task
    return next(iter(proxy.runtime.profiles.named.values()), None)


async def sent(proxy: Proxy, upstream: ScriptedUpstream) -> Any:
    assert (await proxy.post(ASKED)).status_code == 200
    return upstream.requests[-1].json()


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("vllm", listing("vllm", max_model_len=8192)),
        ("sglang", listing("sglang", max_model_len=8192)),
        ("llamacpp", listing("llamacpp")),
        ("llamacpp", reply_json({"error": {"message": "Loading model"}}, 503, server="llama.cpp")),
        ("lmstudio", listing("organization_owner")),
        ("ollama", listing("library")),
    ],
)
async def test_a_server_that_names_itself_gets_its_profile(
    name: str, about: Reply, capfd: pytest.CaptureFixture[str]
) -> None:
    async with ScriptedUpstream([ANSWER], lambda received: about) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="", OPENAI_API_KEY=KEY, LOG_LEVEL="INFO") as proxy:
            assert await looked(proxy) == name
            assert ("top_k" in await sent(proxy, upstream)) == (name in ("vllm", "sglang", "llamacpp"))
    [asked] = upstream.looks
    assert (asked.target, asked.headers["authorization"], asked.body) == ("/v1/models", f"Bearer {KEY}", b"")
    [line] = [line for line in capfd.readouterr().err.splitlines() if "which server" in line]
    assert line.endswith(f"upstream local says which server it is: profile {name}")


async def test_ollama_with_models_of_a_user_says_its_name_at_its_root_and_hears_no_key_there() -> None:
    async with ScriptedUpstream([ANSWER], ollama) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="", OPENAI_API_KEY=KEY) as proxy:
            assert await looked(proxy) == "ollama"
    assert [asked.target for asked in upstream.looks] == ["/v1/models", "/"]
    assert "authorization" not in upstream.looks[1].headers


@pytest.mark.parametrize("engine", ["h1", "httpx"])
@pytest.mark.parametrize(
    "about",
    [
        pytest.param(NOBODY, id="no such page"),
        pytest.param([b"nonsense\r\n\r\n", CUT], id="no HTTP"),
        pytest.param([CUT], id="hangs up"),
        pytest.param([head(200, 100) + b"{", CUT], id="cut"),
        pytest.param([head(200, 3_000_000) + b"x" * 3_000_000], id="endless"),
    ],
)
async def test_a_server_that_does_not_is_generic(about: Reply, engine: str) -> None:
    async with ScriptedUpstream([ANSWER], lambda received: about) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="", CCPROXY_ENGINE=engine) as proxy:
            assert await looked(proxy) is None
            assert "top_k" not in await sent(proxy, upstream)


async def test_nobody_waits_for_a_look_and_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([ANSWER], lambda received: [gate, *listing("vllm")]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="") as proxy:
            assert "top_k" not in await sent(proxy, upstream)
            gate.set()
            assert await looked(proxy) == "vllm"
            assert "top_k" in await sent(proxy, upstream)
    monkeypatch.setattr(look, "PATIENCE", 0.2)
    async with ScriptedUpstream([ANSWER], lambda received: [asyncio.Event()]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="") as proxy:
            assert await looked(proxy) is None
        assert len(upstream.looks) == 1


async def test_a_stop_ends_a_look() -> None:
    async with ScriptedUpstream([ANSWER], lambda received: [asyncio.Event()]) as upstream:
        app = build_app(settings.load(DEFAULTS | {"OPENAI_BASE_URL": upstream.base_url}))
        runtime = app.ctx.runtime
        await runtime.start()
        await asyncio.sleep(0)
        await runtime.stop()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "ccproxy:look"]


async def test_a_server_that_is_not_there_does_not_fail_the_start(unused_tcp_port: int) -> None:
    async with serving(f"http://127.0.0.1:{unused_tcp_port}/v1", CCPROXY_PROFILE="") as proxy:
        assert (await proxy.client.get("/ready")).status_code == 200
        assert await looked(proxy) is None


@pytest.mark.parametrize("forced", ["generic", "vllm"])
async def test_a_forced_profile_is_not_looked_for(forced: str) -> None:
    async with ScriptedUpstream([ANSWER], lambda received: listing("llamacpp")) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE=forced) as proxy:
            assert await looked(proxy) is None
            assert ("top_k" in await sent(proxy, upstream)) == (forced == "vllm")
    assert upstream.looks == []


async def test_the_users_file_is_in_force(tmp_path: Any) -> None:
    """A host that it claims is known: nobody looks."""
    path = tmp_path / "mine.toml"
    path.write_text('[profile.mine]\nhosts = ["127.0.0.1"]\nextra = { mine = 1 }\n')
    async with ScriptedUpstream([ANSWER]) as upstream:
        async with serving(upstream.base_url, CCPROXY_PROFILE="", CCPROXY_PROFILES=str(path)) as proxy:
            assert (await sent(proxy, upstream))["mine"] == 1
    assert upstream.looks == []


async def test_a_search_request_is_refused_where_nobody_searches_and_mapped_where_somebody_does() -> None:
    search = message(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}])
    async with ScriptedUpstream([ANSWER]) as upstream:
        async with serving(upstream.base_url) as proxy:
            refused = await proxy.post(search)
            assert (refused.status_code, upstream.requests) == (400, [])
            assert "web_search_20250305 is a server tool" in refused.json()["error"]["message"]
        async with serving(upstream.base_url, CCPROXY_PROFILE="openrouter") as proxy:
            answered = await proxy.post(search)
            assert answered.headers["x-ccproxy-adjustments"] == "search_mapped=tools.0"
            assert answered.json()["content"] == [{"type": "text", "text": "hi"}]
    assert upstream.requests[0].json()["plugins"] == [{"id": "web", "max_uses": 8}]
