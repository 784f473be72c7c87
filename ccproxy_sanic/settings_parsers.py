"""What a setting's text may be.

Rule: a parser raises ``ValueError`` with a reason that never quotes a secret.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from ccproxy_sanic.masking import Secret, mask

Api = Literal["chat", "responses", "messages"]
APIS: Final[Mapping[str, Api | None]] = {"auto": None, "chat": "chat", "responses": "responses", "messages": "messages"}


class AuthToken(msgspec.Struct, frozen=True):
    """One accepted client token; ``name`` is what logs call its holder."""

    name: str
    token: Secret


def quoted(text: str) -> str:
    """A value as a reason may show it."""
    return repr(mask(text[:80]))


def nearest(word: str, known: Iterable[str]) -> str:
    """A question to append to "there is no ..."; empty where nothing is near."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def content(path: Path) -> str:
    """What a text file holds.  Raises ValueError."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ValueError(f"can't be read: {reason}") from None


def plain(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError("holds a control character")
    return text


def key(text: str) -> Secret:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("holds a character that no key has (a space, a line end, a quote from a document?)")
    return Secret(text)


def flag(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"must be 1 or 0 (or true, yes, on, false, no, off), not {quoted(text)}")


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}, not {quoted(text)}")
        return int(text)

    return parse


def api(text: str) -> Api | None:
    """None is "auto": as the upstream's profile says."""
    return APIS[one_of(*APIS)(text)]


def limit(text: str) -> int | None:
    return None if text.lower() == "unlimited" else whole(0, 1_000_000)(text) or None


def seconds(least: float, most: float = 86_400.0) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"must be seconds from {least:g} to {most:g}, not {quoted(text)}")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if (lowered := text.lower()) not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {quoted(text)}")
        return lowered

    return parse


def level(text: str) -> str:
    word = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(text.upper(), text.upper())
    if word not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError(f"must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {quoted(text)}")
    return word


def log_path(text: str) -> Path | None:
    if not text:
        return None
    path = Path(plain(text)).expanduser()
    if path.is_dir():
        raise ValueError(f"is a directory: {quoted(text)}")
    if not path.parent.is_dir():
        raise ValueError(f"lies in a directory that does not exist: {quoted(text)}")
    return path


def folder(text: str) -> Path:
    """A folder that exists, or can be made where it says."""
    path = Path(plain(text)).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"is no folder: {quoted(text)}")
    return path


def fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {quoted(text)}")
    return value


def names(text: str) -> tuple[str, ...]:
    """With commas between."""
    return tuple(word.strip() for word in plain(text).split(",") if word.strip())


def http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise ValueError("must be an address that begins with http:// or https://")
    return text


_HOST: Final = re.compile(r"\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]|[0-9a-f]*:[0-9a-f:.]+")
_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def hosts(text: str) -> tuple[str, ...]:
    """As a Host header names them, without ports and brackets."""
    found = tuple(name.lower().rstrip(".") for name in names(text))
    for name in found:
        if not _HOST.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no host name (without scheme, port or path), *.name or *")
    return tuple(name.strip("[]") for name in found)


def origins(text: str) -> tuple[str, ...]:
    """As an Origin header names them."""
    found = tuple(name.lower().rstrip("/") for name in names(text))
    for name in found:
        if not _ORIGIN.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no origin, as https://example.org, and not *")
    return found


def tokens(text: str) -> tuple[str, ...]:
    """Names as HTTP has them (RFC 9110 5.6.2)."""
    found = names(text)
    for name in found:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f"{quoted(name)} is no name that HTTP allows")
    return found


def store(text: str) -> Secret:
    """The URL of a Redis or Valkey server.  A secret: it may hold a password."""
    if not text.startswith(("redis://", "rediss://", "valkey://", "valkeys://", "unix://")):
        raise ValueError("must begin with redis://, rediss://, valkey://, valkeys:// or unix://")
    return Secret(plain(text))


def file(text: str) -> Path:
    path = Path(plain(text)).expanduser()
    if not path.is_file():
        raise ValueError(f"names no file: {quoted(text)}")
    return path


def _pairs(text: str) -> Iterator[str]:
    return (part for piece in text.split(",") if (part := piece.strip()))


def model_map(text: str) -> dict[str, str]:
    routes: dict[str, str] = {}
    for pair in _pairs(text):
        client, _, upstream = (part.strip() for part in pair.partition("="))
        if not client or not upstream:
            raise ValueError(f"must be client=upstream pairs with commas between, and {quoted(pair)} is none")
        if routes.setdefault(client, upstream) != upstream:
            raise ValueError(f"routes {quoted(client)} twice")
    return routes


_CALLER: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def auth_tokens(text: str) -> tuple[AuthToken, ...]:
    tokens: list[AuthToken] = []
    for place, pair in enumerate(_pairs(text), 1):
        name, colon, token = pair.partition(":")
        name, token = (name.strip(), token.strip()) if colon else (f"caller{place}", pair)
        if not _CALLER.fullmatch(name):
            raise ValueError(f"entry {place}: the name before the colon may hold letters, digits and _.@- only")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(f"entry {place}: the token is empty or holds a character that no header may hold")
        secret = Secret(token)
        if any(other.name == name or other.token == secret for other in tokens):
            raise ValueError(f"entry {place}: its name or its token is there twice")
        tokens.append(AuthToken(name, secret))
    return tuple(tokens)
