"""Which figure of which part is which metric.

Rule: rows only.  A field that no row names is in :data:`LEFT_OUT`, with its reason.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from actors import About

Values = tuple[str, ...]


class Row(msgspec.Struct, frozen=True):
    """``path``: the field, with dots for fields of fields.  Labels are the names of what is many on that way, then
    ``values``, then the keys of the field itself."""

    path: str
    about: About
    values: Values = ()


def _counter(path: str, name: str, text: str, labels: Values = (), values: Values = ()) -> Row:
    return Row(path, About(f"ccproxy_{name}_total", "counter", text, labels), values)


def _gauge(
    path: str,
    name: str,
    text: str,
    labels: Values = (),
    values: Values = (),
    *,
    merge: Literal["sum", "max", "min"] = "sum",
) -> Row:
    return Row(path, About(f"ccproxy_{name}", "gauge", text, labels, merge), values)


_UPSTREAM: Final = ("upstream",)
_OUTCOMES: Final = ("upstream_outcomes", "How work at an upstream ended.", ("upstream", "outcome"))
_RETRIES: Final = ("upstream_retries", "Retries that the budget granted or refused.", ("upstream", "result"))
_FIRST_BYTE: Final = (
    "upstream_first_byte_seconds",
    "Percentiles of the newest times to an answer's first byte, by kind of work.",
    ("upstream", "work", "quantile"),
)
_REFUSED: Final = ("limiter_refused", "Requests that got a 429 of ours, by the limit.", ("reason",))
_EVICTED: Final = ("cache_evicted", "Answers that left the cache, for room or for age.", ("reason",))
_CONNECTIONS: Final = ("connections", "Connections to upstreams, by what carries them.", ("engine", "state"))
_SECOND: Final = ("second_level_lookups", "Lookups in the cache's second level.", ("result",))
_ENDS: Final = ("shared_stream_turns", "What became of readers of shared answers, and of answers without.", ("what",))
_LOG: Final = ("log_lines", "Lines of the log.", ("result",))
_RECORDS: Final = ("error_records", "Records of failed requests.", ("result",))

PARTS: Final[dict[str, tuple[Row, ...]]] = {
    "under_way": (
        _gauge("requests", "requests_in_progress", "Requests being answered."),
        _gauge("open_streams", "open_streams", "Streams being answered."),
        _gauge("leases", "leases", "Permits and slots in use."),
        _gauge("busy_connections", "busy_connections", "Upstream connections in use."),
    ),
    "watch": (_gauge("lag", "loop_lag_seconds", "How late the last tick was.", merge="max"),),
    "limiter": (
        _counter("admitted", "limiter_admitted", "Permits granted: one to ask the cache, one to ask an upstream."),
        _counter("waited", "limiter_waited", "Those of them that had to wait for it."),
        _counter("refused_rate", *_REFUSED, values=("rate",)),
        _counter("refused_concurrent", *_REFUSED, values=("concurrent",)),
        _counter("refused_upstream", *_REFUSED, values=("upstream",)),
        _gauge("waiting", "limiter_waiting", "Requests that wait for admission."),
        _gauge("in_flight", "limiter_in_flight", "Permits in use."),
        _gauge("keys", "limiter_callers", "Callers that have used part of their budget."),
        _gauge("cost_reserved", "limiter_reserved_tokens", "Tokens that requests under way are thought to use."),
        _counter("cost_settled", "limiter_settled_tokens", "Tokens that requests have used."),
        _counter("permits_lost", "limiter_lost", "Permits that were never given back."),
        _gauge("upstreams.requests", "limiter_upstream_requests", "Requests within the last minute.", _UPSTREAM),
        _gauge("upstreams.tokens", "limiter_upstream_tokens", "Tokens within the last minute.", _UPSTREAM),
        _gauge("upstreams.limit_requests", "limiter_upstream_request_limit", "Requests per minute.", _UPSTREAM),
        _gauge("upstreams.limit_tokens", "limiter_upstream_token_limit", "Tokens per minute.", _UPSTREAM),
        _gauge(
            "upstreams.ratio", "limiter_upstream_token_ratio", "Real tokens to estimated ones.", _UPSTREAM, merge="max"
        ),
        _gauge(
            "upstreams.pause",
            "limiter_upstream_pause_seconds",
            "For so long nothing is sent there, as it asked for.",
            _UPSTREAM,
            merge="max",
        ),
        _counter("upstreams.throttled", "limiter_upstream_throttled", "429s of the upstream.", _UPSTREAM),
        _gauge("upstreams.waiting", "limiter_upstream_waiting", "Requests that wait for its limit.", _UPSTREAM),
    ),
    "provider": (
        _counter("refused", "provider_refused", "Requests that no upstream had room for."),
        _counter("leases_lost", "provider_lost", "Slots that were never given back."),
        _gauge("affinities", "provider_affinities", "Sessions whose upstream and key are remembered."),
        _gauge("endpoints.slots", "upstream_slots", "Requests at a time.", _UPSTREAM),
        _gauge("endpoints.in_flight", "upstream_in_flight", "Slots in use.", _UPSTREAM),
        _gauge("endpoints.waiting", "upstream_waiting", "Requests that wait for a slot.", _UPSTREAM),
        _counter("endpoints.ok", *_OUTCOMES, values=("ok",)),
        _counter("endpoints.failed", *_OUTCOMES),
        _gauge("endpoints.keys", "upstream_keys", "Interchangeable keys.", _UPSTREAM, merge="max"),
        _gauge("endpoints.cooling", "upstream_keys_cooling", "Those of them that rest.", _UPSTREAM, merge="max"),
        _gauge(
            "endpoints.breaker",
            "upstream_breaker_state",
            "0: closed, 1: half open, 2: open.",
            _UPSTREAM,
            merge="max",
        ),
        _counter("endpoints.opened", "upstream_breaker_opened", "How often the breaker has opened.", _UPSTREAM),
        _gauge(
            "endpoints.open_for",
            "upstream_breaker_open_seconds",
            "Until it is half open.",
            _UPSTREAM,
            merge="max",
        ),
        _gauge("endpoints.health.score", "upstream_health_score", "0 to 100.", _UPSTREAM, merge="min"),
        _gauge("endpoints.first_byte.p50", *_FIRST_BYTE, values=("0.5",), merge="max"),
        _gauge("endpoints.first_byte.p95", *_FIRST_BYTE, values=("0.95",), merge="max"),
        _gauge("endpoints.first_byte.p99", *_FIRST_BYTE, values=("0.99",), merge="max"),
        _gauge(
            "endpoints.limits",
            "upstream_first_byte_limits",
            "Shapes of work with a learned limit for the first byte.",
            _UPSTREAM,
            merge="max",
        ),
        _counter("endpoints.retries_granted", *_RETRIES, values=("granted",)),
        _counter("endpoints.retries_refused", *_RETRIES, values=("refused",)),
    ),
    "lessons": (_gauge("", "lessons", "What upstreams taught of their models and still holds.", merge="max"),),
    "connections": (
        _gauge("connecting", *_CONNECTIONS, values=("connecting",)),
        _gauge("busy", *_CONNECTIONS, values=("busy",)),
        _gauge("idle", *_CONNECTIONS, values=("idle",)),
        _counter("opened", "connections_opened", "Connections opened.", ("engine",)),
        _counter("closed", "connections_closed", "Connections closed.", ("engine",)),
        _counter("reused", "connections_reused", "Requests on a connection that was open.", ("engine",)),
        _counter("retried_stale", "connections_stale", "Requests sent again: it had been closed.", ("engine",)),
        _counter("failed_connects", "connections_failed", "Connections that could not be opened.", ("engine",)),
    ),
    "cache": (
        _gauge("entries", "cache_entries", "Answers that are kept."),
        _gauge("bytes", "cache_bytes", "Their bytes."),
        _counter("hits", "cache_hits", "Answers given again."),
        _counter("misses", "cache_misses", "Answers looked for in vain."),
        _counter("stored", "cache_stored", "Answers kept."),
        _counter("evicted", *_EVICTED, values=("room",)),
        _counter("expired", *_EVICTED, values=("age",)),
        _counter("too_large", "cache_too_large", "Answers too large to be kept."),
        _counter("bad", "cache_bad", "Upstream answers that were none."),
        _gauge("breaker.failures", "cache_breaker_failures", "Of those, what the breaker counts.", merge="max"),
        _gauge("breaker.open_for", "cache_breaker_open_seconds", "Until the cache is used again.", merge="max"),
        _gauge("in_flight", "single_flight_in_flight", "Calls that others may share."),
        _counter("led", "single_flight_led", "Calls that others could have shared."),
        _counter("shared", "single_flight_shared", "Requests answered by another's call."),
        _counter("promoted", "single_flight_promoted", "Requests that took over when that failed."),
        _counter("alone", "single_flight_alone", "Requests that found no room to wait, or waited too long."),
        _counter("leads_lost", "single_flight_lost", "Calls that never said how they ended."),
    ),
    "second_level": (
        _gauge("up", "second_level_up", "Whether it answers.", merge="min"),
        _counter("hits", *_SECOND, values=("hit",)),
        _counter("misses", *_SECOND, values=("miss",)),
        _counter("skipped", *_SECOND, values=("skipped",)),
        _counter("failures", *_SECOND, values=("failure",)),
        _counter("outages", "second_level_outages", "How often it went away."),
        _counter("stored", "second_level_stored", "Answers sent there."),
    ),
    "known": (
        _gauge("requests", "known_requests", "Requests that are known by their bytes."),
        _counter("asked", "known_lookups", "Requests that were looked for there."),
        _counter("hits", "known_hits", "Those of them that were found."),
    ),
    "conversations": (
        _gauge("conversations", "conversations", "Conversations whose beginning is remembered."),
        _gauge("bytes", "conversation_bytes", "About the memory that they take."),
        _counter("hits", "conversation_hits", "Requests that went on with one of them."),
    ),
    "streams": (
        _gauge("running", "shared_streams_running", "Streams that may be joined."),
        _counter("led", "shared_streams_led", "Streams that could have been joined."),
        _counter("followed", "shared_streams_followed", "Requests that joined one."),
        _counter("alone", "shared_streams_alone", "Streams that there was no room to note."),
        _counter("leads_lost", "shared_streams_lost", "Streams that never said how they ended."),
    ),
    "sharing": (
        _gauge("parked", "shared_streams_parked", "Answers that go on for a moment without a reader."),
        _gauge("readers", "shared_stream_readers", "Requests that read an answer that may be joined."),
        _gauge("kept_bytes", "shared_stream_kept_bytes", "What is kept of such answers for those who still come."),
        _counter("resumed", *_ENDS, values=("resumed",)),
        _counter("promoted", *_ENDS, values=("promoted",)),
        _counter("cut", *_ENDS, values=("cut",)),
        _counter("abandoned", *_ENDS, values=("abandoned",)),
    ),
    "token_counts": (
        _gauge("entries", "token_counts", "Texts whose tokens are remembered."),
        _counter("hits", "token_count_hits", "Texts whose tokens were known."),
        _counter("misses", "token_count_misses", "Texts that were counted."),
    ),
    "quotas": (
        _gauge("up", "quotas_up", "Workers whose limits are shared with all others at the moment."),
        _counter("calls", "quota_calls", "Allotments asked for."),
        _counter("failures", "quota_failures", "Calls that the server did not answer in time."),
        _counter("outages", "quota_outages", "Times that limits were no longer shared."),
        _gauge("keys", "quota_keys", "Limits in use that are shared."),
    ),
    "log": (
        _counter("written", *_LOG, values=("written",)),
        _counter("dropped", *_LOG, values=("dropped",)),
        _counter("failed", *_LOG, values=("failed",)),
    ),
    "records": (
        _counter("written", *_RECORDS, values=("written",)),
        _counter("dropped", *_RECORDS, values=("dropped",)),
        _counter("failed", *_RECORDS, values=("failed",)),
        _gauge("waiting", "error_records_waiting", "Records that wait for the disk."),
        _counter("rotations", "error_records_rotations", "Files begun because one was full."),
    ),
}

# part -> fields that are no metric
LEFT_OUT: Final[dict[str, dict[str, str]]] = {
    "under_way": {"tasks": "a measure of tests"},
    "provider": {
        "endpoints.name": "the label",
        "endpoints.removed": "it goes with its last lease",
        "endpoints.opened_at": "of a clock that nobody else has",
        "endpoints.health.status": "the score in a word",
        "endpoints.first_byte.count": "constant after a while",
    },
    "limiter": {"upstreams.name": "the label"},
    "cache": {
        "since": "of a clock that nobody else has",
        "max_entries": "a setting",
        "max_bytes": "a setting",
        "breaker.threshold": "constant",
        "breaker.openings": "counted by cache_bad and the breaker's failures",
    },
    "known": {"most": "constant"},
    "sharing": {"running": "counted by the actor", "joined": "counted by the actor"},
    "token_counts": {"most": "a setting", "ttl": "a setting"},
}
