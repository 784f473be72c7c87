"""What every answer says to a browser, whatever answer it is (behaviours 35 and 36)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

import httpx
import pytest

from ccproxy_sanic.guards import SECURITY
from tests.e2e.test_hardening import BODY, say
from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import CUT, ScriptedUpstream, delta, reply_json, sse, text_stream

COMPLETION = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
PAGE = "https://page.example"
CORS = {"ENABLE_CORS": "1", "CORS_ALLOW_ORIGINS": f"{PAGE}, https://other.example"}
TOKENS = {"CCPROXY_AUTH_TOKENS": "ann:token-of-ann-1234"}
TOKEN = {"x-api-key": "token-of-ann-1234"}


@asynccontextmanager
async def answers(**environ: str) -> AsyncIterator[tuple[Proxy, list[tuple[int, httpx.Headers]]]]:
    """One answer of every sort, as (status, headers)."""
    script = [
        reply_json(COMPLETION),
        text_stream("Hi"),
        sse(delta(role="assistant", content="Hi"), CUT),
        reply_json({"error": {"message": "no", "type": "invalid_request_error"}}, 400),
    ]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **environ) as proxy:
        found = [await proxy.post(), await proxy.post(message(stream=True)), await proxy.post(message(stream=True))]
        found += [await proxy.post(), await proxy.post(b"{"), await proxy.post(b"x" * 100, path="/v1/v1/messages")]
        for method, path in (
            *(("GET", "/"), ("HEAD", "/"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/v1/metrics")),
            *(("GET", "/nothing"), ("GET", "/v1/messages"), ("DELETE", "/v1/models"), ("GET", "/v1/models?limit=x")),
            ("GET", "/v1/preflight"),
        ):
            found.append(await proxy.client.request(method, path))
        statuses = [(response.status_code, response.headers) for response in found]
        assert [status for status, _ in statuses] == [
            *(200, 200, 200, 400, 400, 400),
            *(200, 200, 200, 200, 200, 404, 405, 405, 400, 200),
        ]
        yield proxy, statuses


async def test_every_answer_has_an_id_of_its_own_and_its_time() -> None:
    """36.  The original's refusals by its rate limit had neither."""
    async with answers() as (_, found):
        ids = [headers["x-request-id"] for _, headers in found]
        assert len(set(ids)) == len(ids)
        for _, headers in found:
            assert headers["x-request-id"] == headers["request-id"]
            assert headers["x-request-id"].startswith("req_")
            assert 0 <= float(headers["x-response-time-ms"]) < 30_000
            assert len(headers.get_list("x-request-id")) == len(headers.get_list("x-response-time-ms")) == 1


async def test_the_id_is_ours_whatever_the_client_calls_it() -> None:
    async with serving() as proxy:
        response = await proxy.post(headers={"x-request-id": "mine"})
        assert response.headers["x-request-id"] == response.headers["request-id"] != "mine"


async def test_the_time_of_a_stream_is_that_to_its_head() -> None:
    rest = asyncio.Event()
    head, *body = text_stream("Hi", "there")
    async with ScriptedUpstream([[head, *body[:2], rest, *body[2:]]]) as upstream, serving(upstream.base_url) as proxy:
        began = perf_counter()
        async with proxy.streaming() as response:
            assert float(response.headers["x-response-time-ms"]) <= (perf_counter() - began) * 1e3
            rest.set()
            await response.aread()


async def test_every_answer_tells_a_browser_to_do_nothing_with_it() -> None:
    """35."""
    async with answers() as (_, found):
        for _, headers in found:
            assert {name: headers.get(name) for name in SECURITY} == SECURITY
            assert all(len(headers.get_list(name)) == 1 for name in SECURITY)
            assert "strict-transport-security" not in headers
            assert not [name for name in headers if name.startswith("access-control-")]
            assert "vary" not in headers


async def test_the_security_headers_can_be_switched_off() -> None:
    async with serving(SECURITY_HEADERS_ENABLED="0") as proxy:
        headers = (await proxy.client.get("/")).headers
        assert not set(SECURITY) & set(headers)
        assert "x-request-id" in headers


@pytest.mark.parametrize(
    ("environ", "said", "told"),
    [
        ({"CCPROXY_PROXIES_COUNT": "1"}, "https", True),
        ({"CCPROXY_PROXIES_COUNT": "1"}, "http", False),
        ({}, "https", False),  # anybody can say so: only a proxy that the settings know is believed
    ],
)
async def test_hsts_is_for_what_came_by_https(environ: dict[str, str], said: str, told: bool) -> None:
    forwarded = {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": said}
    async with serving(ENABLE_HSTS="1", **environ) as proxy:
        for response in (
            await proxy.client.get("/", headers=forwarded),
            await proxy.client.get("/nothing", headers=forwarded),
            await proxy.post(message(stream=True), headers=forwarded),
        ):
            value = response.headers.get("strict-transport-security")
            assert value == ("max-age=63072000; includeSubDomains; preload" if told else None)


async def test_errors_of_a_bad_head_say_it_all_too() -> None:
    async with serving(**CORS, **TOKENS) as proxy:
        head = (await say(proxy, b"hello\r\n\r\n")).partition(b"\r\n\r\n")[0].lower()
        for name in ("x-request-id: req_", "x-response-time-ms: 0.00", "x-frame-options: deny"):
            assert name.encode() in head


# -- pages of other origins


def preflight(headers: str = "content-type, x-api-key", method: str = "POST", origin: str = PAGE) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers,
    }


async def test_a_page_that_is_welcome_asks_and_calls() -> None:
    async with answers(**CORS) as (_, found):
        assert all("access-control-allow-origin" not in headers for _, headers in found)  # nobody said an origin
        assert all(headers["vary"] == "Origin" for _, headers in found)


async def test_a_welcome_page_gets_every_answer() -> None:
    async with serving(**CORS) as proxy:
        page = {"origin": PAGE, "sec-fetch-site": "cross-site"}
        for response, status in (
            (await proxy.post(headers=page), 200),
            (await proxy.post(message(stream=True), headers=page), 200),
            (await proxy.post(b"{", headers=page), 400),
            (await proxy.client.get("/nothing", headers=page), 404),
            (await proxy.client.get("/v1/models", headers=page), 200),
        ):
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == PAGE
            assert "access-control-allow-credentials" not in response.headers
            assert "request-id" in response.headers["access-control-expose-headers"]


async def test_a_page_that_is_not_welcome_is_refused_as_ever() -> None:
    async with serving(**CORS) as proxy:
        response = await proxy.post(headers={"origin": "https://evil.example"})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers
        rebound = await proxy.post(headers={"origin": PAGE, "host": "evil.example"})
        assert rebound.status_code == 403


async def test_with_a_token_any_page_is_served_but_only_a_welcome_one_may_read_it() -> None:
    async with serving(**CORS, **TOKENS) as proxy:
        response = await proxy.post(headers={**TOKEN, "origin": "https://evil.example"})
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/models/x", "/"])
async def test_a_preflight_is_answered_without_a_token(path: str) -> None:
    async with serving(**CORS, **TOKENS) as proxy:
        sdk = "anthropic-version,anthropic-dangerous-direct-browser-access,x-stainless-retry-count,x-api-key"
        response = await proxy.client.options(path, headers=preflight(sdk))
        assert response.status_code == 200
        assert response.content == b""
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "POST" in response.headers["access-control-allow-methods"]
        assert {name.strip() for name in response.headers["access-control-allow-headers"].split(",")} == set(
            sdk.split(",")
        )
        assert response.headers["access-control-max-age"] == "600"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (preflight(origin="https://evil.example"), "CORS_ALLOW_ORIGINS"),
        (preflight(method="DELETE"), "CORS_ALLOW_METHODS"),
        (preflight("x-evil"), "'x-evil'"),
        ({}, "CORS_ALLOW_ORIGINS"),
    ],
)
async def test_a_preflight_for_more_is_refused_with_its_reason(asked: dict[str, str], named: str) -> None:
    async with serving(**CORS) as proxy:
        response = await proxy.client.options("/v1/messages", headers=asked)
        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"
        assert named in response.json()["error"]["message"]


async def test_without_cors_a_preflight_is_no_method() -> None:
    async with serving() as proxy:
        response = await proxy.client.options("/v1/messages", headers=preflight())
        assert response.status_code == 405
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_a_star_welcomes_all_pages() -> None:
    async with serving(ENABLE_CORS="1", CORS_ALLOW_ORIGINS="*", **TOKENS) as proxy:
        response = await proxy.post(headers={**TOKEN, "origin": "https://any.example"})
        assert response.headers["access-control-allow-origin"] == "*"
        assert "vary" not in response.headers


# -- hosts


@pytest.mark.parametrize("host", ["api.example.org", "API.example.org:8443", "a.b.example.com", "[::1]:11434"])
async def test_a_host_of_the_list_is_answered(host: str) -> None:
    async with serving(ALLOWED_HOSTS="api.example.org,*.example.com,::1", CCPROXY_OPEN="1") as proxy:
        assert (await proxy.post(headers={"host": host})).status_code == 200
        assert (await proxy.client.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "example.com", "api.example.org.evil", "127.0.0.1", "xexample.com"])
async def test_any_other_host_is_refused_before_anything_else(host: str) -> None:
    async with serving(ALLOWED_HOSTS="api.example.org,*.example.com", CCPROXY_OPEN="1") as proxy:
        for response in (
            await proxy.post(headers={"host": host}),
            await proxy.client.get("/nothing", headers={"host": host}),
        ):
            assert response.status_code == 403
            assert response.json()["error"]["type"] == "permission_error"
            assert response.headers["x-request-id"] == response.headers["request-id"]


async def test_a_star_in_the_list_takes_all_hosts() -> None:
    async with serving(ALLOWED_HOSTS="*", CCPROXY_OPEN="1") as proxy:
        assert (await proxy.post(headers={"host": "any.example"})).status_code == 200


async def test_a_refused_host_leaves_the_server_serving() -> None:
    async with serving(ALLOWED_HOSTS="127.0.0.1") as proxy:
        head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        refused = await say(proxy, head % len(BODY) + BODY)
        assert refused.startswith(b"HTTP/1.1 403")
        assert (await proxy.post()).status_code == 200
