"""The macro benches: proxy and floor in turns, one core each, every request at the upstream counted.

    python -m bench.macro.run [--short] [--only small,agent] [--rounds 5] [--json FILE]

Rule: prints tables on stdout and progress on stderr; exit code 1 when the books don't balance or, with --short, a gate
fails; 2 when this machine can't run the benches.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.macro import memory, report, rounds
from bench.macro.report import Everything
from bench.macro.rounds import Bench
from bench.macro.scenarios import FILES_PER_STREAM, SCENARIOS, SHORT
from bench.macro.tools import ROOT, CannotBench

PACKAGES: Final = ("sanic", "uvloop", "httptools", "msgspec", "httpx", "cython")
EXTRAS: Final = ("memory", "cold-start", "hops")
SPARE_FILES: Final = 300


def versions() -> dict[str, Any]:
    """What was measured, and on what."""
    found: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    found["project"] = done.stdout.strip() or None
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    found["cpu"] = cpu[0].partition(":")[2].strip() if cpu else platform.processor()
    return found


def raise_files() -> int:
    """The limit of open files, as high as it may be: children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def hops(core: int | None) -> float:
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    command = [sys.executable, "-m", "bench.macro.hops"]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, preexec_fn=pin).stdout)


def extras(bench: Bench, wanted: list[str], found: Everything, starts: int) -> None:
    """What is no scenario; one that fails says so and leaves the others alone."""

    def hops_() -> None:
        found.hops_us = hops(bench.cores.subject)

    def memory_() -> None:
        found.proxy_memory = memory.figures(bench, "proxy")

    def cold_starts() -> None:
        found.cold_starts = memory.cold_starts(bench, ("bare", "proxy"), starts)

    for name, work in (("hops", hops_), ("memory", memory_), ("cold-start", cold_starts)):
        if name in wanted:
            say(name)
            try:
                work()
            except (CannotBench, subprocess.CalledProcessError) as reason:
                say(f"{name}: {reason}")


def measure(bench: Bench, wanted: list[str], given: argparse.Namespace) -> Everything:
    files = raise_files()
    found = Everything({})
    names = [name for name in wanted if name in SCENARIOS]
    for number, name in enumerate(names, 1):
        scenario = SCENARIOS[name]
        place = f"{number}/{len(names)}"
        needed = scenario.connections * FILES_PER_STREAM + SPARE_FILES
        if files < needed:
            say(f"[{place}] {name}: skipped, it needs {needed} open files and the limit is {files} (ulimit -n)")
            continue
        say(f"[{place}] {name}: {scenario.title}")
        found.results[name] = rounds.run(bench, name, scenario, given.rounds, short=given.short, place=place)
    extras(bench, wanted, found, 2 if given.short else 5)
    return found


def wanted_of(given: argparse.Namespace) -> list[str]:
    if given.only:
        wanted: list[str] = given.only.split(",")
        if unknown := [name for name in wanted if name not in SCENARIOS and name not in EXTRAS]:
            raise CannotBench(f"no such scenario: {', '.join(unknown)}; there are {', '.join([*SCENARIOS, *EXTRAS])}")
        return wanted
    return [*SHORT, "cold-start"] if given.short else [*SCENARIOS, *EXTRAS]


def show(found: Everything) -> None:
    parts = [report.scenarios_text(found.results) if found.results else "", report.added_text(found.results)]
    parts.append(report.targets_text(report.table(found)))
    print("\n\n".join(part for part in parts if part))


def main() -> int:
    parser = argparse.ArgumentParser(description="Proxy against floor, in turns.  bench/README.md explains the output.")
    parser.add_argument("--short", action="store_true", help="under 40 s, and exit code 1 when a gate fails: for CI")
    parser.add_argument("--only", help=f"scenarios, with commas: {', '.join([*SCENARIOS, *EXTRAS])}")
    parser.add_argument("--rounds", type=int, help="turns of each scenario (default 5, short 3)")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.short else 5)
    with tempfile.TemporaryDirectory(prefix="ccproxy-bench-") as folder:
        try:
            wanted = wanted_of(given)
            bench = Bench(Path(folder))
        except CannotBench as reason:
            say(str(reason))
            return 2
        try:
            if bench.cores.load is not None:
                os.sched_setaffinity(0, {bench.cores.load})
            found = measure(bench, wanted, given)
        except CannotBench as reason:
            say(str(reason))
            return 2
        finally:
            bench.stop()
    show(found)
    if given.json:
        everything = {"versions": versions(), "table": report.table(found), "measured": found}
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=1) + b"\n")
    failed = report.gates(found)
    if given.short and failed:
        print("\ngates that failed:\n  " + "\n  ".join(failed))
    return 1 if report.unbalanced(found) or (given.short and failed) else 0


if __name__ == "__main__":
    sys.exit(main())
