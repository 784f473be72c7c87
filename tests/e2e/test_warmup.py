"""Answers that are asked for ahead of time, and popular requests that are remembered over a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ccproxy_sanic.caching import warmup as warmup_module
from ccproxy_sanic.caching.warmup import Warmup
from tests.e2e.test_cache import GREEDY, Numbered, ask
from tests.support.proxy import Proxy, message, serving
from tests.support.upstream import ScriptedUpstream, reply_json


def settings_of(path: Path, **more: str) -> dict[str, str]:
    return {"CACHE_WARMUP_ENABLED": "1", "CACHE_WARMUP_FILE_PATH": str(path), **more}


def written(folder: Path, items: Any) -> Path:
    path = folder / "warm.json"
    path.write_text(items if isinstance(items, str) else json.dumps(items))
    return path


def warmup(proxy: Proxy) -> Warmup:
    found = proxy.runtime.caching.warmup
    assert found is not None
    return found


async def until(true: Callable[[], bool], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.005)


async def warmed(proxy: Proxy, total: int) -> None:
    await until(lambda: warmup(proxy).done + warmup(proxy).failed == warmup(proxy).total == total)


async def test_requests_of_the_file_are_answered_before_anybody_asks(tmp_path: Path) -> None:
    bodies = [message(temperature=0, max_tokens=number) for number in range(100, 106)]
    path = written(tmp_path, bodies)
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings_of(path)) as proxy:
        await warmed(proxy, 6)
        assert (warmup(proxy).done, len(upstream.requests)) == (6, 6)
        assert {kind for _, _, kind in await ask(proxy, *bodies)} == {"hit"}
        assert len(upstream.requests) == 6


async def test_who_asks_for_the_cache_gets_what_is_not_greedy_too(tmp_path: Path) -> None:
    path = written(tmp_path, [message()])
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings_of(path)) as proxy:
        await warmed(proxy, 1)
        assert await ask(proxy, message(), x_ccproxy_cache="on") == [(200, "1", "hit")]


async def test_the_server_waits_for_none_of_it_and_ends_in_the_middle(tmp_path: Path) -> None:
    gate = asyncio.Event()
    path = written(tmp_path, [message(temperature=0, max_tokens=number) for number in range(100, 140)])
    script = [[gate, *reply_json({})]]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings_of(path)) as proxy:
        await upstream.until(open=warmup_module.AT_ONCE)
        assert (await proxy.client.get("/ready")).status_code == 200
        proxy.runtime.caching.end()  # as the drain does
        await upstream.until(open=0)
        assert warmup(proxy).done == 0


async def test_a_broken_file_is_a_warning_and_no_more(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    path = written(tmp_path, "{ no list")
    settings = settings_of(path, LOG_FILE_PATH=str(log))
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings) as proxy:
        assert await ask(proxy, GREEDY) == [(200, "1", "miss")]
        await until(lambda: "no JSON list" in log.read_text())
    warnings = [json.loads(line) for line in log.read_text().splitlines() if "no JSON list" in line]
    assert [line["level"] for line in warnings] == ["WARNING"]


async def test_its_progress_and_faults_are_told_without_a_word_of_the_requests(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    secret = message(temperature=0, messages=[{"role": "user", "content": "a secret question"}])
    path = written(tmp_path, [secret, {"messages": 7}, secret | {"max_tokens": 7}])
    settings = settings_of(path, LOG_FILE_PATH=str(log))
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings) as proxy:
        await warmed(proxy, 2)
        await until(lambda: "warm-up: 2 of 2 requests answered, 0 failed" in log.read_text())
    text = log.read_text()
    assert "item 2: messages" in text
    assert "secret" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["cache"] for line in lines if line.get("path") == "warm-up"] == ["miss", "miss"]


async def test_each_caller_gets_its_own_answer_and_a_saved_item_only_its_caller(tmp_path: Path) -> None:
    saved = {"request": message(temperature=0, max_tokens=7), "caller": "token:bob"}
    gone = {"request": message(temperature=0, max_tokens=8), "caller": "token:eve"}
    path = written(tmp_path, [GREEDY, saved, gone])
    tokens = {"CCPROXY_AUTH_TOKENS": "ann:token-of-ann-1234,bob:token-of-bob-1234"}
    async with (
        ScriptedUpstream(Numbered()) as upstream,
        serving(upstream.base_url, **settings_of(path), **tokens) as proxy,
    ):
        await warmed(proxy, 3)
        for name, kinds in (("ann", ["hit", "miss"]), ("bob", ["hit", "hit"])):
            answers = await ask(proxy, GREEDY, saved["request"], x_api_key=f"token-of-{name}-1234")
            assert [kind for _, _, kind in answers] == kinds


async def test_what_fails_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, [message(temperature=0, max_tokens=number) for number in range(100, 110)])
    script = [reply_json({"error": {"message": "no"}}, 400)] * 3 + [Numbered()(None)]  # type: ignore[arg-type]
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings_of(path)) as proxy:
        await warmed(proxy, 10)
        assert (warmup(proxy).done, warmup(proxy).failed) == (7, 3)


async def test_it_obeys_the_limits_of_its_caller(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(warmup_module, "LONGEST_WAIT", 0.01)
    path = written(tmp_path, [message(temperature=0, max_tokens=number) for number in range(100, 110)])
    limits = {"RATE_LIMIT_PER_MINUTE": "4", "RATE_LIMIT_BURST": "0", "CCPROXY_QUEUE_WAIT": "0"}
    async with (
        ScriptedUpstream(Numbered()) as upstream,
        serving(upstream.base_url, **settings_of(path), **limits) as proxy,
    ):
        await warmed(proxy, 10)
        assert len(upstream.requests) == warmup(proxy).done == 4


async def test_it_can_be_left_off_at_start(tmp_path: Path) -> None:
    path = written(tmp_path, [GREEDY])
    settings = settings_of(path, CACHE_WARMUP_ON_STARTUP="0")
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings) as proxy:
        assert await ask(proxy, GREEDY) == [(200, "1", "miss")]


async def test_without_the_setting_there_is_no_warm_up(tmp_path: Path) -> None:
    path = str(written(tmp_path, [GREEDY]))
    async with (
        ScriptedUpstream(Numbered()) as upstream,
        serving(upstream.base_url, CACHE_WARMUP_FILE_PATH=path) as proxy,
    ):
        assert proxy.runtime.caching.warmup is None
        assert await ask(proxy, GREEDY) == [(200, "1", "miss")]


async def test_popular_requests_are_saved_and_answered_ahead_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "warm.json"
    popular = tmp_path / "warm.popular.json"
    settings = settings_of(path, CACHE_WARMUP_SAVE_INTERVAL_SECONDS="1")
    other = message(temperature=0, max_tokens=7)
    async with ScriptedUpstream(Numbered()) as upstream:
        async with serving(upstream.base_url, **settings) as proxy:
            await ask(proxy, *[GREEDY] * 4, other, other)  # three hits, and one
            await until(popular.exists)
        [saved] = json.loads(popular.read_text())
        assert (saved["request"], saved["caller"]) == (GREEDY, "local")
        async with serving(upstream.base_url, **settings) as proxy:
            await warmed(proxy, 1)
            assert [kind for _, _, kind in await ask(proxy, GREEDY, other)] == ["hit", "miss"]
        async with serving(upstream.base_url, **settings, CACHE_WARMUP_PRELOAD_COMMON="0") as proxy:
            assert [kind for _, _, kind in await ask(proxy, GREEDY)] == ["miss"]


async def test_popular_requests_are_saved_only_where_the_setting_says_so(tmp_path: Path) -> None:
    path = tmp_path / "warm.json"
    settings = settings_of(path, CACHE_WARMUP_AUTO_SAVE_POPULAR="0", CACHE_WARMUP_SAVE_INTERVAL_SECONDS="1")
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings) as proxy:
        await ask(proxy, *[GREEDY] * 5)
        await until(lambda: proxy.runtime.caching._warming is not None and proxy.runtime.caching._warming.done())
        assert not proxy.runtime.house.remember
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_can_not_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    log = tmp_path / "log.jsonl"
    settings = settings_of(
        tmp_path / "taken" / "warm.json", CACHE_WARMUP_SAVE_INTERVAL_SECONDS="1", LOG_FILE_PATH=str(log)
    )
    async with ScriptedUpstream(Numbered()) as upstream, serving(upstream.base_url, **settings) as proxy:
        await ask(proxy, *[GREEDY] * 4)
        await until(lambda: "can't be saved" in log.read_text())
        assert (await ask(proxy, GREEDY))[0][2] == "hit"
