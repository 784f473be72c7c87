"""What one chunk of a stream costs: split, translated and passed through, by kind and chunks per read; both splitters.

    python -m pytest bench/micro/bench_stream.py -s

Rule: a round is one whole stream; ``extra_info["us_per_chunk"]`` is its median divided by the chunks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.micro.answers import CHUNKS, MESSAGES, STREAMS, reads
from ccproxy_sanic.sse import _framing_py
from ccproxy_sanic.translate.passthrough import PassThrough
from ccproxy_sanic.translate.stream import StreamTranslator
from tests.support.replies import spec

try:
    from ccproxy_sanic.sse import _framing
except ImportError:  # not built: its twin is measured alone
    SPLITTERS: dict[str, Callable[[], Any]] = {"python": _framing_py.Splitter}
else:
    SPLITTERS = {"python": _framing_py.Splitter, "cython": _framing.Splitter}

cost: dict[tuple[str, int], float] = {}  # (twin, per read) -> seconds per event


def measure(benchmark: Any, once: Callable[[], object]) -> float:
    benchmark.pedantic(once, rounds=60, iterations=5, warmup_rounds=3)
    seconds: float = benchmark.stats.stats.median / CHUNKS
    benchmark.extra_info["us_per_chunk"] = round(seconds * 1e6, 3)
    print(f" {seconds * 1e6:.3f} us per chunk", end="")
    return seconds


@pytest.mark.parametrize("per_read", [1, 20])
@pytest.mark.parametrize("twin", list(SPLITTERS))
@pytest.mark.benchmark(timer=time.process_time)
def bench_split(benchmark: Any, twin: str, per_read: int) -> None:
    blocks, make = reads(STREAMS["text"], per_read), SPLITTERS[twin]

    def once() -> int:
        splitter = make()
        return sum(len(splitter.feed(block)) for block in blocks)

    assert once() == len(STREAMS["text"])
    cost[twin, per_read] = measure(benchmark, once)


@pytest.mark.parametrize("per_read", [1, 20, 200])
@pytest.mark.parametrize("kind", list(STREAMS))
@pytest.mark.parametrize("think_tags", [False, True], ids=["plain", "think-tags"])
@pytest.mark.benchmark(timer=time.process_time)
def bench_translate(benchmark: Any, kind: str, per_read: int, think_tags: bool) -> None:
    """``think-tags``: the profile of unknown and local servers, which looks for <think> in the text."""
    blocks = reads(STREAMS[kind], per_read)

    def once() -> StreamTranslator:
        machine = StreamTranslator(spec(think_tags=think_tags))
        for block in blocks:
            machine.feed(block)
        return machine

    assert once().done
    measure(benchmark, once)


@pytest.mark.parametrize("per_read", [1, 20, len(MESSAGES)])
@pytest.mark.benchmark(timer=time.process_time)
def bench_pass_through(benchmark: Any, per_read: int) -> None:
    """From an upstream that speaks Messages; last a whole answer in one read."""
    blocks = reads(MESSAGES, per_read)

    def once() -> PassThrough:
        machine = PassThrough("claude-bench")
        for block in blocks:
            machine.feed(block)
        return machine

    assert once().done
    measure(benchmark, once)


def bench_the_cython_twin_is_faster() -> None:
    """Gates a ratio of twins, never a wall-clock digit."""
    pairs = [(cost["python", n], cost["cython", n]) for n in (1, 20) if ("cython", n) in cost and ("python", n) in cost]
    if not pairs:
        pytest.skip("both twins were not measured")
    assert all(python > 1.5 * cython for python, cython in pairs), pairs
