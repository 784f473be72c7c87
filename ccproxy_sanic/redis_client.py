"""A client of the Redis or Valkey that a URL names.

Rule: imported only where a URL is set; making a client connects to nothing.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# Valkey speaks Redis's protocol, and the client knows Redis's names only.
SCHEMES: Final = {"valkey://": "redis://", "valkeys://": "rediss://"}
CONNECT: Final = 2.0  # seconds a connection may take; who waits less for an answer says so itself


def client_of(url: str) -> Redis:
    """``redis://``, ``rediss://`` (TLS; ``?ssl_cert_reqs=none`` leaves the certificate unchecked), ``valkey://``,
    ``valkeys://`` or ``unix://``.  It tries nothing twice: whoever asks knows better.  Raises ValueError."""
    for scheme, known in SCHEMES.items():
        if url.startswith(scheme):
            url = known + url.removeprefix(scheme)
    return Redis.from_url(
        url, socket_connect_timeout=CONNECT, socket_timeout=CONNECT, retry=Retry(NoBackoff(), 0), protocol=2
    )
