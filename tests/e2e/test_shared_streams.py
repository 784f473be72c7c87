"""A stream that is asked for again while it runs is one upstream call, and whoever reads it gets all of it.

The names of the original's ways to hang stand with the tests that they became (original.md 1.5; behaviour 33).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.grammar import check, parse
from tests.support.messages_api import streamed, text_events
from tests.support.proxy import events, message, serving, text_of
from tests.support.reading import SHARE, Reading, between, readers
from tests.support.upstream import (
    CUT,
    DONE,
    LAST_CHUNK,
    Received,
    Reply,
    ScriptedUpstream,
    Step,
    chunked,
    delta,
    event,
    head,
    reply_json,
    sse,
    text_stream,
)

ERROR = {"error": {"message": "no such luck", "type": "server_error", "code": None}}


async def test_a_resend_joins_the_running_stream_from_its_first_event() -> None:
    gate = asyncio.Event()
    async with between(delta(content="one "), gate, delta(content="two"), delta("stop"), DONE) as (upstream, proxy):
        first = Reading(proxy)
        await first.until(b"one ")
        second = Reading(proxy)
        await second.until(b"one ")
        gate.set()
        assert await first.whole() == await second.whole()
        assert text_of(events(second.body)) == "one two"
        check(parse(second.body))
        assert (first.shared, second.shared) == (False, True)
        assert first.response is not None
        assert second.response is not None
        assert first.response.headers["request-id"] != second.response.headers["request-id"]
        for name in ("x-upstream-model", "x-ccproxy-route"):
            assert first.response.headers[name] == second.response.headers[name]
        assert len(upstream.requests) == 1


async def test_several_subscribers_get_the_same_lines_and_an_end() -> None:
    """Behaviour 33."""
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta(content="b"), delta("stop"), DONE) as (upstream, proxy):
        reading = [Reading(proxy) for _ in range(5)]
        await readers(proxy, 5)
        await reading.pop().leave()  # one that is closed does not stop the others
        await readers(proxy, 4)
        gate.set()
        bodies = {await one.whole() for one in reading}
        assert len(bodies) == 1
        assert text_of(events(bodies.pop())) == "ab"
        assert len(upstream.requests) == 1


async def test_when_the_first_leaves_the_other_one_reads_on() -> None:
    """Was: the primary disconnects, and all other subscribers hang."""
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta(content="b"), delta("stop"), DONE) as (upstream, proxy):
        first = Reading(proxy)
        await first.until(b'"a"')
        second = Reading(proxy)
        await readers(proxy, 2)
        await first.leave()
        await readers(proxy, 1)
        gate.set()
        assert text_of(events(await second.whole())) == "ab"
        assert (len(upstream.requests), upstream.aborted) == (1, 0)


async def test_the_first_may_leave_before_the_first_byte() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *text_stream("late")]]) as upstream, serving(upstream.base_url) as proxy:
        first = Reading(proxy)
        await upstream.until(open=1)
        second = Reading(proxy)
        await readers(proxy, 2)
        await first.leave()
        gate.set()
        assert text_of(events(await second.whole())) == "late"
        assert (len(upstream.requests), upstream.aborted) == (1, 0)


async def test_a_reconnect_within_the_grace_takes_the_stream_over() -> None:
    """Was: a joiner after the primary has left hangs."""
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta(content="b"), delta("stop"), DONE) as (upstream, proxy):
        first = Reading(proxy)
        await first.until(b'"a"')
        await first.leave()
        await readers(proxy, 0)
        assert proxy.runtime.quiet().open_streams == 1
        again = Reading(proxy)
        await readers(proxy, 1)
        gate.set()
        assert text_of(events(await again.whole())) == "ab"
        assert (len(upstream.requests), upstream.aborted) == (1, 0)


async def test_when_all_have_left_the_upstream_is_aborted_after_the_grace() -> None:
    forever = asyncio.Event()
    async with between(delta(content="a"), forever) as (upstream, proxy):
        proxy.runtime.house.streams.grace = 0.3
        both = [Reading(proxy) for _ in range(2)]
        await readers(proxy, 2)
        await both[0].until(b'"a"')
        for one in both:
            await one.leave()
        await readers(proxy, 0)
        assert (upstream.open, upstream.aborted) == (1, 0)
        await upstream.until(open=0, aborted=1)


async def test_without_a_session_a_client_that_leaves_ends_the_upstream_at_once() -> None:
    forever = asyncio.Event()
    async with between(delta(content="a"), forever) as (upstream, proxy):
        alone = Reading(proxy, headers={})
        await alone.until(b'"a"')
        await alone.leave()
        await upstream.until(within=2.0, open=0, aborted=1)


@pytest.mark.parametrize("leaves_it_there", [False, True])
async def test_a_reader_that_does_not_read_is_cut_and_the_other_one_finishes(leaves_it_there: bool) -> None:
    """Was: a subscriber that falls behind is dropped, and its response hangs for ever."""
    piece, gate = "x" * 65536, asyncio.Event()

    def script(_: Received) -> Iterator[Step]:
        yield head(200, None, content_type="text/event-stream")
        yield chunked(event(delta(content="begin")))
        yield gate
        for _ in range(400):
            yield chunked(event(delta(content=piece)))
        yield chunked(event(delta("stop"))) + chunked(event(DONE)) + LAST_CHUNK

    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url) as proxy:  # type: ignore[arg-type]
        body = json.dumps(message(stream=True), separators=(",", ":")).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in SHARE.items()).encode()
        ask = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n%bcontent-length: %d\r\n\r\n" % (lines, len(body))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=4096)
        writer.write(ask + body)
        await reader.readuntil(b"begin")
        async with httpx.AsyncClient(base_url=proxy.url, timeout=30, trust_env=False) as client:
            asking = asyncio.ensure_future(client.post("/v1/messages", content=body, headers=SHARE))
            await readers(proxy, 2)
            gate.set()
            answer = await asking
        assert len(text_of(events(answer.content))) == len("begin") + 400 * len(piece)
        assert events(answer.content)[-1][0] == "message_stop"
        if leaves_it_there:
            async with asyncio.timeout(10):
                while not (proxy.runtime.house.streams.cut and any(one._busy for one in proxy.runtime.watch.clients)):
                    await asyncio.sleep(0.005)
            proxy.tick(later=130.0)  # it doesn't take the error either
            with pytest.raises(ConnectionError):
                await _rest(reader)
            return
        left = await asyncio.wait_for(_rest(reader), 10)
        writer.close()
        assert b"event: error" in left
        assert b"overloaded_error" in left
        assert b"message_stop" not in left
        assert left.endswith(b"0\r\n\r\n")
        assert len(upstream.requests) == 1


async def _rest(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += (more := await reader.read(1 << 20))
        if not more:
            raise ConnectionError
    return data


async def test_a_fast_upstream_and_one_who_comes_late() -> None:
    """Was: with a fast upstream, whoever is more than 100 events behind stops for ever."""
    gate = asyncio.Event()
    pieces = [f"{number} " for number in range(3000)]
    script = [delta(content=piece) for piece in pieces]
    async with between(*script[:2900], gate, *script[2900:], delta("stop"), DONE) as (upstream, proxy):
        first = Reading(proxy)
        await first.until(b'"2899 "')
        late = Reading(proxy)
        await readers(proxy, 2)
        gate.set()
        for one in (first, late):
            assert text_of(events(await one.whole())) == "".join(pieces)
        assert late.shared
        assert len(upstream.requests) == 1


async def test_before_content_a_failure_is_the_firsts_and_the_next_one_asks_itself() -> None:
    gate = asyncio.Event()
    replies: list[Reply] = [[gate, *reply_json(ERROR, 400)], text_stream("second try")]
    async with ScriptedUpstream(replies) as upstream, serving(upstream.base_url) as proxy:
        reading = [Reading(proxy)]
        await upstream.until(open=1)
        reading += [Reading(proxy) for _ in range(2)]
        await readers(proxy, 3)
        gate.set()
        bodies = [await one.whole() for one in reading]
        assert json.loads(bodies[0])["error"]["message"] == "no such luck"
        assert [text_of(events(body)) for body in bodies[1:]] == ["second try"] * 2
        assert [one.response.status_code for one in reading if one.response] == [400, 200, 200]
        assert sorted(one.shared for one in reading[1:]) == [False, True]
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("failure", [reply_json(ERROR, 500), sse(ERROR), sse(CUT)])
async def test_after_a_failed_start_a_retry_works(failure: Reply) -> None:
    """Was: an upstream that fails at the start leaves a queue behind, and the client's retry hangs with no byte."""
    async with ScriptedUpstream([failure, text_stream("works")]) as upstream:
        async with serving(upstream.base_url, PROVIDER_MAX_RETRIES="0") as proxy:
            failed, works = Reading(proxy), None
            assert b'"error"' in await failed.whole()
            works = Reading(proxy)
            assert text_of(events(await works.whole())) == "works"
            assert not works.shared


async def test_after_content_a_fault_reaches_every_reader() -> None:
    gate = asyncio.Event()
    async with between(delta(content="half"), gate, CUT) as (upstream, proxy):
        both = [Reading(proxy), Reading(proxy)]
        await readers(proxy, 2)
        for one in both:
            await one.until(b"half")
        gate.set()
        for one in both:
            pairs = events(await one.whole())
            assert one.response is not None
            assert (pairs[-1][0], text_of(pairs)) == ("error", "half")
            assert pairs[-1][1]["request_id"] == one.response.headers["request-id"]
        assert len(upstream.requests) == 1


async def test_a_stream_that_has_ended_is_not_replayed() -> None:
    async with between(delta(content="again"), delta("stop"), DONE) as (upstream, proxy):
        for _ in range(2):
            reading = Reading(proxy)
            assert text_of(events(await reading.whole())) == "again"
            assert not reading.shared
        assert len(upstream.requests) == 2


async def test_what_is_passed_through_is_shared_as_well() -> None:
    gate = asyncio.Event()
    *first, last = text_events("one ", "two")
    script: list[Step] = [*streamed(first)[:-1], gate, *streamed([last])[1:]]
    async with ScriptedUpstream([script]) as upstream, serving(upstream.base_url, CCPROXY_API="messages") as proxy:
        both = [Reading(proxy) for _ in range(2)]
        await readers(proxy, 2)
        gate.set()
        bodies = [await one.whole() for one in both]
        assert bodies[0] == bodies[1]
        assert text_of(events(bodies[1])) == "one two"
        assert len(upstream.requests) == 1
