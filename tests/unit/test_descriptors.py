"""The limit of open files is raised at start to what the system allows."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ccproxy_sanic.ops import descriptors
from ccproxy_sanic.ops.descriptors import ENOUGH, raise_limit

INFINITY = -1


class Resource:
    RLIMIT_NOFILE = 7
    RLIM_INFINITY = INFINITY

    def __init__(self, soft: int, hard: int, refuses: bool = False) -> None:
        self.limits, self.refuses = (soft, hard), refuses

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "now"),
    [
        (1024, 524_288, 524_288),
        (1024, INFINITY, ENOUGH),
        (100_000, INFINITY, 100_000),
        (4096, 4096, 4096),
    ],
)
def test_it_is_raised_to_the_hard_one(
    soft: int, hard: int, now: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system = Resource(soft, hard)
    monkeypatch.setattr(descriptors, "resource", system)
    with caplog.at_level(logging.INFO, "ccproxy"):
        assert raise_limit() == now
    assert system.limits == (now, hard)
    assert (f"from {soft} to {now}" in caplog.text) == (now > soft)


@pytest.mark.parametrize("system", [None, Resource(INFINITY, INFINITY)], ids=["Windows", "no limit"])
def test_where_nothing_limits_nothing_happens(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "resource", system)
    assert raise_limit() is None


def test_a_system_that_refuses_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system = Resource(256, INFINITY, refuses=True)
    monkeypatch.setattr(descriptors, "resource", system)
    assert raise_limit() == 256
    assert "stays at 256" in caplog.text
