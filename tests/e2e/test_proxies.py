"""Upstreams that are reached through somebody's proxy: for the client nothing is different (docs/deploy.md)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ccproxy_sanic import runtime
from tests.e2e.test_look import looked
from tests.e2e.test_reload import asked, until
from tests.support.forward_proxy import ForwardProxy
from tests.support.proxy import events, message, serving, text_of
from tests.support.quiet import assert_quiet
from tests.support.routes import routes_text
from tests.support.server_process import serve
from tests.support.upstream import CUT, ScriptedUpstream, delta, sse, text_stream

TLS = Path(__file__).parent.parent / "support" / "tls"
AUTHORITY = str(TLS / "authority.pem")
SECRET = "p4ss-w0rd"
SCHEMES = ["http", "https"]


@pytest.fixture(autouse=True)
def _proxy_of_this_test() -> Iterator[None]:
    """It lives in the same loop: its tasks are not ours."""
    before = runtime.RESIDENT_COROUTINES
    runtime.RESIDENT_COROUTINES += ("ForwardProxy", "_pour")
    yield
    runtime.RESIDENT_COROUTINES = before


def tls_for(scheme: str) -> ssl.SSLContext | None:
    if scheme == "http":
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(TLS / "localhost.pem"))
    return context


def environment(through: ForwardProxy) -> dict[str, str]:
    url = through.url.replace("//", f"//ann:{SECRET}@")
    return {"HTTP_PROXY": url, "https_proxy": url, "CCPROXY_CA_FILE": AUTHORITY}


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_messages_and_streams_go_through_the_proxy(scheme: str) -> None:
    async with ScriptedUpstream([text_stream("one ", "two")], tls=tls_for(scheme)) as upstream, ForwardProxy() as proxy:
        async with serving(upstream.base_url, **environment(proxy)) as ours:
            for _ in range(2):
                said = events((await ours.post(message(stream=True))).content)
                assert (text_of(said), said[-1][0]) == ("one two", "message_stop")
        connects = [line.startswith(b"CONNECT ") for line in proxy.lines]
        assert connects == ([True] if scheme == "https" else [False, False])
        assert "proxy-authorization" not in upstream.requests[0].headers
        await proxy.until_closed()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_client_that_leaves_frees_the_upstream_behind_the_proxy(scheme: str) -> None:
    forever = asyncio.Event()
    replies = [[forever], sse(delta(content="a"), forever)]
    async with ScriptedUpstream(replies, tls=tls_for(scheme)) as upstream, ForwardProxy() as proxy:
        async with serving(upstream.base_url, **environment(proxy)) as ours:
            asking = asyncio.ensure_future(ours.post())
            await upstream.until(open=1)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            await upstream.until(open=0, aborted=1)
            async with ours.streaming() as response:
                async for _ in response.aiter_bytes():
                    break
            await upstream.until(open=0, aborted=2)
            await assert_quiet(ours.runtime)
            await proxy.until_closed()


async def test_a_stream_that_breaks_behind_the_proxy_is_an_error_event() -> None:
    async with ScriptedUpstream([sse(delta(content="a"), CUT)]) as upstream, ForwardProxy() as proxy:
        async with serving(upstream.base_url, **environment(proxy)) as ours:
            said = events((await ours.post(message(stream=True))).content)
            assert (text_of(said), said[-1][0]) == ("a", "error")


async def test_no_proxy_leads_around_it() -> None:
    async with ScriptedUpstream([text_stream("hi")]) as upstream, ForwardProxy() as proxy:
        async with serving(upstream.base_url, **environment(proxy), NO_PROXY="127.0.0.0/8") as ours:
            assert (await ours.post(message(stream=True))).status_code == 200
    assert (len(upstream.requests), proxy.lines) == (1, [])


async def test_the_demo_is_reached_without_a_proxy() -> None:
    async with ForwardProxy(refuse=b"403 No") as proxy, serving(None, **environment(proxy)) as ours:
        assert (await ours.post()).status_code == 200
    assert proxy.lines == []


async def test_a_look_at_who_the_server_is_goes_through_the_proxy_too() -> None:
    async with ScriptedUpstream([text_stream("hi")]) as upstream, ForwardProxy() as proxy:
        async with serving(upstream.base_url, **environment(proxy), CCPROXY_PROFILE="") as ours:
            assert await looked(ours) is None
    assert [line.split()[0] for line in proxy.lines] == [b"GET"] * len(upstream.looks) == [b"GET", b"GET"]


async def test_a_proxy_that_refuses_is_said_without_its_address_and_credentials(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with ForwardProxy(refuse=b"407 Proxy Authentication Required") as proxy:
        async with serving(
            "https://upstream.test/v1", **environment(proxy), OPENAI_API_KEY="k-0123456789", LOG_LEVEL="DEBUG"
        ) as ours:
            response = await ours.post()
    assert response.status_code == 500
    assert "Could not connect to upstream through its proxy: it answered 407" in response.text
    assert str(proxy.port) not in response.text
    err = capfd.readouterr().err
    assert f"upstream upstream is reached through the proxy http://127.0.0.1:{proxy.port} with the httpx engine" in err
    assert SECRET not in err + response.text


async def test_a_reload_brings_an_upstream_behind_the_proxy(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    async with (
        ScriptedUpstream(lambda received: text_stream("direct")) as a,
        ScriptedUpstream(lambda received: text_stream("through"), tls=tls_for("https")) as b,
        ForwardProxy() as proxy,
    ):
        path.write_text(routes_text({"a": {"base_url": a.base_url}}))
        url = environment(proxy)["https_proxy"]
        settings = {"CCPROXY_ROUTES": str(path), "HTTPS_PROXY": url, "CCPROXY_CA_FILE": AUTHORITY}
        with serve(tmp_path, settings) as server:
            async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
                assert text_of(events((await asked(server, http)).content)) == "direct"
                assert (proxy.lines, "is reached through" in server.output) == ([], False)
                path.write_text(routes_text({"b": {"base_url": b.base_url}}))
                server.process.send_signal(signal.SIGHUP)
                await until(lambda: "routes read again" in server.output)
                assert text_of(events((await asked(server, http)).content)) == "through"
                assert f"upstream b is reached through the proxy {proxy.url}" in server.output
            await assert_quiet(server.url)
            assert SECRET not in server.output + (tmp_path / "log.jsonl").read_text()
        assert proxy.lines == [b"CONNECT localhost:%d HTTP/1.1" % b.port]
