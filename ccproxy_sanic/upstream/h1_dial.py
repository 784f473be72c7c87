"""From a host name to a connected protocol.

Rule: a dead address family costs a quarter of a second, never the connect deadline (RFC 8305), and no task is made for
that.  uvloop's ``create_connection`` (0.23) tries one address after the other, each for as long as the kernel likes;
the stdlib's can race, but leaves a task behind when it is cancelled.  So :class:`Race` does it, with plain futures.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import socket
import ssl
import sys
from collections.abc import Iterable
from typing import Any, Final

HEAD_START: Final = 0.25  # seconds that an attempt is given before the next one is begun

AddressInfo = tuple[int, int, int, str, Any]  # as getaddrinfo gives them


async def dial(
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.Protocol,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
) -> None:
    """Returns when ``protocol`` has its transport, TLS included.  Raises OSError (ssl.SSLError is one); has no deadline
    of its own."""
    name = host if tls is not None else None
    if sys.platform == "win32" or _is_address(host):  # Windows' loop can't watch a socket
        await loop.create_connection(lambda: protocol, host, port, ssl=tls, server_hostname=name)
        return
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await Race(loop, interleave(found)).run()
    await loop.create_connection(
        lambda: protocol, sock=sock, ssl=tls, server_hostname=name
    )  # the socket is its own now


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def interleave(found: Iterable[AddressInfo]) -> list[AddressInfo]:
    """The resolver's order, families taking turns (RFC 8305, 4)."""
    families: dict[int, list[AddressInfo]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*families.values())
    return [info for turn in rounds for info in turn if info is not None]


class Race:
    """Connects to several addresses, each next one after :data:`HEAD_START` seconds or at the failure of one before
    it; the first to connect wins, the others are closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, infos: Iterable[AddressInfo]) -> None:
        self._loop = loop
        self._waiting = iter(infos)
        self._running: set[socket.socket] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._won: asyncio.Future[socket.socket] = loop.create_future()
        self._fault: OSError = socket.gaierror(socket.EAI_NONAME, "no address")

    async def run(self) -> socket.socket:
        """A connected, non-blocking socket that is the caller's.  Raises the last attempt's OSError."""
        try:
            self._next()
            return await self._won
        except BaseException:
            if self._won.done() and not self._won.cancelled() and self._won.exception() is None:
                self._won.result().close()  # won and cancelled in the same turn of the loop
            raise
        finally:
            self._cancel_timer()
            for sock in list(self._running):
                self._drop(sock)

    def _next(self) -> None:
        self._cancel_timer()
        if self._won.done():
            return
        info = next(self._waiting, None)
        if info is None:
            if not self._running:
                self._won.set_exception(self._fault)
            return
        family, kind, proto, _, address = info
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as exc:  # this family is switched off here
            self._fault = exc
            self._next()
            return
        sock.setblocking(False)
        self._running.add(sock)
        self._timer = self._loop.call_later(HEAD_START, self._next)
        try:
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
            self._loop.add_writer(sock.fileno(), self._writable, sock)
        except OSError as exc:  # no route
            self._lose(sock, exc)

    def _writable(self, sock: socket.socket) -> None:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(sock, OSError(code, "connect failed"))
        elif not self._won.done():
            self._loop.remove_writer(sock.fileno())
            self._running.discard(sock)
            self._won.set_result(sock)

    def _lose(self, sock: socket.socket, fault: OSError) -> None:
        self._fault = fault
        self._drop(sock)
        self._next()

    def _drop(self, sock: socket.socket) -> None:
        self._running.discard(sock)
        self._loop.remove_writer(sock.fileno())
        sock.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
