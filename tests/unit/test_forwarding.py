"""Which headers cross the proxy in a pass-through."""

from __future__ import annotations

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire.forwarding import DENIED, DENIED_PREFIXES, onward, returned

# what Claude Code sends (claude-code.md 2), and a header that does not exist yet
CLAUDE_CODE = {
    "Accept": "application/json",
    "User-Agent": "claude-cli/2.1.328 (external, sdk-cli)",
    "X-Claude-Code-Session-Id": "5f0c",
    "x-claude-code-agent-id": "a1",
    "x-claude-code-parent-agent-id": "a0",
    "X-Stainless-Runtime-Version": "v26.12.1",
    "X-Stainless-Retry-Count": "0",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14 , unknown-2027-01-01",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "traceparent": "00-1-2-01",
    "x-new-feature": "on",
}


def test_what_claude_code_sends_goes_on_unchanged() -> None:
    assert onward(CLAUDE_CODE.items()) == [(k.lower().encode(), v.encode()) for k, v in CLAUDE_CODE.items()]


DENY = [
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "proxy-authorization"),
    *("proxy-connection", "http2-settings", ":authority", "host", "accept-encoding", "content-length", "content-type"),
    *("content-encoding", "content-md5", "content-digest", "repr-digest", "digest"),
    *("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "cookie2", "x-ccproxy-share"),
    *("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "x-client-ip", "x-cluster-client-ip"),
    *("true-client-ip", "client-ip", "via", "cdn-loop", "from", "cf-connecting-ip", "fastly-client-ip"),
    *("fly-client-ip", "x-appengine-user-ip", "x-azure-clientip", "x-vercel-ip-city"),
    *("x-envoy-external-address", "x-amzn-trace-id", "x-amz-cf-id", "x-cloud-trace-context"),
    *("x-request-id", "x-request-start", "connect-time", "total-route-time"),
    *("origin", "referer", "dnt", "sec-fetch-site"),
]


def told(headers: dict[str, str]) -> dict[str, str]:
    """What the client gets of an upstream's headers."""
    return returned([(name.title().encode(), value.encode()) for name, value in headers.items()])


@pytest.mark.parametrize("name", DENY)
def test_what_is_denied_stays_here(name: str) -> None:
    assert onward([(name.title(), "secret"), ("x-kept", "1")]) == [(b"x-kept", b"1")]
    assert name not in told({name: "value"})


def test_every_row_of_the_tables_is_tried() -> None:
    assert {*DENIED} <= {*DENY}
    assert all(any(name.startswith(prefix) for name in DENY) for prefix in DENIED_PREFIXES)


def test_what_connection_names_belongs_to_the_connection() -> None:
    headers = [
        ("X-Hop", "1"),
        ("x-hop-2", "2"),
        ("Connection", "close, X-Hop,"),
        ("connection", " x-HOP-2 "),
        ("x", "3"),
    ]
    assert onward(headers) == [(b"x", b"3")]


def test_the_proxys_own_headers_take_the_place_of_the_clients() -> None:
    own = [(b"Anthropic-Beta", b"ours"), (b"x-key", b"1")]
    assert onward([("anthropic-beta", "theirs"), ("X-Key", "2"), ("x", "3")], own) == [(b"x", b"3")]


def test_repeated_headers_and_their_order_stay() -> None:
    headers = [("anthropic-beta", "b"), ("x", "1"), ("anthropic-beta", "a")]
    assert onward(headers) == [(b"anthropic-beta", b"b"), (b"x", b"1"), (b"anthropic-beta", b"a")]


def test_bytes_that_are_not_ascii_go_on_as_they_came() -> None:
    for raw in (b"\xc3\xa9", b"caf\xe9"):
        assert onward([("x", raw.decode(errors="surrogateescape"))]) == [(b"x", raw)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x", "secret\r\nhost: b"), ("x", "secret\nb"), ("x", "secret\rb"), ("x", "secret\0b")),
        *(("x y", "secret"), ("x\r\ny", "secret"), ("", "secret"), ("é", "secret"), ("x:", "secret")),
    ],
)
def test_a_header_that_would_become_two_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        onward([(name, value)])
    assert "secret" not in caught.value.message


def test_a_name_that_was_seen_before_is_treated_the_same() -> None:
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            onward([("x y", "1")])
        assert onward([("X-Kept", "1"), ("Cookie", "a"), ("x-kept", "2")]) == [(b"x-kept", b"1"), (b"x-kept", b"2")]
        assert onward([("x-kept", "1"), ("connection", "X-Kept")]) == []


def test_what_clients_read_back_is_returned() -> None:
    wanted = {
        "anthropic-ratelimit-unified-status": "allowed",
        "anthropic-organization-id": "o",
        "anthropic-new": "x",
        "retry-after": "7",
        "x-should-retry": "true",
    }
    others = {
        "server": "cloudflare",
        "date": "today",
        "set-cookie": "a=b",
        "cf-ray": "1",
        "content-type": "application/json",
        "content-length": "3",
        "content-encoding": "gzip",
        "transfer-encoding": "chunked",
        "connection": "close",
        "strict-transport-security": "max-age=9",
        "alt-svc": "h3",
        "access-control-allow-origin": "*",
        "retry-after-ms": "900000",
        "x-robots-tag": "none",
    }
    assert told(wanted | others) == wanted


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"request-id": "req_up", "x-request-id": "other"}, {"x-upstream-request-id": "req_up"}),
        ({"x-request-id": "other"}, {"x-upstream-request-id": "other"}),
        ({"request-id": ""}, {}),
        ({"request-id": "a\nb", "anthropic-x": "a\r\nb", "retry-after": "1\0"}, {}),
    ],
)
def test_the_upstreams_id_is_returned_under_a_name_of_its_own(headers: dict[str, str], wanted: dict[str, str]) -> None:
    assert told(headers) == wanted


def test_what_an_upstream_says_twice_is_returned_as_one() -> None:
    assert returned([(b"anthropic-x", b"a"), (b"Retry-After", b"7"), (b"Anthropic-X", b"\xe9")]) == {
        "anthropic-x": "a, \xe9",
        "retry-after": "7",
    }
