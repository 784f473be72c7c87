"""Servers that say who they are: by their answer to GET /models or /, whatever else is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.profiles import builtin, recognise
from ccproxy_sanic.profiles.recognise import CLUES


def models(*entries: Any) -> bytes:
    return json.dumps({"object": "list", "data": list(entries)}).encode()


def entry(owner: str, **more: Any) -> dict[str, Any]:
    return {"id": "m", "object": "model", "created": 1, "owned_by": owner, **more}


NAMED: list[tuple[str, dict[str, str], bytes]] = [
    ("llamacpp", {"server": "llama.cpp"}, b'{"error":{"message":"Loading model","code":503}}'),
    ("llamacpp", {}, models(entry("llamacpp", meta={"n_ctx": 8192}))),
    ("vllm", {"server": "uvicorn"}, models(entry("vllm", max_model_len=4096))),
    ("vllm", {}, models(entry("vllm", max_model_len=4096), entry("vllm", max_model_len=None))),
    ("vllm", {}, models(entry("my-company", max_model_len=4096))),
    ("sglang", {"server": "uvicorn"}, models(entry("sglang", max_model_len=4096))),
    ("ollama", {}, models(entry("library"), entry("library"))),
    ("ollama", {}, b"Ollama is running"),
    ("lmstudio", {"x-powered-by": "Express"}, models(entry("organization_owner"))),
    ("lmstudio", {}, models(entry("organization-owner"))),
]


@pytest.mark.parametrize(("name", "headers", "body"), NAMED)
def test_a_server_that_names_itself_is_known(name: str, headers: dict[str, str], body: bytes) -> None:
    assert recognise(headers, body) == name


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b"5", b'{"data":null}', b'{"data":[null]}', b'{"data":[]}', b"[" * 100_000),
        b"<html>vllm, Ollama</html>",
        models(entry("openai")),
        models(entry("vllm"), entry("openai")),  # a gateway in front of several
        models(entry("library"), entry("ann")),  # Ollama says its name at its root
        models({"id": "m", "owned_by": 5}),
        models(entry("x", max_model_len=0)),
        models(entry("x", max_model_len=5), entry("y")),
    ],
)
def test_what_is_not_sure_is_not_guessed(body: bytes) -> None:
    assert recognise({"server": "uvicorn"}, body) is None


@given(
    st.dictionaries(st.text(), st.text()),
    st.one_of(st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: models(v))),
)
def test_no_answer_makes_it_raise(headers: dict[str, str], body: bytes) -> None:
    recognise(headers, body)


def test_every_clue_is_needed_and_names_a_profile() -> None:
    for clue in CLUES:
        assert builtin(clue.profile).platform == clue.profile
    assert {name for name, _, _ in NAMED} == {clue.profile for clue in CLUES}
