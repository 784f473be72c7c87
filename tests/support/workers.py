"""Several workers as a client and an operator see them.

Rule: every request comes on a connection of its own, so that the system deals it to some worker.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support.proxy import message
from tests.support.server_process import ServerProcess

WITHIN = 15.0
TWO = {"WEB_CONCURRENCY": "2"}
UP = 'ccproxy_workers{state="up"}'


async def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


async def ask(url: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        return await client.post("/v1/messages", json=body or message(), headers=headers)


async def ask_many(url: str, count: int, body: dict[str, Any] | None = None) -> Counter[int]:
    """Statuses of so many at once."""
    return Counter(response.status_code for response in await asyncio.gather(*(ask(url, body) for _ in range(count))))


async def scrape(url: str) -> dict[str, float]:
    """Every sample of ``/metrics``, by its name with labels."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


async def numbers(url: str) -> dict[str, Any]:
    """``/v1/metrics``."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        found: dict[str, Any] = (await client.get("/v1/metrics")).json()
        return found


async def until_up(url: str, count: int) -> None:
    end = time.monotonic() + WITHIN
    while (await scrape(url)).get(UP) != count:
        assert time.monotonic() < end, f"{count} workers should serve"
        await asyncio.sleep(0.05)


def processes(server: ServerProcess) -> dict[int, int]:
    """Process ids of the workers, by their number."""
    found: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"ccproxy_sanic.worker" in words and int(parent) == server.process.pid:
                found[int(words[words.index(b"ccproxy_sanic.worker") + 1])] = int(folder.name)
    return found


def speakers(server: ServerProcess) -> Counter[int]:
    """How many requests each worker has logged."""
    return Counter(int(number) for number in re.findall(r"\[(\d+)\] 200 /v1/messages", server.output))


def lines_of(path: Path) -> list[dict[str, Any]]:
    """A log file; every line of it is whole."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
