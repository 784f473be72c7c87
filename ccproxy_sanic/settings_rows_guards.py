"""The settings of what watches and guards: tracing, error records, headers for browsers.

Rule: rows only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ccproxy_sanic import settings_parsers as parse
from ccproxy_sanic.settings_row import Setting

# What the Anthropic SDK sends from a browser.
BROWSER_HEADERS: Final = (
    *("Authorization", "Content-Type", "X-Requested-With", "X-Api-Key", "Anthropic-Version", "Anthropic-Beta"),
    *("Anthropic-Dangerous-Direct-Browser-Access", "X-Stainless-*", "X-CCProxy-*"),
)

GUARDS: Final[dict[str, tuple[Setting, ...]]] = {
    "Tracing": (
        Setting("TRACING_ENABLED", "flag", parse.flag, False, "1: OpenTelemetry spans; needs the extra `tracing`."),
        Setting(
            "TRACING_EXPORTER",
            "console or otlp",
            parse.one_of("console", "otlp"),
            "otlp",
            "Where they go: a collector (OTLP over HTTP), or stderr.",
        ),
        Setting(
            "TRACING_ENDPOINT",
            "URL",
            parse.http_url,
            None,
            "The collector's whole address for traces; what OpenTelemetry's own `OTEL_...` say of the rest holds.",
            shown="OpenTelemetry's own: `http://localhost:4318/v1/traces`",
        ),
        Setting("TRACING_SERVICE_NAME", "text", parse.plain, "ccproxy", "The service's name in them."),
    ),
    "Error records": (
        Setting("ERROR_TRACKING_ENABLED", "flag", parse.flag, True, "0: no records of failed requests."),
        Setting(
            "ERROR_TRACKING_FILE",
            "path",
            parse.log_path,
            Path("errors_detailed.jsonl"),
            "One JSON line for each failed request; empty: none.",
            empty=True,
        ),
        Setting(
            "ERROR_TRACKING_MAX_SIZE_MB", "number", parse.whole(1, 100_000), 100, "Above this a new file is begun."
        ),
        Setting("ERROR_TRACKING_RETENTION_DAYS", "number", parse.whole(1, 3650), 30, "Older files are deleted."),
        Setting(
            "ERROR_TRACKING_CAPTURE_REQUEST",
            "flag",
            parse.flag,
            False,
            "1: with the request's body, redacted; it holds the prompt.",
        ),
        Setting("ERROR_TRACKING_CAPTURE_RESPONSE", "flag", parse.flag, False, "1: with the answer's body."),
        Setting(
            "ERROR_TRACKING_MAX_BODY_SIZE",
            "number",
            parse.whole(0, 100_000_000),
            10_000,
            "Characters of each text in a record.",
        ),
        Setting(
            "REDACT_LOG_FIELDS",
            "names",
            parse.names,
            ("openai_api_key", "authorization"),
            "Further fields whose values no record shows.",
            shown="`openai_api_key,authorization`",
        ),
    ),
    "Browsers": (
        Setting(
            "SECURITY_HEADERS_ENABLED", "flag", parse.flag, True, "0: no nosniff, frame, referrer and content policy."
        ),
        Setting(
            "ENABLE_HSTS",
            "flag",
            parse.flag,
            False,
            "1: HSTS on what came in by HTTPS; behind a proxy `X-Forwarded-Proto` says so, if CCPROXY_PROXIES_COUNT "
            "is set.",
        ),
        Setting("ENABLE_CORS", "flag", parse.flag, False, "1: the origins below may call from a page."),
        Setting(
            "CORS_ALLOW_ORIGINS",
            "origins",
            parse.origins,
            (),
            "Those origins, as `https://example.org`, with commas between; `*`: all.",
            shown="none",
        ),
        Setting(
            "CORS_ALLOW_METHODS",
            "names",
            parse.tokens,
            ("POST", "OPTIONS"),
            "Methods they may use; GET and HEAD always.",
            shown="`POST,OPTIONS`",
        ),
        Setting(
            "CORS_ALLOW_HEADERS",
            "names",
            parse.tokens,
            BROWSER_HEADERS,
            "Headers they may send; `*` at the end of one stands for any end.",
            shown=f"`{','.join(BROWSER_HEADERS)}`",
        ),
        Setting(
            "ALLOWED_HOSTS",
            "hosts",
            parse.hosts,
            (),
            "Names in `Host` that are answered, with commas between, `*.example.org` too; others get 403, probes too.",
            shown="all",
        ),
    ),
}
