"""What keys and base URL mean together, as the table says, and which addresses are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.settings import examine, load
from ccproxy_sanic.settings_upstream import CHOICES, OPENAI, OPENROUTER, Faulty, normalise

OA, OR = "sk-openai", "sk-or-router"
LOCAL = "http://127.0.0.1:8000/v1"
FAR = "https://api.deepseek.com/v1"


def chosen(openai: bool, openrouter: bool, url: str | None) -> tuple[str, str, str | None, str]:
    environ = {"OPENAI_API_KEY": OA} if openai else {}
    environ |= {"OPENROUTER_API_KEY": OR} if openrouter else {}
    environ |= {"OPENAI_BASE_URL": url} if url else {}
    settings = load(environ)
    key = settings.upstream.api_key
    return settings.upstream.label, settings.upstream.base_url, key.reveal() if key else None, settings.big_model_name


@pytest.mark.parametrize(
    ("openai", "openrouter", "url", "wanted"),
    [
        (False, False, None, ("demo", "", None, "demo-big")),
        (True, False, None, ("openai", OPENAI, OA, "gpt-5-2025-08-07")),
        (False, True, None, ("openrouter", OPENROUTER, OR, "openai/gpt-5")),
        (True, True, None, ("openai", OPENAI, OA, "gpt-5-2025-08-07")),
        (False, False, LOCAL, ("local", LOCAL, None, "gpt-5-2025-08-07")),
        (True, False, LOCAL, ("local", LOCAL, OA, "gpt-5-2025-08-07")),
        (False, True, LOCAL, ("local", LOCAL, None, "gpt-5-2025-08-07")),
        (True, True, LOCAL, ("local", LOCAL, OA, "gpt-5-2025-08-07")),
        (True, False, FAR, ("deepseek", FAR, OA, "gpt-5-2025-08-07")),
        (False, True, FAR, ("deepseek", FAR, None, "gpt-5-2025-08-07")),
        (True, False, OPENROUTER, ("openrouter", OPENROUTER, OA, "openai/gpt-5")),
        (False, True, OPENROUTER, ("openrouter", OPENROUTER, OR, "openai/gpt-5")),
        (True, True, OPENROUTER, ("openrouter", OPENROUTER, OR, "openai/gpt-5")),
        (True, True, OPENAI, ("openai", OPENAI, OA, "gpt-5-2025-08-07")),
    ],
)
def test_a_combination_means_what_the_table_says(
    openai: bool, openrouter: bool, url: str | None, wanted: tuple[str, str, str | None, str]
) -> None:
    assert chosen(openai, openrouter, url) == wanted


def test_the_table_has_every_combination() -> None:
    assert len(CHOICES) == 8


def test_openrouters_key_goes_to_no_other_host() -> None:
    for url in ("https://openrouter.ai.evil.example/v1", "https://notopenrouter.ai/v1", LOCAL):
        settings = load({"OPENROUTER_API_KEY": OR, "OPENAI_BASE_URL": url})
        assert settings.upstream.api_key is None
        assert any("OPENROUTER_API_KEY is not sent" in warning for warning in settings.warnings)


def test_models_that_were_named_are_kept() -> None:
    settings = load({"OPENAI_BASE_URL": LOCAL, "BIG_MODEL_NAME": "b", "SMALL_MODEL_NAME": "s"})
    assert (settings.big_model_name, settings.small_model_name, settings.warnings) == ("b", "s", ())


def test_a_server_of_ones_own_without_model_names_is_warned_about() -> None:
    warnings = load({"OPENAI_BASE_URL": LOCAL, "BIG_MODEL_NAME": "b"}).warnings
    assert [warning.split()[0] for warning in warnings] == ["SMALL_MODEL_NAME"]


@pytest.mark.parametrize(
    ("url", "base_url", "warned"),
    [
        ("https://api.deepseek.com", "https://api.deepseek.com", False),
        ("https://api.deepseek.com/", "https://api.deepseek.com", False),
        ("https://host/v1/", "https://host/v1", False),
        ("https://openrouter.ai/api/v1", OPENROUTER, False),
        ("https://h.example/v1/chat/completions", "https://h.example/v1", True),
        ("https://h.example/v1/chat/completions/", "https://h.example/v1", True),
        ("https://h.example/v1/responses", "https://h.example/v1", True),
        ("http://localhost:8000", "http://localhost:8000/v1", True),
        ("http://192.168.1.7:8000/", "http://192.168.1.7:8000/v1", True),
        ("http://ollama:11434", "http://ollama:11434/v1", True),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1", False),
        ("HTTP://localhost:8000/v1", "http://localhost:8000/v1", False),
        ("http://localhost:8000/chat/completions", "http://localhost:8000/v1", True),
    ],
)
def test_a_base_url_is_normalised(url: str, base_url: str, warned: bool) -> None:
    found, warnings = normalise(url)
    assert (found, bool(warnings)) == (base_url, warned)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("api.example.com/v1", "http://api.example.com/v1"),
        ("ftp://host/v1", "is no http"),
        ("https://", "is no http"),
        ("https://host:99999/v1", "is no http"),
        ("https://host:0/v1", "is no http"),
        ("https://ho st/v1", "is no http"),
        ("https://[::1/v1", "is no http"),
        ("https://höst/v1", "is no http"),
        ("https://ann:secret@host/v1", "OPENAI_API_KEY"),
        ("https://host/v1?api-version=1", "query"),
        ("https://host/v1#x", "fragment"),
        ("sk-proj-abcdefghijklmnop", "must begin with http"),
    ],
)
def test_what_is_no_base_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(Faulty, match=words):
        normalise(url)
    (fault,) = examine({"OPENAI_BASE_URL": url}).faults
    assert fault.name == "OPENAI_BASE_URL"
    assert "secret" not in fault.reason
    assert "abcdefghijklmnop" not in fault.reason


@given(st.text(max_size=60))
def test_any_text_is_normalised_or_refused(url: str) -> None:
    try:
        base_url, _ = normalise(url)
    except Faulty:
        return
    assert normalise(base_url)[0] == base_url


def test_a_key_over_plain_http_to_a_far_host_is_warned_about() -> None:
    far = {"OPENAI_BASE_URL": "http://api.example.com/v1", "BIG_MODEL_NAME": "b", "SMALL_MODEL_NAME": "s"}
    assert load(far).warnings == ()
    assert "unencrypted" in load({**far, "OPENAI_API_KEY": OA}).warnings[0]


# A base URL that leads back here


@pytest.mark.parametrize(
    ("host", "url", "own"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434/v1", True),
        ("127.0.0.1", "http://localhost:11434/v1", True),
        ("127.0.0.1", "http://LOCALHOST:11434", True),
        ("localhost", "http://[::1]:11434/v1", True),
        ("127.0.0.1", "http://0.0.0.0:11434/v1", True),
        ("127.0.0.1", "http://me.lan:11434/v1", True),
        ("127.0.0.1", "http://127.0.0.1:11435/v1", False),
        ("127.0.0.1", "http://far.example:11434/v1", False),
        ("127.0.0.1", "http://192.168.1.9:11434/v1", False),
        ("192.168.1.9", "http://192.168.1.9:11434/v1", True),
        ("192.168.1.9", "http://192.168.1.8:11434/v1", False),
        ("192.168.1.9", "http://127.0.0.1:11434/v1", False),
        ("192.168.1.9", "http://box.lan:11434/v1", True),
        ("0.0.0.0", "http://192.168.1.9:11434/v1", True),
        ("0.0.0.0", "http://127.0.0.1:11434/v1", True),
        ("0.0.0.0", "http://192.168.1.8:11434/v1", False),
    ],
)
def test_the_proxys_own_address_is_refused(host: str, url: str, own: bool) -> None:
    known = {"me.lan": "127.0.1.1", "box.lan": "192.168.1.9", "": "192.168.1.9", "far.example": "203.0.113.7"}
    environ = {"HOST": host, "CCPROXY_OPEN": "1", "OPENAI_BASE_URL": url}
    found = examine(environ, resolve_name=lambda name: {known[name]} if name in known else set()).faults
    assert [fault.name for fault in found] == (["OPENAI_BASE_URL"] if own else [])


def test_default_ports_count() -> None:
    environ = {"PORT": "80", "OPENAI_BASE_URL": "http://localhost/v1"}
    assert [fault.name for fault in examine(environ).faults] == ["OPENAI_BASE_URL"]
    assert examine({**environ, "OPENAI_BASE_URL": "https://localhost/v1"}).faults == ()


def test_no_name_is_looked_up_when_the_ports_differ() -> None:
    def never(name: str) -> set[str]:
        raise AssertionError(name)

    assert examine({"OPENAI_BASE_URL": "https://far.example/v1"}, resolve_name=never).faults == ()
