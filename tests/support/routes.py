"""Routes files for tests, and a proxy that has one.

Rule: a test says rules and upstreams as data; upstreams that are forced to a profile are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.proxy import Proxy, serving


def routes_file(folder: Path, upstreams: Mapping[str, Mapping[str, Any]], *rules: Mapping[str, Any]) -> Path:
    """A routes file; without rules everything goes to all upstreams in their order, as model ``m-NAME``."""
    path = folder / "routes.json"
    path.write_text(routes_text(upstreams, *rules))
    return path


def routes_text(upstreams: Mapping[str, Mapping[str, Any]], *rules: Mapping[str, Any]) -> str:
    known = {name: {"profile": "generic", **upstream} for name, upstream in upstreams.items()}
    everything = {"name": "all", "targets": [{"upstream": name, "model": f"m-{name}"} for name in upstreams]}
    return json.dumps({"upstream": known, "rule": list(rules) or [everything]})


@asynccontextmanager
async def routed(
    folder: Path, upstreams: Mapping[str, Mapping[str, Any]], *rules: Mapping[str, Any], **environ: str
) -> AsyncIterator[Proxy]:
    """A proxy with these routes and no upstream of the environment's."""
    path = routes_file(folder, upstreams, *rules)
    async with serving(None, CCPROXY_ROUTES=str(path), **environ) as proxy:
        yield proxy
