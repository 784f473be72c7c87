"""The Procfile starts the proxy as a platform does: through a process manager, on its PORT, on all addresses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.server_process import ROOT, clean_environment, free_port

PATIENCE = 60.0
TOKEN = "procfile-test-token-0123456789"


@contextmanager
def honcho(folder: Path, port: int, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The Procfile under honcho.  In an empty folder, so that no `.env` is read."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = clean_environment(folder) | settings | {"PATH": path}
    start = ["-f", str(ROOT / "Procfile"), "-d", str(folder), "start", "-p", str(port)]
    command = [sys.executable, "-m", "honcho", *start]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()


def ask(port: int, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """One request with the token; status and body, also of an error."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode() if body else None,
        headers={"x-api-key": TOKEN, "content-type": "application/json", "anthropic-version": "2023-06-01"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def wait_until_ready(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            if ask(port, "/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    process.kill()
    said = process.stdout.read() if process.stdout else ""
    pytest.fail(f"the proxy did not become ready:\n{said}")


def test_the_procfile_serves_messages_and_streams_and_ends_at_sigterm(tmp_path: Path) -> None:
    port = free_port()
    message = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    with honcho(tmp_path, port, CCPROXY_AUTH_TOKENS=TOKEN, CCPROXY_DEMO_PACE="0") as process:
        wait_until_ready(port, process)
        status, body = ask(port, "/v1/messages", message)
        assert status == 200
        assert json.loads(body)["content"]
        status, stream = ask(port, "/v1/messages", {**message, "stream": True})
        assert status == 200
        assert b"event: message_stop" in stream
        if sys.platform == "linux":  # all of 127/8 is local there: it listens on more than 127.0.0.1
            socket.create_connection(("127.0.0.2", port), timeout=5).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) in (0, 143, -signal.SIGTERM)  # honcho's own word for having been told to end
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_the_procfile_without_tokens_says_what_is_missing(tmp_path: Path) -> None:
    with honcho(tmp_path, free_port()) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(PATIENCE) != 0
    assert "CCPROXY_AUTH_TOKENS" in said
    assert "CCPROXY_OPEN" in said
