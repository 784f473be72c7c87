"""Every setting there is, in one table.

Rule: :data:`TABLE` is the only list of settings: reading, ``ccproxy check`` and docs/settings.md are made from it, and
nothing is in it that nothing reads.  A parser raises ``ValueError`` with a reason that never quotes a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ccproxy_sanic.masking import Secret, mask


class AuthToken(msgspec.Struct, frozen=True):
    """One accepted client token; ``name`` is what logs call its holder."""

    name: str
    token: Secret


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


def _quoted(text: str) -> str:
    return repr(mask(text[:80]))


def _text(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError("holds a control character")
    return text


def _key(text: str) -> Secret:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("holds a character that no key has (a space, a line end, a quote from a document?)")
    return Secret(text)


def _flag(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"must be 1 or 0 (or true, yes, on, false, no, off), not {_quoted(text)}")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}, not {_quoted(text)}")
        return int(text)

    return parse


def _limit(text: str) -> int | None:
    return None if text.lower() == "unlimited" else _whole(0, 1_000_000)(text) or None


def _seconds(least: float, most: float = 86_400.0) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"must be seconds from {least:g} to {most:g}, not {_quoted(text)}")
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if (lowered := text.lower()) not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {_quoted(text)}")
        return lowered

    return parse


def _level(text: str) -> str:
    word = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if word not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError(f"must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {_quoted(text)}")
    return word


def _log_path(text: str) -> Path | None:
    if not text:
        return None
    path = Path(_text(text)).expanduser()
    if path.is_dir():
        raise ValueError(f"is a directory: {_quoted(text)}")
    if not path.parent.is_dir():
        raise ValueError(f"lies in a directory that does not exist: {_quoted(text)}")
    return path


def _file(text: str) -> Path:
    path = Path(_text(text)).expanduser()
    if not path.is_file():
        raise ValueError(f"names no file: {_quoted(text)}")
    return path


def _pairs(text: str) -> Iterator[str]:
    return (part for piece in text.split(",") if (part := piece.strip()))


def _model_map(text: str) -> dict[str, str]:
    routes: dict[str, str] = {}
    for pair in _pairs(text):
        client, _, upstream = (part.strip() for part in pair.partition("="))
        if not client or not upstream:
            raise ValueError(f"must be client=upstream pairs with commas between, and {_quoted(pair)} is none")
        if routes.setdefault(client, upstream) != upstream:
            raise ValueError(f"routes {_quoted(client)} twice")
    return routes


_CALLER: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def _auth_tokens(text: str) -> tuple[AuthToken, ...]:
    tokens: list[AuthToken] = []
    for place, pair in enumerate(_pairs(text), 1):
        name, colon, token = pair.partition(":")
        name, token = (name.strip(), token.strip()) if colon else (f"caller{place}", pair)
        if not _CALLER.fullmatch(name):
            raise ValueError(f"entry {place}: the name before the colon may hold letters, digits and _.@- only")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(f"entry {place}: the token is empty or holds a character that no header may hold")
        secret = Secret(token)
        if any(other.name == name or other.token == secret for other in tokens):
            raise ValueError(f"entry {place}: its name or its token is there twice")
        tokens.append(AuthToken(name, secret))
    return tuple(tokens)


UnknownModel = Literal["pass", "big", "small"]
Engine = Literal["h1", "httpx"]
CachePolicy = Literal["off", "safe"]

SECTIONS: Final[dict[str, tuple[Setting, ...]]] = {
    "Upstream and models": (
        Setting("OPENAI_API_KEY", "key", _key, None, "Key for the upstream.", secret=True),
        Setting("OPENROUTER_API_KEY", "key", _key, None, "Key for OpenRouter; sent to no other host.", secret=True),
        Setting(
            "OPENAI_BASE_URL",
            "URL",
            _text,
            None,
            "Base URL of an OpenAI-compatible API, as its documentation gives it (`https://host/v1`).",
            shown="by the key",
        ),
        Setting(
            "BIG_MODEL_NAME",
            "text",
            _text,
            None,
            "Upstream model for names with `opus` or `sonnet` and other `claude` names.",
            shown="`gpt-5-2025-08-07`, at OpenRouter `openai/gpt-5`",
        ),
        Setting(
            "SMALL_MODEL_NAME",
            "text",
            _text,
            None,
            "Upstream model for names with `haiku`.",
            shown="`gpt-5-mini-2025-08-07`, at OpenRouter `openai/gpt-5-mini`",
        ),
        Setting(
            "CCPROXY_MODEL_MAP",
            "pairs",
            _model_map,
            {},
            "Exact routes that go before the rules above: `client=upstream,client2=upstream2`.",
            shown="none",
        ),
        Setting(
            "CCPROXY_UNKNOWN_MODEL",
            "pass, big or small",
            _one_of("pass", "big", "small"),
            "pass",
            "What any other model name becomes: itself, the big or the small model.",
        ),
        Setting("CCPROXY_PROFILE", "text", _text, None, "Upstream profile to use instead of the one the URL implies."),
        Setting("CCPROXY_PROFILES", "file", _file, None, "Profiles of your own (TOML, docs/profiles.md)."),
        Setting("CCPROXY_ENGINE", "h1 or httpx", _one_of("h1", "httpx"), "h1", "HTTP client towards the upstream."),
        Setting("CCPROXY_CA_FILE", "file", _file, None, "Certificates (PEM) that the upstream is checked with."),
        Setting("SSL_CERT_FILE", "file", _file, None, "The same under its usual name; CCPROXY_CA_FILE goes first."),
        Setting(
            "CCPROXY_DEMO_PACE",
            "seconds",
            _seconds(0, 60),
            0.02,
            "Pause between two pieces of the demo model's stream.",
        ),
    ),
    "Listening and callers": (
        Setting("HOST", "text", _text, "127.0.0.1", "Address to listen on; anything but loopback needs tokens."),
        Setting("PORT", "0-65535", _whole(0, 65_535), 11_434, "Port to listen on; 0 takes any free one."),
        Setting(
            "CCPROXY_AUTH_TOKENS",
            "tokens",
            _auth_tokens,
            (),
            "Tokens that clients must show, with commas between, each `token` or `name:token`.",
            shown="none",
            secret=True,
        ),
        Setting("CCPROXY_OPEN", "flag", _flag, False, "1: serve everybody who reaches the address, without a token."),
        Setting(
            "CCPROXY_PROXIES_COUNT",
            "number",
            _whole(0, 16),
            0,
            "Reverse proxies in front, whose `X-Forwarded-For` is believed (Heroku: 1).",
        ),
        Setting("CCPROXY_MAX_BODY_MB", "number", _whole(1, 1024), 32, "Largest request body, in MiB."),
        Setting("WEB_CONCURRENCY", "number", _whole(1, 1024), 1, "Worker processes; one is used, whatever it says."),
    ),
    "Limits": (
        Setting(
            "RATE_LIMIT_ENABLED",
            "flag",
            _flag,
            None,
            "1 or 0 turns the limit of requests per minute and caller on or off.",
            shown="on where RATE_LIMIT_PER_MINUTE is set",
        ),
        Setting(
            "RATE_LIMIT_PER_MINUTE",
            "number",
            _whole(1, 1_000_000),
            None,
            "Requests per minute and caller.",
            shown="unlimited; 60 with RATE_LIMIT_ENABLED=1",
        ),
        Setting("RATE_LIMIT_BURST", "number", _whole(0, 1_000_000), 30, "Requests that may come at once."),
        Setting(
            "CCPROXY_MAX_CONCURRENT",
            "number",
            _limit,
            None,
            "Requests and streams of one caller at a time (0: unlimited).",
            shown="unlimited",
        ),
        Setting(
            "CCPROXY_UPSTREAM_SLOTS",
            "number",
            _limit,
            None,
            "Requests and streams at the upstream at a time (0: unlimited).",
            shown="unlimited",
        ),
    ),
    "Deadlines": (
        Setting("CCPROXY_CONNECT_TIMEOUT", "seconds", _seconds(0.1), 10.0, "For a connection to the upstream."),
        Setting("CCPROXY_FIRST_BYTE_TIMEOUT", "seconds", _seconds(0.1), 600.0, "Until the upstream's first byte."),
        Setting("CCPROXY_IDLE_TIMEOUT", "seconds", _seconds(0.1), 300.0, "Between two reads of a stream."),
        Setting("CCPROXY_TOTAL_TIMEOUT", "seconds", _seconds(0.1), 600.0, "For a whole answer that is not streamed."),
        Setting("CCPROXY_STREAM_TIMEOUT", "seconds", _seconds(0.1), 3600.0, "For a whole stream."),
        Setting("CCPROXY_PING_AFTER", "seconds", _seconds(0.1), 10.0, "Silence before a stream begins with a ping."),
        Setting("CCPROXY_PING_EVERY", "seconds", _seconds(0.1), 15.0, "Silence between two pings."),
        Setting("CCPROXY_GRACE", "seconds", _seconds(0, 3600), 20.0, "For open requests to end after SIGTERM."),
    ),
    "Translation and cache": (
        Setting("CCPROXY_STRICT", "flag", _flag, False, "1: refuse conversations that are repaired otherwise."),
        Setting(
            "CCPROXY_CACHE",
            "off or safe",
            _one_of("off", "safe"),
            "safe",
            "safe: equal deterministic requests of one caller that wait at the same time share one upstream call.",
        ),
        Setting(
            "CCPROXY_CARRIER_KEY",
            "key",
            _key,
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
            _whole(1, 256),
            None,
            "Threads that count the tokens of large requests.",
            shown="5 per CPU, 4 to 40",
        ),
        Setting("CACHE_TOKEN_COUNTS_ENABLED", "flag", _flag, True, "0: every text is counted anew."),
        Setting(
            "CACHE_TOKEN_COUNTS_TTL_S",
            "seconds",
            _seconds(1),
            300.0,
            "A count that nobody asks for is forgotten after this.",
        ),
        Setting(
            "CACHE_TOKEN_COUNTS_MAX",
            "number",
            _whole(1, 1_000_000),
            2048,
            "Messages and tools whose counts are remembered at most.",
        ),
    ),
    "Logs": (
        Setting("LOG_LEVEL", "level", _level, "INFO", "What stderr shows: DEBUG, INFO, WARNING, ERROR or CRITICAL."),
        Setting(
            "LOG_FILE_PATH",
            "path",
            _log_path,
            Path("log.jsonl"),
            "All log lines as JSON, one per request; empty: none.",
            empty=True,
        ),
        Setting(
            "ERROR_LOG_FILE_PATH",
            "path",
            _log_path,
            Path("error.jsonl"),
            "The errors among them; empty: none.",
            empty=True,
        ),
    ),
    "Read before the others": (
        Setting("CCPROXY_ENV_FILE", "file", _text, None, "Where `.env` is.", shown="`.env`", elsewhere=True),
        Setting(
            "CCPROXY_ENABLE_CYTHON",
            "flag",
            _flag,
            True,
            "0: the Python twin cuts the streams, even where the extension is built.",
            elsewhere=True,
        ),
        Setting("CCPROXY_PURE", "flag", _flag, False, "1: the same, and set-up builds no extension.", elsewhere=True),
        Setting("CCPROXY_BUILD_CYTHON", "flag", _flag, True, "0: set-up builds no extension.", elsewhere=True),
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
