"""What is said to and by the metrics actor: the event of a request, questions, totals.

Rule: one event per request.  Times in seconds, sizes in bytes, money in US dollars.
"""

from __future__ import annotations

import msgspec

from actors.messages import Query
from actors.series import Family


class Exchange(msgspec.Struct, gc=False):
    """One request, start to end.  ``None``: it did not come to that; so is a time of 0, but for the first content.

    One is made per request, so whoever makes many names no fields: by position it costs a fifth (0.6 us, not 3.5).
    """

    request_id: str
    path: str
    caller: str
    status: int
    outcome: str  # ok, client_fault, upstream_fault, house_fault, client_closed
    error_type: str | None = None
    session: str | None = None
    client_model: str = ""
    upstream_model: str = ""
    endpoint: str = ""
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    duration_s: float = 0.0
    queue_s: float = 0.0
    upstream_s: float | None = None  # request sent -> first byte
    first_content_s: float | None = None
    translate_s: float = 0.0
    retries: int = 0
    route: str = ""  # the rule that chose the endpoints
    hops: tuple[str, ...] = ()  # every endpoint that was asked, in order
    adjustments: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    shared: bool = False  # answered with another request's answer
    cache: str = ""  # what became of it there: hit, miss, shared, refresh; "": it had nothing to do with it
    overhead_s: float | None = None  # duration - waiting for admission, slot and upstream
    cost_usd: float | None = None  # as the upstream said; the actor fills in what it knows


class Exchanges(msgspec.Struct, gc=False):
    """Several that ended in the same turn of the loop: half the cost of telling of them one by one."""

    exchanges: list[Exchange]


class Render(Query[list[Family]], frozen=True):
    """Every series there is, as data; also what the gauges know."""


class Snapshot(Query["Totals"], frozen=True):
    """The totals, as one struct."""


class Reset(Query[None], frozen=True):
    """Begin again at zero."""


class Priced(msgspec.Struct, frozen=True, gc=False):
    """Prices that were looked up are known now, or others apply (sent by whoever looks them up)."""


class SessionCost(msgspec.Struct, frozen=True):
    """What one session has used."""

    session: str
    usd: float
    requests: int
    input_tokens: int  # cached ones too
    output_tokens: int


class Costs(msgspec.Struct, frozen=True):
    """Sums of the requests that have a price, and the number of those that used tokens and have none."""

    total_usd: float
    priced_requests: int
    unpriced_requests: int
    by_model: dict[str, float]  # the upstream's name
    by_caller: dict[str, float]
    unpriced: dict[str, int]  # by the upstream's name
    sessions: tuple[SessionCost, ...]  # the dearest ones, dearest first
    forgotten_sessions_usd: float  # of sessions that are no longer kept, because there were too many


class Totals(msgspec.Struct, frozen=True):
    """Sums over all exchanges since ``since`` (the actor's clock).  Keys of the dicts are bounded like labels."""

    since: float
    requests: int
    by_outcome: dict[str, int]
    by_status: dict[int, int]
    by_path: dict[str, int]
    by_model: dict[str, int]
    by_endpoint: dict[str, int]
    by_error: dict[str, int]
    by_adjustment: dict[str, int]
    streams: int
    shared: int
    retries: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    thinking_tokens: int
    bytes_in: int
    bytes_out: int
    duration_sum_s: float
    duration_p95_s: float  # of the newest requests, exactly
    duration_p99_s: float
    queue_sum_s: float
    upstream_sum_s: float
    translate_sum_s: float
    overhead_sum_s: float
    sink_errors: int
    costs: Costs
    newest: tuple[float, ...] = ()  # seconds that the newest requests took, of which the percentiles are
