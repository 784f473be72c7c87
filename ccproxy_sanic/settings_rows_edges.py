"""The settings of both edges: where requests go, and who may send them.

Rule: rows only.
"""

from __future__ import annotations

from typing import Final

from ccproxy_sanic import settings_network as network
from ccproxy_sanic import settings_parsers as parse
from ccproxy_sanic.settings_row import Setting

EDGES: Final[dict[str, tuple[Setting, ...]]] = {
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
        Setting("WEB_CONCURRENCY", "number", parse.whole(1, 1024), 1, "Worker processes (docs/scale.md)."),
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
