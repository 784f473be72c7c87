"""What is asked of the subjects.

Rule: a table; a scenario differs from another by its row and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from bench.macro import bodies

Body = Callable[[], bytes]
FILES_PER_STREAM: Final = 2  # descriptors that one open stream costs the proxy


class Scenario(NamedTuple):
    """``unit``: what CPU time is divided by.  ``chunks``: deltas that the upstream sends per request, for that.
    ``options`` are the load generator's; ``seconds`` of each round, full and short, unless ``requests`` says how many.
    ``subjects`` are measured in turns, the first is the ratios' base.  ``rounds`` caps the number of turns."""

    title: str
    bodies: tuple[Body, ...]
    connections: int
    unit: Literal["request", "chunk"] = "request"
    chunks: int = 0
    requests: int = 0
    seconds: tuple[float, float] = (2.0, 0.45)
    options: Mapping[str, Any] = {}
    subjects: tuple[str, ...] = ("floor", "proxy")
    rounds: int = 99
    one_by_one: bool = False  # the upstream is told what clients have, and waits for it between two chunks
    shared: bool = False  # the upstream may see fewer requests than were sent


def _small(n: int = 20, pace: int = 0, kind: str = "text", **fields: Any) -> Body:
    return lambda: bodies.small(bodies.mark(kind, n, pace), **fields)


def _agent(n: int = 20, pace: int = 0, **fields: Any) -> Body:
    return lambda: bodies.agent(bodies.mark("text", n, pace), **fields)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "small": Scenario(
        "small request, whole answer, 64 connections", (_small(),), 64, subjects=("floor", "proxy", "proxy-log")
    ),
    "agent": Scenario("agent request of 105 kB (20 tools, 40 messages), 8 connections", (_agent(),), 8),
    "agent-fresh": Scenario("the same, each of a conversation that was never seen", (_agent(fresh=True),), 8),
    "stream-fast": Scenario(
        "stream of 200 chunks as fast as they are taken, 32 connections",
        (_small(200, stream=True),),
        32,
        "chunk",
        200,
        subjects=("floor", "proxy", "proxy-log"),
    ),
    "stream-burst": Scenario(
        "the same, each chunk in a write and a read of its own",
        (_small(200, kind="burst", stream=True),),
        32,
        "chunk",
        200,
        one_by_one=True,
    ),
    "stream-paced": Scenario(
        "100 streams of 100 chunks, one every 20 ms",
        (_small(100, 20, stream=True),),
        100,
        "chunk",
        100,
        requests=100,
        options={"ramp-ms": 100},
    ),
    "tool-100k": Scenario(
        "100 kB of tool arguments in pieces of 20 characters, 8 connections",
        (_small(100_000, kind="tool", stream=True),),
        8,
        "chunk",
        5000,
    ),
    "streams-1000": Scenario(
        "1,000 streams of 100 chunks, one every 50 ms",
        (_small(100, 50, stream=True),),
        1000,
        "chunk",
        100,
        requests=1000,
        options={"ramp-ms": 1000, "timeout": 60},
        rounds=3,
    ),
    "streams-5000": Scenario(
        "5,000 streams of 20 chunks, one every 500 ms",
        (_small(20, 500, stream=True),),
        5000,
        "chunk",
        20,
        requests=5000,
        options={"ramp-ms": 5000, "timeout": 60},
        rounds=1,
    ),
    "slow-readers": Scenario(
        "20 clients that read 100 kB/s of streams of 8 MB for 5 s",
        (_small(60_000, stream=True),),
        20,
        options={"read-rate": 100_000, "cut": True},
        seconds=(5.0, 2.0),
        rounds=1,
    ),
    "disconnects": Scenario(
        "64 clients that leave their streams after 5 chunks",
        (_small(200, 10, stream=True),),
        64,
        requests=2000,
        options={"close-after": 5},
        rounds=3,
    ),
    "mixed": Scenario(
        "small, agent, paced stream and tool call at once, 48 connections",
        (_small(), _agent(50, 5, stream=True), _small(50, 10, stream=True), _small(4_000, kind="tool", stream=True)),
        48,
    ),
    "shared": Scenario(
        "equal requests at the same time, answered by one upstream call (x-ccproxy-share: on)",
        (_small(20, 50, temperature=0),),
        64,
        requests=1000,
        options={"same": True, "header": ["x-ccproxy-share: on"]},
        subjects=("proxy",),
        rounds=1,
        shared=True,
    ),
    "cache-hit": Scenario(
        "the same greedy request again and again, answered from the cache, against a constant answer, 64 connections",
        (_small(temperature=0),),
        64,
        options={"same": True},
        subjects=("bare", "proxy"),
        shared=True,
    ),
    "passthrough-stream": Scenario(
        "stream of 200 chunks from a Messages upstream, bytes passed through, 32 connections",
        (_small(200, stream=True),),
        32,
        "chunk",
        200,
        subjects=("floor-relay", "proxy-relay"),
    ),
    "passthrough-burst": Scenario(
        "the same, each chunk in a write and a read of its own",
        (_small(200, kind="burst", stream=True),),
        32,
        "chunk",
        200,
        one_by_one=True,
        subjects=("floor-relay", "proxy-relay"),
    ),
    "latency": Scenario(
        "small request, one connection: what is added to a direct call",
        (_small(),),
        1,
        subjects=("direct", "floor", "proxy"),
        rounds=3,
    ),
    "first-byte": Scenario(
        "stream, one connection: what is added to a direct call's first byte",
        (_small(5, stream=True),),
        1,
        subjects=("direct", "floor", "proxy"),
        rounds=3,
    ),
}
SHORT: Final = ("small", "agent", "agent-fresh", "stream-fast", "stream-burst", "stream-paced", "passthrough-burst")
