"""Model names: Claude's tiers, routes that are set, and every name has a place."""

from __future__ import annotations

import pytest

from ccproxy_sanic.routing import TIERS, ModelMap, tier_of, upstream_model
from ccproxy_sanic.routing.models import UnknownModel, bare

EXACT = {"claude-opus-4-1": "o1", "mine": "theirs"}


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("claude-opus-5-5", "big"),
        ("anthropic/Claude-Sonnet-4.5", "big"),
        ("claude-haiku-5-5[1m]", "small"),
        ("haiku-of-opus", "big"),
        ("claude-fable-5-2", "big"),
        ("Claude", "big"),
        ("my-claude", ""),
        ("gpt-5", ""),
        ("", ""),
    ],
)
def test_a_name_has_its_tier(name: str, tier: str) -> None:
    assert tier_of(name) == tier


def test_every_part_of_a_name_in_the_table_decides() -> None:
    assert {part: tier_of(f"x-{part.upper()}-1") for part, _ in TIERS} == dict(TIERS)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("claude-opus-5-5", "B"),
        ("claude-3-5-haiku-latest", "S"),
        ("claude-opus-4-1", "o1"),
        ("claude-opus-4-1[1m]", "o1"),
        ("claude-opus-5-5[1M]", "B"),
        ("mine", "theirs"),
        ("Mine", "Mine"),
        ("gpt-5[1m]", "gpt-5"),
        ("[1m]", "B"),
        ("", "B"),
    ],
)
def test_a_name_becomes_the_upstreams(name: str, wanted: str) -> None:
    assert upstream_model(name, ModelMap("B", "S", EXACT)) == wanted


@pytest.mark.parametrize(("unknown", "wanted"), [("pass", "gpt-5"), ("big", "B"), ("small", "S")])
def test_other_names_become_what_is_set(unknown: UnknownModel, wanted: str) -> None:
    models = ModelMap("B", "S", unknown=unknown)
    assert upstream_model("gpt-5", models) == wanted
    assert upstream_model("claude-haiku", models) == "S"


@pytest.mark.parametrize(("name", "wanted"), [("a[1m]", "a"), ("a[1M]", "a"), ("a[1m", "a[1m"), ("[1m]a", "[1m]a")])
def test_the_mark_of_a_long_window_is_cut_from_the_end_only(name: str, wanted: str) -> None:
    assert bare(name) == wanted
