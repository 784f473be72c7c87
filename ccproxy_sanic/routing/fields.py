"""What the keys of a file of routes may hold.

Rule: each key of each table is here once; a check raises ``ValueError`` with a reason that quotes no value, because a
key of a provider may stand anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from ccproxy_sanic.masking import mask
from ccproxy_sanic.routing.facts import Role
from ccproxy_sanic.settings_parsers import APIS, Api, nearest, plain

Check = Callable[[Any], Any]

_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
    type(None): "null",
}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TITLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 5.6.2
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# What the proxy says itself, or what would change how the message is read.
_OWN_HEADERS: Final = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding", "x-ccproxy-hop"}
)
_KEY_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"})
ROLES: Final[tuple[str, ...]] = tuple(role for role in get_args(Role) if role)
MOST_TOKENS: Final = 1_000_000_000


def kind(value: Any) -> str:
    return _KINDS.get(type(value), "a date")


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {kind(value)}")
    if not value.strip():
        raise ValueError("is empty")
    return plain(value.strip())


def texts(value: Any) -> tuple[str, ...]:
    """One text, or a list of them."""
    found = tuple(map(text, value if isinstance(value, list) else [value]))
    if not found:
        raise ValueError("is empty")
    return found


def named(value: Any) -> str:
    """An upstream's name: it stands in logs, metrics, headers, and before the colon of a target."""
    if not _NAME.fullmatch(name := text(value)):
        raise ValueError("an upstream's name holds letters, digits and _.- only, 64 at most")
    return name


def _title(value: Any) -> str:
    if not _TITLE.fullmatch(name := text(value)):
        raise ValueError("may hold letters, digits, spaces and _.- only, 64 at most")
    return name


def _variables(value: Any) -> tuple[str, ...]:
    found = texts(value)
    if not all(map(_VARIABLE.fullmatch, found)):
        raise ValueError("must be the name of an environment variable, or a list of names; never a key itself")
    return found


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {kind(value)}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {kind(value)}")
    return value


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(number := _number(value), int) or not least <= number <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return number

    return check


def _seconds(value: Any) -> float:
    if not 0.1 <= (number := _number(value)) <= 86_400:
        raise ValueError("must be seconds from 0.1 to 86400")
    return float(number)


def _weight(value: Any) -> float:
    if not 0 < (number := _number(value)) <= 1e6:
        raise ValueError("must be above 0, and 1000000 at most")
    return float(number)


def _api(value: Any) -> Api | None:
    if (word := text(value).lower()) not in APIS:
        raise ValueError(f"must be one of {', '.join(APIS)}{nearest(word, APIS)}")
    return APIS[word]


def _roles(value: Any) -> tuple[str, ...]:
    words = tuple(word.lower() for word in texts(value))
    for word in words:
        if word not in ROLES:
            raise ValueError(f"must be one or more of {', '.join(ROLES)}{nearest(word, ROLES)}")
    return words


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, not {kind(value)}")
    headers: dict[str, str] = {}
    for given, content in value.items():
        name = given.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("one of the names is no header's name")
        if name in _KEY_HEADERS:
            raise ValueError(f"{name} is made from the key: put it into the environment and its name into key_env")
        if name in _OWN_HEADERS:
            raise ValueError(f"{name} is the proxy's own")
        if name in headers:
            raise ValueError(f"{name} is there twice")
        if not isinstance(content, str) or not _HEADER_VALUE.fullmatch(content):
            raise ValueError(f"{name} must be text in ASCII, without a space around it")
        if mask(content) != content:
            raise ValueError(f"{name} holds a key: put it into the environment and its name into key_env")
        headers[name] = content
    return headers


def tables(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list, not {kind(value)}")
    if not value:
        raise ValueError("is empty")
    return value


UPSTREAM: Final[Mapping[str, Check]] = {
    "base_url": text,
    "key_env": _variables,
    "profile": text,
    "api": _api,
    "headers": _headers,
    "slots": _whole(1, 1_000_000),
    "connect_timeout": _seconds,
    "first_byte_timeout": _seconds,
    "idle_timeout": _seconds,
}
CONDITIONS: Final[Mapping[str, Check]] = {
    "model": texts,
    "role": _roles,
    "over_tokens": _whole(0, MOST_TOKENS),
    "under_tokens": _whole(1, MOST_TOKENS),
    "thinking": _flag,
    "images": _flag,
}
RULE: Final[Mapping[str, Check]] = {"name": _title, **CONDITIONS, "targets": tables}
TARGET: Final[Mapping[str, Check]] = {"upstream": named, "model": text, "weight": _weight}
SECTIONS: Final = ("upstream", "rule")
# Keys that people try, and what to write instead.
HINTS: Final[Mapping[str, str]] = dict.fromkeys(
    ("key", "keys", "api_key", "api_keys", "token"),
    ": a key belongs in the environment, and the variable's name in key_env",
)
