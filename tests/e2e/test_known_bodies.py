"""What comes behind a head that is known: of any length, at any pace, whole or not."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any, Final

import pytest

from ccproxy_sanic.front import protocol
from ccproxy_sanic.front.requests import StrictRequest
from tests.support.proxy import Proxy, message
from tests.support.twins import BODY, LAST, connect, counting, cut, post, say, statuses, twins
from tests.support.upstream import ScriptedUpstream, reply_json

MB: Final = 1 << 20
READ: Final = MB // 4  # bytes that a loop reads at once
COMPLETION: Final = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}
BEHIND: Final = len(b"\r\n\r\n")


def long(size: int) -> bytes:
    """A request's body of about ``size`` bytes."""
    return json.dumps(message(messages=[{"role": "user", "content": "x" * size}])).encode()


def connection_of(proxy: Proxy) -> Any:
    """The only one that is open."""
    [connection] = proxy.connections
    return connection


async def test_any_length_is_that_of_its_own_request() -> None:
    async with twins() as both:
        for body in (BODY, b"", b"{", BODY + b" ", b" " * 2000, BODY, b"", long(100_000)):
            expected = 400 if len(body.strip()) < 2 else 200
            assert statuses(await both.ask(post(body) + LAST)) == [expected, 200]
            head = post(body).index(b"\r\n\r\n") + BEHIND
            assert statuses(await both.ask(*cut(post(body) + LAST, head, head + len(body)))) == [expected, 200]
        assert both.heads.hits == 15


@pytest.mark.parametrize("arrived", [0, 1, MB, MB + 1], ids=["nothing", "a byte", "most", "all"])
async def test_what_is_too_large_is_refused_and_the_connection_closed(arrived: int) -> None:
    async with twins(CCPROXY_MAX_BODY_MB="1") as both:
        await both.ask(post() + LAST)
        for size, expected in ((MB + 1, [413]), (10**11, [413]), (10**12, [413]), (MB, [400, 200])):
            said = post(b" " * size) if size <= MB + 1 else post(b" " * MB, length=b"Content-Length: %d" % size)
            head = said.index(b"\r\n\r\n") + BEHIND
            pieces = (said, LAST) if size == MB else cut(said[: head + arrived], head)
            assert statuses(await both.ask(*pieces)) == expected
        assert both.heads.hits == 3


async def test_what_is_too_large_is_refused_where_it_came_in_one_go_too() -> None:
    async with counting() as (proxy, known):
        talk = await connect(proxy)
        await talk.say(post())
        await talk.until(answers=1)
        connection_of(proxy).http.request_max_size = len(BODY) - 1
        await talk.say(post())
        assert statuses(await talk.end()) == [200, 413]
        assert known.hits == 1


@pytest.mark.parametrize(("arrived", "in_time"), [(0, False), (5_000, False), (20_000, True)])
async def test_a_body_that_does_not_come_is_not_waited_for(
    arrived: int, in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(protocol, "monotonic", lambda: clock[0])
    said = post(b" " * 30_000)
    head = said.index(b"\r\n\r\n") + BEHIND
    async with counting() as (proxy, known):
        for hits in (0, 3):
            clock[0] = 0.0
            talk = await connect(proxy)
            await talk.say(said[:head])
            connection = connection_of(proxy)
            connection.check_timeouts()
            for seconds in (4.0, 8.0):  # each look finds a fresh byte, and time gone by
                clock[0] = seconds
                await talk.say(b" " * (arrived // 2))
                connection.check_timeouts()
                assert statuses(await say(proxy, post() + LAST)) == [200, 200]
            clock[0] = protocol.HEAD_DEADLINE + 1
            connection.check_timeouts()
            if in_time:
                await talk.say(b" " * (30_000 - arrived) + LAST)
            assert statuses(await talk.end()) == ([400, 200] if in_time else [408])
            assert (b"timeout_error" in talk.answer) is not in_time
            assert known.hits >= hits


async def test_the_time_to_send_a_body_is_not_that_of_its_answer_nor_of_the_next_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(protocol, "monotonic", lambda: clock[0])
    gate = asyncio.Event()
    async with ScriptedUpstream([reply_json(COMPLETION), [gate, *reply_json(COMPLETION)]]) as upstream:
        async with counting(upstream.base_url) as (proxy, known):
            await say(proxy, post() + LAST)
            talk = await connect(proxy)
            await talk.say(post()[:-10], post()[-10:])
            await upstream.until(open=1)
            for clock[0] in (0.0, 100.0):
                connection_of(proxy).check_timeouts()
            gate.set()
            await talk.until(answers=1)
            for answers, clock[0] in ((2, 200.0), (3, 300.0)):  # nobody looks between the two
                await talk.say(post()[:-10])
                connection_of(proxy).check_timeouts()
                await talk.say(post()[-10:])
                await talk.until(answers=answers)
            await talk.say(LAST)
            assert statuses(await talk.end()) == [200] * 4
            assert known.hits == 3


@pytest.mark.parametrize("size", [100, 3 * MB])
async def test_a_client_that_leaves_before_its_body_is_complete_leaves_nothing(size: int) -> None:
    said = post(long(size))
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with counting(upstream.base_url) as (proxy, known):
            for hits in range(3):
                talk = await connect(proxy)
                await talk.say(said[:-10])
                connection = connection_of(proxy)
                assert connection.http.stage.name == "HANDLER"
                await talk.leave()
                async with asyncio.timeout(5):
                    while proxy.connections:
                        await asyncio.sleep(0.002)
                assert known.hits == hits
            assert upstream.requests == []


@pytest.mark.parametrize("size", [1_000, MB // 2, MB + MB // 10, 3 * MB])
async def test_a_client_that_leaves_is_noticed_however_long_its_body_was(size: int) -> None:
    """Reading was paused when a body had filled the buffer, and nobody saw the end of the connection."""
    forever = asyncio.Event()
    async with ScriptedUpstream([[forever]]) as upstream:
        async with counting(upstream.base_url, PROVIDER_MAX_RETRIES="0") as (proxy, known):
            for hits in range(3):
                talk = await connect(proxy)
                talk.transport.write(post(long(size)))
                await upstream.until(open=1)
                await talk.leave()
                await upstream.until(open=0, aborted=hits + 1)
                assert known.hits == hits


@pytest.mark.parametrize("line", [b"X-A: a", b"X-A: b"], ids=["known", "new"])
async def test_a_client_that_leaves_is_noticed_where_its_request_had_to_wait(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had filled the buffer before anybody wanted it."""
    monkeypatch.setenv("SANIC_REQUEST_BUFFER_SIZE", "5000")
    gate, forever = asyncio.Event(), asyncio.Event()
    async with ScriptedUpstream([[gate, *reply_json(COMPLETION)], [forever]]) as upstream:
        async with counting(upstream.base_url, PROVIDER_MAX_RETRIES="0") as (proxy, known):
            talk = await connect(proxy)
            await talk.say(post(BODY, b"X-A: a"))
            await upstream.until(open=1)
            await talk.say(post(long(6_000), line))
            gate.set()
            await talk.until(answers=1)
            await upstream.until(open=1)
            await talk.leave()
            await upstream.until(open=0, aborted=1)
            assert known.hits == (line == b"X-A: a")


@pytest.mark.parametrize("piece", [4 * MB, 50_000], ids=["in one go", "slowly"])
async def test_a_body_larger_than_the_buffer_arrives_as_it_was_sent(piece: int) -> None:
    body = json.dumps(message(messages=[{"role": "user", "content": "".join(map(str, range(500_000)))}])).encode()
    said = post(body) + LAST
    async with ScriptedUpstream([reply_json(COMPLETION)]) as upstream:
        async with counting(upstream.base_url) as (proxy, known):
            for hits in range(2):
                assert statuses(await say(proxy, *cut(said, *range(0, len(said), piece)))) == [200, 200]
                assert known.hits == hits
            first, second = (request.json()["messages"] for request in upstream.requests)
            assert first == second
            assert first[-1]["content"] == json.loads(body)["messages"][0]["content"]


async def test_who_sends_without_end_while_one_is_answered_waits() -> None:
    gate, flood = asyncio.Event(), 60
    async with ScriptedUpstream([[gate, *reply_json(COMPLETION)], reply_json(COMPLETION)]) as upstream:
        async with counting(upstream.base_url) as (proxy, known):
            talk = await connect(proxy)
            talk.transport.write(post() + post(long(100_000)) * flood + LAST)
            await upstream.until(open=1)
            connection = connection_of(proxy)
            async with asyncio.timeout(5):
                while len(connection.recv_buffer) < MB:
                    await asyncio.sleep(0.002)
            gate.set()
            most = 0
            while not talk.closed.done():
                most = max(most, len(connection.recv_buffer))
                await asyncio.sleep(0)
            assert statuses(await talk.end()) == [200] * (flood + 2)
            assert most < MB + READ
            assert known.hits == flood


async def test_a_connection_at_rest_holds_nothing_of_what_it_brought() -> None:
    def alive() -> list[StrictRequest]:
        return [thing for thing in gc.get_objects() if isinstance(thing, StrictRequest)]

    async with counting() as (proxy, known):
        await say(proxy, post() + LAST)
        gc.collect()
        gc.disable()  # nothing may need it: what only the collector frees stays for seconds
        try:
            talk = await connect(proxy)
            for number, body in enumerate((long(3 * MB), long(MB), BODY), 1):
                talk.transport.write(post(body))
                await talk.until(answers=number)
                await asyncio.sleep(0.01)
                assert connection_of(proxy).recv_buffer.__alloc__() < 1_000
                assert alive() == []
            await talk.leave()
        finally:
            gc.enable()
        assert known.hits == 3
