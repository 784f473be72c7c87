"""CCPROXY_ROUTES in the settings: faults and warnings with the others, keys that are masked, routes that are reread."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy_sanic import catalog
from ccproxy_sanic.profiles import BUILTIN
from ccproxy_sanic.routing import Facts
from ccproxy_sanic.settings import Report, SettingsError, examine, load, reread

KEY = "sk-proj-0123456789abcdefghij"
OPENAI = {"OPENAI_API_KEY": KEY}
FILE = """\
[upstream.openai]
base_url = "https://api.openai.com/v1"
key_env = ["OPENAI_API_KEY_2", "CCPROXY_OTHER_KEY"]
[[rule]]
targets = ["openai:gpt-5"]
"""
KEYS = {"OPENAI_API_KEY_2": "k2", "CCPROXY_OTHER_KEY": "k3"}
ROUTED = {"CCPROXY_ROUTES": "r.toml", **KEYS}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(text: str = FILE, name: str = "r.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def faults(report: Report) -> list[str]:
    return list(map(str, report.faults))


def test_without_a_file_there_is_only_the_default_route() -> None:
    routing = load(OPENAI).routing
    assert load(OPENAI).routes is None
    assert (routing.default, routing.rules) == ("openai", ())
    assert load({}).routing.default == "demo"


def test_with_a_file_the_environments_upstream_is_called_default() -> None:
    put()
    routing = load(ROUTED | OPENAI).routing
    assert routing.default == "default"
    assert routing.models.big == "gpt-5-2025-08-07"


def test_with_a_file_the_demo_does_not_step_in() -> None:
    put()
    routing = load(ROUTED).routing
    assert routing.default is None
    assert routing.plan(Facts("x"), session="", pick=0).steps[0].upstream == "openai"
    put("")
    (fault,) = faults(examine({"CCPROXY_ROUTES": "r.toml"}))
    assert fault.startswith("CCPROXY_ROUTES: r.toml, line 1: a request that no rule takes has nowhere to go")


def test_keys_come_from_the_environment_and_from_the_file_of_it(tmp_path: Path) -> None:
    put()
    env_file = put("OPENAI_API_KEY_2=file\nCCPROXY_OTHER_KEY=file\n", ".env")
    settings = load({"CCPROXY_ROUTES": "r.toml", "CCPROXY_OTHER_KEY": "shell"}, env_file)
    assert settings.routes is not None
    assert [key.reveal() for key in settings.routes.upstreams[0].keys] == ["file", "shell"]
    hidden = examine({"CCPROXY_ROUTES": "r.toml", "CCPROXY_OTHER_KEY": ""}, env_file)
    assert faults(hidden)[0] == "CCPROXY_ROUTES: r.toml, line 3: key_env: CCPROXY_OTHER_KEY is not set"


def test_keys_of_the_file_are_secrets_and_their_variables_are_known() -> None:
    put()
    report = examine(ROUTED)
    assert report.settings is not None
    assert {secret.reveal() for secret in report.settings.secrets} == {"k2", "k3"}
    assert (report.faults, report.warnings) == ((), ())
    assert {"k2", "k3"}.isdisjoint(repr(report).replace("'", " ").split())


def test_variables_that_no_file_names_are_still_misspelt_ones() -> None:
    assert examine({"OPENAI_API_KEY_2": "x"}).warnings == (
        "OPENAI_API_KEY_2 is not read; did you mean OPENAI_API_KEY?",
    )


def test_faults_of_the_file_come_with_all_others() -> None:
    put(FILE.replace("[[rule]]", "[[rules]]"))
    found = faults(examine({**ROUTED, "PORT": "x"}))
    assert [fault.partition(":")[0] for fault in found] == ["PORT", "CCPROXY_ROUTES", "CCPROXY_ROUTES"]
    assert found[2] == "CCPROXY_ROUTES: r.toml, line 4: there is no section rules; did you mean rule?"


def test_warnings_of_the_file_come_with_all_others() -> None:
    put(FILE + "[[rule]]\ntargets = ['openai']\n")
    assert load(ROUTED).warnings == (
        "CCPROXY_ROUTES: r.toml, line 6: rule 2 never decides: rule 1 before it takes everything",
    )


def test_the_proxys_own_address_is_refused() -> None:
    put('[upstream.me]\nbase_url = "http://localhost:11434/v1"\n[[rule]]\ntargets = ["me"]\n')
    environ = {"CCPROXY_ROUTES": "r.toml"}
    (fault,) = faults(examine(environ, resolve_name=lambda name: ["127.0.0.1"]))
    assert (
        fault
        == "CCPROXY_ROUTES: r.toml, line 2: base_url: is this proxy's own address: it would call itself without end"
    )
    assert load({**environ, "PORT": "11435"}).routes is not None


@pytest.mark.parametrize(
    ("text", "api"), [("auto", None), ("Chat", "chat"), ("responses", "responses"), ("messages", "messages")]
)
def test_the_api_of_the_environments_upstream(text: str, api: str | None) -> None:
    assert load({"CCPROXY_API": text}).api == api


def test_an_api_that_does_not_exist_is_a_fault() -> None:
    assert faults(examine({"CCPROXY_API": "completions"})) == [
        "CCPROXY_API: must be one of auto, chat, responses, messages, not 'completions'"
    ]


def test_anthropic_itself_is_asked_for_its_own_models() -> None:
    settings = load({"OPENAI_BASE_URL": "https://api.anthropic.com", **OPENAI})
    assert settings.upstream.label == "anthropic"
    assert (settings.big_model_name, settings.small_model_name) == ("claude-opus-5-5", "claude-haiku-5-5")
    assert settings.warnings == ()


# Profiles


def test_a_profile_that_does_not_exist_is_a_fault_with_its_line() -> None:
    put(FILE.replace("[[rule]]", 'profile = "opanai"\n[[rule]]'))
    report = catalog.examined(ROUTED, None)
    assert report.settings is None
    assert faults(report) == [
        "CCPROXY_ROUTES: r.toml, line 4: profile: there is no profile 'opanai'; did you mean 'openai'?"
    ]


def test_a_profile_of_ones_own_is_taken() -> None:
    put(FILE.replace("[[rule]]", 'profile = "mine"\n[[rule]]'))
    put("[profile.mine]\ntop_k = true\n", "mine.toml")
    assert catalog.examined({**ROUTED, "CCPROXY_PROFILES": "mine.toml"}, None).settings is not None


def test_all_profiles_are_looked_up_at_once() -> None:
    put(FILE.replace("[[rule]]", 'profile = "x"\n[[rule]]'))
    found = faults(catalog.examined({**ROUTED, "CCPROXY_PROFILE": "y"}, None))
    assert [fault.split(":")[0] for fault in found] == ["CCPROXY_ROUTES", "CCPROXY_PROFILE"]


# Reread


def test_routes_and_keys_are_reread_and_nothing_else_changes() -> None:
    put()
    running = load(ROUTED)
    put(FILE.replace("gpt-5", "gpt-6"))
    found = reread(running, {**ROUTED, "CCPROXY_OTHER_KEY": "new", "PORT": "1", "LOG_LEVEL": "loud"})
    assert found.routes is not None
    assert found.routes.rules[0].targets[0].model == "gpt-6"
    assert found.routes.upstreams[0].keys[1].reveal() == "new"
    assert (found.port, found.log_level) == (running.port, running.log_level)


def test_a_faulty_file_is_refused_with_its_line() -> None:
    put()
    running = load(ROUTED)
    put(FILE + "x")
    with pytest.raises(SettingsError, match="CCPROXY_ROUTES: r.toml, line 6: "):
        reread(running, ROUTED)
    Path("r.toml").unlink()
    with pytest.raises(SettingsError, match="CCPROXY_ROUTES: names no file"):
        reread(running, ROUTED)


def test_a_running_proxy_neither_gets_nor_loses_its_file() -> None:
    put()
    for running, environ in ((load({}), ROUTED), (load(ROUTED), {})):
        with pytest.raises(SettingsError, match="is set or taken away by a restart only"):
            reread(running, environ)
    running = load({})
    assert reread(running, {}) == running


def test_what_runs_decides_whether_there_is_a_default() -> None:
    put()
    running = load(ROUTED)
    put(FILE.replace("openai:gpt-5", "default"))
    with pytest.raises(SettingsError, match="upstream default is the environment's"):
        reread(running, ROUTED | OPENAI)


def test_a_file_of_variables_that_is_gone_is_a_fault(tmp_path: Path) -> None:
    put()
    running = load(ROUTED)
    with pytest.raises(SettingsError, match="CCPROXY_ENV_FILE"):
        reread(running, {**ROUTED, "CCPROXY_ENV_FILE": "gone"})


def test_profiles_of_reread_routes_must_exist() -> None:
    put()
    running = load(ROUTED)
    assert catalog.reread(running, ROUTED, None, BUILTIN) == running
    put(FILE.replace("[[rule]]", 'profile = "x"\n[[rule]]'))
    with pytest.raises(SettingsError, match="r.toml, line 4: profile: there is no profile 'x'"):
        catalog.reread(running, ROUTED, None, BUILTIN)
