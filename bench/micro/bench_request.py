"""What a request costs before it is sent: decode, translate, encode, for a small and an agent's request.

    python -m pytest bench/micro/bench_request.py -s

Rule: the functions that the pipeline calls, with a profile that the registry ships.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bench.macro import bodies
from ccproxy_sanic.profiles import builtin
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.wire.anthropic import decode_request
from ccproxy_sanic.wire.openai_chat import encode

BODIES = {"small": bodies.small(bodies.mark()), "agent": bodies.agent(bodies.mark())}


def told(benchmark: Any) -> None:
    print(f" {benchmark.stats.stats.median * 1e6:.1f} us", end="")


@pytest.fixture(params=list(BODIES))
def body(request: pytest.FixtureRequest) -> bytes:
    return BODIES[request.param]


@pytest.mark.benchmark(timer=time.process_time)
def bench_decode(benchmark: Any, body: bytes) -> None:
    benchmark.pedantic(lambda: decode_request(body), rounds=100, iterations=20)
    told(benchmark)


@pytest.mark.benchmark(timer=time.process_time)
def bench_translate_and_encode(benchmark: Any, body: bytes) -> None:
    request, profile = decode_request(body), builtin("generic")
    benchmark.pedantic(
        lambda: encode(to_chat(request, model="bench-model", profile=profile).request), rounds=100, iterations=20
    )
    told(benchmark)


@pytest.mark.benchmark(timer=time.process_time)
def bench_all_three(benchmark: Any, body: bytes) -> None:
    profile = builtin("generic")
    benchmark.pedantic(
        lambda: encode(to_chat(decode_request(body), model="bench-model", profile=profile).request),
        rounds=100,
        iterations=20,
    )
    told(benchmark)
