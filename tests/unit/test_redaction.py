"""What a record of a failure may show (behaviour 40)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.masking import Secret
from ccproxy_sanic.ops.redaction import DEEPEST, MOST_ITEMS, REDACTED, Redactor, Scrubber, Shapes

SHAPES = Shapes(("openai_api_key", "authorization", "x-internal-pin"))


def scrubber(longest: int = 10_000, *secrets: str) -> Scrubber:
    return Scrubber(Redactor(map(Secret, secrets)), SHAPES, longest)


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "user_password", "db.password2", "api_key", "apiKey", "OPENAI_API_KEY", "x-api-key",
     "APIKey", "secret", "client_secret", "token", "access_token", "refreshToken", "X-Amz-Security-Token",
     "authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "private_key", "auth_tokens", "credentials",
     "x-internal-pin"],
)  # fmt: skip
def test_the_value_of_a_secret_name_is_not_shown(name: str) -> None:
    scrub = scrubber()
    assert scrub.value({name: "value", "other": 1}) == {name: REDACTED, "other": 1}
    assert scrub.redacted == [name]
    assert scrubber().text(f"with {name}=a-value-1 in it", "") == f"with {name}={REDACTED} in it"


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens", "tokenizer", "token_count", "author",
     "secretary", "passwordless", "key", "monkey", "keys", "cookie_policy", "authority", "tokens"],
)  # fmt: skip
def test_names_that_only_resemble_one_stay(name: str) -> None:
    """The original took max_tokens and input_tokens for keys."""
    scrub = scrubber()
    assert scrub.value({name: 5, "text": f"{name}: 5"}) == {name: 5, "text": f"{name}: 5"}
    assert scrub.redacted == []


@pytest.mark.parametrize("nothing", [None, "", [], {}, True, False])
def test_what_holds_no_secret_is_shown_whatever_its_name(nothing: Any) -> None:
    assert scrubber().value({"token": nothing}) == {"token": nothing}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Bearer abc", f"Bearer {REDACTED}"),
        ("authorization: Bearer abc.def, next", f"authorization: Bearer {REDACTED}, next"),
        ("Authorization: Basic dXNlcjpwYXNz x", f"Authorization: {REDACTED} x"),
        ("api_key=abc&max_tokens=5", f"api_key={REDACTED}&max_tokens=5"),
        ('{"password": "two \\" words", "n": 7}', f'{{"password": {REDACTED}, "n": 7}}'),
        (r'"{\"password\": \"two words\", \"n\": 7}"', rf'"{{\"password\": {REDACTED}, \"n\": 7}}"'),
        ("token: 'a b c' and more", f"token: {REDACTED} and more"),
        ("data[password]=abc", f"data[password]={REDACTED}"),
        ("Cookie: a=b; c=d\nnext", f"Cookie: {REDACTED}\nnext"),
        ("Incorrect API key provided: abcd. See", f"Incorrect API key provided: {REDACTED} See"),
        ("sk-abcdef1", f"sk-{REDACTED}"),
        ("(sk-ant-api03-" + "x" * 9_000 + ")", f"(sk-ant-{REDACTED})"),
        ("sk-or-v1-0123456789abcdef", f"sk-or-v1-{REDACTED}"),
        ("sk-proj-" + "Ab1_" * 40, f"sk-proj-{REDACTED}"),
        ("postgres://me:pass@db/x and https://tok@host/", f"postgres://{REDACTED}@db/x and https://{REDACTED}@host/"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", REDACTED),
        ("nothing to see, max_tokens=5, a:b, task-management-tools", None),
    ],
)
def test_secrets_within_texts(text: str, clean: str | None) -> None:
    scrub = scrubber()
    assert scrub.text(text, "at") == (text if clean is None else clean)
    assert scrub.redacted == ([] if clean is None else ["at"])


def test_a_secret_that_is_known_goes_wherever_it_stands() -> None:
    scrub = scrubber(10_000, "hunter2")
    assert scrub.value(["it is hunter2!"]) == [f"it is {REDACTED}!"]
    scrub.remember([("x-api-key", "no-shape-at-all"), ("cookie", "short"), ("accept", "no-secret")])
    assert scrub.text("you sent no-shape-at-all, short, no-secret", "") == f"you sent {REDACTED}, short, no-secret"


def test_depth_and_lists_are_no_hiding_place() -> None:
    scrub = scrubber()
    given_value = {"a": [{"b": [{"password": "x", "c": ["Bearer y", 1]}]}]}
    assert scrub.value(given_value, "body") == {"a": [{"b": [{"password": REDACTED, "c": [f"Bearer {REDACTED}", 1]}]}]}
    assert scrub.redacted == ["body.a.0.b.0.password", "body.a.0.b.0.c.0"]


def test_what_is_nested_without_end_is_cut() -> None:
    value: Any = "Bearer deep"
    for _ in range(DEEPEST + 5):
        value = [value]
    assert "deep" not in json.dumps(scrubber().value(value)).replace("[too deep]", "")


def test_long_texts_and_lists_say_what_was_cut() -> None:
    scrub = scrubber(100)
    assert scrub.text("x" * 100, "") == "x" * 100
    assert scrub.text("x" * 250, "") == "x" * 100 + "... [150 characters cut]"
    assert scrub.value(list(range(MOST_ITEMS))) == list(range(MOST_ITEMS))
    assert scrub.value(list(range(MOST_ITEMS + 7))) == [*range(MOST_ITEMS), "[7 items cut]"]
    members = scrub.value({str(number): number for number in range(MOST_ITEMS + 3)})
    assert (len(members), members["..."]) == (MOST_ITEMS + 1, "[3 members cut]")
    assert scrub.redacted == []


@pytest.mark.parametrize("length", [9, 50, 500, 5_000])
def test_a_secret_across_the_cut_is_not_shown_in_part(length: int) -> None:
    """Cutting first would leave the beginning of a key, which then looks like none."""
    for before in range(80, 101):
        text = scrubber(100).text("x" * before + " sk-" + "s" * length, "")
        assert "ss" not in text


# -- whatever the record looks like

KEYS = st.sampled_from(["sk-", "sk-ant-api03-", "sk-or-v1-", "sk-proj-", "gsk_", "ghp_", "xai-"])
CORE = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", min_size=12, max_size=40)
AROUND = st.text(st.characters(codec="utf-8", exclude_characters="\\"), max_size=20)
NAMES = st.sampled_from(["password", "api_key", "Authorization", "x-api-key", "clientSecret", "session_token"])


@st.composite
def planted(draw: st.DrawFn) -> tuple[Any, str]:
    """A JSON value and the secret in it."""
    core = "Z9" + draw(CORE)
    before, after = draw(AROUND), draw(AROUND)
    value: Any = draw(
        st.sampled_from(
            [
                f"{before} {draw(KEYS)}{core} {after}",
                f"{before} Bearer {core} {after}",
                f"{before} {draw(NAMES)}={core} {after}",
                f'{before} "{draw(NAMES)}": "{core} {core}" {after}',
                f"{before} https://user:{core}@host/ {after}",
                json.dumps({draw(NAMES): f"{core} {before}", "other": after}),
                {draw(NAMES): f"{before}{core}"},
                {draw(NAMES): [f"{before}{core}", {"deep": core}]},
                {f"Bearer {core}": 1},
            ]
        )
    )
    other = st.one_of(st.none(), st.integers(), st.text(max_size=10))
    for _ in range(draw(st.integers(0, 6))):
        value = draw(st.sampled_from([[draw(other), value], {"name": value, "n": 1}, [value], {"max_tokens": value}]))
    return value, core


@given(planted())
def test_no_planted_secret_survives(given_value: tuple[Any, str]) -> None:
    value, secret = given_value
    scrub = scrubber()
    assert secret not in json.dumps(scrub.value(value))
    assert scrub.redacted


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=10), inner, max_size=5)),
    max_leaves=30,
)


@given(json_values)
def test_redacting_twice_changes_nothing_more(value: Any) -> None:
    once = scrubber().value(value)
    assert scrubber().value(once) == once
    json.dumps(once)
