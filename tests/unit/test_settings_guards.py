"""What the settings of guards, tracing and error records mean together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy_sanic import settings_guards
from ccproxy_sanic.settings import Fault, examine, load

TOKENS = {"CCPROXY_AUTH_TOKENS": "ann:token-of-ann-1234"}


def faults(**environ: str) -> list[Fault]:
    return list(examine(environ).faults)


def test_tracing_without_its_packages_is_a_fault_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_guards, "find_spec", lambda name: None)
    [fault] = faults(TRACING_ENABLED="1")
    assert fault.name == "TRACING_ENABLED"
    assert "pip install 'ccproxy-sanic[tracing]'" in fault.reason
    assert faults(TRACING_ENABLED="0") == []


def test_tracing_without_even_the_package_around_it_is_the_same_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(settings_guards, "find_spec", missing)
    assert [fault.name for fault in faults(TRACING_ENABLED="1", TRACING_EXPORTER="console")] == ["TRACING_ENABLED"]


def test_the_console_needs_no_package_for_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_guards, "find_spec", lambda name: None if "otlp" in name else object())
    assert faults(TRACING_ENABLED="1", TRACING_EXPORTER="console") == []
    assert [fault.name for fault in faults(TRACING_ENABLED="1")] == ["TRACING_ENABLED"]


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://", "http:///path"])
def test_an_endpoint_that_is_no_address_is_a_fault(url: str) -> None:
    assert [fault.name for fault in faults(TRACING_ENDPOINT=url)] == ["TRACING_ENDPOINT"]


def test_every_page_may_call_only_where_a_token_or_openness_says_so() -> None:
    cors = {"ENABLE_CORS": "1", "CORS_ALLOW_ORIGINS": "*"}
    assert [fault.name for fault in faults(**cors)] == ["CORS_ALLOW_ORIGINS"]
    assert faults(**cors, **TOKENS) == faults(**cors, CCPROXY_OPEN="1") == []
    assert faults(ENABLE_CORS="1", CORS_ALLOW_ORIGINS="https://a.example") == []


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/page", "https://", "https://*.a.example"])
def test_what_no_browser_sends_as_origin_is_a_fault(origin: str) -> None:
    assert [fault.name for fault in faults(CORS_ALLOW_ORIGINS=origin)] == ["CORS_ALLOW_ORIGINS"]


def test_origins_and_hosts_are_kept_as_browsers_write_them() -> None:
    conf = load(
        {
            **TOKENS,
            "ENABLE_CORS": "1",
            "CORS_ALLOW_ORIGINS": "HTTPS://A.example/, http://localhost:3000",
            "ALLOWED_HOSTS": "Api.Example.org., *.example.com, [::1]",
        }
    )
    assert conf.cors_allow_origins == ("https://a.example", "http://localhost:3000")
    assert conf.allowed_hosts == ("api.example.org", "*.example.com", "::1")


@pytest.mark.parametrize("host", ["https://a.example", "a.example:80", "a.example/x", "a.*.example", "a b"])
def test_what_is_no_host_name_is_a_fault(host: str) -> None:
    assert [fault.name for fault in faults(ALLOWED_HOSTS=host)] == ["ALLOWED_HOSTS"]


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"ENABLE_CORS": "1"}, "ENABLE_CORS"),
        ({"CORS_ALLOW_ORIGINS": "https://a.example"}, "CORS_ALLOW_ORIGINS"),
        ({"TRACING_ENDPOINT": "http://c:4318/v1/traces", "TRACING_EXPORTER": "console"}, "TRACING_ENDPOINT"),
    ],
)
def test_what_has_no_effect_is_said(environ: dict[str, str], name: str) -> None:
    assert [warning.split()[0] for warning in load(environ).warnings if "no effect" in warning] == [name]


def test_error_records_have_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [fault.name for fault in faults(ERROR_TRACKING_FILE="./error.jsonl")] == ["ERROR_TRACKING_FILE"]
    assert faults(ERROR_TRACKING_FILE="error.jsonl", ERROR_TRACKING_ENABLED="0") == []
    assert load({"ERROR_TRACKING_FILE": ""}).error_tracking_file is None


def test_a_file_of_error_records_that_was_named_must_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    logs = {"LOG_FILE_PATH": "", "ERROR_LOG_FILE_PATH": ""}
    assert [fault.name for fault in faults(**logs, ERROR_TRACKING_FILE=str(tmp_path / "e.jsonl"))] == [
        "ERROR_TRACKING_FILE"
    ]
    conf = load(logs)
    assert conf.error_tracking_file is None
    assert any("ERROR_TRACKING_FILE" in warning for warning in conf.warnings)
