"""Processes under measurement: start, pin, read their clocks and memory, end.

Rule: CPU time is what the kernel charged to the process, in ns; how busy everybody else kept its core is measured
beside it, so that a noisy round can be told from a slow proxy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.macro.tools import ROOT, CannotBench

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
INHERITED: Final = ("PATH", "HOME", "LANG", "CCPROXY_PURE", "CCPROXY_ENABLE_CYTHON")
READY_WITHIN: Final = 90.0  # seconds
_direct: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Cores(NamedTuple):
    """``subject`` is for the measured process alone, ``load`` for upstream and load generator; None: not pinned."""

    subject: int | None
    load: int | None

    @classmethod
    def here(cls) -> Cores:
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[-1], allowed[0]) if len(allowed) > 1 else cls(None, None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_ns(pid: int) -> int:
    """User and system time of a process with all its threads, also those that have ended."""
    return time.clock_gettime_ns(~pid << 3 | 2)  # the clock of another process: clock_getcpuclockid(3)


def main_thread_ns(pid: int) -> tuple[int, int]:
    """User and system time of the main thread alone, to a tick."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()  # names may hold anything
    user, system = (int(ticks) * (1_000_000_000 // TICKS) for ticks in fields[11:13])
    return user, system


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def reads(pid: int) -> int:
    """How often a process tree has called read(2), as uvloop does; recv(2) is not counted."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/io").read_text().splitlines():
                if line.startswith("syscr:"):
                    total += int(line.split()[1])
    return total


class Memory(NamedTuple):
    """Bytes."""

    rss: int
    pss: int


def rss(pid: int) -> int:
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE
    return total


def memory(pid: int) -> Memory:
    """Resident and proportional memory of a process tree."""
    proportional = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    proportional += int(line.split()[1]) * 1024
    return Memory(rss(pid), proportional)


def busy_ns(core: int | None) -> int:
    """How long a core (None: all together) has worked since boot, for anybody."""
    name = "cpu" if core is None else f"cpu{core}"
    for line in Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields[0] == name:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[1:9])
            return (user + nice + system + irq + softirq + steal) * (1_000_000_000 // TICKS)
    return 0


class Process:
    """One child of ours, with its log in a file.  Raises CannotBench where its command can't be run."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, *, core: int | None = None, env: Mapping[str, str] = {}
    ) -> None:
        self.name = name
        self.started = time.monotonic()
        self.log = folder / f"{name}.log"
        inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
        pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
        with self.log.open("wb") as log:
            try:
                self.process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=inherited | {"PYTHONPATH": str(ROOT)} | dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=pin,
                    start_new_session=True,
                )
            except OSError as reason:
                raise CannotBench(f"{name} can't be started: {reason}") from None

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_ns(self) -> int:
        total = 0
        for pid in tree(self.pid):
            with contextlib.suppress(OSError):
                total += cpu_ns(pid)
        return total

    def check(self) -> None:
        """Raises CannotBench, with the end of its log, if the process has ended."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-2000:]
            raise CannotBench(f"{self.name} ended with code {self.process.returncode}:\n{said}")

    def stop(self) -> None:
        """SIGTERM to it and all that it has started, SIGKILL after 5 s."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                return


def get(url: str, data: bytes | None = None, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body; without any proxy that the environment may name."""
    request = urllib.request.Request(url, data, {"content-type": "application/json", "x-api-key": "bench"})
    try:
        with _direct.open(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def wait_until(process: Process, url: str, data: bytes | None = None, pause: float = 0.02) -> float:
    """Seconds from the process's start to its first answer with 200.  Raises CannotBench."""
    while time.monotonic() - process.started < READY_WITHIN:
        process.check()
        with contextlib.suppress(OSError):
            if get(url, data)[0] == 200:
                return time.monotonic() - process.started
        time.sleep(pause)
    raise CannotBench(f"{process.name} was not ready within {READY_WITHIN:g} s: see {process.log}")


@contextlib.contextmanager
def ended(*processes: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.stop()


PYTHON: Final = sys.executable
