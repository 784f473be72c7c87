"""A flame graph of the proxy under load.

    python -m bench.profile [small|agent|stream-fast|...] [--seconds 8] [--out FILE.svg]

Rule: with py-spy (on PATH or in PYTHONPATH) from outside, else with bench/sampled.py from inside; the picture is the
same.  The default is one picture each for small requests, agent requests and streams, in docs/img/.
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
from pathlib import Path
from typing import Final

from bench import flame
from bench.macro import subjects
from bench.macro.rounds import Bench
from bench.macro.run import say
from bench.macro.scenarios import SCENARIOS
from bench.macro.subjects import Subject
from bench.macro.tools import ROOT, CannotBench
from bench.sampled import STACKS, name_of

DEFAULT: Final = ("small", "agent", "stream-fast", "stream-paced")
OUT: Final = ROOT / "docs" / "img"
RATE: Final = 400  # samples a second
PLACE: Final = re.compile(r"(?P<function>[^;()]+(?:\([^;()]*\))?[^;()]*) \((?P<file>[^;()]+):\d+\)")


def py_spy() -> str | None:
    """Where py-spy is, if it is; its binary may lie beside a folder of PYTHONPATH (pip install --target)."""
    beside = [str(Path(path) / "bin") for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return shutil.which("py-spy") or shutil.which("py-spy", path=os.pathsep.join(beside))


def _load(bench: Bench, subject: Subject, scenario: str, seconds: float) -> None:
    asked = SCENARIOS[scenario]._replace(requests=0)
    done = bench.round(asked, subject, seconds)
    for fault in done.faults:
        say(f"{scenario}: {fault}")


def from_outside(bench: Bench, tool: str, scenario: str, seconds: float) -> list[str]:
    """Folded stacks by py-spy: Python and, where the binaries tell, native frames."""
    subject = bench.subject("proxy")
    _load(bench, subject, scenario, 0.5)
    stacks = bench.folder / f"{scenario}.folded"
    command = [tool, "record", "--pid", str(subject.process.pid), "--format", "raw", "--output", str(stacks)]
    command += [
        "--rate",
        str(RATE),
        "--duration",
        str(max(1, int(seconds))),
        "--nonblocking",
        "--full-filenames",
        "--gil",
    ]
    recording = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _load(bench, subject, scenario, seconds + 1)
    _, said = recording.communicate(timeout=60)
    if not stacks.exists():
        raise CannotBench(f"py-spy recorded nothing: {said.decode(errors='replace')[-500:]}")
    return [_renamed(line) for line in stacks.read_text().splitlines()]


def _renamed(line: str) -> str:
    """py-spy's ``function (/path/file.py:12)`` as the own sampler says it, and functions instead of lines."""
    return PLACE.sub(lambda found: name_of(found[0].rpartition(":")[0], found["file"], found["function"]), line)


def from_inside(bench: Bench, scenario: str, seconds: float) -> list[str]:
    """Folded stacks by the sampler in the proxy's own process."""
    subject = subjects.start("sampled", bench.port, bench.folder, bench.cores.subject)
    try:
        _load(bench, subject, scenario, seconds)
        os.kill(subject.process.pid, signal.SIGTERM)
        subject.process.process.wait(30)
    finally:
        subject.process.stop()
    return (subject.process.log.parent / STACKS).read_text().splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(description="A flame graph of the proxy under load.")
    parser.add_argument("scenarios", nargs="*", default=list(DEFAULT), help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures (default: docs/img)")
    parser.add_argument("--inside", action="store_true", help="use the own sampler even where py-spy is installed")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    given.out.mkdir(parents=True, exist_ok=True)
    tool = None if given.inside else py_spy()
    with tempfile.TemporaryDirectory(prefix="ccproxy-profile-") as folder:
        try:
            bench = Bench(Path(folder))
            try:
                for scenario in given.scenarios:
                    say(f"{scenario}: {given.seconds:g} s under {'py-spy' if tool else 'the own sampler'}")
                    if tool:
                        lines = from_outside(bench, tool, scenario, given.seconds)
                    else:
                        lines = from_inside(bench, scenario, given.seconds)
                    root = flame.fold(lines)
                    picture = given.out / f"flame-{scenario}.svg"
                    picture.write_text(flame.svg(root, f"ccproxy: {SCENARIOS[scenario].title}"))
                    print(f"{picture}:")
                    for name, own, whole in flame.heaviest(root, 15):
                        print(f"  {own:6.1%} of its own, {whole:6.1%} with all it calls  {name}")
                    print("  " + ", ".join(f"{name} {share:.0%}" for name, share in flame.packages(root)[:14]))
            finally:
                bench.stop()
        except CannotBench as reason:
            say(str(reason))
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
