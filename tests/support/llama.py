"""llama.cpp's server with a small model, and the question whether a request still occupies it.

Rule: ``/slots`` is asked rarely.  Every answer of the server, that one too, starts its second of waiting anew after
which it looks whether the clients of its other requests are still there: who polls it keeps the dead alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.server_process import ROOT, clean_environment, free_port

SCRIPT = ROOT / "scripts" / "start_llm.py"
MODEL = "smollm2-135m"
READY_WITHIN = 120.0
STOPPED_WITHIN = 20.0


@dataclass(frozen=True)
class Llama:
    url: str

    async def busy(self) -> bool:
        """Whether a request occupies one of its slots."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            slots = (await http.get(f"{self.url}/slots")).json()
        return any(slot["is_processing"] for slot in slots)

    async def until_idle(self) -> None:
        while await self.busy():
            await asyncio.sleep(2)


@contextlib.contextmanager
def llama(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Llama]:
    """A server of its own on a free port; ``settings`` are the variables that ``scripts/start_llm.py`` reads."""
    subprocess.run([sys.executable, str(SCRIPT), "--setup"], check=True)
    port = free_port()
    log = home / "llama.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=clean_environment(home) | {"LLM_PORT": str(port)} | dict(settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Llama(f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(server, process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: Llama, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_WITHIN
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < end:
            assert process.poll() is None, f"the model server ended at once:\n{log.read_text(errors='replace')}"
            with contextlib.suppress(httpx.TransportError):
                if http.get(f"{server.url}/health").status_code == 200:  # 503 while the model is loaded
                    return
            time.sleep(0.1)
    raise AssertionError(f"the model server is not ready within {READY_WITHIN} s:\n{log.read_text(errors='replace')}")
