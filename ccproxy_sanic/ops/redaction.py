"""No secret in a log, and none in an error record.

Rule: what is known to be secret goes by its value, what only looks like a key goes by its shape (``masking``); in a
record, what a secret's name stands before goes too, as a member and within a text, at any depth (behaviour 40).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from ccproxy_sanic.masking import MASK, PREFIXES, Secret, mask

REDACTED: Final = "[REDACTED]"
_SHORTEST: Final = 4  # a shorter "secret" would tear holes into every line and protect nothing


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    # The longest first: one secret may begin with another.
    parts = sorted(map(re.escape, values), key=len, reverse=True)
    return re.compile("|".join(parts)) if parts else None


class Redactor:
    """Takes ``secrets`` and whatever looks like a key out of texts."""

    __slots__ = ("_known", "_values")

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._values: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.add(secrets)

    def __repr__(self) -> str:
        return "<Redactor>"

    def add(self, secrets: Iterable[Secret]) -> None:
        """Take these out too.  Another thread may be using the redactor."""
        self._values |= {value for secret in secrets if len(value := secret.reveal()) >= _SHORTEST}
        self._known = _any_of(self._values)

    def known(self, text: str, instead: str) -> str:
        """``text`` without the secrets that are known by value."""
        return text if self._known is None else self._known.sub(instead, text)

    def __call__(self, text: str) -> str:
        return mask(self.known(text, MASK))


# -- records

MOST_ITEMS: Final = 100  # of a list or an object that are kept
MOST_NAMED: Final = 100  # redacted fields that a record lists
DEEPEST: Final = 50
_MARGIN: Final = 4096  # characters that are looked at behind a cut: a secret that lies across it is found whole
_SHORTEST_ECHO: Final = 8  # characters of a credential that is looked for elsewhere in its own record
_SHORT: Final = 300  # characters of a name that are looked at, and of a text that is remembered
_REMEMBERED: Final = 1024
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")

# A name is secret if its last words are these, so api_key, x-api-key and openaiApiKey2 are, max_tokens is not.
SECRET_NAMES: Final = (
    *("password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "credential", "credentials"),
    *("token", "api tokens", "auth tokens", "access tokens", "refresh tokens", "session tokens", "bearer tokens"),
    *("apikey", "apikeys", "api key", "api keys", "access key", "secret key", "private key", "signing key"),
    *("subscription key", "encryption key", "account key", "auth key", "master key"),
    *("authorization", "auth", "bearer", "jwt", "cookie", "cookies"),
)


def _words(name: str) -> tuple[str, ...]:
    """``X-Api-Key2``, ``xApiKey`` and ``x_api_key`` are x, api, key."""
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and words[-1].isdigit():
        del words[-1]
    return tuple(words)


# Quantifiers are possessive: no text can make a search go back, however long a key in it is.
_SHAPES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), rf"\1{REDACTED}")
    for pattern in (
        r"\b()eyJ[\w-]{8,}+\.[\w-]{4,}+(?:\.[\w-]*+)?",  # JSON web tokens
        r"\b(bearer\s{1,8})[^\s,;\"'\\]++",
        r"\b(basic\s{1,8})(?=[^\s,;]{0,200}[\d*=_.-])[^\s,;\"'\\]++",  # else it is a word of prose
        rf"(?<![\w-])((?-i:{PREFIXES}))[\w*.-]{{6,}}+",
        r"(\w{2,20}://)[^\s/@\"']++(?=@)",
        r"(\bcookie[\"']?\s{0,4}:\s{0,4})[^\r\n\"]++",
        r"(\b(?:api|access|secret|private) key(?: provided)?[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',;]++",
    )
)
# name=value, name: value, "name": "value" (also with the quotes escaped), data[name]=value; of a header its scheme too.
_NAMED: Final = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]++)(?P<between>[\\\"'\]]{0,4}\s{0,8}[:=]\s{0,8})"
    r"(?:(?:bearer|basic|digest|token)?\s{0,8}(?P<done>\[REDACTED\])"
    r"|\\\"(?:(?!\\\")[\s\S])*+(?:\\\")?|\"(?:[^\"\\]|\\[\s\S])*+\"?|'[^']*+'?"
    r"|(?:(?:bearer|basic|digest|token)\s{1,8})?[^\s\"'&,;]++)",
    re.IGNORECASE,
)


class Shapes:
    """What can be told to be a secret without knowing it: by its own look, or by the name before it.

    :data:`SECRET_NAMES` and ``more`` are those names.  Made once: it remembers what it has seen of names and short
    texts, which headers bring again and again.
    """

    __slots__ = ("_ends", "_longest", "_short", "is_secret")

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._ends = {words for name in (*SECRET_NAMES, *more) if (words := _words(name))}
        self._longest = max(map(len, self._ends))
        self.is_secret = lru_cache(_REMEMBERED)(self._look)
        self._short = lru_cache(_REMEMBERED)(self._clean)

    def clean(self, text: str) -> str:
        return self._short(text) if len(text) <= _SHORT else self._clean(text)

    def _look(self, name: str) -> bool:
        words = _words(name[-_SHORT:])
        return any(words[-length:] in self._ends for length in range(1, min(self._longest, len(words)) + 1))

    def _clean(self, text: str) -> str:
        for pattern, instead in _SHAPES:
            text = pattern.sub(instead, text)
        return _NAMED.sub(self._unnamed, text) if ":" in text or "=" in text else text

    def _unnamed(self, found: re.Match[str]) -> str:
        if found["done"] or not self._look(found["name"]):
            return found[0]
        return f"{found['name']}{found['between']}{REDACTED}"


class Scrubber:
    """Takes the secrets out of one record; ``redacted`` are the paths of the fields that lost something.

    Texts are cut after ``longest`` characters, lists after :data:`MOST_ITEMS`, each saying how much was cut.
    """

    __slots__ = ("_echoes", "_redactor", "_shapes", "longest", "redacted")

    def __init__(self, redactor: Redactor, shapes: Shapes, longest: int) -> None:
        self._redactor, self._shapes, self.longest = redactor, shapes, longest
        self._echoes: re.Pattern[str] | None = None
        self.redacted: list[str] = []

    def remember(self, named: Iterable[tuple[str, str]]) -> None:
        """The values of secret names are taken out of every text from now on: an upstream may quote a client's key."""
        values = {
            part
            for name, value in named
            if self._shapes.is_secret(name)
            for part in (value, value.rpartition(" ")[2])
            if len(part) >= _SHORTEST_ECHO
        }
        self._echoes = _any_of(values)

    def value(self, value: Any, path: str = "", depth: int = 0) -> Any:
        """A JSON value without its secrets; ``path`` is where it stands."""
        if isinstance(value, str):
            return self.text(value, path)
        if not isinstance(value, (Mapping, list)):
            return value
        if depth == DEEPEST:
            return "[too deep]"
        cut = len(value) - MOST_ITEMS
        if isinstance(value, list):
            items = [self.value(item, _at(path, place), depth + 1) for place, item in enumerate(value[:MOST_ITEMS])]
            return [*items, f"[{cut} items cut]"] if cut > 0 else items
        members: dict[str, Any] = {}
        for name, member in islice(value.items(), MOST_ITEMS):
            shown = self.text(name, path)
            members[shown] = self._named(name, member, _at(path, shown), depth + 1)
        return members | {"...": f"[{cut} members cut]"} if cut > 0 else members

    def _named(self, name: str, value: Any, path: str, depth: int = 0) -> Any:
        """The value of a member; where its name is a secret's, only that there is one."""
        if not self._shapes.is_secret(name):
            return self.value(value, path, depth)
        if value is None or isinstance(value, bool) or value in ("", [], {}):
            return value
        self._note(path)
        return REDACTED

    def text(self, text: str, path: str) -> str:
        """``text`` without its secrets, and not longer than it may be."""
        window = text[: self.longest + _MARGIN]
        clean = self._clean(window)
        if clean != window:
            self._note(path)
        cut = len(text) - len(window) + max(0, len(clean) - self.longest)
        return f"{clean[: self.longest]}... [{cut} characters cut]" if cut else clean

    def _clean(self, text: str) -> str:
        text = self._redactor.known(text, REDACTED) if len(text) >= _SHORTEST else text
        if self._echoes is not None:
            text = self._echoes.sub(REDACTED, text)
        return self._shapes.clean(text)

    def _note(self, path: str) -> None:
        if len(self.redacted) < MOST_NAMED and path not in self.redacted:
            self.redacted.append(path)


def _at(path: str, place: object) -> str:
    return f"{path}.{place}" if path else str(place)
