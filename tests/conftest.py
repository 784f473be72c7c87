"""Whole-suite policy.  Rule: no test sees a key, an address or a setting of the caller's environment.

The environment is stripped when this module is imported, which is before any test module is, and before any server
that a test starts could inherit it.  Async tests run on uvloop, the loop that serves, where it is installed.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import hypothesis

try:
    import uvloop
except ImportError:  # Windows: the standard loop serves there too
    uvloop = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT = {"CCPROXY_PURE", "CCPROXY_E2E"}
FOREIGN_PREFIXES = (
    "ANTHROPIC_",
    "AZURE_",
    "CCPROXY_",
    "CLAUDE",
    "CORS_",
    "ERROR_TRACKING_",
    "LOG_",
    "OPENAI_",
    "OPENROUTER_",
    "OTEL_",
    "RATE_LIMIT_",
    "SANIC_",
    "TRACING_",
)
FOREIGN = {
    *("BIG_MODEL_NAME", "SMALL_MODEL_NAME", "HOST", "PORT", "WEB_CONCURRENCY", "ERROR_LOG_FILE_PATH", "REDIS_URL"),
    *("ALLOWED_HOSTS", "ENABLE_CORS", "ENABLE_HSTS", "REDACT_LOG_FIELDS", "SECURITY_HEADERS_ENABLED"),
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy"),
}


def strip(environment: dict[str, str]) -> dict[str, str]:
    """What tests may see of an environment."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or not (name in FOREIGN or name.startswith(FOREIGN_PREFIXES))
    }


clean = strip(dict(os.environ))
for name in set(os.environ) - set(clean):
    del os.environ[name]

# No test depends on the speed of the machine.  In CI the same examples come every time; `make fuzz` looks for new ones.
UNHURRIED: Any = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow], "print_blob": True}
hypothesis.settings.register_profile("default", derandomize="CI" in os.environ, **UNHURRIED)
hypothesis.settings.register_profile("fuzz", max_examples=2_000, **UNHURRIED)
hypothesis.settings.load_profile("default")


def pytest_asyncio_loop_factories(config: object, item: object) -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop} if uvloop else {"asyncio": asyncio.new_event_loop}
