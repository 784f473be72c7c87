"""A small actor library for one asyncio loop, and four actors that keep a proxy's books.

Rule: it knows keys, counts, bytes and clocks; no HTTP, no vendor, and nothing outside the standard library and msgspec.
"""

from __future__ import annotations

from actors.cache import Abandon, CacheActor, Flights, FlightStatistics, Hit, Lead, Lookup, Miss, Store
from actors.exposition import CONTENT_TYPE, Sample
from actors.kernel import Actor, Mailbox, Ref, Reply, Stats, Supervisor
from actors.lease import Abortable, Lease, LeaseTable
from actors.messages import ActorError, Crashed, Expired, Overloaded, Query, Refused, Stopped, Tick
from actors.metrics import (
    Exchange,
    MetricsActor,
    MetricsRegistry,
    Render,
    Reset,
    Snapshot,
    Totals,
    mailbox_samples,
)
from actors.provider import (
    COOL_DOWNS,
    Configure,
    Done,
    Endpoint,
    EndpointStatistics,
    Open,
    Outcome,
    ProviderActor,
    ProviderBooks,
    ProviderLease,
    ProviderStatistics,
    Unavailable,
)
from actors.rate_limiter import (
    Admit,
    Limits,
    Permit,
    RateBooks,
    RateLimited,
    RateLimiterActor,
    RateStatistics,
    Settle,
)

__all__ = [
    "CONTENT_TYPE",
    "COOL_DOWNS",
    "Abandon",
    "Abortable",
    "Actor",
    "ActorError",
    "Admit",
    "CacheActor",
    "Configure",
    "Crashed",
    "Done",
    "Endpoint",
    "EndpointStatistics",
    "Exchange",
    "Expired",
    "FlightStatistics",
    "Flights",
    "Hit",
    "Lead",
    "Lease",
    "LeaseTable",
    "Limits",
    "Lookup",
    "Mailbox",
    "MetricsActor",
    "MetricsRegistry",
    "Miss",
    "Open",
    "Outcome",
    "Overloaded",
    "Permit",
    "ProviderActor",
    "ProviderBooks",
    "ProviderLease",
    "ProviderStatistics",
    "Query",
    "RateBooks",
    "RateLimited",
    "RateLimiterActor",
    "RateStatistics",
    "Ref",
    "Refused",
    "Render",
    "Reply",
    "Reset",
    "Sample",
    "Settle",
    "Snapshot",
    "Stats",
    "Stopped",
    "Store",
    "Supervisor",
    "Tick",
    "Totals",
    "Unavailable",
    "mailbox_samples",
]
