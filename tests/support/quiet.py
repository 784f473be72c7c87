"""Nothing is left under way.

Rule: every end-to-end test ends with ``assert_quiet``; a leak then fails the test that made it, not a later one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import httpx
import msgspec

POLL = 0.02


class Runtime(Protocol):
    def quiet(self) -> msgspec.Struct: ...


async def assert_quiet(target: str | Runtime, within: float = 5.0) -> None:
    """Wait until a server (its URL or its runtime) has no lease, stream, stray task or busy connection.

    Polls ``quiet`` of ``GET /v1/metrics`` for at most ``within`` seconds; fails naming what stays.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    async with httpx.AsyncClient(trust_env=False) as http:
        while left := {name: count for name, count in (await _counts(target, http)).items() if count}:
            if loop.time() > end:
                raise AssertionError(f"not quiet after {within:g} s: {left}")
            await asyncio.sleep(POLL)


async def _counts(target: str | Runtime, http: httpx.AsyncClient) -> dict[str, Any]:
    if not isinstance(target, str):
        return msgspec.structs.asdict(target.quiet())
    answer = await http.get(f"{target}/v1/metrics")
    assert answer.status_code == 200, answer.text
    quiet: dict[str, Any] = answer.json()["quiet"]
    assert {"leases", "open_streams", "tasks", "busy_connections"} <= quiet.keys()
    return quiet
