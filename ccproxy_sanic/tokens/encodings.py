"""Which vocabulary counts for a model, and by how much the model's own differs from it.

Rule: one table, first match wins; the last row takes everything (protocol.md 6.4).  Pure.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from ccproxy_sanic.profiles.resolver import plain_model

O200K: Final = "o200k_base"
CL100K: Final = "cl100k_base"


class Vocabulary(NamedTuple):
    """``encoding`` is tiktoken's name; a text's count in it times ``factor`` is the model's count."""

    encoding: str
    factor: float


# Factors were measured over code, English, JSON and Chinese, or are rules of thumb where no tokenizer is public.
# gpt-oss has o200k_harmony: the same merges with other special tokens, and special tokens are plain text here.
RULES: Final[tuple[tuple[re.Pattern[str], Vocabulary], ...]] = (
    (re.compile(r"gpt-(oss|4o|4\.[15]|[5-9])|chatgpt-4o|o[134]\b|codex-|computer-use"), Vocabulary(O200K, 1.0)),
    (re.compile(r"gpt-(4|3\.?5)|text-embedding-"), Vocabulary(CL100K, 1.0)),
    (re.compile(r"claude-[a-z]+-(4[-.][7-9]|[5-9])"), Vocabulary(O200K, 1.5)),
    (re.compile(r"claude"), Vocabulary(O200K, 1.2)),
    (re.compile(r"(meta-)?llama"), Vocabulary(O200K, 1.0)),
    (re.compile(r"qwen-?3\.[5-9]"), Vocabulary(O200K, 1.07)),
    (re.compile(r"qwen|qwq"), Vocabulary(O200K, 1.03)),
    (re.compile(r""), Vocabulary(O200K, 1.05)),
)


@lru_cache(maxsize=1024)  # model names may come from clients: bounded
def vocabulary(model: str) -> Vocabulary:
    """The vocabulary of an upstream's model name; a vendor before it and a ``:variant`` after it mean nothing."""
    plain = plain_model(model)
    return next(found for pattern, found in RULES if pattern.match(plain))
