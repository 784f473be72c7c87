"""toktok, tiktoken and the estimate (protocol.md 6.5): who counts, and that they agree."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccproxy_sanic.tokens import encoders
from ccproxy_sanic.tokens.encoders import RANKS, Count, estimate, load, rank_file, with_tiktoken, with_toktok

NAMES = sorted(RANKS)
REAL = [
    Path(__file__).read_text("utf-8"),
    "The quick brown fox, 12345678 times; didn't it?\r\n\r\n\t  Yes!!  \n",
    "中文字符和日本語とハングル 한국어 🤦🏽‍♀️ é é ﷺ",
    "<|endoftext|> <|fim_prefix|> <|im_start|>",
    '{"a":[1,2,{"b":null}],"c":"\\u00e9"}',
    " " * 999 + "x",
]


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Count, Count]]:
    return {name: (with_toktok(name), with_tiktoken(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_toktok_counts_as_tiktoken_does(name: str, pairs: dict[str, tuple[Count, Count]]) -> None:
    toktok, tiktoken = pairs[name]
    assert toktok(REAL) == tiktoken(REAL)
    assert toktok([]) == []


@given(st.text(st.characters(exclude_categories=()), max_size=200), st.sampled_from(NAMES))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_toktok_counts_any_text_as_tiktoken_does(pairs: dict[str, tuple[Count, Count]], text: str, name: str) -> None:
    """Lone surrogates among them, which UTF-8 can't hold."""
    toktok, tiktoken = pairs[name]
    assert toktok([text]) == tiktoken([text])


def test_a_surrogate_in_one_text_leaves_the_others_as_they_are(pairs: dict[str, tuple[Count, Count]]) -> None:
    toktok, _ = pairs["o200k_base"]
    assert toktok(["hello world", "\ud800"])[0] == toktok(["hello world"])[0] == 2


@pytest.mark.parametrize("run", [" ", "\n", "a", "字"])
def test_a_very_long_run_is_counted_by_both(run: str, pairs: dict[str, tuple[Count, Count]]) -> None:
    """tiktoken alone dies of a stack overflow on a million spaces; at each cut it may be one off."""
    toktok, tiktoken = (count([run * 1_000_000])[0] for count in pairs["o200k_base"])
    assert abs(toktok - tiktoken) <= 10


@pytest.mark.parametrize("name", NAMES)
def test_our_encoding_is_the_one_tiktoken_would_download(name: str, tmp_path: Path) -> None:
    """tiktoken itself, in a process that has our file where it keeps its downloads, has the same expression."""
    import tiktoken_ext.openai_public as public

    source = Path(public.__file__).read_text("utf-8")
    (url,) = set(re.findall(rf'"(https://[^"]+/{name}\.tiktoken)"', source))
    (tmp_path / hashlib.sha1(url.encode()).hexdigest()).write_bytes(rank_file(name))
    code = f"import tiktoken; print(tiktoken.get_encoding({name!r})._pat_str)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == RANKS[name].pattern


@pytest.mark.parametrize("name", NAMES)
def test_a_rank_file_is_what_its_publisher_signed(name: str) -> None:
    assert hashlib.sha256(rank_file(name)).hexdigest() == RANKS[name].sha256


def test_a_damaged_rank_file_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "rank_file", lambda name: rank_file(name)[:-2])
    with pytest.raises(ValueError, match="cl100k_base is damaged"):
        with_tiktoken("cl100k_base")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``without("toktok")``: as if the package were not installed."""

    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


def test_without_toktok_tiktoken_counts(without: Callable[..., None]) -> None:
    expected = load("cl100k_base")(REAL)
    without("toktok")
    assert load("cl100k_base")(REAL) == expected


def test_without_both_the_count_is_an_estimate_and_the_log_says_so(
    without: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    without("toktok", "tiktoken")
    with caplog.at_level(logging.WARNING, "ccproxy"):
        assert load("o200k_base") is estimate
    assert "estimated" in caplog.text


def test_the_estimate_is_near(pairs: dict[str, tuple[Count, Count]]) -> None:
    code = Path(encoders.__file__).read_text("utf-8")
    for text in (code, "这是一个用来测试的中文句子。" * 20, "Plain English prose that says nothing at all. " * 20):
        (true,) = pairs["o200k_base"][0]([text])
        assert 0.6 * true <= estimate([text])[0] <= 1.6 * true


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_an_estimate_exists_for_any_text(texts: list[str]) -> None:
    counts = estimate(texts)
    assert [count > 0 for count in counts] == [bool(text) for text in texts]


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, without: Callable[..., None]) -> None:
    def dial(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", dial)
    for name in NAMES:
        assert with_tiktoken(name)(["hello world"]) == [2]
        assert with_toktok(name)(["hello world"]) == [2]
