"""``ccproxy profiles`` and CCPROXY_PROFILES: what is said is what the resolver and the translation do."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ccproxy_sanic import catalog, cli, settings
from ccproxy_sanic.catalog import read
from ccproxy_sanic.profiles import BUILTIN, CatalogError, Profile, load, resolve
from ccproxy_sanic.profiles.switches import MEANINGS
from ccproxy_sanic.profiles_command import EXAMPLE, explanation, listing

ROOT = Path(__file__).parents[2]
OPENAI = "https://api.openai.com/v1"
MINE = """
[profile.mine]
based_on = "openai"
hosts = ["llm.example.com"]
temperature = true
[profile.deepseek]
vision = false
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mine(text: str = MINE) -> dict[str, str]:
    path = Path("mine.toml").absolute()
    path.write_text(text)
    return {"CCPROXY_PROFILES": str(path)}


def asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str, **environ: str
) -> tuple[int, str]:
    for name in [name for name in os.environ if name.startswith("CCPROXY_PROFILE")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return cli.main(["profiles", *words]), capsys.readouterr().out


def switches(text: str) -> dict[str, list[str]]:
    """The rows of an explanation: switch -> value, where."""
    rows = text.split("SWITCH")[1].split("All other")[0].splitlines()[1:]
    return {row.split()[0]: re.split(r"\s{2,}", row)[1:] for row in rows}


# the list


def test_every_profile_is_listed_with_platform_file_and_hosts() -> None:
    lines = {line.split()[0]: line.split() for line in listing(load(MINE, "mine.toml", BUILTIN)).splitlines()}
    assert set(lines) == {"NAME", "mine", *BUILTIN.names()}
    assert lines["mine"] == ["mine", "openai", "mine.toml", "llm.example.com"]
    assert lines["deepseek"][1:4] == ["deepseek", "hosted.toml,", "mine.toml"]
    assert lines["vllm"] == ["vllm", "vllm", "local.toml", "-"]


def test_the_command_lists_what_the_file_adds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = asked(capsys, monkeypatch, **mine())
    assert (code, text.splitlines()[1].split()[0]) == (0, "mine")


# the explanation


def sent(text: str, path: str) -> dict[str, Any]:
    """The body of the example."""
    body: dict[str, Any] = msgspec.json.decode(text.split(f"this is sent to {path}\n")[1].split("\n\nand ")[0])
    return body


@pytest.mark.parametrize(
    ("url", "model"),
    [
        (OPENAI, "gpt-5.4"),
        ("https://openrouter.ai/api/v1", "deepseek/deepseek-v3.2-exp"),
        ("https://api.moonshot.ai/v1", "kimi-k3"),
        ("http://localhost:1234/v1", "x"),
    ],
)
def test_all_that_differs_from_the_default_is_explained(url: str, model: str) -> None:
    rows = switches(explanation(url, model, None, BUILTIN))
    profile, plain = resolve(url, model), Profile(name="")
    differing = {name for name in Profile.__struct_fields__ if getattr(profile, name) != getattr(plain, name)}
    assert differing - {"name"} <= set(rows)
    for name, (value, _) in rows.items():
        if name not in ("effort", "extra", "web_search"):
            assert msgspec.json.decode(value) == getattr(profile, name)


def test_every_kind_of_table_is_named_and_what_it_replaces() -> None:
    text = explanation("https://llm.example.com/v1", "openai/o3:free", None, load(MINE, "mine.toml", BUILTIN))
    assert text.splitlines()[:2] == [
        "profile mine: llm.example.com is one of its hosts (llm.example.com)",
        "made of openai < mine",
    ]
    rows = switches(text)
    assert rows["mid_system"] == ['"stay"', "openai.toml [profile.openai]"]
    assert rows["temperature"] == [
        "false",
        "openai.toml [[profile.openai.family]] o3*, instead of true by mine.toml [profile.mine]",
    ]
    assert rows["max_output"] == ["100000", "models.toml [[limits]] o3"]
    assert "obfuscation" not in rows  # holds at OpenAI's own host only
    assert switches(explanation(OPENAI, "gpt-4o", None, BUILTIN))["obfuscation"][1].endswith("at_host")


def test_the_example_is_what_would_be_sent_and_says_what_was_changed() -> None:
    text = explanation(OPENAI, "gpt-5", None, BUILTIN)
    body = sent(text, "/responses")
    assert body["reasoning"]["effort"] == "medium"
    assert body["tools"][0]["name"] == "get_weather"
    assert "temperature" not in body
    assert text.splitlines()[-1].split()[:2] == ["sampling_dropped", "temperature"]


def test_the_example_is_in_the_api_that_the_upstream_is_spoken_to_in() -> None:
    text = explanation("https://openrouter.ai/api/v1", "openai/gpt-5", None, BUILTIN)
    assert sent(text, "/chat/completions")["reasoning"] == {"max_tokens": 8000}
    text = explanation("https://api.anthropic.com", "claude-opus-5-5", None, BUILTIN)
    assert sent(text, "/messages") == {"model": "claude-opus-5-5", **EXAMPLE}
    assert text.splitlines()[-1] == "and nothing was changed on the way"


def test_a_server_nobody_knows_is_looked_at_when_it_serves() -> None:
    assert "no profile claims localhost; when it serves" in explanation("localhost:8000", "m", None, BUILTIN)


def test_a_forced_profile_is_explained_as_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = asked(capsys, monkeypatch, "explain", "http://localhost:8000/v1", "qwen3", CCPROXY_PROFILE="vllm")
    assert (code, text.splitlines()[:2]) == (0, ["profile vllm: CCPROXY_PROFILE forces it", "made of generic < vllm"])
    assert "chat_template_kwargs" in text


@pytest.mark.parametrize(
    ("words", "environ", "line"),
    [
        (("explain", "http://[", "m"), {}, "fault: BASE_URL: is no http:// or https:// address"),
        ((), {"CCPROXY_PROFILE": "vlm"}, "fault: CCPROXY_PROFILE: there is no profile 'vlm'; did you mean 'vllm'?"),
    ],
)
def test_a_fault_is_one_line_and_code_2(
    words: tuple[str, ...],
    environ: dict[str, str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked(capsys, monkeypatch, *words, **environ) == (2, line + "\n")


# the file


FAULTY = [
    ("[profile.x]\nvison = true", "mine.toml: profile 'x': there is no switch 'vison'; did you mean 'vision'?"),
    ("[profile.x", "mine.toml: Expected ']'"),
    ('[profile.vllm]\neffort = "gone"', "mine.toml: profile 'vllm': effort 'gone' is no dialect"),
    ("[profile.generic]\nmax_output = true", "mine.toml: profile 'generic': Expected `int | null`, got `bool`"),
    ("\x00", "mine.toml: "),
]


@pytest.mark.parametrize(("text", "reason"), FAULTY)
def test_a_fault_in_the_file_is_one_line_of_check(text: str, reason: str) -> None:
    out = io.StringIO()
    assert cli.check(mine(text), out) == 2
    [line] = [line for line in out.getvalue().splitlines() if line.startswith("fault")]
    assert line.startswith(f"fault: CCPROXY_PROFILES: {reason}")


def test_a_file_that_is_no_text_is_one_line() -> None:
    path = Path("mine.toml")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogError, match=r"^mine.toml can't be read: it is no UTF-8 text$"):
        read(path)
    with pytest.raises(CatalogError, match=r"^gone.toml can't be read: No such file or directory$"):
        read(Path("gone.toml"))


def test_serve_says_the_fault_and_serves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ccproxy_sanic", "serve"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), **mine("[profile.x]\nvison = 1")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("fault: CCPROXY_PROFILES: mine.toml: profile 'x': there is no switch")
    assert "Traceback" not in done.stderr


def test_a_profile_of_the_file_can_be_forced() -> None:
    out = io.StringIO()
    assert cli.check(mine() | {"CCPROXY_PROFILE": "mine"}, out) == 0
    assert cli.check({"CCPROXY_PROFILE": "mine"}, out) == 2


def test_a_profile_that_is_not_there_fails_the_start() -> None:
    with pytest.raises(CatalogError, match="no profile 'mine'"):
        catalog.required(settings.load({"CCPROXY_PROFILE": "mine"}))


def test_a_change_that_spoils_another_profile_is_a_fault() -> None:
    with pytest.raises(CatalogError, match="is based on itself"):
        load('[profile.generic]\nbased_on = "vllm"', "mine.toml", BUILTIN)


def test_limits_may_name_a_model_as_clients_do() -> None:
    catalog = load('[[limits]]\nmodels = ["Our/Model:free"]\nset = { max_output = 5 }', "mine.toml", BUILTIN)
    assert resolve("http://127.0.0.1:1", "our/model", catalog=catalog).max_output == 5


# the pages


def test_every_switch_has_a_meaning() -> None:
    assert {"name", *MEANINGS} == set(Profile.__struct_fields__)


def test_the_pages_are_what_the_tables_say() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from write_docs import pages
    finally:
        sys.path.pop(0)
    assert {path.name for path in pages()} == {"settings.md", "adjustments.md", "profiles.md", "metrics.md"}
    for path, text in pages().items():
        assert path.read_text("utf-8") == text, "run: python scripts/write_docs.py"
    assert "| `mid_system` |" in (ROOT / "docs" / "profiles.md").read_text("utf-8")


def test_the_examples_of_the_page_are_good() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "profiles.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    catalog = load("\n".join(blocks), "docs", BUILTIN)
    office = resolve("https://llm.example.com/v1", "qwen3-coder", catalog=catalog)
    assert (office.name, office.temperature, office.prefill) == ("office", False, "continue_final_message")
