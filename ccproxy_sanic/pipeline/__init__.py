"""The order of asks: the only package that talks to actors on the request path.

Rule: limiter, then cache (only for what may be shared), then provider, once for every upstream that is tried; whatever
was granted is given back in ``finally``.  Bytes never pass a mailbox (ARCHITECTURE.md 1.1, 1.2; actors.md C.4).
"""

from ccproxy_sanic.pipeline.counting import as_sent, asked_upstream
from ccproxy_sanic.pipeline.house import House, Upstreams
from ccproxy_sanic.pipeline.keeping import clear
from ccproxy_sanic.pipeline.report import outcome, report
from ccproxy_sanic.pipeline.streaming import stream
from ccproxy_sanic.pipeline.whole import complete
from ccproxy_sanic.pipeline.work import Work, begin

__all__ = [
    "House",
    "Upstreams",
    "Work",
    "as_sent",
    "asked_upstream",
    "begin",
    "clear",
    "complete",
    "outcome",
    "report",
    "stream",
]
