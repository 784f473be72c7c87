"""Memory and cold start.

Rule: each figure comes from a process of its own, fresh but for what the figure says it has done.
"""

from __future__ import annotations

import statistics

import msgspec

from bench.macro import bodies, processes, subjects
from bench.macro.processes import Memory
from bench.macro.rounds import Bench
from bench.macro.scenarios import Scenario

OPEN_STREAMS = 1000
QUESTION = bodies.small(bodies.mark(n=5))
OPEN = Scenario(
    "1,000 streams that stay open",
    (lambda: bodies.small(bodies.mark("text", 60, 500), stream=True),),
    OPEN_STREAMS,
    requests=0,
    seconds=(5.0, 5.0),
    options={"ramp-ms": 2500, "cut": True},
)
WARM = OPEN._replace(bodies=(lambda: bodies.small(bodies.mark("text", 20), stream=True),), connections=16, options={})


class Figures(msgspec.Struct):
    """Bytes; ``per_stream`` is what each of ``open_streams`` added to the resident memory."""

    idle: Memory
    after_count: Memory
    per_stream: float
    open_streams: int


def figures(bench: Bench, name: str) -> Figures:
    """The memory of a fresh subject.  Raises CannotBench."""
    subject = subjects.start(name, bench.port, bench.folder, bench.cores.subject)
    url = f"http://127.0.0.1:{subject.port}/v1/messages"
    with processes.ended(subject.process):
        processes.wait_until(subject.process, url, QUESTION)
        idle = processes.memory(subject.process.pid)
        counted = processes.get(f"{url}/count_tokens", QUESTION, 30.0)[0] == 200
        after = processes.memory(subject.process.pid) if counted else Memory(0, 0)
        bench.round(WARM, subject, 1.0)
        done = bench.round(OPEN, subject, OPEN.seconds[0])
        opened = max(done.served.peak, 1)
        return Figures(idle, after, (done.rss_peak - done.rss_before) / opened, opened)


def cold_starts(bench: Bench, names: tuple[str, ...], times: int) -> dict[str, float]:
    """Median seconds from the start of a process to its first answered message, in turns."""
    took: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(times):
        for name in names:
            subject = subjects.launch(name, bench.port, bench.folder, bench.cores.subject)
            with processes.ended(subject.process):
                url = f"http://127.0.0.1:{subject.port}/v1/messages"
                took[name].append(processes.wait_until(subject.process, url, QUESTION, pause=0.005))
    return {name: statistics.median(seconds) for name, seconds in took.items()}
