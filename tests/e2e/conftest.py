"""End-to-end tests: real server process, real sockets, real clients.

Rule: opt-in tests say why they are skipped; ``CCPROXY_E2E`` (the make targets set it) runs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server_process import ServerProcess, serve

APIS: Final = ("chat", "responses", "messages")
# One server for many tests, and many of them are about a fault: each sees its own, and leaves nothing to the next.
BY_ITSELF: Final = {
    "PROVIDER_MAX_RETRIES": "0",
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000",
    "CLIENT_RATE_LIMIT_ENABLED": "0",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("CCPROXY_E2E"):
        return
    skip = pytest.mark.skip(reason="opt-in: CCPROXY_E2E=1, or `make help` for the e2e- targets")
    for item in items:
        if item.get_closest_marker("opt_in"):
            item.add_marker(skip)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server as `make run` starts it on a machine without keys: with the embedded demo model."""
    with serve(tmp_path_factory.mktemp("embedded")) as server:
        yield server


@pytest.fixture(scope="module", params=APIS)
def spoken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The same, once for each API that the demo model speaks."""
    with serve(tmp_path_factory.mktemp(request.param), {**BY_ITSELF, "CCPROXY_API": request.param}) as server:
        yield server
