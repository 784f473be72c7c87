"""The cache's second level, against a real Redis: shared by processes, and never in anybody's way."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cache import GREEDY, Numbered, ask
from tests.support.proxy import Proxy, message, serving
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tests.support.upstream import Received, Reply, ScriptedUpstream

# two proxies with equal upstreams and an equal key sign alike, and so may read each other's answers
SIGNED = {"CCPROXY_CARRIER_KEY": "one-key-for-both-of-them"}


pytestmark = needs_redis


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def say(redis: RedisServer, *words: str | bytes) -> bytes:
    """A command, and the first line of what is said to it."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    reader, writer = await asyncio.open_unix_connection(redis.url.removeprefix("unix://"))
    writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
    line = await reader.readline()
    writer.close()
    return line.rstrip()


@asynccontextmanager
async def proxy_at(upstream: ScriptedUpstream, url: str, **settings: str) -> AsyncIterator[Proxy]:
    async with serving(upstream.base_url, CCPROXY_CACHE_URL=url, **SIGNED, **settings) as proxy:
        yield proxy


def second(proxy: Proxy) -> Any:
    assert proxy.runtime.caching.second is not None
    return proxy.runtime.caching.second.statistics()


async def until(true: Callable[[], bool], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.005)


async def test_what_one_process_has_asked_the_other_knows(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as one, proxy_at(upstream, redis.url) as other:
            assert await ask(one, GREEDY) == [(200, "1", "miss")]
            await until(lambda: second(one).stored == 1)
            assert await ask(other, GREEDY, GREEDY, GREEDY) == [(200, "1", "hit")] * 3
            assert (second(other).hits, len(upstream.requests)) == (1, 1)  # the later ones are answered from memory


async def test_it_survives_a_restart_of_the_proxy_with_its_age_and_its_end(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as proxy:
            await ask(proxy, GREEDY)
            await until(lambda: second(proxy).stored == 1)
        async with proxy_at(upstream, redis.url) as proxy:
            proxy.runtime.caching.second._now = lambda: time.time() + 100.0  # type: ignore[union-attr]
            answer = await proxy.post(GREEDY)
            assert answer.headers["x-ccproxy-cache"] == "hit; age=100"
            proxy.runtime.caching.second._now = lambda: time.time() + 3600.0  # type: ignore[union-attr]
            assert (await ask(proxy, message(temperature=0, max_tokens=65)))[0][2] == "miss"
        assert await say(redis, "DBSIZE") == b":2"


async def test_keys_are_ours_and_end_by_themselves(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url, CCPROXY_CACHE_TTL="120") as proxy:
            await ask(proxy, GREEDY)
            await until(lambda: second(proxy).stored == 1)
        script = "return redis.call('pttl', redis.call('keys', 'ccproxy:cache:*')[1])"
        assert 100_000 < int((await say(redis, "EVAL", script, "0"))[1:]) <= 120_000


async def test_no_request_is_kept_there(redis: RedisServer) -> None:
    settings = {"CACHE_WARMUP_ENABLED": "1", "CACHE_WARMUP_FILE_PATH": "none.json"}
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url, **settings) as proxy:
            body = message(temperature=0, messages=[{"role": "user", "content": "a secret question"}])
            await ask(proxy, body)
            await until(lambda: second(proxy).stored == 1)
            proxy.runtime.caching.end()
        script = "return redis.call('get', redis.call('keys', '*')[1]):find('secret question') or 0"
        assert await say(redis, "EVAL", script, "0") == b":0"


async def test_followers_are_answered_by_what_the_leader_finds_there(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as one, proxy_at(upstream, redis.url) as other:
            await ask(one, GREEDY)
            await until(lambda: second(one).stored == 1)
            answers = await asyncio.gather(*(ask(other, GREEDY) for _ in range(6)))
            assert {answer[0][1] for answer in answers} == {"1"}
            assert (second(other).hits, len(upstream.requests)) == (1, 1)


@pytest.mark.parametrize("value", [b"nonsense", b"\x93\x01\x02\x03", b""])
async def test_what_can_not_be_read_is_a_miss(redis: RedisServer, value: bytes) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as proxy:
            await ask(proxy, GREEDY)
            await until(lambda: second(proxy).stored == 1)
        script = "return redis.call('set', redis.call('keys', '*')[1], ARGV[1])"
        await say(redis, "EVAL", script, "0", value)
        async with proxy_at(upstream, redis.url) as proxy:
            assert await ask(proxy, GREEDY) == [(200, "2", "miss")]
            assert second(proxy).failures == 0


async def test_an_answer_can_not_be_read_by_who_signs_with_another_key(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        for key in ("the-first-key-of-two", "the-other-key-of-two"):
            settings = {"CCPROXY_CACHE_URL": redis.url, "CCPROXY_CARRIER_KEY": key}
            async with serving(upstream.base_url, **settings) as proxy:
                assert [kind for _, _, kind in await ask(proxy, GREEDY)] == ["miss"]
                await until(lambda proxy=proxy: second(proxy).stored == 1)


async def test_a_server_that_is_away_at_the_start_costs_nothing_but_its_answers(redis: RedisServer) -> None:
    redis.kill()
    async with ScriptedUpstream(Numbered()) as upstream, proxy_at(upstream, redis.url) as proxy:
        assert await ask(proxy, GREEDY, GREEDY) == [(200, "1", "miss"), (200, "1", "hit")]
        assert (second(proxy).up, second(proxy).outages) == (False, 1)
        redis.start()
        number = 64
        while not second(proxy).up:  # requests go on, and one of them finds it
            number += 1
            assert (await ask(proxy, message(temperature=0, max_tokens=number)))[0][0] == 200
        await ask(proxy, message(temperature=0, max_tokens=3))
        await until(lambda: second(proxy).stored >= 1)


async def test_a_server_that_dies_meanwhile_is_missed_by_nobody_and_comes_back(redis: RedisServer) -> None:
    bodies = [message(temperature=0, max_tokens=number) for number in range(100, 200)]
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as proxy:
            await ask(proxy, bodies.pop())
            await until(lambda: second(proxy).stored == 1)
            redis.kill()
            assert [status for status, _, _ in await ask(proxy, *bodies[:10])] == [200] * 10
            assert (second(proxy).up, second(proxy).outages) == (False, 1)
            assert second(proxy).skipped >= 8  # nobody waits for what is known to be away
            redis.start()
            while not second(proxy).up:
                await ask(proxy, bodies.pop())
                await asyncio.sleep(0.05)
            stored = second(proxy).stored
            await ask(proxy, bodies.pop())
            await until(lambda: second(proxy).stored > stored)


async def test_a_server_that_says_nothing_holds_a_request_for_50_ms_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections and says nothing
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}"
        async with ScriptedUpstream(Numbered()) as upstream, proxy_at(upstream, url) as proxy:
            bodies = [message(temperature=0, max_tokens=number) for number in range(100, 110)]
            assert [status for status, _, _ in await ask(proxy, *bodies)] == [200] * 10
            assert not second(proxy).up
            assert second(proxy).skipped >= 8
            await until(lambda: not proxy.runtime.caching.second._probing)  # type: ignore[union-attr]


async def test_an_outage_is_one_line_in_the_log(redis: RedisServer, tmp_path: Path) -> None:
    redis.kill()
    log = tmp_path / "log.jsonl"
    async with (
        ScriptedUpstream(Numbered()) as upstream,
        proxy_at(upstream, redis.url, LOG_FILE_PATH=str(log)) as proxy,
    ):
        await ask(proxy, *(message(temperature=0, max_tokens=number) for number in range(100, 120)))
    lines = [line for line in log.read_text().splitlines() if "second level" in line]
    assert len(lines) == 1
    assert redis.url.removeprefix("unix://") not in lines[0]


async def test_the_stats_show_it(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as proxy:
            await ask(proxy, GREEDY)
            await until(lambda: second(proxy).stored == 1)
            numbers = (await proxy.client.get("/v1/cache/stats")).json()["response_cache"]["second_level"]
            assert (numbers["up"], numbers["stored"], numbers["misses"]) == (True, 1, 1)


async def test_redis_url_serves_the_cache_where_it_has_no_url_of_its_own(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with serving(upstream.base_url, REDIS_URL=redis.url, **SIGNED) as proxy:
            await ask(proxy, GREEDY)
            await until(lambda: second(proxy).stored == 1)


async def test_what_was_cleared_came_back_from_the_second_level(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream:
        async with proxy_at(upstream, redis.url) as one, proxy_at(upstream, redis.url) as other:
            await ask(one, GREEDY)
            await until(lambda: second(one).stored == 1)
            assert (await one.client.post("/v1/cache/clear")).status_code == 200
            assert await ask(one, GREEDY, GREEDY) == [(200, "2", "miss"), (200, "2", "hit")]
            await until(lambda: second(one).stored == 2)
            assert await ask(other, GREEDY) == [(200, "2", "hit")]  # it has heard of it, and reads what is new


async def test_what_was_cleared_while_it_was_away_is_not_read_when_it_is_back(redis: RedisServer) -> None:
    async with ScriptedUpstream(Numbered()) as upstream, proxy_at(upstream, redis.url) as proxy:
        await ask(proxy, GREEDY)
        await until(lambda: second(proxy).stored == 1)
        redis.pause()
        assert (await ask(proxy, message(temperature=0, max_tokens=65)))[0][0] == 200  # finds that it is away
        assert (await proxy.client.post("/v1/cache/clear")).status_code == 200
        redis.resume()
        number = 100
        while not second(proxy).up:
            number += 1
            await ask(proxy, message(temperature=0, max_tokens=number))
        assert (await ask(proxy, GREEDY))[0][2] == "miss"


async def test_an_answer_asked_for_before_all_was_cleared_is_not_kept_there(redis: RedisServer) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    class Slow(Numbered):
        def __call__(self, request: Received) -> Reply:
            asked.set()
            return [go, *super().__call__(request)]

    async with ScriptedUpstream(Slow()) as upstream, proxy_at(upstream, redis.url) as proxy:
        early = asyncio.create_task(proxy.post(GREEDY))
        await asked.wait()
        await proxy.client.post("/v1/cache/clear")
        go.set()
        assert (await early).headers["x-ccproxy-cache"] == "miss"
        await until(lambda: second(proxy).stored == 1)
        assert await ask(proxy, GREEDY) == [(200, "2", "miss")]
