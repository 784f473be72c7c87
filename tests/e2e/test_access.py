"""Who may call: tokens, and what a web page must not do without them."""

from __future__ import annotations

import pytest

from tests.support.proxy import serving

TOKENS = "ann:token-of-ann-1234,token-without-name"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "token-of-ann-1234"},
        {"authorization": "Bearer token-of-ann-1234"},
        {"authorization": "bearer token-without-name"},
        {"x-api-key": "token-of-ann-1234", "authorization": "Bearer wrong"},  # the real API uses x-api-key
    ],
)
async def test_a_token_opens(headers: dict[str, str]) -> None:
    async with serving(CCPROXY_AUTH_TOKENS=TOKENS) as proxy:
        assert (await proxy.post(headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": "wrong"}, {"x-api-key": "wrong", "authorization": "Bearer token-of-ann-1234"},
     {"authorization": "Basic token-of-ann-1234"}, {"x-api-key": "ann"}, {"x-api-key": "token-of-ann-12345"}],
)  # fmt: skip
async def test_anything_else_does_not(headers: dict[str, str]) -> None:
    async with serving(CCPROXY_AUTH_TOKENS=TOKENS) as proxy:
        response = await proxy.post(headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"
        assert "token-of-ann" not in response.text
        assert (await proxy.client.get("/")).status_code == 200


async def test_without_tokens_any_credential_is_taken() -> None:
    async with serving() as proxy:
        for headers in ({}, {"x-api-key": "dummy"}, {"authorization": "Bearer anything"}):
            assert (await proxy.post(headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:11434", "127.0.0.1:1", "127.1.2.3", "[::1]:11434", "me.localhost"]
)
async def test_loopback_names_are_served(host: str) -> None:
    async with serving() as proxy:
        assert (await proxy.post(headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:11434", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]"]
)
async def test_a_rebound_name_is_not(host: str) -> None:
    async with serving() as proxy:
        response = await proxy.post(headers={"host": host})
        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"
        assert (await proxy.client.get("/v1/metrics", headers={"host": host})).status_code == 403
        assert (await proxy.client.get("/health", headers={"host": host})).status_code == 200
    async with serving(CCPROXY_AUTH_TOKENS=TOKENS) as proxy:
        token = {"x-api-key": "token-of-ann-1234", "host": host}
        assert (await proxy.post(headers=token)).status_code == 200
    async with serving(CCPROXY_OPEN="1") as proxy:
        assert (await proxy.post(headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
     {"sec-fetch-site": "same-site"}, {"origin": "http://localhost:3000"}],
)  # fmt: skip
@pytest.mark.parametrize("open_to_all", ["", "1"])
async def test_a_foreign_web_page_is_refused(headers: dict[str, str], open_to_all: str) -> None:
    async with serving(CCPROXY_OPEN=open_to_all) as proxy:
        response = await proxy.post(headers=headers)
        assert response.status_code == 403
        assert response.json()["type"] == "error"


async def test_a_page_of_the_proxy_itself_is_served() -> None:
    async with serving() as proxy:
        own = {"origin": proxy.url, "sec-fetch-site": "same-origin"}
        assert (await proxy.post(headers=own)).status_code == 200


async def test_a_request_that_comes_round_is_refused() -> None:
    async with serving() as proxy:
        hop = {"x-ccproxy-hop": proxy.runtime.hop}
        response = await proxy.post(headers=hop)
        assert (response.status_code, response.json()["error"]["type"]) == (508, "api_error")
        assert (await proxy.client.post("/v1/chat/completions", headers=hop)).status_code == 508
        assert (await proxy.post(headers={"x-ccproxy-hop": "another"})).status_code == 200


async def test_limits_refuse_with_the_time_to_come_back() -> None:
    async with serving(RATE_LIMIT_PER_MINUTE="2", RATE_LIMIT_BURST="0") as proxy:
        codes = [(await proxy.post()).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        refused = await proxy.post()
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(refused.headers["retry-after"]) <= 30
