"""``ccproxy check`` and what the command says about itself."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ccproxy_sanic import cli
from ccproxy_sanic.settings import load
from ccproxy_sanic.settings_table import TABLE

ROOT = Path(__file__).parents[2]
KEY = "sk-proj-0123456789abcdefghij"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checked(environ: Mapping[str, str]) -> tuple[int, str]:
    out = io.StringIO()
    code = cli.check(environ, out)
    return code, out.getvalue()


def row(text: str, name: str) -> list[str]:
    (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == [name]]
    return line[1:]


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a process, with an environment of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ccproxy_sanic", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_setting_is_shown_with_its_source() -> None:
    Path(".env").write_text("BIG_MODEL_NAME=from-file\n")
    code, text = checked({"PORT": "1234", "CCPROXY_MODEL_MAP": "a=b,c=d"})
    assert code == 0
    for name, setting in TABLE.items():
        assert setting.elsewhere or row(text, name)
    assert row(text, "PORT") == ["1234", "environment"]
    assert row(text, "BIG_MODEL_NAME") == ["from-file", ".env"]
    assert row(text, "SMALL_MODEL_NAME") == ["demo-small", "default"]
    assert row(text, "CCPROXY_MODEL_MAP") == ["a=b,c=d", "environment"]
    assert row(text, "CCPROXY_CA_FILE") == ["-", "default"]
    assert row(text, "CCPROXY_STRICT") == ["0", "default"]
    assert "requests go to the embedded demo model, without a key" in text


def test_secrets_are_stars_and_tokens_have_their_names() -> None:
    code, text = checked({"OPENAI_API_KEY": KEY, "CCPROXY_AUTH_TOKENS": f"ann:{KEY}a,{KEY}b"})
    assert code == 0
    assert KEY not in text
    assert row(text, "OPENAI_API_KEY") == ["***", "environment"]
    assert row(text, "CCPROXY_AUTH_TOKENS") == ["***", "(ann,", "caller2)", "environment"]
    assert "requests go to openai at https://api.openai.com/v1, with a key" in text


@pytest.mark.parametrize("name", [name for name, setting in TABLE.items() if not setting.elsewhere])
def test_a_key_in_any_variable_is_not_shown(name: str) -> None:
    assert KEY not in checked({name: KEY})[1]


def test_all_faults_are_listed_and_the_code_is_2() -> None:
    code, text = checked({"PORT": "x", "CCPROXY_STRIKT": "1", "OPENAI_BASEURL": "y", "OPENAI_BASE_URL": "z"})
    assert code == 2
    lines = [line for line in text.splitlines() if line.startswith(("fault", "warning"))]
    assert lines == [
        "warning: OPENAI_BASEURL is not read; did you mean OPENAI_BASE_URL?",
        "fault: PORT: must be a whole number from 0 to 65535, not 'x'",
        "fault: CCPROXY_STRIKT: there is no such setting; did you mean CCPROXY_STRICT?",
        "fault: OPENAI_BASE_URL: must begin with http:// or https://, as in http://z",
    ]
    assert "requests go to" not in text


def test_check_as_a_process_sees_its_environment_and_folder_only(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\n")
    done = run(tmp_path, "check", PORT="1234")
    assert (done.returncode, done.stderr) == (0, "")
    assert row(done.stdout, "LOG_LEVEL") == ["DEBUG", ".env"]
    assert row(done.stdout, "PORT") == ["1234", "environment"]
    assert run(tmp_path, "check", CCPROXY_NOPE="1").returncode == 2


def test_serve_says_all_faults_and_serves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", HOST="0.0.0.0", LOG_LEVEL="loud")
    assert done.returncode == 2
    assert [line.split(":")[:2] for line in done.stderr.splitlines()[:2]] == [
        ["fault", " LOG_LEVEL"],
        ["fault", " HOST"],
    ]
    assert "check shows all settings" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize(("arguments", "words"), [(["--version"], "ccproxy "), (["--help"], "serve")])
def test_the_command_explains_itself(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["sevre"], ["check", "--port"], ["serve", "extra"]])
def test_what_it_does_not_know_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: ccproxy" in capsys.readouterr().err


def test_demo_hands_its_arguments_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ccproxy"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--help"])
    assert ended.value.code == 0
    assert "--pace" in capsys.readouterr().out


# The banner


def test_the_banner_of_a_first_run_says_it_is_the_demo_and_how_to_go_on() -> None:
    lines = cli.banner(load({}), "make run").splitlines()
    assert lines[0].endswith("on http://127.0.0.1:11434")
    assert lines[1] == "  no key is set: the embedded demo model answers, a script"
    assert [line.split("=")[0].split()[-1] for line in lines[2:5]] == [
        *("OPENAI_API_KEY", "OPENROUTER_API_KEY", "OPENAI_BASE_URL")
    ]
    assert all("make run" in line for line in lines[2:5])
    assert lines[5:] == [
        "  Claude Code:      ANTHROPIC_BASE_URL=http://127.0.0.1:11434 ANTHROPIC_AUTH_TOKEN=any claude"
    ]


def test_the_banner_of_a_real_upstream_names_it_and_no_key() -> None:
    text = cli.banner(load({"OPENAI_API_KEY": KEY, "CCPROXY_AUTH_TOKENS": f"ann:{KEY}"}), "ccproxy serve")
    assert "openai (https://api.openai.com/v1), big gpt-5-2025-08-07, small gpt-5-mini-2025-08-07" in text
    assert "demo" not in text
    assert KEY not in text
    assert "ANTHROPIC_AUTH_TOKEN='<one of CCPROXY_AUTH_TOKENS>'" in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("localhost", "http://localhost:11434"),
    ],
)
def test_the_address_in_the_banner_can_be_typed(host: str, url: str) -> None:
    assert cli.address(load({"HOST": host, "CCPROXY_OPEN": "1"})) == url


@pytest.mark.parametrize(
    ("called", "environ", "command"),
    [
        ("/bin/sh", {"PATH": "/bin"}, "sh serve"),
        ("/bin/sh", {"PATH": "/nowhere"}, f"{os.path.relpath('/bin/sh', '/one/two')} serve"),
        ("/x/ccproxy_sanic/__main__.py", {}, "python -m ccproxy_sanic serve"),
        ("/usr/bin/ccproxy", {"MAKELEVEL": "1"}, "make run"),
    ],
)
def test_the_command_is_named_as_it_was_called(
    called: str, environ: dict[str, str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("os.getcwd", lambda: "/one/two")
    assert cli.command_line(environ, "serve") == command


def test_an_upstream_behind_a_proxy_is_said_without_credentials() -> None:
    code, text = checked(
        {"OPENAI_API_KEY": KEY, "https_proxy": "http://ann:p4ss-w0rd@proxy.corp:3128", "NO_PROXY": "a,b"}
    )
    assert code == 0
    assert text.splitlines()[-1] == (
        "upstream openai is reached through the proxy http://proxy.corp:3128 with the httpx engine"
    )
    assert row(text, "HTTPS_PROXY") == ["http://proxy.corp:3128", "environment"]
    assert row(text, "NO_PROXY") == ["a,b", "environment"]
    assert "p4ss-w0rd" not in text
