"""The C tools: upstream and load generator, built when they are first needed.

Rule: built from the sources beside this file and nothing else; a binary older than a source is built anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = Path(__file__).resolve().parent / "src"
BUILT: Final = ROOT / ".cache" / "bench"
FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


class CannotBench(Exception):
    """What this machine lacks, in words for the person who asked for a bench."""


class Samples(msgspec.Struct):
    """Microseconds."""

    n: int = 0
    p50: int = 0
    p90: int = 0
    p99: int = 0
    max: int = 0


class Load(msgspec.Struct):
    """What the load generator saw.  ``sent`` = ``ok`` + ``left`` (gone on purpose) + all errors."""

    seconds: float
    sent: int
    ok: int
    left: int
    errors: dict[str, int]
    last_bad_status: int
    chunks: int
    streams: int
    bytes: int
    latency: Samples
    ttfb: Samples
    gap: Samples
    cpu_s: float


class Served(msgspec.Struct):
    """What the upstream saw since it was asked to forget.  ``unseen``: chunks that were written one by one although the
    client did not have the one before."""

    requests: int
    streams: int
    chat: int
    responses: int
    messages: int
    unmarked: int
    repeated: int
    left: int
    finished: int
    unseen: int
    open: int
    peak: int
    cpu_s: float


def build(name: str) -> Path:
    """The tool's binary.  Raises CannotBench when there is no compiler or not this system."""
    if not sys.platform.startswith("linux"):
        raise CannotBench("the macro benches need Linux: they read /proc and use epoll")
    binary = BUILT / name
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if binary.exists() and binary.stat().st_mtime > newest:
        return binary
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise CannotBench("the macro benches need a C compiler (cc, gcc or clang on PATH, or CC=...)")
    BUILT.mkdir(parents=True, exist_ok=True)
    unfinished = BUILT / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [*compiler.split(), *FLAGS, "-o", str(unfinished), str(SOURCES / f"{name}.c")], capture_output=True, text=True
    )
    if done.returncode:
        raise CannotBench(f"{name}.c could not be built:\n{done.stderr}")
    unfinished.replace(binary)
    return binary


def load(port: int, bodies: list[Path], options: dict[str, Any], core: int | None, deadline: float) -> Load:
    """Run the load generator; ``options`` are its own, True for a flag, a list for one that is repeated."""
    command = [str(build("load")), "--port", str(port)]
    for body in bodies:
        command += ["--body", str(body)]
    for name, given in options.items():
        for value in given if isinstance(given, list) else [given]:
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    done = subprocess.run(command, capture_output=True, timeout=deadline, preexec_fn=pin)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode(errors='replace')}")
    return msgspec.convert(json.loads(done.stdout), Load)
