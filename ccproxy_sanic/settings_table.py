"""Every setting there is, in one table.

Rule: :data:`TABLE` is the only list of settings: reading, ``ccproxy check`` and docs/settings.md are made from it, and
nothing is in it that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from ccproxy_sanic import settings_network as network
from ccproxy_sanic import settings_parsers as parse


class Setting(NamedTuple):
    """One row.  ``default`` is the parsed value; ``shown`` says it in words where it is computed."""

    name: str
    kind: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    shown: str = ""
    secret: bool = False
    empty: bool = False  # whether an empty value means something (else it counts as not set)
    elsewhere: bool = False  # read before the settings are, by the part that the meaning names; not a field of Settings
    lower: bool = False  # in lower case too, which goes first: the names that all programs share

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name.lower(), self.name) if self.lower else (self.name,)

    @property
    def attribute(self) -> str:
        """The field of Settings: the name in lower case, without ``CCPROXY_``."""
        return self.name.removeprefix("CCPROXY_").lower()

    @property
    def default_text(self) -> str:
        if self.shown:
            return self.shown
        if self.default is None:
            return "not set"
        if isinstance(self.default, bool):
            return "1" if self.default else "0"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


UnknownModel = Literal["pass", "big", "small"]
CachePolicy = Literal["off", "safe"]

SECTIONS: Final[dict[str, tuple[Setting, ...]]] = {
    "Upstream and models": (
        Setting("OPENAI_API_KEY", "key", parse.key, None, "Key for the upstream.", secret=True),
        Setting(
            "OPENROUTER_API_KEY", "key", parse.key, None, "Key for OpenRouter; sent to no other host.", secret=True
        ),
        Setting(
            "OPENAI_BASE_URL",
            "URL",
            parse.plain,
            None,
            "Base URL of an OpenAI-compatible API, as its documentation gives it (`https://host/v1`).",
            shown="by the key",
        ),
        Setting(
            "BIG_MODEL_NAME",
            "text",
            parse.plain,
            None,
            "Upstream model for names with `opus` or `sonnet` and other `claude` names.",
            shown="`gpt-5-2025-08-07`, at OpenRouter `openai/gpt-5`",
        ),
        Setting(
            "SMALL_MODEL_NAME",
            "text",
            parse.plain,
            None,
            "Upstream model for names with `haiku`.",
            shown="`gpt-5-mini-2025-08-07`, at OpenRouter `openai/gpt-5-mini`",
        ),
        Setting(
            "CCPROXY_MODEL_MAP",
            "pairs",
            parse.model_map,
            {},
            "Exact routes that go before the rules above: `client=upstream,client2=upstream2`.",
            shown="none",
        ),
        Setting(
            "CCPROXY_UNKNOWN_MODEL",
            "pass, big or small",
            parse.one_of("pass", "big", "small"),
            "pass",
            "What any other model name becomes: itself, the big or the small model.",
        ),
        Setting(
            "CCPROXY_API",
            "auto, chat, responses or messages",
            parse.api,
            None,
            "API that the upstream of the environment is spoken to in.",
            shown="auto: as its profile says",
        ),
        Setting(
            "CCPROXY_ROUTES", "file", parse.file, None, "Several upstreams and rules (TOML or JSON, docs/routes.md)."
        ),
        Setting(
            "CCPROXY_PROFILE", "text", parse.plain, None, "Upstream profile to use instead of the one the URL implies."
        ),
        Setting("CCPROXY_PROFILES", "file", parse.file, None, "Profiles of your own (TOML, docs/profiles.md)."),
        Setting(
            "CCPROXY_ENGINE",
            "h1, httpx or aiohttp",
            parse.one_of("h1", "httpx", "aiohttp"),
            "h1",
            "HTTP client towards upstreams; aiohttp needs the extra of that name.",
        ),
        Setting(
            "CCPROXY_HTTP2",
            "flag",
            parse.flag,
            False,
            "1: HTTP/2 with upstreams at `https://` that have it; needs the extra `http2`, uses the httpx engine.",
        ),
        Setting(
            "HTTPS_PROXY",
            "URL",
            network.proxy,
            None,
            "Proxy to upstreams at `https://` (docs/deploy.md); also as `https_proxy`, which goes first.",
            lower=True,
        ),
        Setting(
            "HTTP_PROXY", "URL", network.proxy, None, "Proxy to upstreams at `http://`; also `http_proxy`.", lower=True
        ),
        Setting(
            "ALL_PROXY",
            "URL",
            network.proxy,
            None,
            "Proxy to upstreams for which neither of the two is set; also `all_proxy`.",
            lower=True,
        ),
        Setting(
            "NO_PROXY",
            "hosts",
            network.no_proxy,
            None,
            "Hosts that no proxy leads to, with commas between: names (with all that ends in them), addresses, "
            "networks (CIDR), each with or without a port; `*`: all.  Also `no_proxy`.",
            lower=True,
        ),
        Setting("CCPROXY_CA_FILE", "file", parse.file, None, "Certificates (PEM) that the upstream is checked with."),
        Setting(
            "SSL_CERT_FILE", "file", parse.file, None, "The same under its usual name; CCPROXY_CA_FILE goes first."
        ),
        Setting(
            "CCPROXY_DEMO_PACE",
            "seconds",
            parse.seconds(0, 60),
            0.02,
            "Pause between two pieces of the demo model's stream.",
        ),
    ),
    "Listening and callers": (
        Setting("HOST", "text", parse.plain, "127.0.0.1", "Address to listen on; anything but loopback needs tokens."),
        Setting("PORT", "0-65535", parse.whole(0, 65_535), 11_434, "Port to listen on; 0 takes any free one."),
        Setting(
            "CCPROXY_AUTH_TOKENS",
            "tokens",
            parse.auth_tokens,
            (),
            "Tokens that clients must show, with commas between, each `token` or `name:token`.",
            shown="none",
            secret=True,
        ),
        Setting(
            "CCPROXY_OPEN", "flag", parse.flag, False, "1: serve everybody who reaches the address, without a token."
        ),
        Setting(
            "CCPROXY_PROXIES_COUNT",
            "number",
            parse.whole(0, 16),
            0,
            "Reverse proxies in front, whose `X-Forwarded-For` is believed (Heroku: 1).",
        ),
        Setting("CCPROXY_MAX_BODY_MB", "number", parse.whole(1, 1024), 32, "Largest request body, in MiB."),
        Setting(
            "WEB_CONCURRENCY", "number", parse.whole(1, 1024), 1, "Worker processes; one is used, whatever it says."
        ),
    ),
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
        Setting("RATE_LIMIT_BURST", "number", parse.whole(0, 1_000_000), 30, "Requests that may come at once."),
        Setting(
            "CCPROXY_MAX_CONCURRENT",
            "number",
            parse.limit,
            None,
            "Requests and streams of one caller at a time (0: unlimited).",
            shown="unlimited",
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
    "Deadlines": (
        Setting("CCPROXY_CONNECT_TIMEOUT", "seconds", parse.seconds(0.1), 10.0, "For a connection to the upstream."),
        Setting("CCPROXY_FIRST_BYTE_TIMEOUT", "seconds", parse.seconds(0.1), 600.0, "Until the upstream's first byte."),
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
    "Translation and cache": (
        Setting("CCPROXY_STRICT", "flag", parse.flag, False, "1: refuse conversations that are repaired otherwise."),
        Setting(
            "CCPROXY_CACHE",
            "off or safe",
            parse.one_of("off", "safe"),
            "safe",
            "safe: equal deterministic requests of one caller that wait at the same time share one upstream call.",
        ),
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
    "Read before the others": (
        Setting("CCPROXY_ENV_FILE", "file", parse.plain, None, "Where `.env` is.", shown="`.env`", elsewhere=True),
        Setting(
            "CCPROXY_ENABLE_CYTHON",
            "flag",
            parse.flag,
            True,
            "0: the Python twin cuts the streams, even where the extension is built.",
            elsewhere=True,
        ),
        Setting(
            "CCPROXY_PURE", "flag", parse.flag, False, "1: the same, and set-up builds no extension.", elsewhere=True
        ),
        Setting("CCPROXY_BUILD_CYTHON", "flag", parse.flag, True, "0: set-up builds no extension.", elsewhere=True),
    ),
}
TABLE: Final = {setting.name: setting for section in SECTIONS.values() for setting in section}


def markdown() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "From the environment and `.env` in the working directory; the environment wins.  An empty value counts as not",
        "set, unless the meaning says otherwise.  `ccproxy check` prints what is in force and where it comes from.",
    ]
    for title, settings in SECTIONS.items():
        lines += ["", f"## {title}", "", "| Name | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
        for setting in settings:
            name = f"`{setting.name}`" + (" (secret)" if setting.secret else "")
            lines.append(f"| {name} | {setting.kind} | {setting.default_text} | {setting.meaning} |")
    return "\n".join(lines) + "\n"
