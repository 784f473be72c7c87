"""The settings of what lies between the edges: limits, deadlines, cache, counting, logs.

Rule: rows only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ccproxy_sanic import settings_parsers as parse
from ccproxy_sanic.settings_row import Setting

HOUSE: Final[dict[str, tuple[Setting, ...]]] = {
    "Deadlines": (
        Setting("CCPROXY_CONNECT_TIMEOUT", "seconds", parse.seconds(0.1), 10.0, "For a connection to the upstream."),
        Setting(
            "CCPROXY_FIRST_BYTE_TIMEOUT",
            "seconds",
            parse.seconds(0.1),
            600.0,
            "Until the upstream's first byte; less where it is known to be quicker (docs/resilience.md).",
        ),
        Setting("CCPROXY_IDLE_TIMEOUT", "seconds", parse.seconds(0.1), 300.0, "Between two reads of a stream."),
        Setting(
            "CCPROXY_TOTAL_TIMEOUT", "seconds", parse.seconds(0.1), 600.0, "For a whole answer that is not streamed."
        ),
        Setting("CCPROXY_STREAM_TIMEOUT", "seconds", parse.seconds(0.1), 3600.0, "For a whole stream."),
        Setting(
            "CCPROXY_PING_AFTER", "seconds", parse.seconds(0.1), 10.0, "Silence before a stream begins with a ping."
        ),
        Setting("CCPROXY_PING_EVERY", "seconds", parse.seconds(0.1), 15.0, "Silence between two pings."),
        Setting("CCPROXY_GRACE", "seconds", parse.seconds(0, 3600), 20.0, "For open requests to end after SIGTERM."),
    ),
    "Translation": (
        Setting("CCPROXY_STRICT", "flag", parse.flag, False, "1: refuse conversations that are repaired otherwise."),
        Setting(
            "CCPROXY_CARRIER_KEY",
            "key",
            parse.key,
            None,
            "Signs what travels in thinking signatures; set it where several proxies serve one client.",
            shown="derived from the upstream key",
            secret=True,
        ),
    ),
    "Token counting": (
        Setting(
            "THREAD_POOL_MAX_WORKERS",
            "number",
            parse.whole(1, 256),
            None,
            "Threads that count the tokens of large requests.",
            shown="5 per CPU, 4 to 40",
        ),
        Setting("CACHE_TOKEN_COUNTS_ENABLED", "flag", parse.flag, True, "0: every text is counted anew."),
        Setting(
            "CACHE_TOKEN_COUNTS_TTL_S",
            "seconds",
            parse.seconds(1),
            300.0,
            "A count that nobody asks for is forgotten after this.",
        ),
        Setting(
            "CACHE_TOKEN_COUNTS_MAX",
            "number",
            parse.whole(1, 1_000_000),
            2048,
            "Messages and tools whose counts are remembered at most.",
        ),
    ),
    "Logs": (
        Setting(
            "LOG_LEVEL", "level", parse.level, "INFO", "What stderr shows: DEBUG, INFO, WARNING, ERROR or CRITICAL."
        ),
        Setting(
            "LOG_FILE_PATH",
            "path",
            parse.log_path,
            Path("log.jsonl"),
            "All log lines as JSON, one per request; empty: none.",
            empty=True,
        ),
        Setting(
            "ERROR_LOG_FILE_PATH",
            "path",
            parse.log_path,
            Path("error.jsonl"),
            "The errors among them; empty: none.",
            empty=True,
        ),
    ),
}
