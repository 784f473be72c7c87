"""The file of routes: what is read, and every fault with its line, all at once."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic.masking import Secret
from ccproxy_sanic.routing import Rule, Target
from ccproxy_sanic.routing.file import Routes, RoutesError, UpstreamSpec, read

KEY = "sk-proj-0123456789abcdefghij"
NAMES = {"A_KEY": KEY, "B_KEY": "other", "EMPTY_KEY": " ", "BAD_KEY": "two words", "MISTRAL_API_KEY": "m"}
UP = '[upstream.a]\nbase_url = "https://a.example/v1"\n'
LAST = '[[rule]]\ntargets = ["a"]\n'
FULL = f"""\
{UP}key_env = ["A_KEY", "B_KEY", "A_KEY"]
profile = "openai"
api = "Responses"
headers = {{ X-Title = "me, myself" }}
slots = 20
connect_timeout = 5
first_byte_timeout = 60.5
idle_timeout = 120
[upstream.b]
base_url = "http://127.0.0.1:8000/v1"
api = "auto"
[[rule]]
name = "long one"
model = ["claude-*[1m]", "gpt-5"]
role = "Subagent"
over_tokens = 60_000
under_tokens = 90_000
thinking = true
images = false
targets = [
  {{ upstream = "a", model = "x", weight = 3 }}, {{ upstream = "b", weight = 0.5 }},
  "default", "b:org/y:free", {{ upstream = "a", weight = 1 }}, {{ upstream = "b", model = "z", weight = 2 }},
]
[[rule]]
targets = ["a"]
"""


def written(folder: Path, text: str, name: str = "r.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def routes(folder: Path, text: str, **options: Any) -> Routes:
    return read(written(folder, text), NAMES, **options)


def faults(folder: Path, text: str, name: str = "r.toml", **options: Any) -> list[str]:
    with pytest.raises(RoutesError) as caught:
        read(written(folder, text, name), NAMES, **options)
    assert KEY not in str(caught.value)
    return [fault.removeprefix(name) for fault in caught.value.faults]


def test_everything_that_a_file_can_say_is_read(tmp_path: Path) -> None:
    found = routes(tmp_path, FULL)
    assert found.upstreams == (
        UpstreamSpec(
            name="a",
            base_url="https://a.example/v1",
            keys=(Secret(KEY), Secret("other")),
            profile="openai",
            profile_place="r.toml, line 4",
            api="responses",
            headers={"x-title": "me, myself"},
            slots=20,
            connect_timeout=5.0,
            first_byte_timeout=60.5,
            idle_timeout=120.0,
        ),
        UpstreamSpec(name="b", base_url="http://127.0.0.1:8000/v1", profile_place="r.toml, line 11"),
    )
    assert found.rules == (
        Rule(
            name="long one",
            models=("claude-*", "gpt-5"),
            roles=("subagent",),
            over_tokens=60_000,
            under_tokens=90_000,
            thinking=True,
            images=False,
            groups=(
                (Target("a", "x", 3.0), Target("b", None, 0.5)),
                (Target("default"),),
                (Target("b", "org/y:free"),),
                (Target("a", None, 1.0), Target("b", "z", 2.0)),
            ),
        ),
        Rule(name="rule 2", groups=((Target("a"),),)),
    )
    assert (found.variables, found.warnings) == ({"A_KEY", "B_KEY"}, ())


def test_json_says_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(tomllib.loads(FULL)), "r.JSON")
    found, wanted = read(path, NAMES), routes(tmp_path, FULL)
    assert found.rules == wanted.rules
    assert [spec.keys for spec in found.upstreams] == [spec.keys for spec in wanted.upstreams]


def test_nothing_printed_of_routes_holds_a_key(tmp_path: Path) -> None:
    assert KEY not in repr(routes(tmp_path, FULL))


IN_KEYS = "put it into the environment and its name into key_env"
FAULTS_OF_AN_UPSTREAM = [
    ('key_env = "NO_KEY"', "key_env: NO_KEY is not set"),
    ('key_env = "EMPTY_KEY"', "key_env: EMPTY_KEY is not set"),
    ('key_env = "aBcdefgh1234"', "key_env: the variable that it names is not set"),
    (
        'key_env = "BAD_KEY"',
        "key_env: BAD_KEY holds a character that no key has (a space, a line end, a quote from a document?)",
    ),
    (
        f'key_env = "{KEY}"',
        "key_env: must be the name of an environment variable, or a list of names; never a key itself",
    ),
    ("key_env = []", "key_env: is empty"),
    (
        f'api_key = "{KEY}"',
        "there is no api_key here: a key belongs in the environment, and the variable's name in key_env",
    ),
    ("slot = 3", "there is no slot here; did you mean slots?"),
    (f"{KEY} = 3", "there is no sk-proj-*** here"),
    ("slots = 0", "slots: must be a whole number from 1 to 1000000"),
    ("slots = 2.0", "slots: must be a whole number from 1 to 1000000"),
    ("slots = true", "slots: must be a number, not true or false"),
    ("idle_timeout = 0", "idle_timeout: must be seconds from 0.1 to 86400"),
    ("connect_timeout = nan", "connect_timeout: must be seconds from 0.1 to 86400"),
    ("first_byte_timeout = 1979-05-27", "first_byte_timeout: must be a number, not a date"),
    ('api = "respones"', "api: must be one of auto, chat, responses, messages; did you mean responses?"),
    ('profile = "a\\u0001"', "profile: holds a control character"),
    ('headers = "x: y"', "headers: must be a table, not text"),
    ('headers = { "a b" = "x" }', "headers: one of the names is no header's name"),
    ("headers = { x = 1 }", "headers: x must be text in ASCII, without a space around it"),
    ('headers = { x = "a\\nb" }', "headers: x must be text in ASCII, without a space around it"),
    ('headers = { x = "1", X = "2" }', "headers: x is there twice"),
    ('headers = { Host = "x" }', "headers: host is the proxy's own"),
    ('headers = { Content-Length = "1" }', "headers: content-length is the proxy's own"),
    (f'headers = {{ Authorization = "Bearer {KEY}" }}', f"headers: authorization is made from the key: {IN_KEYS}"),
    ('headers = { X-Api-Key = "x" }', f"headers: x-api-key is made from the key: {IN_KEYS}"),
    (f'headers = {{ x-mine = "{KEY}" }}', f"headers: x-mine holds a key: {IN_KEYS}"),
]
FAULTS_OF_A_RULE = [
    ('modle = "x"', "there is no modle here; did you mean model?"),
    ("model = []", "model: is empty"),
    ('model = ["x",\n3]', "model: must be text, not a number"),
    (
        'role = ["main",\n"sub-agent"]',
        "role: must be one or more of main, small, title, subagent; did you mean subagent?",
    ),
    ("thinking = 1", "thinking: must be true or false, not a number"),
    ("images = 'no'", "images: must be true or false, not text"),
    ("over_tokens = -1", "over_tokens: must be a whole number from 0 to 1000000000"),
    ("under_tokens = 0", "under_tokens: must be a whole number from 1 to 1000000000"),
    ("name = 'ü'", "name: may hold letters, digits, spaces and _.- only, 64 at most"),
    ("name = 'default'", "name: default is the name of another rule"),
    ("name = 'rule 2'", "name: rule 2 is the name of another rule"),
]
FAULTS_OF_TARGETS = [
    ("[]", 4, "targets: is empty"),
    ("'a'", 4, "targets: must be a list, not text"),
    ("['a',\n7]", 5, "must be a table, not a number"),
    ("['a',\n{}]", 5, "the target has no upstream"),
    ("['a', # ]\n'b']", 5, "there is no upstream b"),
    ("['a',\n{ upstream = 'aa' }]", 5, "there is no upstream aa; did you mean a?"),
    ("['a',\n'defualt:x']", 5, "there is no upstream defualt; did you mean default?"),
    ("['a',\n'a:']", 5, "model: is empty"),
    ("['a',\n'a b']", 5, "upstream: an upstream's name holds letters, digits and _.- only, 64 at most"),
    ("['a',\n{ upstream = 'a', weight = 0 }]", 5, "weight: must be above 0, and 1000000 at most"),
    ("['a',\n{ upstream = 'a', weight = inf }]", 5, "weight: must be above 0, and 1000000 at most"),
    ("['a',\n{ upstream = 'a', weight = '1' }]", 5, "weight: must be a number, not text"),
    ("['a',\n{ upstream = 'a', wieght = 1 }]", 5, "there is no wieght here; did you mean weight?"),
]
FAULTS_OF_THE_WHOLE = [
    (f'[upstream.b]\nkey_env = "A_KEY"\n{UP}{LAST}', 1, "upstream b has no base_url"),
    (f"{LAST}[upstream.a]\nbase_url = 7\n", 4, "base_url: must be text, not a number"),
    (f'{LAST}[upstream.a]\nbase_url = " "\n', 4, "base_url: is empty"),
    (f'{LAST}[upstream.a]\nbase_url = "ftp://x"\n', 4, "base_url: is no http:// or https:// address"),
    (
        f'{LAST}[upstream.a]\nbase_url = "https://me:pw123456789@x/v1"\n',
        4,
        "base_url: must not hold a user name or a password: put the key in the environment and its name in key_env",
    ),
    (
        f'[upstream."a b"]\nbase_url = "https://x/v1"\n{UP}{LAST}',
        1,
        "an upstream's name holds letters, digits and _.- only, 64 at most",
    ),
    (
        f'[upstream.default]\nbase_url = "https://x/v1"\n{UP}{LAST}',
        1,
        "default is the name of the environment's upstream: choose another",
    ),
    (f'upstream.a = "https://x/v1"\n{LAST}', 1, "must be a table, not text"),
    (f"[upstreams.a]\n{UP}{LAST}", 1, "there is no section upstreams; did you mean upstream?"),
    ("upstream = []\n", 1, "must be tables with names: [upstream.NAME]"),
    (f'{UP}[rule]\ntargets = ["a"]\n', 3, "must be a list of tables: [[rule]]"),
    (f"rule = [ 1 ]\n{UP}", 1, "must be a table, not a number"),
    (f"{UP}[[rule]]\nmodel = 'x'\n", 3, "the rule has no targets"),
    # what is no TOML
    (f"{UP}base_url = 'x'\n{LAST}", 3, "Cannot overwrite a value"),
    (f"{UP}slots = \n{LAST}", 3, "Invalid value"),
    (f'{UP}profile = "x', 3, "Unterminated string"),
]


@pytest.mark.parametrize(("said", "reason"), FAULTS_OF_AN_UPSTREAM)
def test_a_fault_of_an_upstream_has_its_line(tmp_path: Path, said: str, reason: str) -> None:
    assert faults(tmp_path, f"{UP}{said}\n{LAST}") == [f", line 3: {reason}"]


@pytest.mark.parametrize(("said", "reason"), FAULTS_OF_A_RULE)
def test_a_fault_of_a_rule_has_its_line(tmp_path: Path, said: str, reason: str) -> None:
    (fault,) = faults(tmp_path, f"{UP}[[rule]]\n{said}\ntargets = ['a']\n{LAST}")
    assert fault == f", line {6 if 'rule 2' in said else 4}: {reason}"


@pytest.mark.parametrize(("targets", "line", "reason"), FAULTS_OF_TARGETS)
def test_a_fault_of_a_target_has_its_line(tmp_path: Path, targets: str, line: int, reason: str) -> None:
    assert faults(tmp_path, f"{UP}[[rule]]\ntargets = {targets}\n{LAST}") == [f", line {line}: {reason}"]


@pytest.mark.parametrize(("text", "line", "reason"), FAULTS_OF_THE_WHOLE)
def test_a_fault_of_the_whole_has_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    assert faults(tmp_path, text)[0] == f", line {line}: {reason}"


def test_all_faults_are_said_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = "[[rule]]\ntargets = ['b']\nrole = 'x'\n[upstream.a]\nbase_url = 'x'\nslots = 0\nkey_env = 'NO_KEY'\n"
    assert [fault.split(":")[0] for fault in faults(tmp_path, text, has_default=False)] == [
        f", line {line}" for line in (1, 2, 3, 5, 6, 7)
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{\n "upstream": {},\n "rule": [ {"targets": ["a"]} ] }', ", line 3: there is no upstream a"),
        ('{\n "upstream":\n {"a": {"base_url": null} } }', ", line 3: base_url: must be text, not null"),
        ('{\n "upstream": {}\n "rule": [] }', ", line 3: Expecting ',' delimiter"),
        ('{"upstream": {}, "upstream": {}}', ": a key is there twice in one object"),
        ("[]", ", line 1: must be an object with upstream and rule, not a list"),
        ("[" * 200_000, ": is nested too deeply"),
        ("", ", line 1: Expecting value"),
    ],
)
def test_a_fault_in_json_has_its_line_too(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(tmp_path, text, "r.json") == [fault]


def test_toml_of_any_depth_is_a_fault_at_most(tmp_path: Path) -> None:
    assert faults(tmp_path, f"{UP}{LAST}x = {'[' * 100_000}{']' * 100_000}") == [": is nested too deeply"]


def test_a_file_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    for path, reason in (
        (tmp_path / "r.toml", "it is no UTF-8 text"),
        (tmp_path / "gone", "No such file or directory"),
    ):
        with pytest.raises(RoutesError, match=reason):
            read(path, {})


def test_a_number_that_no_computer_reads_is_a_fault(tmp_path: Path) -> None:
    assert "digits" in faults(tmp_path, f"x = {'9' * 5000}")[0]


# Without an upstream in the environment

NOWHERE = (
    "a request that no rule takes has nowhere to go, because no upstream is set in the environment: "
    "add a last [[rule]] that has targets and no conditions"
)


@pytest.mark.parametrize(
    ("rules", "line"), [("", 1), ("[[rule]]\ntargets = ['a']\nmodel = 'x'\n" * 2, 6), ("[[rule]]\nimages = false\n", 3)]
)
def test_without_a_default_some_rule_must_take_everything(tmp_path: Path, rules: str, line: int) -> None:
    assert f", line {line}: {NOWHERE}" in faults(tmp_path, UP + rules, has_default=False)


def test_a_rule_without_conditions_is_enough(tmp_path: Path) -> None:
    assert routes(tmp_path, UP + LAST, has_default=False).warnings == ()


def test_without_a_default_no_target_may_name_it(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, f"{UP}[[rule]]\ntargets = ['a', 'default']\n", has_default=False)
    assert fault == ", line 4: upstream default is the environment's, and OPENAI_API_KEY or OPENAI_BASE_URL is not set"


def test_the_proxys_own_address_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, UP + LAST, is_own=lambda url: url == "https://a.example/v1")
    assert fault == ", line 2: base_url: is this proxy's own address: it would call itself without end"


# Warnings


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (f"[upstream.b]\nbase_url = 'https://b/v1'\n{UP}{LAST}", "line 1: no rule uses upstream b"),
        (
            f"{UP}{LAST}[[rule]]\nmodel = 'x'\ntargets = ['a']\n",
            "line 5: rule 2 never decides: rule 1 before it takes everything",
        ),
        (
            f"[upstream.a]\nbase_url = 'http://a.example/v1'\nkey_env = 'A_KEY'\n{LAST}",
            "line 2: the key travels over http:// unencrypted",
        ),
        (
            f"[upstream.a]\nbase_url = 'https://a.example/v1/chat/completions'\n{LAST}",
            "line 2: base_url: /chat/completions at its end is left out, the proxy adds the path itself",
        ),
        (
            f"[upstream.a]\nbase_url = 'http://127.0.0.1:1'\nkey_env = 'A_KEY'\n{LAST}",
            "line 2: base_url: it has no path, /v1 is added, as every local server wants it",
        ),
        (
            f"{UP}[[rule]]\ntargets = ['a:x', {{ upstream = 'a', weight = 2 }}]\n",
            "line 4: the weight of a means nothing without a neighbour's",
        ),
        (f"{UP}[[rule]]\ntargets = ['a', 'a']\n", "line 4: a target is there twice: it is tried once"),
        (
            f"{UP}[[rule]]\nover_tokens = 5\nunder_tokens = 6\ntargets = ['a']\n",
            "line 3: the rule never decides: no size is over over_tokens and under under_tokens",
        ),
    ],
)
def test_what_is_odd_is_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    assert routes(tmp_path, text).warnings == (f"r.toml, {warning}",)
