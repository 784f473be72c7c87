"""What WEB_CONCURRENCY means for the other settings.

Rule: a limit is for all workers together; where they can't share it, each has its part, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

# Limits that REDIS_URL lets the workers share, and those that each has its part of in any case.
SHARED: Final = (
    "RATE_LIMIT_PER_MINUTE",
    "CCPROXY_MAX_CONCURRENT",
    "CLIENT_RATE_LIMIT_RPM",
    "CLIENT_RATE_LIMIT_TPM",
)
DIVIDED: Final = ("CCPROXY_UPSTREAM_SLOTS",)


def warnings(values: dict[str, Any], platform: str) -> Iterator[str]:
    """What a person should know; ``values`` get the number of workers that there will be (``sys.platform`` given)."""
    count = values["WEB_CONCURRENCY"]
    if count > 1 and platform == "win32":
        values["WEB_CONCURRENCY"] = 1
        yield f"WEB_CONCURRENCY={count}: several processes can't listen on one address here, 1 is used"
    elif count > 1:
        alone = DIVIDED if values["REDIS_URL"] is not None else (*SHARED, *DIVIDED)
        if parts := [name for name in alone if values[name] is not None]:
            reason = "" if values["REDIS_URL"] is not None else ": without REDIS_URL nothing is shared"
            yield f"WEB_CONCURRENCY={count}: each worker has its part of {', '.join(parts)}{reason}"


def remarks(count: int, shared: bool) -> list[str]:
    """How limits are kept, for ``ccproxy check``."""
    who = f"{count} workers share one address" if count > 1 else "one process serves"
    if shared:
        return [f"{who}; limits are shared through REDIS_URL with every other one that has it"]
    return [f"{who}; each keeps its part of the limits"] if count > 1 else []
