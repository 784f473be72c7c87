"""WEB_CONCURRENCY: several processes on one address are one proxy to clients, platforms and whoever reads numbers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.proxy import events, message, text_of
from tests.support.quiet import assert_quiet
from tests.support.routes import routes_text
from tests.support.server_process import ServerProcess, clean_environment, serve
from tests.support.upstream import DONE, ScriptedUpstream, delta, sse, text_stream
from tests.support.workers import (
    TWO,
    ask,
    ask_many,
    lines_of,
    numbers,
    processes,
    scrape,
    speakers,
    until,
    until_up,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
DONE_OK = 'ccproxy_requests_total{outcome="ok",path="/v1/messages",status="200",stream="false"}'


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("two"), TWO) as server:
        yield server


async def forgotten(server: ServerProcess) -> None:
    """Numbers and answers of the test before, in both workers."""
    await until_up(server.url, 2)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        assert (await client.post("/v1/cache/clear")).json() == {"status": "caches_cleared"}
        assert (await client.post("/v1/metrics/reset")).json() == {"status": "metrics_reset"}


async def test_both_answer_and_any_of_them_tells_the_numbers_of_both(two: ServerProcess) -> None:
    await forgotten(two)
    assert await ask_many(two.url, 40) == {200: 40}
    for _ in range(4):  # whoever answers
        assert (await scrape(two.url))[DONE_OK] == 40
        page = await numbers(two.url)
        assert page["performance"]["requests"] == page["performance"]["request_count"] == 40
        assert page["workers"] == {"up": 2, "expected": 2}
        assert [(one["name"], one["ok"]) for one in page["providers"]["endpoints"]] == [("demo", 40)]
    await until(lambda: speakers(two).total() == 40, "all requests are logged")
    assert set(speakers(two)) == {1, 2}
    logged = [line for line in lines_of(two.log.parent / "log.jsonl") if line.get("event") == "request_completed"]
    assert {line["worker"] for line in logged} == {1, 2}
    assert len({line["request_id"] for line in logged}) == 40
    await assert_quiet(two.url)


async def test_no_second_proxy_gets_the_address(two: ServerProcess, tmp_path: Path) -> None:
    environ = clean_environment(tmp_path) | TWO | {"PORT": two.url.rsplit(":", 1)[1]}
    command = [sys.executable, "-m", "ccproxy_sanic", "serve"]
    second = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert second.returncode == 2
    assert "is taken, probably by another ccproxy" in second.stderr


async def test_a_reset_and_a_cleared_cache_are_everybodys(two: ServerProcess) -> None:
    await forgotten(two)
    assert await ask_many(two.url, 20, message(temperature=0)) == {200: 20}
    async with httpx.AsyncClient(base_url=two.url, trust_env=False) as client:
        kept = (await client.get("/v1/cache/stats")).json()["response_cache"]
        assert kept["cache_size"] == 2  # the same answer in each worker
        assert kept["cache_hits"] + kept["cache_misses"] == kept["total_cache_attempts"]
        await forgotten(two)
        assert (await client.get("/v1/cache/stats")).json()["response_cache"]["cache_size"] == 0
    for _ in range(4):
        assert (await numbers(two.url))["performance"]["requests"] == 0


async def test_a_killed_worker_is_replaced_and_no_sum_goes_back(two: ServerProcess) -> None:
    await forgotten(two)
    assert await ask_many(two.url, 20) == {200: 20}
    assert (await scrape(two.url))[DONE_OK] == 20
    victim = processes(two)[2]
    os.kill(victim, signal.SIGKILL)
    await until(lambda: "worker 2 was ended by SIGKILL" in two.output, "it is missed")
    assert await ask_many(two.url, 10) == {200: 10}  # the other one goes on
    samples = await scrape(two.url)
    assert samples[DONE_OK] == 30
    assert samples['ccproxy_workers{state="expected"}'] == 2
    await until_up(two.url, 2)
    assert processes(two)[2] != victim
    assert (await scrape(two.url))[DONE_OK] == (await numbers(two.url))["performance"]["requests"] == 30
    assert await ask_many(two.url, 10) == {200: 10}
    assert (await scrape(two.url))[DONE_OK] == 40
    await assert_quiet(two.url)


async def test_a_signal_to_the_parent_drains_all_workers(tmp_path: Path) -> None:
    gate = asyncio.Event()
    steps = sse(delta(content="kept"), gate, delta("stop"), DONE)
    async with ScriptedUpstream(lambda received: list(steps)) as upstream:
        settings = TWO | {"OPENAI_BASE_URL": upstream.base_url, "CCPROXY_PROFILE": "generic", "CCPROXY_CACHE": "off"}
        with serve(tmp_path, settings) as server:
            await until_up(server.url, 2)
            asking = [asyncio.ensure_future(ask(server.url, message(stream=True))) for _ in range(12)]
            await upstream.until(open=12)
            for _ in range(2):  # the second one must not cut it short
                server.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.3)
            assert server.process.poll() is None
            with pytest.raises(Exception, match="(?i)connect"):
                await ask(server.url)
            gate.set()
            for response in await asyncio.gather(*asking):
                said = events(response.content)
                assert (text_of(said), said[-1][0]) == ("kept", "message_stop")
            assert await asyncio.to_thread(server.process.wait, 10) == 0
            assert processes(server) == {}


async def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    with serve(tmp_path, TWO) as server:
        await until_up(server.url, 2)
        folders = [Path(f"/proc/{pid}") for pid in processes(server).values()]
        assert len(folders) == 2
        server.process.kill()
        server.process.wait()
        await until(lambda: not any(folder.exists() for folder in folders), "they end by themselves")


async def test_every_worker_reads_new_routes(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    async with (
        ScriptedUpstream(lambda received: text_stream("old")) as a,
        ScriptedUpstream(lambda received: text_stream("new")) as b,
    ):
        path.write_text(routes_text({"a": {"base_url": a.base_url}}))
        with serve(tmp_path, TWO | {"CCPROXY_ROUTES": str(path)}) as server:
            await until_up(server.url, 2)
            path.write_text(routes_text({"b": {"base_url": b.base_url}}))
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: server.output.count("routes read again") == 2, "both have read them")
            answers = await asyncio.gather(*(ask(server.url, message(stream=True)) for _ in range(20)))
            assert {answer.headers["x-ccproxy-route"] for answer in answers} == {"b/m-b"}


async def test_limits_are_divided_and_that_is_said(tmp_path: Path) -> None:
    limits = {"RATE_LIMIT_PER_MINUTE": "10", "RATE_LIMIT_BURST": "0", "CCPROXY_QUEUE_WAIT": "0"}
    with serve(tmp_path, TWO | limits) as server:
        assert "each worker has its part of RATE_LIMIT_PER_MINUTE" in server.output
        await until_up(server.url, 2)
        began = asyncio.get_running_loop().time()
        statuses = await ask_many(server.url, 60)
        grown = (asyncio.get_running_loop().time() - began) * 10 / 60
        assert 10 <= statuses[200] <= 10 + grown + 2
        assert statuses.total() == statuses[200] + statuses[429]
