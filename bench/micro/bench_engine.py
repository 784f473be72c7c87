"""What one small request costs at the client, per engine: CPU time of this process, the server is another one.

    python -m pytest bench/micro/bench_engine.py -s

A round is many requests over kept connections; the median of one request stands in ``extra_info["us_per_request"]``,
and the last test prints the ratios.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from uvloop import new_event_loop

from ccproxy_sanic.upstream import Deadlines, Head, build, open_exchange

SERVER = """
import asyncio, sys
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop
SMALL = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 300\\r\\n\\r\\n" + b"x" * 300
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
CHUNK = b"78\\r\\n" + b"d" * 120 + b"\\r\\n"
class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""
    def data_received(self, data):
        self.buffer += data
        while self.buffer.endswith(b"}"):
            stream, self.buffer = b"/stream" in self.buffer, b""
            if stream:
                self.transport.write(HEAD)
                self.step(100)
            else:
                self.transport.write(SMALL)
    def step(self, left):
        if left:
            self.transport.write(CHUNK)
            asyncio.get_running_loop().call_soon(self.step, left - 1)
        else:
            self.transport.write(b"0\\r\\n\\r\\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(3600)
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""
BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
    (b"accept-encoding", b"identity"),
    (b"authorization", b"Bearer sk-0123456789"),
    (b"user-agent", b"bench"),
]
PER_ROUND = {"h1": 40, "httpx": 2}  # requests of each worker: rounds of similar length
cost: dict[tuple[str, str, int], float] = {}  # (engine, path, concurrency) -> seconds of CPU per request


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.terminate()


@pytest.mark.parametrize("concurrency", [1, 50])
@pytest.mark.parametrize("path", ["/small", "/stream"])
@pytest.mark.parametrize("engine", ["h1", "httpx"])
@pytest.mark.benchmark(timer=time.process_time, warmup=False)
def test_request(benchmark: Any, port: int, engine: Any, path: str, concurrency: int) -> None:
    turns = PER_ROUND[engine] * (10 if concurrency == 1 else 1)
    head, deadlines = Head("POST", httpx.URL(f"http://127.0.0.1:{port}{path}"), HEADERS), Deadlines()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        transport = build(engine)
        closing: set[asyncio.Task[None]] = set()

        def closer(coroutine: Any) -> None:
            task = asyncio.get_running_loop().create_task(coroutine)
            closing.add(task)
            task.add_done_callback(closing.discard)

        async def worker() -> None:
            for _ in range(turns):
                exchange = await open_exchange(transport, head, BODY, deadlines, provider="bench", closer=closer)
                assert len(await exchange.read(1 << 20)) >= 300
                await exchange.finish()

        async def everybody() -> None:
            await asyncio.gather(*[worker() for _ in range(concurrency)])

        runner.run(everybody())  # connections and caches
        benchmark.pedantic(lambda: runner.run(everybody()), rounds=5)
        runner.run(transport.aclose())

    key = (engine, path, concurrency)
    cost[key] = benchmark.stats.stats.median / (turns * concurrency)
    benchmark.extra_info["us_per_request"] = round(cost[key] * 1e6, 1)


def test_report() -> None:
    for engine, path, concurrency in sorted(cost, key=lambda key: key[1:]):
        if engine == "h1" and ("httpx", path, concurrency) in cost:
            ours, stock = (cost[name, path, concurrency] * 1e6 for name in ("h1", "httpx"))
            print(f"\n{path} c={concurrency}: h1 {ours:.0f} us, httpx {stock:.0f} us, 1/{stock / ours:.0f}", end="")
    assert cost or pytest.skip("nothing was measured")
