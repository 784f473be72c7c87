"""A real redis-server (Debian's), on a socket file of its own, without a disk behind it.

Rule: tests that need one say so when they are skipped; it ends with the test.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(BINARY is None, reason="needs redis-server or valkey-server on PATH")
WITHIN = 10.0


class RedisServer:
    """``url`` stays the same when it is killed and started anew; what it knew is then forgotten."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "redis.sock"
        self.url = f"unix://{self._path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BINARY is not None
        self._process = subprocess.Popen(
            [BINARY, "--port", "0", "--unixsocket", str(self._path), "--save", "", "--appendonly", "no"],
            cwd=self._path.parent,
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + WITHIN
        while not self._answers():
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self._path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        return False

    def pause(self) -> None:
        """It is there, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="redis") as folder:  # a socket's path must be short
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
