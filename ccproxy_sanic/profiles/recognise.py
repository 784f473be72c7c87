"""Which of the servers that people run themselves answers: they all speak the same dialect, and say who they are.

Rule: the first clue of :data:`CLUES` that fits decides.  What is not sure is not guessed: the conservative profile
loses less than a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec


class Clue(NamedTuple):
    """``where``: a header's value; a field that all entries of the list of models share; text in the body.

    ``said`` is the value in lower case; "" fits every number above 0.
    """

    profile: str
    where: Literal["header", "entries", "text"]
    name: str
    said: str


CLUES: Final = (
    Clue("llamacpp", "header", "server", "llama.cpp"),  # also while it loads and answers 503 (real-upstream.md)
    Clue("llamacpp", "entries", "owned_by", "llamacpp"),
    Clue("sglang", "entries", "owned_by", "sglang"),
    Clue("vllm", "entries", "owned_by", "vllm"),
    Clue("ollama", "entries", "owned_by", "library"),
    Clue("lmstudio", "entries", "owned_by", "organization_owner"),
    Clue("lmstudio", "entries", "owned_by", "organization-owner"),
    Clue("vllm", "entries", "max_model_len", ""),  # SGLang has it too, but names itself above
    Clue("ollama", "text", "", "ollama is running"),  # at its root; models that a user made are owned by the user
)
_TEXT: Final = 1000  # bytes in which a text is looked for


def recognise(headers: Mapping[str, str], body: bytes) -> str | None:
    """The profile of the server that sent this answer (to GET /models, or /), or None.

    ``headers`` have lower-case names.  Nothing in them or in ``body`` makes it raise.
    """
    entries = _entries(body)
    text = body[:_TEXT].decode("latin-1").lower()
    for clue in CLUES:
        if clue.where == "header":
            fits = headers.get(clue.name, "").lower() == clue.said
        elif clue.where == "entries":
            fits = bool(entries) and all(_fits(entry.get(clue.name), clue.said) for entry in entries)
        else:
            fits = clue.said in text
        if fits:
            return clue.profile
    return None


def _fits(value: Any, said: str) -> bool:
    if said:
        return isinstance(value, str) and value.lower() == said
    return isinstance(value, int) and value > 0


def _entries(body: bytes) -> list[dict[str, Any]]:
    """The models of a list in OpenAI's shape; empty where it is none."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return []
    listed = answer.get("data") if isinstance(answer, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
