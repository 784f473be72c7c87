"""SIGHUP reads the routes file again: nobody who is being answered notices (docs/routes.md)."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.proxy import events, message, text_of
from tests.support.quiet import assert_quiet
from tests.support.routes import routes_text
from tests.support.server_process import ServerProcess, serve
from tests.support.upstream import Received, Reply, ScriptedUpstream, text_stream

WITHIN = 10.0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():
            await asyncio.sleep(0.02)


async def asked(server: ServerProcess, http: httpx.AsyncClient) -> httpx.Response:
    return await http.post(f"{server.url}/v1/messages", json=message(stream=True))


async def test_new_routes_take_over_and_a_running_stream_ends_well(tmp_path: Path) -> None:
    goes_on = asyncio.Event()

    def slow(received: Received) -> Reply:
        steps = list(text_stream("one ", "two"))
        return [*steps[:3], goes_on, *steps[3:]]

    path = tmp_path / "routes.json"
    async with ScriptedUpstream(slow) as a, ScriptedUpstream(lambda received: text_stream("new")) as b:
        path.write_text(routes_text({"a": {"base_url": a.base_url}}))
        with serve(tmp_path, {"CCPROXY_ROUTES": str(path)}) as server:
            async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
                running = asyncio.ensure_future(asked(server, http))
                await a.until(open=1)
                path.write_text(routes_text({"b": {"base_url": b.base_url}}))
                server.process.send_signal(signal.SIGHUP)
                await until(lambda: "routes read again" in server.output)
                response = await asked(server, http)
                assert response.headers["x-ccproxy-route"] == "b/m-b"
                goes_on.set()
                said = events((await running).content)
                assert (text_of(said), said[-1][0]) == ("one two", "message_stop")
            await assert_quiet(server.url)


async def test_a_bad_file_is_refused_with_its_line_and_the_old_routes_stay(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    async with ScriptedUpstream(lambda received: text_stream("old")) as a:
        good = routes_text({"a": {"base_url": a.base_url}})
        path.write_text(good)
        with serve(tmp_path, {"CCPROXY_ROUTES": str(path)}) as server:
            async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
                bad = json.dumps(json.loads(good) | {"rule": [{"targets": [{"upstream": "nobody"}]}]}, indent=1)
                path.write_text(bad)
                line = 1 + next(at for at, text in enumerate(bad.splitlines()) if "nobody" in text)
                server.process.send_signal(signal.SIGHUP)
                await until(lambda: "the old routes stay" in server.output)
                assert f"line {line}" in server.output
                response = await asked(server, http)
                assert response.headers["x-ccproxy-route"] == "a/m-a"
            await assert_quiet(server.url)
