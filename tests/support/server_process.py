"""The real server, started as a person starts it: a process of its own, an environment of its own.

Rule: the environment is built, never inherited, so that no key, base URL or proxy of the caller's can get in.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
INHERITED = ("PATH", "LANG", "SYSTEMROOT", "CCPROXY_PURE", "PYTHONASYNCIODEBUG")
READY_WITHIN = 30.0
STOPPED_WITHIN = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@dataclass
class ServerProcess:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """Everything it has printed so far, both streams."""
        return self.log.read_text(errors="replace")

    def terminate(self) -> int:
        """SIGTERM, then wait; returns the exit code.  Fails, with the output, if the process stays."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop within {STOPPED_WITHIN} s:\n{self.output}") from None


@contextlib.contextmanager
def serve(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """``ccproxy serve`` on a free port in the empty folder ``home``; without settings with the embedded demo.

    Yields when ``/ready`` answers 200.  Afterwards the process must end with exit code 0 and must have printed no
    traceback, unless the test has ended it itself.
    """
    port = free_port()
    environment = clean_environment(home) | {"PORT": str(port), "CCPROXY_DEMO_PACE": "0"} | dict(settings or {})
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ccproxy_sanic", "serve"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = ServerProcess(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_ready(server)
        yield server
        ended_by_test = process.poll() is not None
        assert server.terminate() == 0 or ended_by_test, server.output
        assert "Traceback" not in server.output, server.output
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_until_ready(server: ServerProcess) -> None:
    end = time.monotonic() + READY_WITHIN
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < end:
            assert server.process.poll() is None, f"the server ended at once:\n{server.output}"
            with contextlib.suppress(httpx.TransportError):
                if http.get(f"{server.url}/ready").status_code == 200:
                    return
            time.sleep(0.05)
    raise AssertionError(f"not ready within {READY_WITHIN} s:\n{server.output}")
