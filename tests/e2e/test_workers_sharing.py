"""Several worker processes and a real Redis: one limit and one cache for all of them; away, it costs only that."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.proxy import message
from tests.support.quiet import assert_quiet
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tests.support.server_process import serve
from tests.support.upstream import ScriptedUpstream, reply_json
from tests.support.workers import TWO, ask, ask_many, scrape, until, until_up

pytestmark = needs_redis
UP, OUTAGES = "ccproxy_quotas_up", "ccproxy_quota_outages_total"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def until_shared(url: str, count: int) -> None:
    async with asyncio.timeout(15):
        while (await scrape(url)).get(UP) != count:
            await asyncio.sleep(0.05)


async def test_callers_have_one_limit_whichever_workers_they_meet(tmp_path: Path, redis: RedisServer) -> None:
    limits = {"RATE_LIMIT_PER_MINUTE": "30", "RATE_LIMIT_BURST": "0", "CCPROXY_QUEUE_WAIT": "2"}
    with serve(tmp_path, TWO | limits | {"REDIS_URL": redis.url}) as server:
        assert "each worker has its part" not in server.output
        await until_up(server.url, 2)
        await until_shared(server.url, 2)
        loop = asyncio.get_running_loop()
        began, statuses = loop.time(), Counter[int]()
        async with httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False) as client:  # one worker's
            while statuses[200] < 16:  # more than its even part
                statuses[(await client.post("/v1/messages", json=message())).status_code] += 1
        while loop.time() - began < 4.0:  # the first two seconds of a key are divided evenly
            statuses += await ask_many(server.url, 20)
        assert set(statuses) == {200, 429}
        grown = (loop.time() - began) / 2
        assert 17 <= statuses[200] <= 30 + grown + 2  # the first request of each worker brings the allotment
        await assert_quiet(server.url)


async def test_redis_may_die_and_come_back_under_load(tmp_path: Path, redis: RedisServer) -> None:
    settings = TWO | {"RATE_LIMIT_PER_MINUTE": "100000", "REDIS_URL": redis.url, "CCPROXY_CACHE": "off"}
    with serve(tmp_path, settings) as server:
        await until_up(server.url, 2)
        await until_shared(server.url, 2)
        answered, stop = Counter[int](), asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                answered[(await ask(server.url)).status_code] += 1

        loading = [asyncio.ensure_future(load()) for _ in range(4)]
        await until(lambda: answered[200] > 20, "requests are answered")
        redis.kill()
        await until_shared(server.url, 0)
        before = answered[200]
        await until(lambda: answered[200] > before + 20, "they still are")
        redis.start()
        await until_shared(server.url, 2)
        stop.set()
        await asyncio.gather(*loading)
        assert set(answered) == {200}
        samples = await scrape(server.url)
        assert samples[OUTAGES] == 2  # one in each worker
        assert samples["ccproxy_quota_failures_total"] >= 2
        await assert_quiet(server.url)


async def test_an_answer_of_one_worker_is_a_hit_in_the_other(tmp_path: Path, redis: RedisServer) -> None:
    whole = reply_json({"choices": [{"index": 0, "message": {"content": "kept"}, "finish_reason": "stop"}]})
    async with ScriptedUpstream(lambda received: list(whole)) as upstream:
        settings = {"OPENAI_BASE_URL": upstream.base_url, "CCPROXY_PROFILE": "generic", "REDIS_URL": redis.url}
        with serve(tmp_path, TWO | settings) as server:
            await until_up(server.url, 2)
            first = await ask(server.url, message(temperature=0))
            assert first.json()["content"][0]["text"] == "kept"
            await asyncio.sleep(0.2)  # it is written in the background
            answers = await asyncio.gather(*(ask(server.url, message(temperature=0)) for _ in range(20)))
            assert {answer.headers["x-ccproxy-cache"].split(";")[0] for answer in answers} <= {"hit", "shared"}
            assert len(upstream.requests) == 1
