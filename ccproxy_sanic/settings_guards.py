"""What the settings of guards, tracing and error records mean together.

Rule: one generator per subject; what it yields names the variable and says what would go wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

Reason = tuple[str, str]  # variable and what is wrong with it

# What each exporter of traces needs of the extra.
_TRACING: Final[dict[str, tuple[str, ...]]] = {
    "console": ("opentelemetry.sdk.trace",),
    "otlp": ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
}
LOGS: Final = ("LOG_FILE_PATH", "ERROR_LOG_FILE_PATH", "ERROR_TRACKING_FILE")


def faults(values: Mapping[str, Any]) -> Iterator[Reason]:
    """What can't be had."""
    if values["TRACING_ENABLED"]:
        missing = [name for name in _TRACING[values["TRACING_EXPORTER"]] if not _there(name)]
        if missing:
            yield "TRACING_ENABLED", f"needs {missing[0]}, which is missing: pip install 'ccproxy-sanic[tracing]'"
    everybody = "*" in values["CORS_ALLOW_ORIGINS"]
    if values["ENABLE_CORS"] and everybody and not values["CCPROXY_AUTH_TOKENS"] and not values["CCPROXY_OPEN"]:
        yield (
            "CORS_ALLOW_ORIGINS",
            "* would let every page that a browser of this machine shows use your key: name the origins, "
            "or set CCPROXY_AUTH_TOKENS",
        )


def warnings(values: Mapping[str, Any]) -> Iterator[str]:
    """What has no effect."""
    if values["ENABLE_CORS"] and not values["CORS_ALLOW_ORIGINS"]:
        yield "ENABLE_CORS has no effect without CORS_ALLOW_ORIGINS"
    if values["CORS_ALLOW_ORIGINS"] and not values["ENABLE_CORS"]:
        yield "CORS_ALLOW_ORIGINS has no effect without ENABLE_CORS=1"
    if values["TRACING_ENDPOINT"] and values["TRACING_EXPORTER"] == "console":
        yield "TRACING_ENDPOINT has no effect with TRACING_EXPORTER=console"


def log_files(values: dict[str, Any], is_default: Callable[[str], bool]) -> Iterator[tuple[str, str, bool]]:
    """(variable, what is wrong, whether it is a fault): a default that can't be written is switched off."""
    if not values["ERROR_TRACKING_ENABLED"]:
        values["ERROR_TRACKING_FILE"] = None
    seen: dict[Path, str] = {}
    for name in LOGS:
        path: Path | None = values[name]
        if path is None:
            continue
        if (other := seen.setdefault(path.absolute(), name)) is not name:
            yield name, f"is the same file as {other}", True
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            if is_default(name):
                yield name, f"{path} can't be written here, so there is no such log", False
                values[name] = None
            else:
                yield name, f"{path} can't be written", True


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
