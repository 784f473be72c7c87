"""The settings of the actors: limits, resilience, cache.

Rule: rows only.
"""

from __future__ import annotations

from typing import Final

from ccproxy_sanic import settings_parsers as parse
from ccproxy_sanic.settings_row import Setting

ACTORS: Final[dict[str, tuple[Setting, ...]]] = {
    "Limits": (
        Setting(
            "RATE_LIMIT_ENABLED",
            "flag",
            parse.flag,
            None,
            "1 or 0 turns the limit of requests per minute and caller on or off.",
            shown="on where RATE_LIMIT_PER_MINUTE is set",
        ),
        Setting(
            "RATE_LIMIT_PER_MINUTE",
            "number",
            parse.whole(1, 1_000_000),
            None,
            "Requests per minute and caller.",
            shown="unlimited; 60 with RATE_LIMIT_ENABLED=1",
        ),
        Setting(
            "RATE_LIMIT_BURST",
            "number",
            parse.whole(0, 1_000_000),
            30,
            "So many more than those of a minute may a rested caller begin at once (docs/limits.md).",
        ),
        Setting(
            "CCPROXY_MAX_CONCURRENT",
            "number",
            parse.limit,
            None,
            "Requests and streams of one caller at a time (0: unlimited).",
            shown="unlimited",
        ),
        Setting(
            "CCPROXY_QUEUE_WAIT",
            "seconds",
            parse.seconds(0, 600),
            10.0,
            "A request above a limit waits so long for its turn before it gets a 429.",
        ),
        Setting(
            "CLIENT_RATE_LIMIT_ENABLED",
            "flag",
            parse.flag,
            None,
            "0: no limit towards upstreams, whatever they say; 1: with the limits below.",
            shown="limits that are set, and those that an upstream's 429 shows",
        ),
        Setting(
            "CLIENT_RATE_LIMIT_RPM",
            "number",
            parse.whole(1, 10_000_000),
            None,
            "Requests per minute to one upstream.",
            shown="unlimited; 120 with CLIENT_RATE_LIMIT_ENABLED=1",
        ),
        Setting(
            "CLIENT_RATE_LIMIT_TPM",
            "number",
            parse.whole(1, 100_000_000_000),
            None,
            "Tokens per minute to one upstream.",
            shown="unlimited; 6,000,000 with CLIENT_RATE_LIMIT_ENABLED=1",
        ),
        Setting(
            "CLIENT_RATE_LIMIT_BURST",
            "number",
            parse.whole(0, 1_000_000),
            30,
            "Requests to one upstream that may run ahead of the even pace of its minute.",
        ),
        Setting(
            "CLIENT_RATE_LIMIT_ADAPTIVE",
            "flag",
            parse.flag,
            True,
            "0: an upstream's 429 does not lower its limits (to 80 %, and up again by 10 % after 10 successes).",
        ),
        Setting(
            "CCPROXY_UPSTREAM_SLOTS",
            "number",
            parse.limit,
            None,
            "Requests and streams at the upstream at a time (0: unlimited).",
            shown="unlimited",
        ),
    ),
    "Resilience": (
        Setting(
            "PROVIDER_MAX_RETRIES",
            "number",
            parse.whole(0, 10),
            2,
            "Further attempts at the last upstream that is left, before the first content (docs/resilience.md).",
        ),
        Setting(
            "PROVIDER_RETRY_BASE_DELAY",
            "seconds",
            parse.seconds(0, 60),
            1.0,
            "Longest pause before the first of them; it doubles with each.",
        ),
        Setting(
            "PROVIDER_RETRY_JITTER",
            "0 to 1",
            parse.fraction,
            1.0,
            "How much of the pause is left to chance; 1: all of it.",
        ),
        Setting(
            "CIRCUIT_BREAKER_FAILURE_THRESHOLD",
            "number",
            parse.whole(1, 10_000),
            5,
            "Faults of an upstream in a row after which it is left alone (docs/resilience.md).",
        ),
        Setting(
            "CIRCUIT_BREAKER_RECOVERY_TIMEOUT",
            "seconds",
            parse.seconds(0.1, 3600),
            60.0,
            "For so long; then a few requests try it again.",
        ),
        Setting(
            "CIRCUIT_BREAKER_HALF_OPEN_REQUESTS",
            "number",
            parse.whole(1, 1000),
            3,
            "So many of them, and as many successes close the breaker.",
        ),
        Setting(
            "POOL_MAX_KEEPALIVE_CONNECTIONS",
            "number",
            parse.whole(0, 100_000),
            500,
            "Idle connections that are kept per upstream.",
        ),
        Setting(
            "POOL_KEEPALIVE_EXPIRY", "seconds", parse.seconds(0, 86_400), 120.0, "For so long an idle one is kept."
        ),
        Setting(
            "CCPROXY_STATE_DIR",
            "folder",
            parse.folder,
            None,
            "Where what upstreams taught of their models is kept over restarts (docs/profiles.md).",
        ),
    ),
    "Cache": (
        Setting(
            "CCPROXY_CACHE",
            "off, safe or all",
            parse.one_of("off", "safe", "all"),
            "safe",
            "Which whole answers are kept and given again to the same caller (docs/cache.md): safe: of greedy "
            "requests; all: of every request that is not streamed; off: only where its header asks.",
        ),
        Setting(
            "CCPROXY_CACHE_MAX_ENTRIES", "number", parse.whole(1, 10_000_000), 1000, "Answers that are kept at most."
        ),
        Setting(
            "CCPROXY_CACHE_MAX_MB",
            "number",
            parse.whole(1, 1_000_000),
            500,
            "Their bytes at most, in MiB; a tenth for one.",
        ),
        Setting("CCPROXY_CACHE_TTL", "seconds", parse.seconds(1, 31_536_000), 3600.0, "For so long each is kept."),
        Setting(
            "CCPROXY_CACHE_URL",
            "URL",
            parse.store,
            None,
            "Redis or Valkey as the cache's second level; goes before REDIS_URL.",
            secret=True,
        ),
        Setting(
            "REDIS_URL",
            "URL",
            parse.store,
            None,
            "Redis or Valkey that several processes share limits (docs/scale.md) and cache through.",
            secret=True,
        ),
        Setting(
            "STREAM_DEDUPE_ENABLED",
            "flag",
            parse.flag,
            True,
            "0: a stream request that is sent again while it runs does not join the running one (docs/cache.md).",
        ),
        Setting(
            "CACHE_WARMUP_ENABLED",
            "flag",
            parse.flag,
            False,
            "1: requests from a file are sent at start, and their answers kept.",
        ),
        Setting(
            "CACHE_WARMUP_FILE_PATH",
            "path",
            parse.plain,
            "cache_warmup.json",
            "That file (docs/cache.md); popular requests are saved beside it.",
        ),
        Setting(
            "CACHE_WARMUP_MAX_ITEMS", "number", parse.whole(1, 100_000), 100, "Requests that are taken from it at most."
        ),
        Setting(
            "CACHE_WARMUP_ON_STARTUP", "flag", parse.flag, True, "0: the file is not used at start, only written to."
        ),
        Setting(
            "CACHE_WARMUP_PRELOAD_COMMON",
            "flag",
            parse.flag,
            True,
            "0: the popular requests that were saved earlier are not loaded again.",
        ),
        Setting("CACHE_WARMUP_AUTO_SAVE_POPULAR", "flag", parse.flag, True, "0: popular requests are not saved."),
        Setting(
            "CACHE_WARMUP_POPULARITY_THRESHOLD",
            "number",
            parse.whole(1, 1_000_000),
            3,
            "Hits that make a request popular.",
        ),
        Setting(
            "CACHE_WARMUP_SAVE_INTERVAL_SECONDS",
            "seconds",
            parse.seconds(1, 86_400),
            3600.0,
            "Between two savings of the popular requests.",
        ),
    ),
}
