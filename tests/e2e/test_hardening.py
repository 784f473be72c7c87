"""Raw bytes that a proxy must not take: sanic-and-httpx.md G, each followed by a request that must be served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ccproxy_sanic.front import checks, protocol
from tests.support.proxy import HELLO, Proxy, serving

BODY = json.dumps(HELLO).encode()


async def say(proxy: Proxy, data: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read() if end else await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


def post(*lines: bytes, line: bytes = b"POST /v1/messages HTTP/1.1", body: bytes = BODY) -> bytes:
    return b"\r\n".join([line, *lines]) + b"\r\n\r\n" + body


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
BAD = {
    "space before the colon": post(b"Host: localhost", b"Transfer-Encoding : chunked", body=CHUNKED),
    "unicode digit": post(b"Host: localhost", "Content-Length: ١".encode()),
    "NUL in a value": post(b"Host: localhost", LENGTH, b"X-A: a\x00b"),
    "bare CR in a value": post(b"Host: localhost", LENGTH, b"X-A: a\rb"),
    "bare LF in a value": post(b"Host: localhost", LENGTH, b"X-A: a\nX-B: b"),
    "empty name": post(b"Host: localhost", LENGTH, b": x"),
    "space in a name": post(b"Host: localhost", LENGTH, b"X A: x"),
    "no host": post(LENGTH),
    "two hosts": post(b"Host: localhost", b"Host: localhost", LENGTH),
    "length and encoding": post(b"Host: localhost", LENGTH, b"Transfer-Encoding: chunked"),
    "two lengths": post(b"Host: localhost", LENGTH, LENGTH),
    "signed length": post(b"Host: localhost", b"Content-Length: +5"),
    "encoding on 1.0": post(
        b"Host: localhost", b"Transfer-Encoding: chunked", line=b"POST /v1/messages HTTP/1.0", body=CHUNKED
    ),
    "method of other letters": post(b"Host: localhost", LENGTH, line=b"P@ST /v1/messages HTTP/1.1"),
    "too many headers": post(b"Host: localhost", LENGTH, *(b"X-%d: x" % n for n in range(checks.MAX_HEADERS))),
    "two lengths of different case": post(b"Host: localhost", LENGTH, b"content-length: %d" % len(BODY)),
    "a length and none": post(b"Host: localhost", LENGTH, b"content-length: "),
    "a folded line": post(b"Host: localhost", b"X-A: a", b" content-length: 5", LENGTH),
    "a URL without a path": post(b"Host: localhost", LENGTH, line=b"POST http://localhost HTTP/1.1"),
    "no URL": post(b"Host: localhost", LENGTH, line=b"POST localhost:80 HTTP/1.1"),
    "no request at all": b"hello\r\n\r\n",
}
GOOD = post(b"Host: localhost", LENGTH)


def assert_refused(answer: bytes) -> None:
    """``answer`` is one of 400, and then the end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b"request-id: req_" in head
    assert b"connection: close" in head
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_doubtful_heads_are_refused_and_the_connection_closed(data: bytes, tmp_path: Path) -> None:
    async with serving(ERROR_TRACKING_FILE=str(tmp_path / "errors")) as proxy:
        assert_refused(await say(proxy, data))
        assert (await proxy.post()).status_code == 200


async def test_they_are_refused_where_a_good_one_is_known_too() -> None:
    async with serving() as proxy:
        for name, data in BAD.items():
            for before in (GOOD, GOOD + GOOD):
                nothing, *others, last = (await say(proxy, before + data)).split(b"HTTP/1.1 ")
                assert (name, nothing, [answer[:3] for answer in others]) == (name, b"", [b"200"] * before.count(GOOD))
                assert_refused(b"HTTP/1.1 " + last)
            assert_refused(await say(proxy, data))


async def test_a_head_over_the_limit_is_told_so() -> None:
    async with serving() as proxy:
        answer = await say(proxy, post(b"Host: localhost", LENGTH, b"X-A: " + b"a" * 20_000))
        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"request_too_large"' in answer


async def test_long_but_legal_heads_pass() -> None:
    async with serving() as proxy:
        data = post(b"Host: localhost", LENGTH, b"Authorization: Bearer " + b"a" * 12_000, b"Connection: close")
        assert (await say(proxy, data)).startswith(b"HTTP/1.1 200")


async def test_expect_100_continue_is_answered() -> None:
    async with serving() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(post(b"Host: localhost", LENGTH, b"Expect: 100-continue", body=b""))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    "data",
    [b"POST /v1/mess", post(b"Host: localhost", LENGTH, body=b"{"),
     post(b"Host: localhost", b"Transfer-Encoding: chunked", body=b"5\r\n{")],
    ids=["head", "body", "chunk"],
)  # fmt: skip
async def test_a_client_that_drips_bytes_is_cut_by_an_absolute_deadline(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(protocol, "monotonic", lambda: clock[0])
    async with serving() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(data)
        await asyncio.sleep(0.05)
        [connection] = [c for c in proxy.connections if c.recv_buffer or c.http.stage.name != "IDLE"]
        for seconds in (0.0, 4.0, 8.0):  # each look finds a fresh byte, and time gone by
            clock[0] = seconds
            connection.check_timeouts()
            writer.write(b" ")
            await asyncio.sleep(0.02)
            assert not writer.transport.is_closing()
        clock[0] = protocol.HEAD_DEADLINE + 1
        connection.check_timeouts()
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"timeout_error"' in answer
        writer.close()
