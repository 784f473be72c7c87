"""Whatever is said to it, and in whatever pieces: a proxy that remembers heads answers like one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.twins import BODY, LAST, Twins, cut, post, twins

Ring = tuple[asyncio.Runner, Twins]

CHUNKED: Final = post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), length=b"Transfer-Encoding: chunked")
REQUESTS: Final = (
    post(),
    post(BODY + b" " * 40),
    post(length=b"content-length: %d" % len(BODY)),
    post(b"{"),
    post(b""),
    post(b"", path=b"/v1/cache/clear"),
    post(BODY, b"Connection: close"),
    post(BODY, b"Expect: 100-continue"),
    post(BODY, b"Origin: https://evil.example"),
    post(BODY, b"x-ccproxy-share: maybe"),
    post(version=b"1.0"),
    post(BODY, b"Connection: keep-alive", version=b"1.0"),
    post(path=b"/v1/messages?beta=true"),
    post(path=b"/v1/messages/count_tokens"),
    post(path=b"/nothing"),
    post(b"", method=b"GET", path=b"/health"),
    post(b"ab", method=b"HEAD", path=b"/health"),
    post(b"", method=b"DELETE", path=b"/health"),
    CHUNKED,
)
# What is left of a request whose length is wrong now is followed by enough to end it, and by no further request.
PADDING: Final = LAST + b"\r\n\r\n" * 5_000


@pytest.fixture(scope="module")
def ring() -> Iterator[Ring]:
    with asyncio.Runner() as runner:
        both = twins()
        yield runner, runner.run(both.__aenter__())
        runner.run(both.__aexit__(None, None, None))


@settings(max_examples=150)
@given(st.data())
def test_requests_in_any_order_and_in_any_pieces_get_the_same_answers(ring: Ring, data: st.DataObject) -> None:
    runner, both = ring
    both.heads.forget()
    for _ in range(data.draw(st.integers(1, 3), "connections")):
        said = b"".join(data.draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), "requests"))
        at = data.draw(st.lists(st.integers(0, len(said)), max_size=6), "cuts")
        before = data.draw(st.lists(st.sampled_from(REQUESTS[:3]), max_size=2), "before")
        runner.run(both.ask(*cut(said + LAST, *at), after=before))


WEDGES: Final = (
    *(b"\r\n", b"\r", b"\n", b" ", b":", b"0", b"9", b"-", b"+", b"_", b"\t", b"\0", "\u0661".encode(), b"x"),
    *(b"\r\n\r\n", b"\r\ncontent-length: 7", b"\r\nContent-Length: ", b"\r\nTransfer-Encoding: chunked"),
)
# bytes that go, and those that come in their place
CHANGES: Final = st.one_of(
    st.tuples(st.just(0), st.sampled_from(WEDGES)),
    st.tuples(st.integers(1, 20), st.just(b"")),
    st.tuples(st.just(1), st.binary(min_size=1, max_size=1)),
)


@settings(max_examples=300)
@given(st.data())
def test_a_head_that_is_nearly_a_known_one_is_read_as_ever(ring: Ring, data: st.DataObject) -> None:
    runner, both = ring
    both.heads.forget()
    good = data.draw(st.sampled_from(REQUESTS[:3]), "known")
    runner.run(both.ask(good + LAST))
    assert both.heads.hits == 0
    end = good.index(b"\r\n\r\n") + 4
    changed = good
    places = st.integers(0, end) | st.integers(end - 28, end)  # all over it, and around the length
    for _ in range(data.draw(st.integers(1, 2), "changes")):
        at = data.draw(places, "at")
        drop, new = data.draw(CHANGES, "change")
        changed = changed[:at] + new + changed[at + drop :]
    said = data.draw(st.sampled_from([changed, good + changed]), "said")
    runner.run(both.ask(said + PADDING, after=[good] * data.draw(st.integers(0, 2), "before")))
