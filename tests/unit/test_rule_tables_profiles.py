"""What every profile comes to, switch by switch: a line of a profile file that is lost or changed is seen here."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ccproxy_sanic.profiles import BUILTIN, Profile, recognise, select, switches
from tests.support import profile_table

WANTED: dict[str, Any] = json.loads(profile_table.FILE.read_text(encoding="utf-8"))
NOW = profile_table.table()


@pytest.mark.parametrize("name", WANTED["profiles"])
def test_a_profile_comes_to_what_it_did(name: str) -> None:
    assert NOW["profiles"][name] == WANTED["profiles"][name], profile_table.__doc__


@pytest.mark.parametrize("part", WANTED)
def test_nothing_else_has_changed(part: str) -> None:
    assert NOW[part] == WANTED[part], profile_table.__doc__
    assert list(NOW[part]) == list(WANTED[part])  # the first that fits a host counts


@pytest.mark.parametrize(("host", "name"), WANTED["hosts"].items())
def test_a_host_is_known(host: str, name: str) -> None:
    assert select(f"https://{host.replace('*', 'x')}/v1") == (name, True)


def test_every_dialect_is_spoken_by_someone() -> None:
    assert set(BUILTIN.dialects) - set(NOW["efforts"]) == {"unsupported"}  # which is empty, as the default is


def test_every_switch_has_a_meaning_and_a_kind() -> None:
    fields = {field.name for field in msgspec.structs.fields(Profile)} - {"name"}
    assert set(switches.MEANINGS) == fields
    page = switches.markdown()
    for row in (
        "| `temperature` | `true`, `false` | `true` |",
        "| `temperature_min` | number | `0.0` |",
        "| `max_stops` | number | `4` |",
        '| `reasoning_placeholder` | text | `""` |',
        "| `extra` | table | `{}` |",
        "| `max_output` | number | not set |",
    ):
        assert row in page


@pytest.mark.parametrize("name", ["llamacpp", "sglang", "vllm", "library", "organization_owner", "max_model_len"])
def test_a_name_in_other_words_of_the_answer_is_no_clue(name: str) -> None:
    body = {"data": [{"id": f"{name}-7b", "owned_by": "me", "root": name}], "entries~": name, "owned_by": name}
    assert recognise({}, json.dumps(body).encode()) is None
