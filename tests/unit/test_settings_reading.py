"""Environment and .env become one Settings, or a list of everything that is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.settings import Report, Secret, Settings, SettingsError, examine, load
from ccproxy_sanic.settings_table import SECTIONS, TABLE, markdown

KEY = "sk-proj-0123456789abcdefghij"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of logs are relative."""
    monkeypatch.chdir(tmp_path)


def env_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / ".env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def faults(environ: dict[str, str], path: Path | None = None) -> dict[str, str]:
    return {fault.name: fault.reason for fault in examine(environ, path).faults}


def test_nothing_set_is_the_demo_on_loopback() -> None:
    settings = load({})
    assert settings.upstream.demo
    assert (settings.host, settings.port) == ("127.0.0.1", 11_434)
    assert settings.warnings == ()
    assert (settings.log_file_path, settings.error_log_file_path) == (Path("log.jsonl"), Path("error.jsonl"))
    assert (settings.rate_limit_per_minute, settings.max_concurrent, settings.upstream_slots) == (None, None, None)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = env_file(tmp_path, "PORT=1000\nHOST=localhost\nBIG_MODEL_NAME=b\n")
    report = examine({"PORT": "2000", "BIG_MODEL_NAME": ""}, path)
    assert report.settings is not None
    assert (report.settings.port, report.settings.host) == (2000, "localhost")
    assert report.settings.big_model_name == "demo-big"  # an empty value in the environment hides the file's
    assert [report.sources[name] for name in ("PORT", "HOST", "BIG_MODEL_NAME")] == ["environment", ".env", "default"]


def test_the_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    text = (
        "\ufeff# comment\nexport HOST = 'localhost'\n\nPORT=1234 # why\r\n"
        f'OPENAI_API_KEY="{KEY}"\nBIG_MODEL_NAME=${{HOME}}x\nSMALL_MODEL_NAME\nno good line here\n'
    )
    report = examine({}, env_file(tmp_path, text))
    assert report.settings is not None
    assert (report.settings.host, report.settings.port) == ("localhost", 1234)
    assert report.settings.openai_api_key == Secret(KEY)
    assert report.settings.big_model_name == "${HOME}x"  # nothing of the caller's environment gets in
    assert report.warnings == (".env, line 8: is not NAME=value and is left out",)


def test_a_missing_file_is_nothing_unless_it_was_named(tmp_path: Path) -> None:
    assert load({}, tmp_path / ".env").port == 11_434
    assert "No such file" in faults({"CCPROXY_ENV_FILE": str(tmp_path / "gone")})["CCPROXY_ENV_FILE"]


def test_a_named_file_is_read_instead(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("PORT=7000")
    path = env_file(tmp_path, "PORT=8000")
    assert load({"CCPROXY_ENV_FILE": str(tmp_path / "other")}, path).port == 7000


def test_a_file_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    assert "UTF-8" in faults({}, env_file(tmp_path, b"PORT=\xff\xfe"))["CCPROXY_ENV_FILE"]


def test_every_fault_is_said_at_once() -> None:
    wrong = {
        "PORT": "abc",
        "HOST": "0.0.0.0",
        "LOG_LEVEL": "loud",
        "CCPROXY_ENGINE": "curl",
        "CCPROXY_OPN": "1",
        "CCPROXY_MODEL_MAP": "a",
        "OPENAI_BASE_URL": "ftp://x",
        "CCPROXY_IDLE_TIMEOUT": "soon",
    }
    with pytest.raises(SettingsError) as caught:
        load(wrong)
    assert {fault.name for fault in caught.value.faults} == set(wrong)
    assert str(caught.value).count("\n") == len(wrong) - 1
    assert all(name in str(caught.value) for name in wrong)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CCPROXY_AUTH_TOKEN", "CCPROXY_AUTH_TOKENS"),
        ("CCPROXY_MAXBODYMB", "CCPROXY_MAX_BODY_MB"),
        ("ccproxy_strict", "CCPROXY_STRICT"),
        ("CCPROXY_STREAM_TIME", "CCPROXY_STREAM_TIMEOUT"),
    ],
)
def test_a_misspelt_name_of_ours_is_a_fault_with_the_nearest(name: str, near: str) -> None:
    assert faults({name: "x"}) == {name: f"there is no such setting; did you mean {near}?"}


def test_a_name_of_ours_that_is_like_nothing_is_a_fault_too() -> None:
    assert faults({"CCPROXY_QQQ": "x"}) == {"CCPROXY_QQQ": "there is no such setting"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("OPENAI_BASEURL", "OPENAI_BASE_URL"),
        ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
        ("BIG_MODEL_NAMES", "BIG_MODEL_NAME"),
        ("LOGLEVEL", "LOG_LEVEL"),
    ],
)
def test_a_foreign_name_close_to_ours_is_a_warning(name: str, near: str) -> None:
    assert examine({name: "x"}).warnings == (f"{name} is not read; did you mean {near}?",)


# The names of the original that mean nothing here, and what any shell holds.
OTHERS = [
    *("APP_NAME", "APP_VERSION", "REFERER_URL", "LOG_PRETTY_CONSOLE"),
    *(
        "RELOAD",
        "IS_LOCAL_DEPLOYMENT",
        "MAX_STREAM_SECONDS",
    ),
    *("PATH", "HOME", "HOSTNAME", "LANG", "PWD", "TERM", "USER", "SHELL"),
    *("FTP_PROXY", "ftp_proxy", "SOCKS_PROXY", "RSYNC_PROXY", "GIT_HTTP_PROXY", "npm_config_https_proxy"),
    *("MAKELEVEL", "SSL_CERT_DIR", "ANTHROPIC_API_KEY", "OPENAI_ORG_ID", "DYNO", "PYTHONPATH"),
]


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_nobodys_business(name: str) -> None:
    report = examine({name: "x"})
    assert (report.faults, report.warnings) == ((), ())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "0", 0),
        ("PORT", " 8080 ", 8080),
        ("CCPROXY_STRICT", "Yes", True),
        ("CCPROXY_STRICT", "off", False),
        ("CCPROXY_IDLE_TIMEOUT", "1.5", 1.5),
        ("CCPROXY_GRACE", "0", 0.0),
        ("CCPROXY_MAX_CONCURRENT", "0", None),
        ("CCPROXY_MAX_CONCURRENT", "unlimited", None),
        ("CCPROXY_UPSTREAM_SLOTS", "64", 64),
        ("CCPROXY_UNKNOWN_MODEL", "SMALL", "small"),
        ("CCPROXY_MODEL_MAP", " a = b/c , d=e,", {"a": "b/c", "d": "e"}),
        ("CCPROXY_MODEL_MAP", "a=b=c", {"a": "b=c"}),
        ("LOG_LEVEL", "warn", "WARNING"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_FILE_PATH", "", None),
        ("ERROR_LOG_FILE_PATH", "", None),
        ("CCPROXY_CACHE", "off", "off"),
        ("CCPROXY_ENGINE", "httpx", "httpx"),
    ],
)
def test_a_value_is_read(name: str, text: str, value: object) -> None:
    assert getattr(load({name: text}), TABLE[name].attribute) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("PORT", "1e3"),
        ("PORT", "٣٤"),
        ("CCPROXY_STRICT", "maybe"),
        ("CCPROXY_IDLE_TIMEOUT", "nan"),
        ("CCPROXY_IDLE_TIMEOUT", "inf"),
        ("CCPROXY_IDLE_TIMEOUT", "0"),
        ("CCPROXY_MAX_CONCURRENT", "-1"),
        ("CCPROXY_MAX_BODY_MB", "0"),
        ("CCPROXY_UNKNOWN_MODEL", "refuse"),
        ("CCPROXY_MODEL_MAP", "a"),
        ("CCPROXY_MODEL_MAP", "a=b,a=c"),
        ("CCPROXY_MODEL_MAP", "=b"),
        ("CCPROXY_CACHE", "some"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FILE_PATH", "gone/log.jsonl"),
        ("LOG_FILE_PATH", "."),
        ("CCPROXY_CA_FILE", "gone.pem"),
        ("SSL_CERT_FILE", "gone.pem"),
        ("OPENAI_API_KEY", "two words"),
        ("OPENAI_API_KEY", "sk-“quoted”"),
        ("CCPROXY_AUTH_TOKENS", "a b:token"),
        ("CCPROXY_AUTH_TOKENS", "ann:"),
        ("CCPROXY_AUTH_TOKENS", "ann:one,ann:two"),
        ("CCPROXY_AUTH_TOKENS", "ann:same,bob:same"),
        ("BIG_MODEL_NAME", "a\x1bb"),
    ],
)
def test_a_wrong_value_is_a_fault_of_its_variable(name: str, text: str) -> None:
    assert list(faults({name: text})) == [name]


def test_a_faulty_value_leaves_the_default_in_the_report() -> None:
    report = examine({"PORT": "x"})
    assert (report.settings, report.values["PORT"]) == (None, 11_434)


# Secrets


@pytest.mark.parametrize("name", [name for name, setting in TABLE.items() if setting.secret])
def test_a_secret_is_in_no_text(name: str) -> None:
    for text in (KEY, f"{KEY} and more", f"ann:{KEY}", f"ann:{KEY},ann:{KEY}x", f"a b:{KEY}", f"{KEY}\n{KEY}"):
        report = examine({name: text})
        assert KEY not in repr(report) + str(report.faults) + str(report.warnings)


@pytest.mark.parametrize("name", TABLE)
def test_a_key_in_the_wrong_variable_is_in_no_text(name: str) -> None:
    report = examine({name: KEY}, resolve_name=lambda name: ())
    shown = f"{report.faults} {report.warnings}"
    assert KEY not in shown


def test_a_secret_prints_as_stars_everywhere() -> None:
    secret = Secret(KEY)
    assert f"{secret} {secret!r} {secret:>5} {[secret]} %s" % secret == "*** ***   *** [***] ***"
    assert secret.reveal() == KEY
    assert secret == Secret(KEY) != Secret("x")
    assert len({secret, Secret(KEY)}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def test_settings_name_all_their_secrets() -> None:
    settings = load(
        {
            "OPENAI_API_KEY": "k1",
            "OPENROUTER_API_KEY": "k2",
            "CCPROXY_CARRIER_KEY": "k3",
            "CCPROXY_AUTH_TOKENS": "t1,t2",
        }
    )
    assert [secret.reveal() for secret in settings.secrets] == ["k1", "k2", "k3", "t1", "t2"]


# What depends on more than one variable


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "app.localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert load({"HOST": host}).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "example.org", "2001:db8::1"])
def test_an_address_that_can_be_reached_needs_a_token_or_a_word(host: str) -> None:
    assert "CCPROXY_OPEN=1" in faults({"HOST": host})["HOST"]
    assert load({"HOST": host, "CCPROXY_OPEN": "1"}).host == host
    assert load({"HOST": host, "CCPROXY_AUTH_TOKENS": "x" * 20}).host == host
    assert list(faults({"HOST": host, "CCPROXY_OPEN": "0"})) == ["HOST"]


def test_tokens_have_names() -> None:
    tokens = load({"CCPROXY_AUTH_TOKENS": f"ann:{'a' * 16}, {'b' * 16} ,c.d@e:{'c' * 16}:x"}).auth_tokens
    assert [token.name for token in tokens] == ["ann", "caller2", "c.d@e"]
    assert tokens[2].token.reveal() == "c" * 16 + ":x"


def test_short_tokens_are_warned_about() -> None:
    assert "CCPROXY_AUTH_TOKENS" in load({"CCPROXY_AUTH_TOKENS": "short"}).warnings[0]


@pytest.mark.parametrize(
    ("given_names", "per_minute"),
    [
        ({}, None),
        ({"RATE_LIMIT_ENABLED": "1"}, 60),
        ({"RATE_LIMIT_ENABLED": "0", "RATE_LIMIT_PER_MINUTE": "5"}, None),
        ({"RATE_LIMIT_PER_MINUTE": "5"}, 5),
        ({"RATE_LIMIT_PER_MINUTE": "5", "RATE_LIMIT_ENABLED": "true"}, 5),
        ({"RATE_LIMIT_BURST": "5"}, None),
    ],
)
def test_the_rate_limit_is_off_until_somebody_sets_it(given_names: dict[str, str], per_minute: int | None) -> None:
    settings = load(given_names)
    assert (settings.rate_limit_per_minute, settings.rate_limit_enabled) == (per_minute, per_minute is not None)
    assert bool(settings.warnings) is ("RATE_LIMIT_BURST" in given_names)


def test_our_certificate_file_goes_before_the_usual_one(tmp_path: Path) -> None:
    ours, usual = tmp_path / "ours.pem", tmp_path / "usual.pem"
    ours.touch()
    usual.touch()
    assert load({"SSL_CERT_FILE": str(usual)}).ca_file == usual
    assert load({"SSL_CERT_FILE": str(usual), "CCPROXY_CA_FILE": str(ours)}).ca_file == ours


def test_a_folder_where_nothing_can_be_written_costs_the_default_logs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    settings = load({})
    assert (settings.log_file_path, settings.error_log_file_path, settings.error_tracking_file) == (None, None, None)
    assert len(settings.warnings) == 3
    assert list(faults({"LOG_FILE_PATH": "log.jsonl"})) == ["LOG_FILE_PATH"]


def test_both_logs_in_one_file_is_a_fault() -> None:
    assert list(faults({"LOG_FILE_PATH": "a.jsonl", "ERROR_LOG_FILE_PATH": "./a.jsonl"})) == ["ERROR_LOG_FILE_PATH"]


@given(
    st.dictionaries(
        st.sampled_from(list(TABLE)), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
    )
)
def test_any_values_give_settings_or_faults(environ: dict[str, str]) -> None:
    report = examine({**environ, "CCPROXY_ENV_FILE": ""}, resolve_name=lambda name: ())
    assert isinstance(report, Report)
    assert (report.settings is None) == bool(report.faults)
    assert {fault.name for fault in report.faults} <= TABLE.keys()


# The table


def test_every_row_is_a_field_and_every_field_a_row() -> None:
    rows = {setting.attribute for setting in TABLE.values() if not setting.elsewhere}
    assert rows | {"upstream", "warnings"} == set(Settings.__struct_fields__)
    assert sum(map(len, SECTIONS.values())) == len(TABLE)


def test_every_default_can_be_written_as_a_value() -> None:
    for setting in TABLE.values():
        if setting.default is not None and not setting.shown:
            assert setting.parse(setting.default_text) == setting.default, setting.name


def test_the_page_of_settings_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text("utf-8") == markdown(), "run: python scripts/write_docs.py"
