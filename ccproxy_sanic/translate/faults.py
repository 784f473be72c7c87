"""An upstream's refusal as an Anthropic error.  Pure: the clock is an argument.

Rule: :data:`STATUS` decides, :data:`KINDS` corrects it where a code or a wording says more than the status; nothing
raises, whatever the upstream sends.  Source: protocol.md 5.2 to 5.4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from msgspec.structs import replace

from ccproxy_sanic.errors import Garbled, PromptTooLong, ProxyError, Refused, Throttled, TimedOut
from ccproxy_sanic.translate import overflow, unwrap
from ccproxy_sanic.translate.unwrap import Said

CLI_PATIENCE: Final = 60.0  # seconds: Claude Code gives up at once above that (protocol.md 5.2)
LONGEST_WAIT: Final = 86_400.0  # seconds: a retry-after above a day is nonsense
_SUCCESS: Final = range(200, 400)


class ContentFiltered(Refused):
    """The upstream's content filter refused the prompt: the pipeline may answer with ``stop_reason: refusal``."""


class Kind(Enum):
    """What a code or a wording means."""

    AUTHENTICATION = auto()
    BILLING = auto()
    CONTENT_FILTER = auto()
    MEDIA = auto()
    MISSING = auto()
    OVERLOADED = auto()
    RATE_LIMIT = auto()
    REFUSED = auto()
    TIMEOUT = auto()
    TOO_LARGE = auto()


STATUS_OF_KIND: Final = {
    Kind.AUTHENTICATION: 403,  # our key is wrong, not the client's: a 401 makes Claude Code ask its user to log in
    Kind.BILLING: 402,
    Kind.CONTENT_FILTER: 400,
    Kind.MEDIA: 400,
    Kind.MISSING: 404,
    Kind.OVERLOADED: 529,
    Kind.RATE_LIMIT: 429,
    Kind.REFUSED: 400,
    Kind.TIMEOUT: 504,
    Kind.TOO_LARGE: 413,
}

# Upstream status -> ours.  Other 4xx are 400, everything else is 500 (protocol.md 5.2).
STATUS: Final = {
    401: 403,
    402: 402,
    403: 403,
    404: 404,
    408: 504,
    409: 409,
    413: 413,
    429: 429,
    498: 403,
    503: 529,
    504: 504,
    522: 504,
    524: 504,
    529: 529,
}
_KEY_REFUSED: Final = frozenset({401, 498})

# Machine-readable words (lower case) -> kind.  Numbers are vendors' own codes: Z.ai 1xxx as text, MiniMax in base_resp.
KINDS: Final = {
    "insufficient_quota": Kind.BILLING,
    "insufficient_balance": Kind.BILLING,
    "insufficient_credits": Kind.BILLING,
    "exceeded_current_quota_error": Kind.BILLING,  # Moonshot
    "billing_hard_limit_reached": Kind.BILLING,
    "billing_error": Kind.BILLING,
    "arrearage": Kind.BILLING,  # DashScope
    "1113": Kind.BILLING,  # Z.ai
    "1008": Kind.BILLING,  # MiniMax
    "invalid_api_key": Kind.AUTHENTICATION,
    "invalidapikey": Kind.AUTHENTICATION,  # DashScope
    "api_key_invalid": Kind.AUTHENTICATION,
    "authentication_error": Kind.AUTHENTICATION,
    "invalid_authentication_error": Kind.AUTHENTICATION,  # Moonshot
    "unauthenticated": Kind.AUTHENTICATION,
    "1004": Kind.AUTHENTICATION,  # MiniMax
    "2049": Kind.AUTHENTICATION,  # MiniMax
    "content_filter": Kind.CONTENT_FILTER,  # Azure
    "responsibleaipolicyviolation": Kind.CONTENT_FILTER,  # Azure
    "data_inspection_failed": Kind.CONTENT_FILTER,  # DashScope
    "datainspectionfailed": Kind.CONTENT_FILTER,
    "1301": Kind.CONTENT_FILTER,  # Z.ai
    "1026": Kind.CONTENT_FILTER,  # MiniMax
    "1027": Kind.CONTENT_FILTER,
    "bio_policy": Kind.CONTENT_FILTER,  # OpenAI Responses, as the next ones
    "misalignment_policy_violation": Kind.CONTENT_FILTER,
    "image_content_policy_violation": Kind.CONTENT_FILTER,
    "content_policy_violation": Kind.CONTENT_FILTER,
    "overloaded": Kind.OVERLOADED,
    "overloaded_error": Kind.OVERLOADED,
    "engine_overloaded_error": Kind.OVERLOADED,  # Moonshot
    "model_overloaded": Kind.OVERLOADED,
    "unavailable": Kind.OVERLOADED,  # Google
    "unavailable_error": Kind.OVERLOADED,  # llama.cpp
    "service_unavailable": Kind.OVERLOADED,
    "rate_limit_exceeded": Kind.RATE_LIMIT,
    "rate_limit_error": Kind.RATE_LIMIT,
    "rate_limit_reached_error": Kind.RATE_LIMIT,  # Moonshot
    "resource_exhausted": Kind.RATE_LIMIT,  # Google
    "too_many_requests": Kind.RATE_LIMIT,
    "1302": Kind.RATE_LIMIT,  # Z.ai
    "1002": Kind.RATE_LIMIT,  # MiniMax
    "1039": Kind.RATE_LIMIT,
    "timeout": Kind.TIMEOUT,
    "timeout_error": Kind.TIMEOUT,
    "deadline_exceeded": Kind.TIMEOUT,  # Google
    "1001": Kind.TIMEOUT,  # MiniMax
    "invalid_request_error": Kind.REFUSED,
    "invalid_argument": Kind.REFUSED,
    "badrequesterror": Kind.REFUSED,  # vLLM
    "2013": Kind.REFUSED,  # MiniMax
    "invalid_prompt": Kind.REFUSED,  # OpenAI Responses, as the next ones
    "data_residency_mismatch": Kind.REFUSED,
    "invalid_image": Kind.MEDIA,
    "invalid_image_format": Kind.MEDIA,
    "invalid_base64_image": Kind.MEDIA,
    "invalid_image_url": Kind.MEDIA,
    "image_too_large": Kind.MEDIA,
    "image_too_small": Kind.MEDIA,
    "image_parse_error": Kind.MEDIA,
    "invalid_image_mode": Kind.MEDIA,
    "image_file_too_large": Kind.MEDIA,
    "unsupported_image_media_type": Kind.MEDIA,
    "empty_image_file": Kind.MEDIA,
    "failed_to_download_image": Kind.MEDIA,
    "image_file_not_found": Kind.MEDIA,
    "vector_store_timeout": Kind.TIMEOUT,
    "not_found_error": Kind.MISSING,
    "not_found": Kind.MISSING,
    "request_too_large": Kind.TOO_LARGE,
}

# Which kinds may correct which status (ours): a 400 may quote the client's own words, so there only few are believed.
_ANY_REFUSAL: Final = frozenset({Kind.BILLING, Kind.AUTHENTICATION, Kind.CONTENT_FILTER})
_BUSY: Final = frozenset({Kind.BILLING, Kind.OVERLOADED})
CORRECTS: Final = {
    400: _ANY_REFUSAL,
    403: frozenset({Kind.BILLING}),
    429: _BUSY,
    500: frozenset({Kind.OVERLOADED, Kind.RATE_LIMIT, Kind.TIMEOUT, Kind.MEDIA}),
    529: frozenset({Kind.BILLING}),
}

# Wordings, looked for only where the table above lets their kind correct the status, and in streams.
PHRASES: Final = (
    (re.compile(r"insufficient[ _](?:account )?(?:balance|credits?|funds)", re.IGNORECASE), Kind.BILLING),
    (
        re.compile(
            r"^\W{0,4}(?:incorrect api key|api key not valid|invalid api[- ]key|invalid x-api-key)", re.IGNORECASE
        ),
        Kind.AUTHENTICATION,
    ),
    (
        re.compile(
            r"overloaded|no available provider|queue (?:is )?full|server is busy|at capacity|loading model",
            re.IGNORECASE,
        ),
        Kind.OVERLOADED,
    ),
    # llama.cpp answers 500, which a client would repeat for minutes (real-upstream.md quirk 9)
    (re.compile(r"image input is not supported", re.IGNORECASE), Kind.MEDIA),
    (re.compile(r"rate limit|too many requests", re.IGNORECASE), Kind.RATE_LIMIT),
    (re.compile(r"timed out|deadline exceeded", re.IGNORECASE), Kind.TIMEOUT),
)

# Where a context overflow is looked for; llama.cpp and some gateways say it with 500, nginx-like ones with 413.
_OVERFLOWS: Final = frozenset({400, 413, 500})
_CLASS: Final[dict[int, type[ProxyError]]] = {429: Throttled, 504: TimedOut}
_NOTHING: Final[frozenset[Kind]] = frozenset()
_WAITS: Final = frozenset({429, 500, 504, 529})
_NO_RETRY: Final = frozenset({Kind.AUTHENTICATION, Kind.BILLING})


def from_upstream(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    client_app: str | None = None,
    now: float | None = None,
    asked: int | None = None,
) -> ProxyError:
    """The client's error for an upstream's HTTP answer that is no success.

    ``headers`` with lower-case names; ``client_app`` is the client's ``x-app``; ``now`` is the wall clock in seconds
    (without it a ``retry-after`` given as a date is left out); ``asked`` is the max_tokens sent upstream, for servers
    that name only the allowed range.  A success status means that the body was no answer: an error in JSON is read as
    in :func:`from_stream_error` (MiniMax), anything else is :class:`Garbled`.  Never raises.
    """
    said = unwrap.body(body, status)
    if status in _SUCCESS:
        if said.parsed:
            return _of_code(said, client_app, asked)
        return Garbled(_show(f"the upstream's answer is not an answer of its protocol: {said.message}"))
    wait = retry_after(headers, now)
    if wait is not None:
        said = replace(said, retry_after=wait)
    error = _of_status(status, said, client_app, asked)
    if error.should_retry is None and (hint := headers.get("x-should-retry", "").lower()) in ("true", "false"):
        error.should_retry = hint == "true"
    return error


def from_stream_error(error: object, *, client_app: str | None = None, asked: int | None = None) -> ProxyError:
    """The client's error for an error that came after a success status: in a stream, or in a 200 body.

    ``error`` is the decoded JSON value of the ``error`` member, or the whole chunk.  The status comes from the code
    when that is an HTTP error status, else from type and wording, else 500 ``api_error``.  Never raises.
    """
    return _of_code(unwrap.value(error, 500), client_app, asked)


def _of_code(said: Said, client_app: str | None, asked: int | None) -> ProxyError:
    if said.number is not None and 400 <= said.number < 600:
        return _of_status(said.number, said, client_app, asked)
    return _build(500, _kind(said, frozenset(Kind)), said, client_app, asked)


def _of_status(status: int, said: Said, client_app: str | None, asked: int | None) -> ProxyError:
    ours = STATUS.get(status, 400 if 400 <= status < 500 else 500)
    kind = _kind(said, CORRECTS.get(ours, _NOTHING))
    if status == 402 and said.retry_after is not None:
        kind = Kind.RATE_LIMIT  # OpenRouter: the budget of requests in flight, not the account's
    elif kind is None and ours == 402:
        kind = Kind.BILLING
    elif kind is None and status in _KEY_REFUSED:
        kind = Kind.AUTHENTICATION
    return _build(ours, kind, said, client_app, asked)


def _kind(said: Said, wanted: frozenset[Kind]) -> Kind | None:
    for code in said.codes:
        if (kind := KINDS.get(code)) in wanted:
            return kind
    for pattern, kind in PHRASES:
        if kind in wanted and pattern.search(said.message, 0, unwrap.MAX_MESSAGE):
            return kind
    return None


def _build(ours: int, kind: Kind | None, said: Said, client_app: str | None, asked: int | None) -> ProxyError:
    error = _fault(ours, kind, said, client_app, asked)
    error.provider = said.provider
    return error


def _fault(ours: int, kind: Kind | None, said: Said, client_app: str | None, asked: int | None) -> ProxyError:
    status = ours if kind is None else STATUS_OF_KIND[kind]
    message = said.message
    if kind is Kind.CONTENT_FILTER:
        return ContentFiltered(_show(message), status=status)
    if status in _OVERFLOWS:
        told = overflow.rewrite(message, " ".join(said.codes), known=said.limits, asked=asked)
        if told is not None:
            return PromptTooLong(_show(told))
    if kind is Kind.AUTHENTICATION:
        message = f"upstream authentication failed: {message}"
    error = _CLASS.get(status, Refused)(
        _show(message), status=status, should_retry=False if kind in _NO_RETRY else None
    )
    if status in _WAITS:
        note_wait(error, said.retry_after, client_app)
    return error


def note_wait(error: ProxyError, wait: float | None, client_app: str | None) -> None:
    """``error`` came with the wish to be left alone for ``wait`` seconds; the client is told what it can bear."""
    error.asked_wait = wait
    error.retry_after = min(wait, CLI_PATIENCE) if wait is not None and client_app == "cli" else wait


def _show(message: str) -> str:
    return unwrap.clean(message)


def retry_after(headers: Mapping[str, str], now: float | None) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (a number, decimals allowed, or an HTTP date).

    Between 0 and a day; None where there is nothing usable.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return min(float(text) / unit, LONGEST_WAIT)
    if now is None or not text:
        return None
    try:
        wait = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, wait), LONGEST_WAIT) if math.isfinite(wait) else None


_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{0,9})?")
