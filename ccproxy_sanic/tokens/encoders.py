"""What counts the tokens of texts: toktok where it is installed, else tiktoken, else an estimate.

Rule: tiktoken's counts are the right ones, and both others answer to them: toktok gives the same (a property test),
the estimate comes near.  ``tiktoken.get_encoding`` is never called, because it downloads what it does not find: the
rank files lie here, and their digests are checked.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import logging
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.resources import files
from typing import Any, Final, NamedTuple

log = logging.getLogger("ccproxy")

Count = Callable[[Sequence[str]], list[int]]

BYTES_PER_TOKEN: Final = 3.6  # of code and English (protocol.md 6.5)
TOKENS_PER_CJK: Final = 0.7  # of a Chinese, Japanese or Korean character
_CJK: Final = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
# tiktoken's regular expressions run out of stack on a million spaces; at a cut a count may be off by one
PIECE: Final = 100_000


class Ranks(NamedTuple):
    """One rank file: the digest that tiktoken expects of it, and the expression that cuts texts into words."""

    sha256: str
    pattern: str


RANKS: Final = {
    "cl100k_base": Ranks(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s",
    ),
    "o200k_base": Ranks(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
}


def load(encoding: str) -> Count:
    """The best there is for ``encoding``, a key of :data:`RANKS`.  Takes up to seconds, and never fails."""
    for loader in (with_toktok, with_tiktoken):
        try:
            return loader(encoding)
        except Exception as error:
            log.info("tokens are not counted by %s: %s", loader.__name__, error)
    log.warning("neither toktok-rs nor tiktoken can be loaded: tokens are estimated")
    return estimate


def with_toktok(encoding: str) -> Count:
    """toktok-rs, which has its vocabularies inside.  Raises ImportError; KeyError for an encoding it has not."""
    toktok: Any = import_module("toktok")  # it has no types
    toktok.batch_count(["a"], encoding, threads=1)  # loads it
    return partial(_toktok, toktok.batch_count, encoding)


def _toktok(batch_count: Callable[..., list[int]], encoding: str, texts: Sequence[str]) -> list[int]:
    try:
        return batch_count(texts, encoding, threads=1)
    except UnicodeEncodeError:
        return batch_count([_mended(text) for text in texts], encoding, threads=1)


def _mended(text: str) -> str:
    """Lone surrogates replaced as tiktoken does it; two that belong together become their character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def with_tiktoken(encoding: str) -> Count:
    """tiktoken on our rank files.  Raises ImportError; ValueError where a file is not what it was."""
    import tiktoken

    ranks = RANKS[encoding]
    data = rank_file(encoding)
    if hashlib.sha256(data).hexdigest() != ranks.sha256:
        raise ValueError(f"the rank file of {encoding} is damaged")
    pairs = (line.split() for line in data.splitlines())
    merges = {base64.b64decode(token): int(rank) for token, rank in pairs}
    known = tiktoken.Encoding(encoding, pat_str=ranks.pattern, mergeable_ranks=merges, special_tokens={})

    def count(texts: Sequence[str]) -> list[int]:
        return [
            sum(len(known.encode_ordinary(text[at : at + PIECE])) for at in range(0, len(text), PIECE))
            for text in texts
        ]

    return count


def rank_file(encoding: str) -> bytes:
    """tiktoken's rank file, as its publisher has it."""
    return gzip.decompress((files(__package__) / "ranks" / f"{encoding}.tiktoken.gz").read_bytes())


def estimate(texts: Sequence[str]) -> list[int]:
    """What needs no vocabulary: by bytes, and by characters where one is about a word."""
    counts = []
    for text in texts:
        rest, characters = _CJK.subn("", text)
        size = len(rest.encode("utf-8", "surrogatepass"))
        counts.append(math.ceil(size / BYTES_PER_TOKEN + characters * TOKENS_PER_CJK))
    return counts
