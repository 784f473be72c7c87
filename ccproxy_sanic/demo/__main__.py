"""``python -m ccproxy_sanic.demo``: the demo model alone, until a signal.

Rule: the first line of output is the base URL and nothing else, so that a script can read it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from ccproxy_sanic.demo.endpoints import ENDPOINTS
from ccproxy_sanic.demo.quirks import QUIRKS
from ccproxy_sanic.demo.scenarios import SCENARIOS
from ccproxy_sanic.demo.serving import SIDE_DOORS, start


def _table() -> str:
    lines = ["endpoints, all with the same scenarios and each in its own form:"]
    lines += [f"  POST {path:26} {endpoint.about}" for path, endpoint in ENDPOINTS.items()]
    lines += [f"  GET  {path:26} {about}" for path, about in SIDE_DOORS.items()]
    lines += ["", "markers in the prompt, [demo:NAME key=value ...]:"]
    lines += [f"  {name:16} {about}" for name, (about, _) in SCENARIOS.items()]
    lines += ["", "with any of them, first=N (only N requests, then one gets a text), pace=SECONDS and quirk=NAME:"]
    lines += [f"  {name:18} {about}" for name, about in QUIRKS.items()]
    return "\n".join(lines)


async def _serve(host: str, port: int, pace: float) -> None:
    server = await start(host, port, pace=pace)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.stdout.write("\n  ".join([server.base_url, *ENDPOINTS]) + "\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ccproxy_sanic.demo",
        description="A scripted, deterministic model with the APIs of OpenAI and of Anthropic.",
        epilog=_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between two pieces of an answer")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.host, given.port, given.pace))


if __name__ == "__main__":
    main()
