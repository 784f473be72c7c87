"""One of several workers: ``python -m ccproxy_sanic.worker NUMBER ADDRESS LINE``, started by the parent only.

Rule: it reads settings as the command does, and says nothing about them that the parent has said already; where the
proxy listens, who it is among the others, and what they share comes from the parent.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ccproxy_sanic import catalog, listening, server
from ccproxy_sanic.frames import HEAD, Place, Unpacker

FAULTY: Final = 2  # exit code
ENV_FILE: Final = Path(".env")


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop, or until the parent is gone; the exit code."""
    _, address, line = argv
    to_parent = socket.socket(fileno=int(line))
    place = _place(to_parent)
    report = catalog.examined(os.environ, ENV_FILE)
    if report.settings is None:  # `.env` or a file that it names was changed since the parent read it
        sys.stderr.writelines(f"fault: {fault}\n" for fault in report.faults)
        return FAULTY
    sock = listening.beside(socket.socket(fileno=int(address)))
    settings = msgspec.structs.replace(report.settings, port=sock.getsockname()[1], web_concurrency=place.count)
    return server.run(settings, sock, place, to_parent)


def _place(line: socket.socket) -> Place:
    """The first frame; nothing can be done before it."""
    head = _exactly(line, HEAD)
    for frame in Unpacker().feed(head + _exactly(line, int.from_bytes(head, "big"))):
        if isinstance(frame, Place):
            return frame
    raise ValueError("the parent said nothing of use")


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := line.recv(size - len(data))):
            raise EOFError("the parent has gone")
        data += more
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
