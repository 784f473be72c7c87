"""What is interrupted while it waits for a client that does not read: nothing of it was said, so all can still be.

The client asks twice in one write and reads nothing, so that the first answer fills the connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.proxy import Proxy, message, serving
from tests.support.twins import Talk, connect, post, statuses
from tests.support.upstream import DONE, Reply, ScriptedUpstream, delta, reply_json, sse, text_stream

LONG = "x" * 12_000_000  # more than two sockets hold
LIMITS = {"CCPROXY_TOTAL_TIMEOUT": "20", "CCPROXY_STREAM_TIMEOUT": "30"}  # less than a client may leave us waiting
LATE = 60.0
STREAM, WHOLE = (json.dumps(message(stream=stream)).encode() for stream in (True, False))


def completion(text: str) -> Reply:
    said = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return reply_json({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [said]})


@asynccontextmanager
async def asked(upstream: ScriptedUpstream, *bodies: bytes) -> AsyncIterator[tuple[Proxy, Talk]]:
    """A proxy that has been asked all this by a client that reads nothing, and that can write nothing more to it."""
    async with serving(upstream.base_url, **LIMITS) as proxy:
        talk = await ask(proxy, upstream, *bodies)
        yield proxy, talk
        await talk.leave()


async def ask(proxy: Proxy, upstream: ScriptedUpstream, *bodies: bytes) -> Talk:
    talk = await connect(proxy)
    talk.transport.pause_reading()
    talk.transport.write(b"".join(map(post, bodies)))
    async with asyncio.timeout(10):
        while len(upstream.requests) < len(bodies) or all(one._can_write.is_set() for one in proxy.connections):
            await asyncio.sleep(0.01)
    return talk


async def waiting(proxy: Proxy) -> None:
    """Until an answer waits for its client."""
    async with asyncio.timeout(10):
        while not any(client._busy for client in proxy.runtime.watch.clients):
            await asyncio.sleep(0.01)


async def read_on(talk: Talk, answers: int, end: bytes) -> bytes:
    """What the last of so many answers is, up to ``end``."""
    talk.transport.resume_reading()
    await talk.until(answers=answers)
    async with asyncio.timeout(10):
        while not talk.answer.endswith(end):
            await asyncio.sleep(0.01)
    return bytes(talk.answer[talk.answer.rindex(b"HTTP/1.1 ") :])


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (WHOLE, completion("late")),
        (STREAM, text_stream("late")),
        (STREAM, sse(delta(content="late"), 0.01, delta(content="r"), asyncio.Event())),
    ],
    ids=["whole", "a stream at once", "a stream in pieces"],
)
async def test_an_answer_that_has_not_begun_becomes_an_error(body: bytes, reply: Reply) -> None:
    upstream = ScriptedUpstream([completion(LONG), reply])
    async with upstream, asked(upstream, WHOLE, body) as (proxy, talk):
        await asyncio.sleep(0.1)  # mostly it is ready then; before that it has not begun either
        proxy.tick(LATE)
        answer = await read_on(talk, 2, b"}")
        assert statuses(answer) == [504]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "timeout_error"


async def test_a_stream_that_lacks_only_its_end_says_that_it_was_cut() -> None:
    gate = asyncio.Event()
    reply = sse(delta(content=LONG), gate, delta("stop"), DONE)
    async with ScriptedUpstream([reply]) as upstream, asked(upstream, STREAM) as (proxy, talk):
        gate.set()
        await waiting(proxy)
        proxy.tick(LATE)
        answer = await read_on(talk, 1, b"0\r\n\r\n")
        assert b"event: error" in answer
        assert b"event: message_stop" not in answer


async def test_the_time_that_a_client_takes_to_read_is_no_overhead_of_the_proxy() -> None:
    upstream = ScriptedUpstream([completion(LONG), text_stream("late")])
    async with upstream, serving(upstream.base_url, **LIMITS) as proxy:
        house, later = proxy.runtime.house, 0.0
        timer = house.timer
        house.timer = lambda: timer() + later
        talk = await ask(proxy, upstream, WHOLE, STREAM)
        await waiting(proxy)
        later = 1000.0
        await read_on(talk, 2, b'message_stop"}\n\n')
        await talk.leave()
        done = (await proxy.client.get("/v1/metrics")).json()["performance"]
        assert done["duration_sum_s"] > 1000
        assert done["overhead_sum_s"] < 500
