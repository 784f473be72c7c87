"""What is in force, typed.

Rule: one field per setting, in the order of the table; nothing here reads anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from ccproxy_sanic.masking import Secret
from ccproxy_sanic.routing import DEFAULT, ModelMap, Routing, file, routing_of
from ccproxy_sanic.settings_network import NETWORK, Engine, Network, NoProxy, Proxy
from ccproxy_sanic.settings_parsers import Api, AuthToken
from ccproxy_sanic.settings_table import TABLE
from ccproxy_sanic.settings_upstream import Upstream

UnknownModel = Literal["pass", "big", "small"]
CachePolicy = Literal["off", "safe", "all"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force.  Fields are the variables in lower case without ``CCPROXY_``; None is "not set" or "unlimited".

    Times are seconds.  ``upstream`` is what the keys and OPENAI_BASE_URL mean together; ``rate_limit_per_minute`` is
    None where the limit is off; ``ca_file`` is CCPROXY_CA_FILE, else SSL_CERT_FILE; ``routes`` is what the file of that
    name says, ``api`` is the one of ``upstream``; ``warnings`` are for a person.
    """

    upstream: Upstream
    openai_api_key: Secret | None
    openrouter_api_key: Secret | None
    openai_base_url: str | None
    big_model_name: str
    small_model_name: str
    model_map: dict[str, str]
    unknown_model: UnknownModel
    api: Api | None
    routes: file.Routes | None
    profile: str | None
    profiles: Path | None
    engine: Engine
    http2: bool
    https_proxy: Proxy | None
    http_proxy: Proxy | None
    all_proxy: Proxy | None
    no_proxy: NoProxy | None
    ca_file: Path | None
    ssl_cert_file: Path | None
    demo_pace: float
    host: str
    port: int
    auth_tokens: tuple[AuthToken, ...]
    open: bool
    proxies_count: int
    max_body_mb: int
    web_concurrency: int
    rate_limit_enabled: bool
    rate_limit_per_minute: int | None
    rate_limit_burst: int
    max_concurrent: int | None
    queue_wait: float
    client_rate_limit_enabled: bool | None
    client_rate_limit_rpm: int | None
    client_rate_limit_tpm: int | None
    client_rate_limit_burst: int
    client_rate_limit_adaptive: bool
    upstream_slots: int | None
    provider_max_retries: int
    provider_retry_base_delay: float
    provider_retry_jitter: float
    circuit_breaker_failure_threshold: int
    circuit_breaker_recovery_timeout: float
    circuit_breaker_half_open_requests: int
    pool_max_keepalive_connections: int
    pool_keepalive_expiry: float
    state_dir: Path | None
    connect_timeout: float
    first_byte_timeout: float
    idle_timeout: float
    total_timeout: float
    stream_timeout: float
    ping_after: float
    ping_every: float
    grace: float
    strict: bool
    cache: CachePolicy
    cache_max_entries: int
    cache_max_mb: int
    cache_ttl: float
    cache_url: Secret | None
    redis_url: Secret | None
    stream_dedupe_enabled: bool
    cache_warmup_enabled: bool
    cache_warmup_file_path: str
    cache_warmup_max_items: int
    cache_warmup_on_startup: bool
    cache_warmup_preload_common: bool
    cache_warmup_auto_save_popular: bool
    cache_warmup_popularity_threshold: int
    cache_warmup_save_interval_seconds: float
    carrier_key: Secret | None
    thread_pool_max_workers: int | None
    cache_token_counts_enabled: bool
    cache_token_counts_ttl_s: float
    cache_token_counts_max: int
    log_level: str
    log_file_path: Path | None
    error_log_file_path: Path | None
    tracing_enabled: bool
    tracing_exporter: Literal["console", "otlp"]
    tracing_endpoint: str | None
    tracing_service_name: str
    error_tracking_enabled: bool
    error_tracking_file: Path | None
    error_tracking_max_size_mb: int
    error_tracking_retention_days: int
    error_tracking_capture_request: bool
    error_tracking_capture_response: bool
    error_tracking_max_body_size: int
    redact_log_fields: tuple[str, ...]
    security_headers_enabled: bool
    enable_hsts: bool
    enable_cors: bool
    cors_allow_origins: tuple[str, ...]
    cors_allow_methods: tuple[str, ...]
    cors_allow_headers: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb << 20

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that must never be printed, for the log's mask."""
        keys = (self.openai_api_key, self.openrouter_api_key, self.carrier_key, self.cache_url, self.redis_url)
        upstreams = self.routes.upstreams if self.routes else ()
        proxies = (self.http_proxy, self.https_proxy, self.all_proxy)
        return (
            *(key for key in keys if key is not None),
            *(token.token for token in self.auth_tokens),
            *(key for upstream in upstreams for key in upstream.keys),
            *(proxy.credential for proxy in proxies if proxy is not None and proxy.credential is not None),
        )

    @property
    def network(self) -> Network:
        """How upstreams are reached."""
        return Network(*(getattr(self, TABLE[name].attribute) for name in NETWORK))

    @property
    def base_urls(self) -> dict[str, str]:
        """Where each upstream is, by name; the demo's is nowhere, it is embedded."""
        return base_urls_of(self.routes, self.upstream)

    @property
    def routing(self) -> Routing:
        """Where requests go.  The environment's upstream is called by its label, beside a file's upstreams ``default``;
        with a file there is none unless the environment sets one: the demo model is no fallback."""
        models = ModelMap(
            big=self.big_model_name, small=self.small_model_name, exact=self.model_map, unknown=self.unknown_model
        )
        if self.routes is None:
            return routing_of((), models, self.upstream.label)
        return routing_of(self.routes.rules, models, None if self.upstream.demo else DEFAULT)


def base_urls_of(routes: file.Routes | None, upstream: Upstream) -> dict[str, str]:
    found = {spec.name: spec.base_url for spec in (routes.upstreams if routes else ())}
    if not upstream.demo:
        found[upstream.label if routes is None else DEFAULT] = upstream.base_url
    return found
