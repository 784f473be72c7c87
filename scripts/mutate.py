"""Does a test notice when a rule table changes?  ``make mutate`` answers, entry by entry (docs/mutation.md).

Rule: no file is changed.  A process that has only the libraries loaded is forked for each mutant; the child imports
the one module (or reads the one TOML file) in its mutated form and runs the tests that concern it until one fails.

A mutant is one entry of a module-level ``Final`` of ``translate/`` or ``profiles/``, left out or changed; one line of
a profile file; or, with ``--operators N``, one of N operators and numbers inside the functions of ``translate/``.
What was killed is remembered in a file outside of the tree and not run again while the mutated file is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, Final

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import mutants
from mutants import Mutant

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "ccproxy_sanic"
LIBRARIES: Final = ("anthropic", "jiter", "msgspec", "pytest_asyncio", "uvloop")
CPU_SECONDS: Final = 90  # a mutant that takes longer hangs: it is noticed too
MEMORY: Final = 4 * 2**30

# The tests that concern a module; with --all, then those of all the others.
REQUESTS: Final = ("test_request_vectors", "test_rule_tables_request", "test_request_*", "test_web_search")
REPLIES: Final = ("test_stream_vectors", "test_rule_tables_reply", "test_response_*", "test_stream_t*", "test_stream_*")
FAULTS: Final = ("test_rule_tables_faults", "test_faults_*")
ARGUMENTS: Final = ("test_rule_tables_arguments", "test_arguments_whole", "test_stream_tools")
PROFILES: Final = ("test_rule_tables_profiles", "test_profiles*", "test_recognise")
CONCERNS: Final[dict[str, tuple[str, ...]]] = {
    "arguments": ARGUMENTS,
    **dict.fromkeys(("faults", "overflow", "unwrap"), FAULTS),
    **dict.fromkeys(("block_writer", "reasoning", "reply_spec", "response", "stop", "stream"), REPLIES),
    **dict.fromkeys(("tool_slots", "usage", "whole_reply"), REPLIES),
    **dict.fromkeys((path.stem for path in (PACKAGE / "profiles").iterdir()), PROFILES),
}
ALL: Final = (*REQUESTS, *REPLIES, *FAULTS, *ARGUMENTS, *PROFILES, "test_adjustments*", "test_decode_request")
SLOW: Final = ("test_profiles_command",)  # it starts processes, which no mutant reaches
SKIPPED: Final = "not (long_argument_in_small or arguments_that_wait or no_answer_makes_it_raise)"  # about speed
PROPERTIES: Final = {"carrier": ("test_carrier",), "arguments": ("test_arguments_automaton",)}


def test_files(module: str, everything: bool) -> list[str]:
    """The test files for a module, those that concern it first."""
    patterns = [*(f"unit/{name}.py" for name in CONCERNS.get(module, REQUESTS))]
    patterns += [f"property/{name}.py" for name in PROPERTIES.get(module, ())]
    patterns += [f"unit/{name}.py" for name in ALL if everything]
    found = [path for pattern in patterns for path in sorted((ROOT / "tests").glob(pattern))]
    return list(dict.fromkeys(str(path) for path in found if path.stem not in SLOW))


class Mutated(SourceFileLoader):
    """Loads a module from the tree that the mutant is in."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        assert self.mutant.tree is not None
        return compile(self.mutant.tree, self.path, "exec", dont_inherit=True)


class Finder:
    """Answers for the mutated module only."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = ".".join(mutant.file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None
        loader = Mutated(fullname, str(self.mutant.file))
        loader.mutant = self.mutant
        spec.loader = loader
        return spec


class FirstFailure:
    """A pytest plugin: writes down which test noticed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.path.write_text(report.nodeid)


def run_child(mutant: Mutant | None, files: Iterable[str], note: Path) -> int:
    """In the child: mutates, runs the tests; pytest's exit code."""
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(CPU_SECONDS * 4)
    if mutant is not None:
        mutant.apply()
        if mutant.tree is not None:
            sys.meta_path.insert(0, Finder(mutant))
        else:
            read, file, text = Path.read_text, mutant.file, mutant.text
            Path.read_text = lambda self, *args, **more: text if self == file else read(self, *args, **more)  # type: ignore[method-assign]
    quick = [
        "-x",
        "-k",
        SKIPPED,
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "timeout=0",
        "--hypothesis-seed=0",
        "-W",
        "ignore",
    ]
    return pytest.main([*quick, *files], plugins=[FirstFailure(note)])


class Results:
    """One JSON line for each mutant that ran, the newest last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                result = json.loads(line)
                self.known[result["key"]] = result

    def killed(self, mutant: Mutant) -> bool:
        return self.known.get(key(mutant), {}).get("outcome") == "killed"

    def add(self, mutant: Mutant, outcome: str, by: str) -> None:
        result = {"key": key(mutant), "mutant": mutant.label, "outcome": outcome, "by": by}
        self.known[result["key"]] = result
        with self.path.open("a") as file:
            file.write(json.dumps(result) + "\n")


def key(mutant: Mutant) -> str:
    text = hashlib.sha256(mutant.file.read_bytes()).hexdigest()[:12]
    return f"{text} {mutant.number} {mutant.label}"


def work(
    waiting: list[Mutant], results: Results, scratch: Path, *, jobs: int, everything: bool
) -> Iterator[tuple[Mutant, bool]]:
    """Runs the mutants, at most ``jobs`` at once; each with whether it was killed, as they end."""
    running: dict[int, tuple[Mutant, Path]] = {}
    queue = iter(waiting)
    while True:
        while len(running) < jobs and (mutant := next(queue, None)) is not None:
            note = scratch / f"{len(results.known)}-{time.monotonic_ns()}"
            running[spawn(mutant, test_files(mutant.file.stem, everything), note)] = (mutant, note)
        if not running:
            return
        pid, status = os.wait()
        mutant, note = running.pop(pid)
        by = note.read_text() if note.exists() else "it does not load, or hangs"
        note.unlink(missing_ok=True)
        results.add(mutant, "survived" if status == 0 else "killed", "" if status == 0 else by)
        yield mutant, status != 0


def spawn(mutant: Mutant | None, files: Iterable[str], note: Path) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(run_child(mutant, files, note))
    return pid


def main() -> int:
    options = argparse.ArgumentParser(prog="make mutate", description=__doc__.partition("\n")[0])
    options.add_argument("--only", default="", help="only mutants whose label holds this regular expression")
    options.add_argument("--sample", type=int, default=0, metavar="N", help="only N of them, spread evenly")
    options.add_argument("--operators", type=int, default=0, metavar="N", help="N mutants inside functions, no tables")
    options.add_argument("--seed", type=int, default=0, help="which N --operators takes")
    options.add_argument("--all", action="store_true", help="try each mutant on all tests, not only on its module's")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--list", action="store_true", help="only print them")
    options.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "ccproxy-mutants.jsonl")
    asked = options.parse_args()
    if asked.operators:
        found = [mutant for mutant in mutants.of_functions(PACKAGE) if re.search(asked.only, mutant.label)]
        found = random.Random(asked.seed).sample(found, min(asked.operators, len(found)))
    else:
        found = [mutant for mutant in mutants.of_tables(PACKAGE) if re.search(asked.only, mutant.label)]
    if asked.sample and asked.sample < len(found):
        found = [found[at * len(found) // asked.sample] for at in range(asked.sample)]
    if asked.list:
        print("\n".join(mutant.label for mutant in found))
        return 0
    return judge(found, Results(asked.results), jobs=asked.jobs, everything=asked.all)


def judge(found: list[Mutant], results: Results, *, jobs: int, everything: bool) -> int:
    """1 where a mutant survived, 2 where the tests fail by themselves."""
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT)]
    os.environ["CCPROXY_PURE"] = "1"
    for library in LIBRARIES:
        __import__(library)
    # The suite's own profiles inherit it: that a test fails is enough, the smallest example is not needed.
    hypothesis.settings.register_profile("mutants", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
    hypothesis.settings.load_profile("mutants")
    with tempfile.TemporaryDirectory(prefix="ccproxy-mutants-") as folder:
        scratch = Path(folder)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(scratch)  # what a mutant fails on is nobody else's example
        waiting = [mutant for mutant in found if not results.killed(mutant)]
        if waiting:
            pid = spawn(None, test_files("", True), scratch / "baseline")
            if os.waitpid(pid, 0)[1]:
                by = scratch / "baseline"
                print(f"the tests fail without a mutant: {by.read_text() if by.exists() else 'no test ran'}")
                return 2
        survived: list[str] = []
        for count, (mutant, killed) in enumerate(work(waiting, results, scratch, jobs=jobs, everything=everything), 1):
            survived += [] if killed else [mutant.label]
            if count % 25 == 0 or count == len(waiting):
                print(f"{count} of {len(waiting)} run, {len(survived)} survived", flush=True)
    print(f"{len(found)} mutants, {len(found) - len(survived)} killed, {len(survived)} survived")
    print("\n".join(sorted(survived)))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
