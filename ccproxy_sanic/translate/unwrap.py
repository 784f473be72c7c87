"""What an upstream's error body says, whatever shape it has.  Pure.

Rule: reading never fails; a body in no known shape is shown as shortened text.  Shapes: protocol.md 5.2 ("Body shapes
to unwrap") and peers.md 4 ("Error parser must accept").
"""

from __future__ import annotations

import html
import re
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ccproxy_sanic.masking import mask
from ccproxy_sanic.translate.overflow import UNKNOWN, Limits

MAX_MESSAGE: Final = 2_000  # characters shown to a client
MAX_SCAN: Final = 20_000  # characters that are looked at for figures
_MAX_JSON: Final = 1 << 20  # bytes: no error is larger; a bigger body is not parsed
_MAX_TEXT: Final = 300  # characters of a plain text or a page
_MAX_NAME: Final = 100
_STATUSES: Final = range(400, 600)  # an integer that is one of HTTP's says more than a vendor's own
_MAX_DEPTH: Final = 8

# Members that hold the words, in order of preference; the last ones are gateways' and clouds' habits.
_WORDS: Final = (
    "message",
    "detail",
    "error_description",
    "msg",
    "error_msg",
    "errorMessage",
    "Message",
    "status_msg",
    "title",
)
# Members that hold another error, or (xAI, LM Studio, Ollama) the text itself.
_NESTED: Final = ("error", "errors", "base_resp")


class Said(msgspec.Struct, frozen=True):
    """An error in one form.  ``codes`` are all machine-readable words (code, type, status), lower case, in order."""

    message: str = ""
    codes: tuple[str, ...] = ()
    number: int | None = None  # an integer code: HTTP's, or a vendor's own
    limits: Limits = UNKNOWN  # llama.cpp gives the figures as fields
    retry_after: float | None = None  # seconds; here Google's RetryInfo, a header goes before it
    parsed: bool = False  # the body was JSON
    provider: dict[str, Any] | None = None  # who answered behind OpenRouter, and what it said


EMPTY: Final = Said()


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """``text`` without control characters and keys, at most ``limit`` characters, a cut shown by an ellipsis."""
    text = mask(_CONTROL.sub(" ", text[: limit * 2]).strip())
    return text if len(text) <= limit else text[: limit - 1] + "…"


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]+")
_SCRIPT: Final = re.compile(r"<(script|style|svg)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]{0,2000}>")
_MARKUP: Final = re.compile(rb"\s*(?:<!doctype|<html|<head|<body|<\?xml|<center|<h1)", re.IGNORECASE)
_EVENT_DATA: Final = re.compile(rb"^data: ?([\[{\"].*)$", re.MULTILINE)


def phrase(status: int) -> str:
    """``502 Bad Gateway``; only the number where HTTP has no name for it."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def body(raw: bytes, status: int) -> Said:
    """Read an HTTP error's body (``status`` only for the words of an empty one)."""
    text = raw.strip()
    if len(raw) <= _MAX_JSON:
        # A server-sent event where JSON was expected: LM Studio, some gateways (peers.md 4).
        found = _EVENT_DATA.search(text) if text.startswith((b"data:", b"event:", b":")) else None
        try:
            return msgspec.structs.replace(value(msgspec.json.decode(found[1] if found else text), status), parsed=True)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    decoded = text[:MAX_SCAN].decode("utf-8", "replace")
    if _MARKUP.match(text):
        return Said(f"the upstream answered {phrase(status)} with a page: {_page(decoded)}".rstrip(": "))
    return _named(Said(clean(decoded, _MAX_TEXT)), status)


def _page(markup: str) -> str:
    title = _TITLE.search(markup)
    text = title[1] if title else _TAG.sub(" ", _SCRIPT.sub(" ", markup))
    return clean(" ".join(html.unescape(text).split()), _MAX_TEXT)


def value(error: object, status: int) -> Said:
    """Read a decoded JSON value: a whole body, a chunk, or the ``error`` member of one."""
    return _named(_value(error, 0), status)


def _named(said: Said, status: int) -> Said:
    """``said``, with words of our own where the upstream had none."""
    if said.message:
        return said
    return msgspec.structs.replace(said, message=f"the upstream answered {phrase(status)} without a message")


def _value(error: object, depth: int) -> Said:
    if isinstance(error, str):
        return _text(error, depth)
    if depth < _MAX_DEPTH:
        if isinstance(error, dict):
            return _object(error, depth)
        if isinstance(error, list):
            return _list(error, depth)
    return EMPTY


def _text(text: str, depth: int) -> Said:
    """A message, or JSON as a string: OpenRouter's ``raw``, gateways that quote their upstream's body."""
    inner = text.strip()
    if inner[:1] in ("{", "[") and depth < _MAX_DEPTH and len(inner) <= _MAX_JSON:
        try:
            said = _value(msgspec.json.decode(inner), depth + 1)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            said = EMPTY
        if said.message:
            return said
    return Said(clean(text, MAX_SCAN))


def _list(items: list[Any], depth: int) -> Said:
    """Gemini's array of one error, or pydantic's list of ``{loc, msg, type}``."""
    located = [_located(item) for item in items[:10]]
    found = [text for text in located if text]
    if found:
        return Said(clean("; ".join(found), MAX_SCAN))
    return next((said for item in items[:10] if (said := _value(item, depth + 1)).message), EMPTY)


def _located(item: object) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("msg"), str):
        return ""
    place = item.get("loc")
    steps = [str(step) for step in place if isinstance(step, (str, int))] if isinstance(place, list) else []
    path = ".".join(steps[1:] if steps[:1] == ["body"] else steps)
    return f"{path}: {item['msg']}" if path else item["msg"]


def _object(error: dict[str, Any], depth: int) -> Said:
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # OpenRouter: the provider's own answer
    behind = _value(raw, depth + 1) if raw else EMPTY
    members = [error[name] for name in _NESTED if isinstance(error.get(name), (dict, list))]
    members += [error.get(name) for name in (*_WORDS, *_NESTED)]  # `error` as text comes last: it may be a title
    said = behind
    if not said.message:
        said = next((found for member in members if (found := _value(member, depth + 1)).message), EMPTY)
    codes, number = _codes(error)
    return Said(
        said.message,
        said.codes + codes,
        said.number if number is None or (said.number is not None and said.number in _STATUSES) else number,
        said.limits if said.limits != UNKNOWN else _limits(error),
        said.retry_after if said.retry_after is not None else _retry_info(error.get("details")),
        provider=said.provider or (_provider(metadata, behind) if isinstance(metadata, dict) else None),
    )


def _provider(metadata: dict[str, Any], said: Said) -> dict[str, Any] | None:
    """The fields that name ``provider_name`` and what it ``said`` to the client; what is not told is left out."""
    name = metadata.get("provider_name")
    if not isinstance(name, str) or not name:
        return None
    code = said.number if said.number is not None else clean(next(iter(said.codes), ""))
    told = {"provider": clean(name, _MAX_NAME), "provider_message": clean(said.message), "provider_code": code}
    return {field: value for field, value in told.items() if value not in (None, "")}


def _codes(error: dict[str, Any]) -> tuple[tuple[str, ...], int | None]:
    words: list[str] = []
    number: int | None = None
    inner = error.get("innererror")  # Azure
    members = (error.get("code"), error.get("type"), error.get("status"), error.get("status_code"))
    for member in (*members, inner.get("code") if isinstance(inner, dict) else None):
        if isinstance(member, bool) or member is None:
            continue
        if isinstance(member, int) or (isinstance(member, str) and member.isascii() and member.isdigit()):
            if abs(code := int(str(member)[:9])) <= 999_999:
                words.append(str(code))
                number = code if number is None else number
        elif isinstance(member, str):
            words.append(member[:100].lower())
    return tuple(words), number


def _limits(error: dict[str, Any]) -> Limits:
    return Limits(_count(error, "n_prompt_tokens"), limit=_count(error, "n_ctx"))


def _count(error: dict[str, Any], name: str) -> int | None:
    count = error.get(name)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _retry_info(details: object) -> float | None:
    """Google's ``{"@type": ".../RetryInfo", "retryDelay": "12.5s"}``."""
    for item in details[:20] if isinstance(details, list) else ():
        delay = item.get("retryDelay") if isinstance(item, dict) else None
        if isinstance(delay, str) and (match := re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", delay)):
            return float(match[1])
    return None
