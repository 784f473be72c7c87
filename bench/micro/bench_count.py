"""What counting an agent's request costs: anew, and when all but its end is remembered.

    python -m pytest bench/micro/bench_count.py -s

Rule: the counter as the server has it; its vocabulary is loaded before the clock starts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench.macro import bodies
from ccproxy_sanic.profiles import builtin
from ccproxy_sanic.tokens import Memory, Prompt, TokenCounter, prompt_of
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.wire.anthropic import decode_request


def prompt(number: int) -> Prompt:
    """An agent's request that differs from the others in its last message."""
    body = bodies.agent(bodies.mark()).replace(b"id=0000000000", b"id=%010d" % number)
    request, profile = decode_request(body), builtin("generic")
    return prompt_of(request, to_chat(request, model="bench-model", profile=profile).request, profile)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("remembers", [False, True], ids=["anew", "remembered"])
@pytest.mark.benchmark(timer=time.process_time)
def bench_count(benchmark: Any, runner: asyncio.Runner, remembers: bool) -> None:
    counter = TokenCounter(4, Memory(2048, 300.0, time.monotonic) if remembers else None)
    try:
        numbers = itertools.count(1)
        assert runner.run(counter.count(prompt(0))) > 10_000

        def setup() -> tuple[tuple[Prompt], dict[str, Any]]:
            return (prompt(next(numbers)),), {}

        benchmark.pedantic(lambda asked: runner.run(counter.count(asked)), setup=setup, rounds=15)
        print(f" {benchmark.stats.stats.median * 1e3:.2f} ms", end="")
    finally:
        counter.close()
