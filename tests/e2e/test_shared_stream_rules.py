"""Which streams are one answer, what that costs and counts, and what becomes of it when parts of the proxy fail."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import anthropic
import pytest

from tests.support.poison import Poison
from tests.support.proxy import HELLO, events, serving, text_of
from tests.support.reading import SESSION, SHARE, Reading, between, readers, readers_gone
from tests.support.upstream import (
    DONE,
    ScriptedUpstream,
    delta,
    sse,
    text_stream,
)


@pytest.mark.parametrize(
    ("first", "second", "settings"),
    [
        pytest.param(SESSION, SESSION, {"STREAM_DEDUPE_ENABLED": "0"}, id="switched off"),
        pytest.param(SESSION, SESSION | {"x-ccproxy-share": "off"}, {}, id="the client says no"),
        pytest.param(SESSION, {"x-claude-code-session-id": "other"}, {}, id="another session"),
        pytest.param({}, {}, {}, id="no session"),
        pytest.param(SESSION, SESSION | {"anthropic-beta": "context-1m"}, {}, id="another beta"),
        pytest.param(
            SHARE | {"x-api-key": "token-of-ann-1234"},
            SHARE | {"x-api-key": "token-of-bob-1234"},
            {"CCPROXY_AUTH_TOKENS": "ann:token-of-ann-1234,bob:token-of-bob-1234"},
            id="another caller",
        ),
    ],
)
async def test_these_are_streams_of_their_own(
    first: dict[str, str], second: dict[str, str], settings: dict[str, str]
) -> None:
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta("stop"), DONE, **settings) as (upstream, proxy):
        both = [Reading(proxy, first), Reading(proxy, second)]
        await upstream.until(open=2)
        gate.set()
        for one in both:
            assert text_of(events(await one.whole())) == "a"
            assert not one.shared
        assert len(upstream.requests) == 2


@pytest.mark.parametrize(("headers", "fields"), [(SHARE, {}), ({}, {"temperature": 0})])
async def test_who_asks_to_share_and_what_is_deterministic_is_one_stream(
    headers: dict[str, str], fields: dict[str, Any]
) -> None:
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta("stop"), DONE) as (upstream, proxy):
        both = [Reading(proxy, headers, **fields) for _ in range(2)]
        await readers(proxy, 2)
        gate.set()
        assert await both[0].whole() == await both[1].whole()
        assert len(upstream.requests) == 1


async def test_the_official_sdk_follows_a_running_stream() -> None:
    gate = asyncio.Event()
    async with between(delta(content="one "), gate, delta(content="two"), delta("stop"), DONE) as (upstream, proxy):
        async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="any", max_retries=0) as sdk:

            async def read() -> str:
                async with sdk.messages.stream(**HELLO, extra_headers=SESSION) as stream:
                    return await stream.get_final_text()

            both = [asyncio.ensure_future(read()) for _ in range(2)]
            await readers(proxy, 2)
            gate.set()
            assert await asyncio.gather(*both) == ["one two"] * 2
        assert len(upstream.requests) == 1


async def test_each_reader_is_kept_awake_by_its_own_pings() -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream([[gate, *text_stream("late")]]) as upstream, serving(upstream.base_url) as proxy:
        both = [Reading(proxy), Reading(proxy)]
        await readers(proxy, 2)
        proxy.tick(later=11.0)
        for one in both:
            await one.until(b"event: ping")
        gate.set()
        for one in both:
            body = await one.whole()
            assert body.startswith(b"event: ping")
            assert text_of(events(body)) == "late"
        assert both[0].shared != both[1].shared


async def test_tokens_are_counted_once_whoever_reads() -> None:
    gate = asyncio.Event()
    usage = delta(usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}) | {"choices": []}
    async with between(delta(content="a"), gate, delta("stop"), usage, DONE) as (_, proxy):
        first = Reading(proxy)
        await first.until(b'"a"')
        rest = [Reading(proxy) for _ in range(2)]
        await readers(proxy, 3)
        await first.leave()
        gate.set()
        for one in rest:
            await one.whole()
        totals = (await proxy.client.get("/v1/metrics")).json()["performance"]
        assert (totals["input_tokens"], totals["output_tokens"]) == (7, 3)
        assert (totals["requests"], totals["shared"]) == (3, 2)


async def test_a_shared_stream_costs_the_actors_the_same_whatever_its_length() -> None:
    """Invariant 6, with a stream that may be joined: one ask more."""

    async def cost(pieces: int) -> dict[str, int]:
        async with ScriptedUpstream([text_stream(*["x"] * pieces)]) as upstream, serving(upstream.base_url) as proxy:
            for ref in proxy.runtime.supervisor.refs:
                for ticker in ref._tickers:
                    ticker.cancel()
            before = proxy.handled()
            await Reading(proxy).whole()
            await asyncio.sleep(0.05)
            return {name: count - before[name] for name, count in proxy.handled().items()}

    few, many = await cost(10), await cost(1000)
    assert few == many
    assert (few["cache"], few["limiter"], few["provider"]) == (1, 2, 2)


async def test_a_crash_of_the_cache_actor_costs_no_reader_anything() -> None:
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta("stop"), DONE) as (upstream, proxy):
        cache = proxy.runtime.house.cache
        first = Reading(proxy)
        await first.until(b'"a"')
        cache.tell(Poison(), urgent=True)
        while not cache.stats.crashes:
            await asyncio.sleep(0.005)
        second = Reading(proxy)
        await readers(proxy, 2)
        gate.set()
        assert await first.whole() == await second.whole()
        assert len(upstream.requests) == 1


async def test_a_drain_waits_for_readers_and_ends_what_nobody_reads() -> None:
    gate, forever = asyncio.Event(), asyncio.Event()
    replies = [sse(delta(content="a"), gate, delta("stop"), DONE), sse(delta(content="b"), forever)]
    async with ScriptedUpstream(replies) as upstream, serving(upstream.base_url, CCPROXY_GRACE="5") as proxy:
        read = Reading(proxy)
        await read.until(b'"a"')
        left = Reading(proxy, max_tokens=65)
        await left.until(b'"b"')
        await left.leave()
        draining = asyncio.ensure_future(proxy.runtime.drain())
        await upstream.until(open=1, aborted=1)
        gate.set()
        assert text_of(events(await read.whole())) == "a"
        await draining


async def test_tokens_are_the_firsts_where_it_reads_to_the_end() -> None:
    gate = asyncio.Event()
    usage = delta(usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}) | {"choices": []}
    async with between(delta(content="a"), gate, delta("stop"), usage, DONE) as (_, proxy):
        noted: dict[bool, int] = {}
        metrics = proxy.runtime.house.metrics
        tell = metrics.tell
        metrics.tell = lambda note, **how: [noted.update({note.shared: note.output_tokens}), tell(note, **how)][1]
        both = [Reading(proxy) for _ in range(2)]
        await readers(proxy, 2)
        gate.set()
        for one in both:
            await one.whole()
        while len(noted) < 2:
            await asyncio.sleep(0.005)
        assert noted == {False: 3, True: 0}


async def test_a_caller_with_one_place_may_come_back_to_its_stream() -> None:
    """The place is the request's, not the answer's: who has left holds none."""
    gate = asyncio.Event()
    script = (delta(content="a"), gate, delta("stop"), DONE)
    async with between(*script, CCPROXY_MAX_CONCURRENT="1", CCPROXY_QUEUE_WAIT="0") as (upstream, proxy):
        first = Reading(proxy)
        await first.until(b'"a"')
        await first.leave()
        await readers(proxy, 0)
        again = Reading(proxy)
        await readers(proxy, 1)
        gate.set()
        assert text_of(events(await again.whole())) == "a"
        assert len(upstream.requests) == 1


async def test_what_is_known_of_shared_streams() -> None:
    gate = asyncio.Event()
    async with between(delta(content="a"), gate, delta("stop"), DONE) as (_, proxy):
        streams = proxy.runtime.house.streams
        first = Reading(proxy)
        await first.until(b'"a"')
        seen = streams.statistics()
        assert (seen.running, seen.parked, seen.readers, seen.joined) == (1, 0, 1, 0)
        assert seen.kept_bytes > 0
        await first.leave()
        await readers(proxy, 0)
        assert streams.statistics().parked == 1
        again = Reading(proxy)
        await readers(proxy, 1)
        gate.set()
        await again.whole()
        await readers_gone(proxy)
        seen = streams.statistics()
        assert (seen.running, seen.kept_bytes, seen.joined, seen.resumed, seen.abandoned) == (0, 0, 1, 1, 0)
        assert proxy.runtime.caching.books.streams.statistics().followed == 1


async def test_many_sessions_whose_clients_leave_and_come_back_at_random() -> None:
    dice = random.Random(11)
    pieces = [part for number in range(30) for part in (delta(content=f"{number} "), 0.005)]
    whole = "".join(f"{number} " for number in range(30))
    async with between(*pieces, delta("stop"), DONE) as (upstream, proxy):
        proxy.runtime.house.streams.grace = 1.0

        async def session(name: str) -> None:
            async def client() -> None:
                for _ in range(3):
                    reading = Reading(proxy, {"x-claude-code-session-id": name})
                    if dice.random() < 0.5:
                        assert text_of(events(await reading.whole())) == whole
                        return
                    await asyncio.sleep(dice.random() * 0.2)
                    await reading.leave()

            await asyncio.gather(*(client() for _ in range(3)))

        await asyncio.gather(*(session(f"session-{number}") for number in range(25)))
        assert len(upstream.requests) < 75


async def test_when_the_grace_of_a_drain_is_over_every_reader_is_told_and_the_upstream_is_aborted() -> None:
    forever = asyncio.Event()
    async with between(delta(content="a"), forever, CCPROXY_GRACE="0.2") as (upstream, proxy):
        both = [Reading(proxy) for _ in range(2)]
        await readers(proxy, 2)
        for one in both:
            await one.until(b'"a"')
        await proxy.runtime.drain()
        for one in both:
            kind, data = events(await one.whole())[-1]
            assert (kind, data["error"]["type"]) == ("error", "overloaded_error")
        await upstream.until(open=0, aborted=1)
