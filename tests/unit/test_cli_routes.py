"""``ccproxy check`` with routes, ``ccproxy check --route``, and what the first lines of ``serve`` say of them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from ccproxy_sanic import cli
from ccproxy_sanic.settings import load

KEY = "sk-proj-0123456789abcdefghij"
ROUTED = {"CCPROXY_ROUTES": "r.toml", "A_KEY": KEY, "B_KEY": f"{KEY}b"}
FILE = """\
[upstream.cloud]
base_url = "https://api.openai.com/v1"
key_env = ["A_KEY", "B_KEY"]
api = "responses"
slots = 20
headers = { x-title = "title of mine" }
[upstream.local]
base_url = "http://127.0.0.1:8080/v1"
[[rule]]
name = "long"
model = ["claude-opus-*", "gpt-5"]
over_tokens = 60000
images = false
targets = [
  { upstream = "cloud", model = "gpt-5.6", weight = 3 }, { upstream = "local", weight = 1 }, "cloud:gpt-5",
]
[[rule]]
role = "subagent"
thinking = true
under_tokens = 9
targets = ["local:qwen3"]
[[rule]]
targets = ["cloud"]
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(FILE)


def checked(environ: dict[str, str]) -> tuple[int, str]:
    out = io.StringIO()
    return cli.check(environ, out), out.getvalue()


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the lines below a heading, up to an empty line."""
    lines = text.split(f"\n{heading} ", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [re.split(r" {2,}", line) for line in lines]


def test_check_shows_upstreams_and_rules() -> None:
    code, text = checked(ROUTED)
    assert code == 0
    assert KEY not in text
    assert rows(text, "UPSTREAM") == [
        ["cloud", "https://api.openai.com/v1", "*** x2", "api responses, slots 20, headers x-title"],
        ["local", "http://127.0.0.1:8080/v1", "-", "-"],
    ]
    assert rows(text, "RULE") == [
        [
            "1. long",
            "model claude-opus-* or gpt-5, over 60000 tokens, no images",
            "cloud:gpt-5.6 (75 %) or local (25 %), then cloud:gpt-5",
        ],
        ["2. rule 2", "role subagent, under 9 tokens, thinking", "local:qwen3"],
        ["3. rule 3", "always", "cloud"],
    ]
    assert "requests go to" not in text
    assert "demo model" not in text


def test_check_shows_the_environments_upstream_beside_them() -> None:
    code, text = checked({**ROUTED, "OPENAI_API_KEY": KEY})
    assert code == 0
    assert rows(text, "UPSTREAM")[-1] == ["default", "https://api.openai.com/v1", "from the environment"]
    assert rows(text, "RULE")[-1] == ["default", "no rule before decides", "default, big or small model"]
    assert "requests that no rule takes go to openai at https://api.openai.com/v1, with a key" in text


def test_check_says_faults_and_warnings_of_the_file() -> None:
    Path("r.toml").write_text(FILE + "[[rule]]\nname = 'late'\ntargets = ['cloud']\n")
    assert "warning: CCPROXY_ROUTES: r.toml, line 24: late never decides" in checked(ROUTED)[1]
    Path("r.toml").write_text(FILE.replace('"local:qwen3"', '"lokal:qwen3"'))
    code, text = checked(ROUTED)
    assert code == 2
    assert "fault: CCPROXY_ROUTES: r.toml, line 21: there is no upstream lokal; did you mean local?" in text


def routed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    for name, value in ROUTED.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["check", "--route", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_route_is_explained_with_the_rules_that_do_not_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("claude-haiku-5-5", "--role", "subagent", "--tokens", "8", "--thinking")
    assert routed(capsys, monkeypatch, *asked) == [
        "no:   long (model claude-opus-* or gpt-5, over 60000 tokens, no images): model does not fit",
        "yes:  rule 2 (role subagent, under 9 tokens, thinking)",
        "  1.  local  qwen3  http://127.0.0.1:8080/v1",
    ]
    lines = routed(capsys, monkeypatch, "claude-opus-5-5[1m]", "--images", "--tokens", "60001")
    assert [line.rpartition(": ")[2] for line in lines[:2]] == ["images does not fit", "role does not fit"]
    assert lines[2:] == ["yes:  rule 3 (always)", "  1.  cloud  claude-opus-5-5  https://api.openai.com/v1"]


def test_a_session_has_its_own_order(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("gpt-5", "--tokens", "60001", "--session")
    plans = {tuple(routed(capsys, monkeypatch, *asked, f"s{n}")) for n in range(20)}
    assert {plan[1].split()[1] for plan in plans} == {"cloud", "local"}
    assert all(plan[0].startswith("yes:  long") and len(plan) == 4 for plan in plans)
    assert routed(capsys, monkeypatch, *asked[:-1])[-1] == (
        "without a session, chance picks anew for each request: cloud:gpt-5.6 (75 %) or local (25 %), then cloud:gpt-5"
    )


def test_without_a_file_the_route_is_the_models_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("CCPROXY_ROUTES", raising=False)
    assert cli.main(["check", "--route", "claude-haiku-5-5"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "yes:  default (no rule before decides)",
        "  1.  openai  gpt-5-mini-2025-08-07  https://api.openai.com/v1",
    ]
    monkeypatch.delenv("OPENAI_API_KEY")
    assert cli.main(["check", "--route", "x"]) == 0
    assert capsys.readouterr().out.endswith("  1.  demo  x  the embedded demo model\n")


def test_a_route_is_not_explained_by_faulty_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCPROXY_ROUTES", "gone.toml")
    assert cli.main(["check", "--route", "x"]) == 2
    assert capsys.readouterr().out == "fault: CCPROXY_ROUTES: names no file: 'gone.toml'\n"


@pytest.mark.parametrize("words", [["--role", "main"], ["--tokens", "5"], ["--images"], ["--session", "x"]])
def test_a_request_without_a_model_is_no_question(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", *words])
    assert ended.value.code == 2
    assert "--route MODEL" in capsys.readouterr().err


def test_the_banner_says_that_there_are_routes() -> None:
    lines = cli.banner(load(ROUTED), "ccproxy serve").splitlines()
    assert lines[1] == "  routes:           3 rules over cloud, local"
    assert "ANTHROPIC_BASE_URL" in lines[2]
    lines = cli.banner(load({**ROUTED, "OPENAI_API_KEY": KEY}), "ccproxy serve").splitlines()
    assert lines[1].startswith("  routes:")
    assert lines[2].startswith("  upstream:         openai (https://api.openai.com/v1), big")
