"""WEB_CONCURRENCY: how many workers there are, and what is said of the limits that they have to divide."""

from __future__ import annotations

import io

import pytest

from ccproxy_sanic import cli, settings_workers
from ccproxy_sanic.settings import load

REDIS = {"REDIS_URL": "redis://127.0.0.1:6379/0"}


@pytest.mark.parametrize("given", [{}, REDIS])
def test_workers_without_limits_have_nothing_to_divide(given: dict[str, str]) -> None:
    settings = load({"WEB_CONCURRENCY": "4", **given})
    assert (settings.web_concurrency, settings.warnings) == (4, ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"RATE_LIMIT_PER_MINUTE": "60"}, "RATE_LIMIT_PER_MINUTE: without REDIS_URL nothing is shared"),
        (
            {"CLIENT_RATE_LIMIT_ENABLED": "1", "CCPROXY_UPSTREAM_SLOTS": "9"},
            "CLIENT_RATE_LIMIT_RPM, CLIENT_RATE_LIMIT_TPM, CCPROXY_UPSTREAM_SLOTS: without REDIS_URL nothing is shared",
        ),
        ({"CCPROXY_MAX_CONCURRENT": "9", **REDIS}, None),
        ({"RATE_LIMIT_PER_MINUTE": "60", "CCPROXY_UPSTREAM_SLOTS": "9", **REDIS}, "CCPROXY_UPSTREAM_SLOTS"),
    ],
)
def test_limits_that_each_worker_has_a_part_of_are_named(given: dict[str, str], said: str | None) -> None:
    warnings = load({"WEB_CONCURRENCY": "3", **given}).warnings
    assert warnings == (() if said is None else (f"WEB_CONCURRENCY=3: each worker has its part of {said}",))


def test_one_worker_has_all_and_says_nothing() -> None:
    assert load({"WEB_CONCURRENCY": "1", "RATE_LIMIT_PER_MINUTE": "60"}).warnings == ()


def test_one_process_serves_where_several_cannot() -> None:
    values = {"WEB_CONCURRENCY": 4, "REDIS_URL": None}
    assert list(settings_workers.warnings(values, "win32")) == [
        "WEB_CONCURRENCY=4: several processes can't listen on one address here, 1 is used"
    ]
    assert values["WEB_CONCURRENCY"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"WEB_CONCURRENCY": "2"}, "2 workers share one address; each keeps its part of the limits"),
        ({"WEB_CONCURRENCY": "2", **REDIS}, "2 workers share one address; limits are shared through REDIS_URL"),
        (REDIS, "one process serves; limits are shared through REDIS_URL"),
    ],
)
def test_check_says_how_limits_are_kept(given: dict[str, str], said: str) -> None:
    out = io.StringIO()
    assert cli.check(given, out) == 0
    assert said in out.getvalue()


def test_check_says_nothing_of_one_process_alone() -> None:
    out = io.StringIO()
    assert cli.check({}, out) == 0
    assert "one process" not in out.getvalue()


def test_the_banner_counts_workers() -> None:
    assert ", 3 workers\n" in cli.banner(load({"WEB_CONCURRENCY": "3"}), "ccproxy serve")
    assert "workers" not in cli.banner(load({}), "ccproxy serve")
