"""The proxy in the test's own loop, on a real socket: state can be looked at, the ticker can be moved by hand.

Rule: leaving the block asserts that the proxy is quiet, so no test can forget it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sanic import Sanic

from ccproxy_sanic import runtime as runtime_module
from ccproxy_sanic import settings
from ccproxy_sanic.runtime import Runtime
from ccproxy_sanic.server import bind, build_app, start_server, stop_server
from tests.support.quiet import assert_quiet

# The upstream of a test lives in the same loop: its connections are not the proxy's.
runtime_module.RESIDENT_COROUTINES += ("ScriptedUpstream",)
Sanic.test_mode = True  # its touch-up rewrites methods once per process; in test mode it keeps the originals

DEFAULTS = {
    "LOG_FILE_PATH": "",
    "ERROR_LOG_FILE_PATH": "",
    "ERROR_TRACKING_FILE": "",
    "LOG_LEVEL": "CRITICAL",
    "CCPROXY_GRACE": "1",
    "CCPROXY_DEMO_PACE": "0",
}
HELLO: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello"}],
}


def message(**fields: Any) -> dict[str, Any]:
    """A small Messages request with ``fields`` changed."""
    return HELLO | fields


class Proxy:
    """A running proxy; ``client`` has no retries and no proxies of its own."""

    def __init__(self, runtime: Runtime, port: int, client: httpx.AsyncClient, connections: set[Any]) -> None:
        self.runtime, self.port, self.client, self.connections = runtime, port, client, connections
        self.url = f"http://127.0.0.1:{port}"

    async def post(self, body: Any = None, path: str = "/v1/messages", **options: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(HELLO if body is None else body).encode()
        return await self.client.post(path, content=content, **options)

    def streaming(self, body: Any = None, **options: Any) -> Any:
        """``async with proxy.streaming() as response: async for line in response.aiter_lines()``."""
        return self.client.stream("POST", "/v1/messages", json={**(body or HELLO), "stream": True}, **options)

    def handled(self) -> dict[str, int]:
        return {ref.name: ref.stats.handled for ref in self.runtime.supervisor.refs}

    def tick(self, later: float) -> None:
        """What the ticker would do ``later`` seconds from now."""
        self.runtime.watch.tick(asyncio.get_running_loop().time() + later)


@asynccontextmanager
async def serving(base_url: str | None = None, **environ: str) -> AsyncIterator[Proxy]:
    """A proxy in front of ``base_url`` (None: the demo model), with these settings and no others.

    The upstream's profile is ``generic`` unless the settings say otherwise, so that it hears the test's requests only;
    ``CCPROXY_PROFILE=""`` has the proxy look who it is.
    """
    values = DEFAULTS | ({} if base_url is None else {"CCPROXY_PROFILE": "generic"}) | environ
    if base_url is not None:
        values["OPENAI_BASE_URL"] = base_url
    app = build_app(settings.load(values))
    sock = bind("127.0.0.1", 0)
    server = await start_server(app, sock)
    port = sock.getsockname()[1]
    runtime: Runtime = app.ctx.runtime
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield Proxy(runtime, port, client, server.connections)
            await assert_quiet(runtime)
    finally:
        await stop_server(server)


def events(body: str | bytes) -> list[tuple[str, dict[str, Any]]]:
    """SSE text -> (event name, data) pairs, pings left out."""
    text = body.decode() if isinstance(body, bytes) else body
    pairs = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if fields and fields["event"] != "ping":
            pairs.append((fields["event"], json.loads(fields["data"])))
    return pairs


def text_of(pairs: list[tuple[str, dict[str, Any]]]) -> str:
    """All text deltas, joined."""
    return "".join(data["delta"].get("text", "") for name, data in pairs if name == "content_block_delta")
