"""What is written before a body: one well-formed head, however it came together."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.upstream.head import Head, Headers

URL = httpx.URL("https://h:8443/v1/chat?a=%20b")
fields = st.tuples(st.from_regex(rb"[a-z-]{1,12}", fullmatch=True), st.from_regex(rb"[ -~]{0,20}", fullmatch=True))


def test_host_comes_first_and_the_length_last() -> None:
    head = Head("POST", URL, [(b"x-a", b"1"), (b"x-a", b"2")])
    lines = b"POST /v1/chat?a=%20b HTTP/1.1\r\nhost: h:8443\r\nx-a: 1\r\nx-a: 2\r\n"
    assert [head.framed(n) for n in (0, 12)] == [
        lines + b"content-length: 0\r\n\r\n",
        lines + b"content-length: 12\r\n\r\n",
    ]


def test_a_method_without_a_body_says_no_length() -> None:
    assert Head("GET", httpx.URL("http://h"), []).framed(0) == b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


def test_what_frames_the_body_is_not_taken_from_the_headers_and_a_host_is() -> None:
    headers = [(b"Host", b"other"), (b"Content-Length", b"99"), (b"Transfer-Encoding", b"chunked")]
    assert Head("PUT", URL, headers).framed(1).split(b"\r\n")[1:] == [b"Host: other", b"content-length: 1", b"", b""]


@given(own=st.lists(fields, max_size=5), more=st.lists(fields, max_size=5))
def test_a_head_beside_others_is_what_it_would_be_if_written_at_once(own: Headers, more: Headers) -> None:
    own, more = ([field for field in part if field[0] != b"host"] for part in (own, more))
    base = Head("POST", URL, own)
    before = base.framed(3)
    both = base.beside(more)
    assert both.framed(3) == Head("POST", URL, own + more).framed(3)
    assert (both.headers, both.origin) == (own + more, base.origin)
    assert base.framed(3) == before


@pytest.mark.parametrize("value", [b"a\r\nx-more: 1", b"a\n", b"a\r", b"a\0"])
def test_a_header_that_is_more_than_one_is_refused_and_not_quoted(value: bytes) -> None:
    good, field = Head("POST", URL, []), (b"authorization", b"Bearer sk-secret" + value)
    for head in (Head("POST", URL, [field]), good.beside([field])):
        with pytest.raises(httpx.LocalProtocolError) as caught:
            head.framed(1)
        assert "secret" not in str(caught.value) + repr(head)


@pytest.mark.parametrize("url", ["ftp://h/", "http://", "/v1"])
def test_a_url_that_is_not_one_of_http_has_no_origin(url: str) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        _ = Head("POST", httpx.URL(url), []).origin
