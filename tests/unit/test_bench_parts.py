"""The table of a request's parts: where a sample belongs, and what its columns add up to."""

from __future__ import annotations

import re

import pytest

from bench import parts, profile
from bench.macro.scenarios import SCENARIOS
from bench.parts import OTHER, Column

OUTER = (
    "run (/p/ccproxy_sanic/server.py:267);Runner.run (/l/asyncio/runners.py:118);uv_run (/b/libuv-x/src/unix/core.c:45)"
)
ASKED = (
    "Client.end (/p/ccproxy_sanic/relay.py:262);write (/b/uvloop/loop.c:110189);uv_try_write (/b/libuv-x/stream.c:9)"
)


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("/p/ccproxy_sanic/pipeline/way.py", "pipeline"),
        ("/p/ccproxy_sanic/relay.py", "relay.py"),
        ("/p/actors/kernel.py", "actors"),
        ("bench/macro/floor.py", "bench"),
        ("/v/site-packages/sanic/http/http1.py", "sanic"),
        ("/home/me/ccproxy_sanic/v/site-packages/sanic/app.py", "sanic"),
        ("/home/me/sanic/ccproxy_sanic/sse/_framing.c", "sse"),
        ("/v/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so", "uvloop"),
        ("/project/build/libuv-x86_64/src/unix/core.c", "uvloop"),
        ("/project/vendor/llhttp/src/llhttp.c", "httptools"),
        ("/build/Python-3.11.7/Modules/_asynciomodule.c", "asyncio"),
        ("/v/site-packages/msgspec/_core.cpython-311-x86_64-linux-gnu.so", None),
        ("/v/site-packages/sanic_routing/router.py", None),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", None),
    ],
)
def test_a_file_belongs_to_the_last_package_of_its_path(file: str, part: str | None) -> None:
    assert parts.part_of(file) == part


@pytest.mark.parametrize(
    ("inner", "placed"),
    [
        pytest.param("hop (/p/ccproxy_sanic/pipeline/way.py:183)", ("pipeline", "way.py"), id="python"),
        pytest.param(
            "read (/p/ccproxy_sanic/wire/reading.py:9);decode (/v/msgspec/_core.so);0x7f01 (/l/libc.so.6)",
            ("wire", "reading.py"),
            id="a library works for its caller",
        ),
        pytest.param(
            "write (/p/ccproxy_sanic/relay.py:73)", ("relay.py", "relay.py"), id="a function called like a system call"
        ),
        pytest.param(f"{ASKED};write (/l/libc.so.6)", ("kernel: write", "relay.py"), id="a system call of somebody"),
        pytest.param(
            "uv__read (/b/libuv-x/stream.c:8);__libc_read (/l/libc.so.6)", ("kernel: read", "the loop"), id="of nobody"
        ),
        pytest.param("connection_task (connection_task:15);f (f.py:1)", ("uvloop", "core.c"), id="the loop itself"),
    ],
)
def test_a_sample_belongs_to_the_innermost_part(inner: str, placed: tuple[str, str]) -> None:
    assert parts.place(f"{OUTER};{inner}") == placed


def test_what_runs_outside_of_the_loop_is_no_request() -> None:
    log = "Thread.run (/l/threading.py:982);run (/p/ccproxy_sanic/ops/writer.py:9);futex_wait (/l/libc.so.6)"
    assert parts.place(log) is None
    assert parts.shares([f"{log} 900", f"{OUTER};f (/p/actors/kernel.py:1) 3", ""]) == {"actors": {"kernel.py": 3}}


def test_a_sample_that_no_part_knows_is_still_counted() -> None:
    assert parts.place("run_until_complete (/x.py:1);f (/y.py:2)") == (OTHER, "")


def column(user_us: float, others_us: float, **samples: int) -> Column:
    return Column(
        user_us,
        0.0,
        others_us,
        parts.shares(f"{OUTER};f (/p/ccproxy_sanic/{name}/a.py:1) {n}" for name, n in samples.items()),
    )


def test_a_table_adds_up_to_the_cpu_time_that_was_measured() -> None:
    given = {"floor": column(80.0, 0.0, upstream=8), "proxy": column(95.0, 5.0, pipeline=60, upstream=34, ops=1)}
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in parts.table(given).splitlines()]
    assert rows[0] == ["part", "floor", "proxy", "of the last, by module"]
    assert rows[2:] == [
        ["pipeline", "", "60.0", "a.py 60.0"],
        ["upstream", "80.0", "34.0", "a.py 34.0"],
        ["other threads", "", "5.0", ""],
        ["ops", "", "1.0", "a.py 1.0"],
        ["smaller ones, together", "", "", ""],
        ["all", "80.0", "100.0", ""],
    ]


def test_waiting_gets_what_other_calls_leave_of_the_system_time() -> None:
    waiting = f"{OUTER};epoll_pwait (/l/libc.so.6) 5000"
    assert parts.place(waiting.rpartition(" ")[0]) is None
    stacks = [f"{OUTER};f (/p/actors/a.py:1) 40", f"{OUTER};{ASKED};write (/l/libc.so.6) 10", waiting]
    rows = parts.table({"proxy": Column(80.0, 26.0, 0.0, parts.shares(stacks))}).splitlines()[2:]
    assert rows == [
        "| actors | 80.0 | a.py 80.0 |",
        "| kernel: write | 20.0 | relay.py 20.0 |",
        f"| {parts.REST} | 6.0 |  |",
        "| smaller ones, together |  |  |",
        "| all | 106.0 |  |",
    ]


def test_system_calls_never_take_more_than_the_system_time() -> None:
    stacks = [f"{OUTER};f (/p/actors/a.py:1) 10", f"{OUTER};{ASKED};write (/l/libc.so.6) 30"]
    rows = parts.table({"proxy": Column(80.0, 24.0, 0.0, parts.shares(stacks))}).splitlines()[2:]
    assert rows[:2] == ["| actors | 80.0 | a.py 80.0 |", "| kernel: write | 24.0 | relay.py 24.0 |"]


def test_small_parts_are_one_row() -> None:
    text = parts.table({"proxy": column(1000.0, 1.0, pipeline=997, ops=2, caching=1)})
    assert "| smaller ones, together | 4.0 |  |" in text
    assert "caching" not in text


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_profiled_with_the_proxy_that_it_asks(name: str) -> None:
    assert profile.proxy_of(name) == ("proxy-relay" if "passthrough" in name else "proxy")


def test_the_pictures_that_are_drawn_by_default_are_those_that_the_documents_show() -> None:
    shown = re.findall(r"\(img/flame-([a-z-]+)\.svg\)", (profile.ROOT / "docs" / "performance.md").read_text())
    assert sorted(shown) == sorted(profile.DEFAULT)
