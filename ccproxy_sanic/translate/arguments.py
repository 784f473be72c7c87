"""Tool arguments: what may be sent of a JSON object while it is still being written.

Rule: a piece is good only if everything up to its end is the beginning of a JSON object (protocol.md 4.6).  The
automaton sees every piece once, so a long argument in small pieces costs linear time; strings, where most of the
characters are, are skipped by one regular expression per piece.  It accepts what jiter accepts (both SDKs parse with
it or stricter): no lone surrogates, no control characters in strings, at most 201 open brackets.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ..wire.anthropic_reply import encode

MAX_DEPTH: Final = 201  # jiter's recursion limit: deeper arguments make the Python SDK throw
MAX_DIGITS: Final = 4_300  # jiter's and CPython's limit for an integer
RAW: Final = (
    "_raw_arguments"  # where arguments go that are no JSON, so that the tool's own validation answers the model
)
CUT: Final = (
    '"_cut":true}'  # the end of a call that a filter or a full context cut off: it must not run as if it were whole
)

# what goes on inside a string; escapes that are whole and simple too, as every line of a program has one
_RUN: Final = re.compile(r'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+')
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_STRIDE: Final = 512  # characters between two of a sample, in which a number that is too long leaves so many digits:
_MANY_DIGITS: Final = re.compile(rf"[0-9]{{{MAX_DIGITS // _STRIDE}}}")
_decode: Final = msgspec.json.Decoder().decode

_WS: Final = " \t\n\r"
_HEX: Final = "0123456789abcdefABCDEF"


def _row(*pairs: tuple[str, str]) -> dict[str, str]:
    return {char: target for chars, target in pairs for char in chars}


_VALUE: Final = (
    (_WS, "="),
    ("{", "push"),
    ("[", "push"),
    ('"', "string"),
    ("-", "minus"),
    ("0", "zero"),
    ("123456789", "int"),
    ("t", "t1"),
    ("f", "f1"),
    ("n", "n1"),
)
_AFTER: Final = ((_WS, "after"), (",", "comma"), ("}", "pop"), ("]", "pop"))
_EXPONENT: Final = ("eE", "exponent")

# state -> character -> next state; "=" stays, push, pop, comma, string and close also look at the stack.
TABLE: Final[dict[str, dict[str, str]]] = {
    "start": _row((_WS, "="), ("{", "push")),  # a whole argument is an object
    "any": _row(*_VALUE),  # the same for any value
    "value": _row(*_VALUE),
    "first": _row(*_VALUE, ("]", "pop")),  # after [
    "member": _row((_WS, "="), ('"', "key"), ("}", "pop")),  # after {
    "next": _row((_WS, "="), ('"', "key")),  # after a comma in an object
    "colon": _row((_WS, "="), (":", "value")),
    "after": _row(*_AFTER),
    "in": _row(('"', "close"), ("\\", "escape")),
    "escape": _row(('"\\/bfnrt', "in"), ("u", "u1")),
    "u1": _row((_HEX.replace("d", "").replace("D", ""), "u2"), ("dD", "d2")),
    "u2": _row((_HEX, "u3")),
    "u3": _row((_HEX, "u4")),
    "u4": _row((_HEX, "in")),
    "d2": _row(("01234567", "u3"), ("89abAB", "h3")),  # \ud8xx to \udbxx must be followed by its low half
    "h3": _row((_HEX, "h4")),
    "h4": _row((_HEX, "low")),
    "low": _row(("\\", "lowu")),
    "lowu": _row(("u", "low1")),
    "low1": _row(("dD", "low2")),
    "low2": _row(("cdefCDEF", "u3")),
    "minus": _row(("0", "zero"), ("123456789", "int")),
    "zero": _row((".", "dot"), _EXPONENT, *_AFTER),
    "int": _row(("0123456789", "int"), (".", "dot"), _EXPONENT, *_AFTER),
    "dot": _row(("0123456789", "fraction")),
    "fraction": _row(("0123456789", "fraction"), _EXPONENT, *_AFTER),
    "exponent": _row(("+-", "sign"), ("0123456789", "power")),
    "sign": _row(("0123456789", "power")),
    "power": _row(("0123456789", "power"), *_AFTER),
    "t1": {"r": "t2"},
    "t2": {"u": "t3"},
    "t3": {"e": "after"},
    "f1": {"a": "f2"},
    "f2": {"l": "f3"},
    "f3": {"s": "f4"},
    "f4": {"e": "after"},
    "n1": {"u": "n2"},
    "n2": {"l": "n3"},
    "n3": {"l": "after"},
}

# state -> what ends the token it is in; then comes the rest of the member and the closing brackets.
_IN_STRING: Final = {
    "in": "",
    "escape": "\\",
    "u1": "0000",
    "u2": "000",
    "u3": "00",
    "u4": "0",
    "d2": "000",
    "h3": "00\\udc00",
    "h4": "0\\udc00",
    "low": "\\udc00",
    "lowu": "udc00",
    "low1": "dc00",
    "low2": "c00",
}
_ENDING: Final = {
    "start": "{}",
    "any": "null",
    "value": "null",
    "first": "",
    "member": "",
    "next": '"":null',
    "colon": ":null",
    "after": "",
    "minus": "0",
    "zero": "",
    "int": "",
    "dot": "0",
    "fraction": "",
    "exponent": "0",
    "sign": "0",
    "power": "",
    "t1": "rue",
    "t2": "ue",
    "t3": "e",
    "f1": "alse",
    "f2": "lse",
    "f3": "se",
    "f4": "e",
    "n1": "ull",
    "n2": "ll",
    "n3": "l",
}
_CLOSER: Final = {"{": "}", "[": "]"}
_ENDS_AT_TOP: Final = frozenset({"after", "zero", "int", "fraction", "power"})


class Automaton:
    """Follows one JSON text through its pieces.

    ``feed`` says whether the text so far is still the beginning of a JSON object (of any JSON value with
    ``start="any"``); a refused piece changes nothing, so :meth:`ending` always speaks of what was accepted.
    """

    __slots__ = ("_digits", "_key", "_stack", "_state")

    def __init__(self, start: str = "start") -> None:
        self._state = start
        self._stack = ""  # open brackets
        self._key = False  # whether the string we are in is a key
        self._digits = 0  # of the integer we are in

    def feed(self, piece: str) -> bool:
        state, stack, key, digits = self._state, self._stack, self._key, self._digits
        if (state == "start" or state == "any") and _is_object(piece):
            self._state = "after"
            return True
        at, size = 0, len(piece)
        while at < size:
            if state == "in":
                at = _RUN.match(piece, at).end()  # type: ignore[union-attr]  # it matches the empty string too
                if at == size:
                    break
            target = TABLE[state].get(piece[at])
            at += 1
            if target is None:
                return False
            if target == "=":
                at = _SPACE.match(piece, at).end()  # type: ignore[union-attr]
            elif target == "int":
                digits = digits + 1 if state == "int" else 1
                if digits > MAX_DIGITS:
                    return False
                state = target
            elif target == "string" or target == "key":
                state, key = "in", target == "key"
            elif target == "close":
                state = "colon" if key else "after"
            elif target == "push":
                if len(stack) == MAX_DEPTH:
                    return False
                bracket = piece[at - 1]
                stack += bracket
                state = "member" if bracket == "{" else "first"
            elif target == "pop":
                if not stack or _CLOSER[stack[-1]] != piece[at - 1]:
                    return False
                stack = stack[:-1]
                state = "after"
            elif target == "comma":
                if not stack:
                    return False
                state = "next" if stack[-1] == "{" else "value"
            else:
                state = target
        self._state, self._stack, self._key, self._digits = state, stack, key, digits
        return True

    @property
    def begun(self) -> bool:
        """Whether more than whitespace came."""
        return self._state not in ("start", "any")

    @property
    def complete(self) -> bool:
        return not self._stack and self._state in _ENDS_AT_TOP

    @property
    def in_string(self) -> bool:
        return self._state in _IN_STRING

    def ending(self) -> str:
        """The shortest text that makes the accepted part complete."""
        if (state := self._state) in _IN_STRING:
            token = _IN_STRING[state] + ('":null' if self._key else '"')
        else:
            token = _ENDING[state]
        return token + "".join([_CLOSER[bracket] for bracket in reversed(self._stack)])

    def ending_of_cut(self) -> str:
        """An ending of a begun object that is valid JSON, but by which a tool can see that it is not whole."""
        return self.ending()[:-1] + (CUT if self._state == "member" and len(self._stack) == 1 else "," + CUT)


def _is_object(text: str) -> bool:
    """Whether this is a whole JSON object beyond doubt; if not, it may be one all the same.

    Our decoder is as strict as the automaton but for its limits, and costs a tenth where arguments come whole.
    """
    if not text.startswith("{") or not text.endswith("}") or text.count("{") + text.count("[") > MAX_DEPTH:
        return False
    if len(text) > MAX_DIGITS and _MANY_DIGITS.search(text[::_STRIDE]):
        return False
    try:
        _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def whole(text: str, *, cut: bool) -> str:
    """Arguments that came whole, as the text of a JSON object (protocol.md 3.1, 4.6.2).

    Nothing or null is ``{}``; doubly encoded JSON is decoded once more; JSON without its end is closed unless the
    answer was ``cut`` (a closed half of a Write would be executed); other JSON goes under ``value`` and the rest
    under ``_raw_arguments``.
    """
    stripped = text.strip(_WS)
    if _is_object(stripped):
        return stripped
    if stripped in ("", "null"):
        return "{}"
    closed = _closed(stripped, cut=cut)
    if closed is None:
        return _under(RAW, text)
    if closed.startswith("{"):
        return closed
    if closed.startswith('"'):
        inner = msgspec.json.decode(closed, type=str).strip(_WS)
        if inner in ("", "null"):
            return "{}"
        if inner.startswith(("{", "[")):
            again = _closed(inner, cut=cut)
            if again is not None:
                return again if again.startswith("{") else '{"value":' + again + "}"
            return _under(RAW, inner)
    return '{"value":' + closed + "}"


def _closed(text: str, *, cut: bool) -> str | None:
    """``text`` as complete JSON, or None."""
    automaton = Automaton("any")
    if not automaton.feed(text):
        return None
    if automaton.complete:
        return text
    if cut or text[0] not in '{["':  # half a number or half a literal is more likely no JSON at all
        return None
    return text + automaton.ending()


def _under(name: str, text: str) -> str:
    return "{" + encode(name).decode() + ":" + encode(text).decode() + "}"
