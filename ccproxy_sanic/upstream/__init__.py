"""The upstream side of the wire.

Rule: only this package imports httpx or httptools; the rest of the house gets a transport from :func:`build` and sends
with :func:`open_exchange`.
"""

from __future__ import annotations

from ccproxy_sanic.upstream.exchange import Deadlines, Exchange, Head, open_exchange
from ccproxy_sanic.upstream.transport import Engine, build

__all__ = ["Deadlines", "Engine", "Exchange", "Head", "build", "open_exchange"]
