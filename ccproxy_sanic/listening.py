"""The address that is served.

Rule: bound once, by whoever was started, before anything else is: that it is taken is said at once, and by one process.
"""

from __future__ import annotations

import socket
import sys

# Where the system deals connections out among sockets of one address; elsewhere one of them would get all.
DEALS: bool = sys.platform == "linux"


def bind(host: str, port: int) -> socket.socket:
    """A listening socket's address, bound.  Raises OSError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def open_to_workers(sock: socket.socket) -> None:
    """Let other sockets be bound beside ``sock``, which must never listen itself.  After its own binding: that was to
    fail if the address was taken, also by workers of another proxy."""
    if DEALS:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def beside(sock: socket.socket) -> socket.socket:
    """A worker's own socket on the address of its parent's; where the system would not deal them out fairly, the same.

    On one socket, whoever wakes first takes all that wait: of 64 connections one of two workers got 38 to 61.  Dealt
    out, it is 32 to 43, and those of a worker that is gone go to the others at once (docs/adr/0004).
    """
    if not DEALS:
        return sock
    own = socket.socket(sock.family, socket.SOCK_STREAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    own.bind(sock.getsockname())
    own.setblocking(False)
    sock.close()
    return own
