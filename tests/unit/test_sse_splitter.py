"""The splitter's rules one by one, for both twins."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from typing import Any

import pytest

from ccproxy_sanic.sse import LIMIT, _framing_py

TWINS: list[Any] = [_framing_py]
with contextlib.suppress(ImportError):
    TWINS.append(importlib.import_module("ccproxy_sanic.sse._framing"))


@pytest.fixture(params=TWINS, ids=lambda module: module.__name__.rpartition(".")[2])
def twin(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("body", "payloads"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b": OPENROUTER PROCESSING\n\ndata: a\n\n", [b"a"]),
        (b"event: x\n\n", []),
        (b"data\n\n", [b""]),
        (b"data:\n\n", [b""]),
        (b"database: a\n\n", []),
        (b" data: a\n\n", []),
        (b"\n\n\n", []),
        (b":\n\ndata: [DONE]\n\n", [b"[DONE]"]),
    ],
)
def test_complete_events(twin: Any, body: bytes, payloads: list[bytes]) -> None:
    splitter = twin.Splitter()
    assert splitter.feed(body) == payloads
    assert splitter.flush() == []


@pytest.mark.parametrize(
    ("body", "last"), [(b"data: a", [b"a"]), (b"data: a\n", [b"a"]), (b"data: a\r\n", [b"a"]), (b": x", []), (b"", [])]
)
def test_flush_gives_a_last_event_without_its_blank_line(twin: Any, body: bytes, last: list[bytes]) -> None:
    splitter = twin.Splitter()
    assert splitter.feed(body) == []
    assert splitter.flush() == last
    assert splitter.flush() == []


def test_a_character_may_be_cut(twin: Any) -> None:
    body = "data: é\n\n".encode()
    splitter = twin.Splitter()
    assert splitter.feed(body[:7]) == []
    assert splitter.feed(body[7:]) == ["é".encode()]


def test_an_endless_event_is_refused(twin: Any) -> None:
    splitter = twin.Splitter(20)
    assert splitter.feed(b"data: 12345\n") == []
    with pytest.raises(ValueError, match="too long"):
        splitter.feed(b"data: 12345\n")
    with pytest.raises(ValueError, match="too long"):
        splitter.feed(b"\n")
    with pytest.raises(ValueError, match="too long"):
        splitter.flush()


def test_events_before_an_endless_one_are_not_lost(twin: Any) -> None:
    splitter = twin.Splitter(20)
    assert splitter.feed(b"data: a\n\ndata: " + b"x" * 30) == [b"a"]
    with pytest.raises(ValueError, match="too long"):
        splitter.feed(b"y")


def test_many_pings_are_no_endless_event(twin: Any) -> None:
    splitter = twin.Splitter(20)
    for _ in range(10):
        assert splitter.feed(b": keep-alive\n") == []
    assert splitter.feed(b"data: a\n\n") == [b"a"]


def test_the_default_limit_is_64_mib(twin: Any) -> None:
    assert LIMIT == twin.LIMIT == 64 << 20


@pytest.mark.parametrize(
    "setting",
    [{"CCPROXY_PURE": "1"}, {"CCPROXY_ENABLE_CYTHON": "false"}],
    ids=["CCPROXY_PURE", "CCPROXY_ENABLE_CYTHON"],
)
def test_the_environment_can_ask_for_the_python_twin(setting: dict[str, str]) -> None:
    code = "from ccproxy_sanic import sse; print(sse.NATIVE, sse.Splitter.__module__)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | setting, capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"ccproxy_sanic.sse._framing_py"]
