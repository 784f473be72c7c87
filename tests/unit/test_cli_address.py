"""An address that can't be had: by whom it is taken, and what to type instead."""

from __future__ import annotations

import errno
import io
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ccproxy_sanic import cli
from ccproxy_sanic.ops import neighbour
from ccproxy_sanic.settings import load


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def web_server(body: bytes, name: str = "test") -> Iterator[int]:
    """A web server that answers everything with ``body``; its port."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = name, ""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def listener(speak: bytes = b"") -> Iterator[int]:
    """A port that accepts, says ``speak`` and closes; with nothing to say it keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def run() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    if speak:
                        connection.sendall(speak)
                    else:
                        done.wait(5)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_ollama_is_recognised_and_can_be_the_upstream() -> None:
    with web_server(b"Ollama is running") as port:
        other = neighbour.ask("127.0.0.1", port)
    assert other.by.startswith("probably by Ollama")
    assert other.base_url == f"http://127.0.0.1:{port}/v1"


def test_another_ccproxy_is_recognised() -> None:
    with web_server(b'{"status":"ok","timestamp":"2026-11-22T00:00:00Z"}') as port:
        other = neighbour.ask("0.0.0.0", port)
    assert (other.by, other.base_url) == ("probably by another ccproxy that is already serving", None)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'["status"]', b'{"status":"ok"}', b"\xff", b""])
def test_any_other_web_server_is_named(body: bytes) -> None:
    with web_server(body, "nginx/1.2\x1b") as port:
        assert neighbour.ask("127.0.0.1", port).by == "by another web server (nginx/1.2)"


@pytest.mark.parametrize("speak", [b"", b"SSH-2.0-OpenSSH_9\r\n"])
def test_what_speaks_no_http_is_said_to(speak: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "PATIENCE", 0.05)
    with listener(speak) as port:
        assert neighbour.ask("127.0.0.1", port).by == "by a program that does not speak HTTP"


def served(port: int) -> tuple[int, str]:
    out = io.StringIO()
    code = cli.serve({"PORT": str(port), "LOG_FILE_PATH": "", "ERROR_LOG_FILE_PATH": ""}, out)
    return code, out.getvalue()


def test_a_taken_port_ends_with_the_command_for_the_next_free_one() -> None:
    with web_server(b"Ollama is running") as port:
        code, text = served(port)
    assert code == 2
    lines = text.splitlines()
    assert lines[0] == f"fault: 127.0.0.1:{port} is taken, probably by Ollama, whose default port is 11434"
    found = re.fullmatch(r"  on the next free port:  PORT=(\d+) .+ serve", lines[1])
    assert found is not None
    assert port < int(found[1]) <= port + 100
    assert f"PORT={found[1]} OPENAI_BASE_URL=http://127.0.0.1:{port}/v1 " in lines[2]


def test_the_free_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        free = cli.free_port("127.0.0.1", taken - 1)
        assert free is not None
        assert free > taken
        socket.create_server(("127.0.0.1", free)).close()


def test_above_the_last_port_there_is_none() -> None:
    assert cli.free_port("127.0.0.1", 65_535) is None


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "ports below 1024 are the system's; try PORT=11434 make run"),
        (errno.EADDRNOTAVAIL, "is no address of this machine"),
    ],
)
def test_other_reasons_are_said(number: int, words: str) -> None:
    settings = load({"HOST": "127.0.0.1", "PORT": "80"})
    assert words in cli.cannot_listen(settings, OSError(number, "reason"), "make run")


def test_an_address_of_another_machine_is_a_fault() -> None:
    out = io.StringIO()
    code = cli.serve({"HOST": "203.0.113.1", "CCPROXY_OPEN": "1", "PORT": "0"}, out)
    assert code == 2
    assert "fault: HOST: 203.0.113.1 is no address of this machine" in out.getvalue()


def test_an_unknown_name_is_a_fault() -> None:
    out = io.StringIO()
    code = cli.serve({"HOST": "no-such-name.invalid", "CCPROXY_OPEN": "1", "PORT": "0"}, out)
    assert code == 2
    assert "fault: HOST: no-such-name.invalid is no address and no known name" in out.getvalue()


def test_serving_gets_the_socket_and_the_port_that_is_really_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from ccproxy_sanic import server

    seen: list[tuple[int, int]] = []

    def run(settings: object, sock: socket.socket) -> int:
        with sock:
            seen.append((getattr(settings, "port"), sock.getsockname()[1]))  # noqa: B009
        return 7

    monkeypatch.setattr(server, "run", run)
    out = io.StringIO()
    assert cli.serve({"PORT": "0"}, out) == 7
    ((port, bound),) = seen
    assert port == bound > 0
    assert f"http://127.0.0.1:{port}" in out.getvalue()
