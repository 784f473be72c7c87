"""What is measured, and how it is started.

Rule: the proxy runs as its user starts it, by ``ccproxy serve`` with settings from the environment, default but for
what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.macro.processes import PYTHON, Process, free_port, wait_until

MODEL: Final = "bench-model"
QUIET: Final = {"LOG_FILE_PATH": "", "ERROR_LOG_FILE_PATH": "", "ERROR_TRACKING_FILE": ""}

Command = Callable[[int, int], list[str]]
"""From its port and the upstream's."""


def _module(name: str, *more: str, upstream: bool = True) -> Command:
    def command(port: int, upstream_port: int) -> list[str]:
        behind = ["--upstream", str(upstream_port)] if upstream else []
        return [PYTHON, "-m", f"bench.macro.{name}", "--port", str(port), *behind, *more]

    return command


def _serve(port: int, upstream: int) -> list[str]:
    return [PYTHON, "-m", "ccproxy_sanic", "serve"]


class Kind(NamedTuple):
    """``env`` is for the proxy only; ``ready`` is asked until it answers 200."""

    title: str
    command: Command
    env: Mapping[str, str] | None = None
    ready: str = "/ready"


KINDS: Final[Mapping[str, Kind]] = {
    "floor": Kind("floor: Sanic, own engine, minimal translation", _module("floor")),
    "floor-relay": Kind("floor that passes bytes through", _module("floor", "--relay")),
    "bare": Kind("Sanic, constant answer", _module("bare", upstream=False)),
    "proxy": Kind("the proxy, log files off", _serve, QUIET),
    "proxy-log": Kind("the proxy, all defaults (log files on)", _serve, {}),
    "proxy-relay": Kind("the proxy in front of a Messages upstream", _serve, QUIET | {"CCPROXY_API": "messages"}),
}
# Those that write the stacks of their loop when they are terminated (bench/sampled.py).
SAMPLED: Final[Mapping[str, Kind]] = {
    name: KINDS[name]._replace(command=lambda port, upstream: [PYTHON, "-m", "bench.sampled"])
    for name in ("proxy", "proxy-relay")
}


class Subject(NamedTuple):
    """A running one.  ``port`` is where the load goes."""

    name: str
    port: int
    process: Process


def environment(kind: Kind, port: int, upstream: int) -> dict[str, str]:
    if kind.env is None:
        return {}
    return {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
        "OPENAI_API_KEY": "x",
        "BIG_MODEL_NAME": MODEL,
        "SMALL_MODEL_NAME": MODEL,
        **kind.env,
    }


def launch(name: str, upstream: int, folder: Path, core: int | None, kinds: Mapping[str, Kind] = KINDS) -> Subject:
    """Started, not waited for; each in a working directory of its own."""
    kind, port = kinds[name], free_port()
    home = folder / f"{name}-{port}"
    home.mkdir()
    env = environment(kind, port, upstream)
    return Subject(name, port, Process(name, kind.command(port, upstream), home, core=core, env=env))


def start(name: str, upstream: int, folder: Path, core: int | None, kinds: Mapping[str, Kind] = KINDS) -> Subject:
    """Started and ready.  Raises CannotBench."""
    subject = launch(name, upstream, folder, core, kinds)
    try:
        wait_until(subject.process, f"http://127.0.0.1:{subject.port}{KINDS[name].ready}")
    except BaseException:
        subject.process.stop()
        raise
    return subject
