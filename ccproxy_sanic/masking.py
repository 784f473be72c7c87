"""Whatever looks like a key is replaced before a text reaches a client or a log.  Pure.

Rule: a mask never lengthens a secret's visible part: at most a public prefix such as ``sk-`` stays.

Two sorts of text pass through here: error messages of upstreams (OpenAI quotes the end of a wrong key) and log records.
Known secrets are a :class:`Secret`, and are replaced by value in ``ops/redaction.py``; :func:`mask` catches those that
nobody told us about.
"""

from __future__ import annotations

import hmac
import re
from typing import Any, Final

MASK: Final = "***"

# Vendors' documented key shapes: the prefix stays (it says which key it was), the rest goes.
PREFIXES: Final = (
    r"sk-(?:proj-|ant-|or-v1-|or-|svcacct-|admin-)?|rk-|pk-|csk-|gsk_|xai-|hf_|fw_|pplx-|nvapi-|r8_|tgp_v1_|"
    r"gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AIza|AKIA|ASIA|ya29\.|dop_v1_|sess-"
)

_RULES: Final = (
    # JSON web tokens: three base64url parts.
    (re.compile(r"\beyJ[\w-]{8,2000}\.[\w-]{4,4000}(?:\.[\w-]{0,2000})?"), MASK),
    # A header's value: "Bearer x", "Basic x".
    (
        re.compile(r"\b(bearer|basic)(\s{1,4})(?=[^\s,;]{0,200}[\d*=_.-])[\w.~+/=*-]{8,4000}", re.IGNORECASE),
        rf"\1\2{MASK}",
    ),
    # Keys by their prefix; asterisks count, because vendors mask the middle themselves and leave the end.
    (re.compile(rf"(?<![\w-])({PREFIXES})[\w*.-]{{7,4000}}[\w*]"), rf"\1{MASK}"),
    # name=value and name: value, where the value holds a digit or an asterisk (a word of prose does not).
    (
        re.compile(
            r"((?:api[-_ ]?key|access[-_ ]?token|auth[-_ ]?token|secret|password)(?: provided)?"
            r"[\"']?\s{0,4}[:=]\s{0,4}[\"']?)"
            r"(?=[^\s\"',;]{0,200}[\d*])[^\s\"',;]{7,4000}[^\s\"',;.]",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # The user-info part of an address.
    (re.compile(r"(\w{2,12}://)[^\s/@:]{0,200}:[^\s/@]{1,400}@"), rf"\1{MASK}@"),
)


class Secret:
    """A value that prints as ``***``; only :meth:`reveal` gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


def mask(text: str) -> str:
    """``text`` with every key-looking part replaced by ``***``.  Linear in the length; never raises."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
