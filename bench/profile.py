"""A flame graph of the proxy under load, or a table of its parts.

    python -m bench.profile [small|agent|stream-fast|...] [--seconds 8] [--out FOLDER]
    python -m bench.profile --parts [small|...]       floor and proxy, CPU us part by part, as markdown on stdout

Rule: with py-spy (on PATH or in PYTHONPATH) from outside, else with bench/sampled.py from inside; the picture is the
same.  The default is the pictures that docs/performance.md shows, in docs/img/; the table needs py-spy.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import flame, parts
from bench.macro import processes, ratios, subjects
from bench.macro.rounds import Bench, Round
from bench.macro.run import say
from bench.macro.scenarios import SCENARIOS
from bench.macro.subjects import Subject
from bench.macro.tools import ROOT, CannotBench
from bench.sampled import STACKS, name_of

DEFAULT: Final = ("small", "agent", "stream-paced", "passthrough-stream")
OUT: Final = ROOT / "docs" / "img"
RATE: Final = 400  # samples a second
TURNS: Final = 4  # of a subject whose parts are told: quiet ones, if there are so many
MOST_TURNS: Final = 12
PICTURE: Final = ("--nonblocking", "--gil")
NATIVE: Final = ("--native",)  # the process stands still for each sample: slower, but the kernel is seen
PLACE: Final = re.compile(r"(?P<function>[^;()]+(?:\([^;()]*\))?[^;()]*) \((?P<file>[^;()]+):\d+\)")


Recorded = tuple[Round, list[str]]
"""How loud it was, and folded stacks."""


def py_spy() -> str | None:
    """Where py-spy is, if it is; its binary may lie beside a folder of PYTHONPATH (pip install --target)."""
    beside = [str(Path(path) / "bin") for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return shutil.which("py-spy") or shutil.which("py-spy", path=os.pathsep.join(beside))


def proxy_of(scenario: str) -> str:
    """The proxy as the scenario has it: `proxy` or `proxy-relay`."""
    return next((name for name in SCENARIOS[scenario].subjects if name in subjects.SAMPLED), "proxy")


def _load(bench: Bench, subject: Subject, scenario: str, seconds: float) -> Round:
    asked = SCENARIOS[scenario]._replace(requests=0)
    done = bench.round(asked, subject, seconds)
    for fault in done.faults:
        say(f"{scenario}: {fault}")
    if not done.load.ok + done.load.left:
        raise CannotBench(f"{scenario}: {subject.name} answered nothing: see above")
    return done


def _recorded(bench: Bench, tool: str, subject: Subject, scenario: str, seconds: float, *options: str) -> Recorded:
    """py-spy's, while the subject is under load.  Raises CannotBench."""
    stacks = bench.folder / f"{scenario}-{subject.name}.folded"
    command = [tool, "record", "--pid", str(subject.process.pid), "--format", "raw", "--output", str(stacks)]
    command += ["--rate", str(RATE), "--duration", str(max(1, int(seconds))), "--full-filenames", *options]
    recording = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    done = _load(bench, subject, scenario, seconds + 1)
    _, said = recording.communicate(timeout=60)
    if not stacks.exists():
        raise CannotBench(f"py-spy recorded nothing: {said.decode(errors='replace')[-500:]}")
    return done, stacks.read_text().splitlines()


def from_outside(bench: Bench, tool: str, scenario: str, seconds: float) -> list[str]:
    """Folded stacks by py-spy."""
    subject = bench.subject(proxy_of(scenario))
    _load(bench, subject, scenario, 0.5)
    return [_renamed(line) for line in _recorded(bench, tool, subject, scenario, seconds, *PICTURE)[1]]


def _renamed(line: str) -> str:
    """py-spy's ``function (/path/file.py:12)`` as the own sampler says it, and functions instead of lines."""
    return PLACE.sub(lambda found: name_of(found[0].rpartition(":")[0], found["file"], found["function"]), line)


def from_inside(bench: Bench, scenario: str, seconds: float) -> list[str]:
    """Folded stacks by the sampler in the proxy's own process."""
    subject = subjects.start(proxy_of(scenario), bench.port, bench.folder, bench.cores.subject, subjects.SAMPLED)
    try:
        _load(bench, subject, scenario, seconds)
        os.kill(subject.process.pid, signal.SIGTERM)
        subject.process.process.wait(30)
    finally:
        subject.process.stop()
    return (subject.process.log.parent / STACKS).read_text().splitlines()


def picture(bench: Bench, tool: str | None, scenario: str, seconds: float, out: Path) -> None:
    """Writes a flame graph and prints the heaviest functions."""
    lines = from_outside(bench, tool, scenario, seconds) if tool else from_inside(bench, scenario, seconds)
    root = flame.fold(lines)
    path = out / f"flame-{scenario}.svg"
    path.write_text(flame.svg(root, f"ccproxy: {SCENARIOS[scenario].title}"))
    print(f"{path}:")
    for name, own, whole in flame.heaviest(root, 15):
        print(f"  {own:6.1%} of its own, {whole:6.1%} with all it calls  {name}")
    print("  " + ", ".join(f"{name} {share:.0%}" for name, share in flame.packages(root)[:14]))


def _quiet(turn: Callable[[], Recorded]) -> list[Recorded]:
    """As many quiet turns as are wanted, or the quietest."""
    found: list[Recorded] = []
    while sum(ratios.quiet(done) for done, _ in found) < TURNS and len(found) < MOST_TURNS:
        found.append(turn())
    return sorted(found, key=lambda each: each[0].foreign or 0.0)[:TURNS]


def column(bench: Bench, tool: str, name: str, scenario: str, seconds: float) -> parts.Column:
    """A subject's CPU time, measured before the sampler disturbs it, and whose it is.

    py-spy samples by the clock: who waits for a core that others have is seen waiting, so the quietest turns count.
    """
    subject = bench.subject(name)
    pid = subject.process.pid
    _load(bench, subject, scenario, 0.5)
    before = (*processes.main_thread_ns(pid), subject.process.cpu_ns())
    plain = _quiet(lambda: (_load(bench, subject, scenario, seconds / TURNS / 2), []))
    after = (*processes.main_thread_ns(pid), subject.process.cpu_ns())
    user, system, whole = (now - then for now, then in zip(after, before, strict=True))
    us = ratios.middle([turn for turn, _ in plain], lambda turn: turn.cpu_us_per_request)
    stacks = _quiet(lambda: _recorded(bench, tool, subject, scenario, seconds / TURNS, *NATIVE))
    loud = sum(not ratios.quiet(turn) for turn, _ in plain + stacks)
    say(f"{scenario}: {name}: {us:.1f} us" + (f", noisy: others took much of its core in {loud} turns" if loud else ""))
    shares = parts.shares(line for _, lines in stacks for line in lines)
    return parts.Column(us * user / whole, us * system / whole, us * max(0, whole - user - system) / whole, shares)


def taken_apart(bench: Bench, tool: str, scenario: str, seconds: float) -> None:
    """Prints the table of one scenario."""
    names = (SCENARIOS[scenario].subjects[0], proxy_of(scenario))
    columns = {name: column(bench, tool, name, scenario, seconds) for name in names}
    print(f"{SCENARIOS[scenario].title}; CPU us per request:\n\n{parts.table(columns)}\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="A flame graph of the proxy under load, or a table of its parts.")
    parser.add_argument("scenarios", nargs="*", default=list(DEFAULT), help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures (default: docs/img)")
    parser.add_argument("--inside", action="store_true", help="use the own sampler even where py-spy is installed")
    parser.add_argument("--parts", action="store_true", help="no pictures, but what each part costs floor and proxy")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    tool = None if given.inside else py_spy()
    if given.parts and tool is None:
        parser.error("the parts are told apart by py-spy: pip install py-spy")
    with tempfile.TemporaryDirectory(prefix="ccproxy-profile-") as folder:
        try:
            bench = Bench(Path(folder))
            try:
                for scenario in given.scenarios:
                    say(f"{scenario}: {given.seconds:g} s under {'py-spy' if tool else 'the own sampler'}")
                    if given.parts and tool:
                        taken_apart(bench, tool, scenario, given.seconds)
                    else:
                        given.out.mkdir(parents=True, exist_ok=True)
                        picture(bench, tool, scenario, given.seconds, given.out)
            finally:
                bench.stop()
        except CannotBench as reason:
            say(str(reason))
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
