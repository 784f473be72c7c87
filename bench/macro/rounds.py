"""One scenario, several subjects, in turns: A B A B, so that whatever else the machine does meets them all.

Rule: a round's books must balance: every request answered well, and as many at the upstream as were sent; whatever
does not is a fault of the round, and shown.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.macro import bodies, processes, subjects, tools
from bench.macro.processes import Cores, Process
from bench.macro.scenarios import Scenario
from bench.macro.subjects import Subject
from bench.macro.tools import CannotBench, Load, Served

LOOK_EVERY = 0.05  # seconds between two looks at a subject's memory


class Round(msgspec.Struct):
    """``cpu_us`` and ``reads`` (calls) per unit of the scenario; ``foreign``: the share of the subject's core that
    others took, 0 to 1, None where nothing is pinned; memory in bytes; ``faults`` in words."""

    cpu_us: float
    cpu_us_per_request: float
    reads: float
    foreign: float | None
    rss_before: int
    rss_peak: int
    load: Load
    served: Served
    faults: list[str]


class Bench:
    """An upstream, the subjects that were asked for so far, and a folder for their files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cores = folder, Cores.here()
        self.sights = folder / "sights"  # how the upstream learns what clients have (src/upstream.c)
        os.mkfifo(self.sights)
        command = [str(tools.build("upstream")), "0", str(self.sights)]
        self.upstream = Process("upstream", command, folder, core=self.cores.load)
        self.port = self._port()
        self.running: dict[str, Subject] = {"direct": Subject("direct", self.port, self.upstream)}

    def _port(self) -> int:
        for _ in range(200):
            self.upstream.check()
            if said := self.upstream.log.read_text():
                port: int = json.loads(said)["port"]
                return port
            threading.Event().wait(0.01)
        raise CannotBench("the upstream did not start")

    def subject(self, name: str) -> Subject:
        """Started when it is first asked for.  Raises CannotBench."""
        if name not in self.running:
            self.running[name] = subjects.start(name, self.port, self.folder, self.cores.subject)
        return self.running[name]

    def stop(self) -> None:
        for subject in self.running.values():
            subject.process.stop()

    def served(self, *, forget: bool = False) -> Served:
        _, said = processes.get(f"http://127.0.0.1:{self.port}/bench", b"" if forget else None)
        return msgspec.json.decode(said, type=Served)

    def round(self, scenario: Scenario, subject: Subject, seconds: float, path: str = "/v1/messages") -> Round:
        """One turn of one subject."""
        files = [bodies.write(self.folder, f"body-{number}", make()) for number, make in enumerate(scenario.bodies)]
        options = {"connections": scenario.connections, "path": path, **scenario.options}
        options |= {"sights": self.sights} if scenario.one_by_one else {}
        options |= {"requests": scenario.requests} if scenario.requests else {"seconds": seconds}
        core, pid = self.cores.subject, subject.process.pid
        self.served(forget=True)
        before = processes.rss(pid)
        with _peak(pid) as peak:
            reads, busy, cpu = processes.reads(pid), processes.busy_ns(core), subject.process.cpu_ns()
            load = tools.load(subject.port, files, options, self.cores.load, 300.0)
            cpu, busy = subject.process.cpu_ns() - cpu, processes.busy_ns(core) - busy
            reads = processes.reads(pid) - reads
        subject.process.check()
        served = self.served()
        answered = max(load.ok + load.left, 1)
        units = answered * scenario.chunks if scenario.unit == "chunk" else answered
        return Round(
            cpu_us=cpu / 1000 / units,
            cpu_us_per_request=cpu / 1000 / answered,
            reads=reads / units,
            foreign=None if core is None else max(0.0, (busy - cpu) / 1e9 / load.seconds),
            rss_before=before,
            rss_peak=max(peak),
            load=load,
            served=served,
            faults=faults(scenario, load, served),
        )


@contextmanager
def _peak(pid: int) -> Iterator[list[int]]:
    seen, over = [processes.rss(pid)], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY):
            seen.append(processes.rss(pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def faults(scenario: Scenario, load: Load, served: Served) -> list[str]:
    """What is wrong with a round."""
    found = [f"{count} of {load.sent} requests ended in {name}" for name, count in load.errors.items()]
    if "status" in load.errors:
        found.append(f"the last status was {load.last_bad_status}")
    if load.sent != load.ok + load.left + sum(load.errors.values()):
        found.append("the load generator lost count")
    if scenario.shared:
        return found
    if served.repeated:
        found.append(f"the upstream saw {served.repeated} requests twice")
    if served.unmarked:
        found.append(f"the upstream saw {served.unmarked} requests without their mark")
    if "cut" not in scenario.options and served.requests != load.sent:
        found.append(f"{load.sent} requests were sent, the upstream saw {served.requests}")
    return found


Results = dict[str, list[Round]]
"""By subject, in order: rounds with equal place were next to each other."""


def run(bench: Bench, name: str, scenario: Scenario, rounds: int, *, short: bool, place: str) -> Results:
    """All turns of one scenario; progress goes to stderr.  A subject that can't be started is left out, and says so."""
    taking_part: list[Subject] = []
    for wanted in scenario.subjects:
        if short and wanted == "proxy-log":
            continue
        try:
            taking_part.append(bench.subject(wanted))
        except CannotBench as reason:
            print(f"[{place}] {name}: without {wanted}: {reason}", file=sys.stderr)
    results: Results = {subject.name: [] for subject in taking_part}
    seconds = scenario.seconds[short]
    for subject in taking_part:  # connections, caches, code that is compiled at first use
        warm = scenario._replace(requests=0, options={k: v for k, v in scenario.options.items() if k == "header"})
        if not scenario.requests:
            bench.round(warm, subject, 0.3)
    turns = min(rounds, scenario.rounds)
    for turn in range(turns):
        order = taking_part if turn % 2 == 0 else taking_part[::-1]
        for subject in order:
            results[subject.name].append(bench.round(scenario, subject, seconds))
        told = ", ".join(f"{key} {done[-1].cpu_us:.1f}" for key, done in results.items())
        print(f"[{place}] {name}: turn {turn + 1} of {turns}: CPU us per {scenario.unit}: {told}", file=sys.stderr)
        for key, done in results.items():
            for fault in done[-1].faults:
                print(f"[{place}] {name}: {key}: {fault}", file=sys.stderr)
    return results
