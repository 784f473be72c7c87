"""``ccproxy profiles``: which profiles there are, which one an upstream gets, and why it says what it says.

Rule: nothing is explained from memory.  The switches come from the layers that the resolver merges, the example from
the translation that serves requests.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

import msgspec

from ccproxy_sanic.columns import aligned
from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.learning.lessons import LASTS, Lesson, Lessons, plain
from ccproxy_sanic.masking import mask
from ccproxy_sanic.profiles import Catalog, Profile, resolve, select
from ccproxy_sanic.profiles.resolver import Layer, host_of
from ccproxy_sanic.profiles.switches import spelled
from ccproxy_sanic.translate import passthrough_body
from ccproxy_sanic.translate.adjustments import Adjustment
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.translate.responses_request import to_responses
from ccproxy_sanic.wire import openai_chat, openai_responses
from ccproxy_sanic.wire.anthropic import decode_request

FAULTY: Final = 2
EXAMPLE: Final[Mapping[str, Any]] = {
    "max_tokens": 20_000,
    "temperature": 0.7,
    "stream": True,
    "system": "Be brief.",
    "thinking": {"type": "enabled", "budget_tokens": 8_000},
    "tools": [
        {
            "name": "get_weather",
            "description": "The weather in a city.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ],
    "tool_choice": {"type": "auto"},
    "messages": [{"role": "user", "content": "How is the weather in Paris?"}],
}
_PATHS: Final = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}
_HEADINGS: Final = ("NAME", "PLATFORM", "FILE", "HOSTS")
_LEARNED: Final = ("UPSTREAM", "MODEL", "REFUSED", "SINCE", "FOR", "SO")
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand behind ``ccproxy profiles``."""
    verbs = parser.add_subparsers(dest="question", metavar="explain")
    explain = verbs.add_parser("explain", help="which profile a model at a base URL gets, why, and what it is sent")
    explain.add_argument("base_url", metavar="BASE_URL")
    explain.add_argument("model", metavar="MODEL")


def run(
    given: argparse.Namespace,
    catalog: Catalog,
    forced: str | None,
    out: TextIO,
    lessons: Iterable[Lesson] = (),
    now: float = 0.0,
) -> int:
    """The command; the exit code.  ``forced`` is CCPROXY_PROFILE, which ``catalog`` has; ``lessons`` are those of
    CCPROXY_STATE_DIR, and ``now`` is in seconds since the epoch."""
    book = Lessons(lambda: now)
    for lesson in lessons:
        book.take(lesson)
    if given.question is None:
        out.write(listing(catalog) + learned(book))
        return 0
    try:
        text = explanation(given.base_url, given.model, forced, catalog, book)
    except ValueError:
        out.write("fault: BASE_URL: is no http:// or https:// address\n")
        return FAULTY
    out.write(text)
    return 0


def listing(catalog: Catalog) -> str:
    """All profiles, in the order in which their hosts are looked up."""
    rows = [_HEADINGS]
    for name, entry in catalog.entries.items():
        rows.append((name, catalog.build(name).platform, ", ".join(entry.origins), ", ".join(entry.hosts) or "-"))
    return _aligned(rows)


def learned(book: Lessons) -> str:
    """What upstreams taught of their models by refusing requests; nothing where nothing is known."""
    rows = [_LEARNED]
    for lesson in sorted(book, key=lambda one: (one.base_url, one.model, one.learned_at)):
        age = lesson.age(book.now())
        switches = ", ".join(f"{switch} = {spelled(value)}" for switch, value in lesson.switches.items())
        left = _for(LASTS - age)
        rows.append((mask(lesson.base_url), mask(lesson.model), lesson.kind, _for(age), left, switches))
    return "" if len(rows) == 1 else f"\nLearned from refusals:\n{_aligned(rows)}"


def _for(seconds: float) -> str:
    """``3 h``: one figure and the largest unit that it fills."""
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size or size == 1)
    return f"{seconds // size:.0f} {unit}"


def explanation(base_url: str, model: str, forced: str | None, catalog: Catalog, book: Lessons | None = None) -> str:
    """Which profile, which table sets each switch, what is sent.  Raises ValueError for a URL that is none."""
    book = book or Lessons(lambda: 0.0)
    name, at_host = select(base_url, forced, catalog)
    lines = [
        f"profile {name}: {_why(base_url, name, forced, catalog)}",
        f"made of {' < '.join(catalog.lineage(name))}",
        "",
    ]
    rows: dict[str, tuple[str, str, str]] = {}
    for layer in [*catalog.layers(name, model=model, at_host=at_host), *_taught(base_url, model, book)]:
        for switch, value in layer.set.items():
            before = rows.get(switch)
            instead = f", instead of {before[1]} by {before[2].partition(', instead of ')[0]}" if before else ""
            rows[switch] = (switch, spelled(value), layer.where + instead)
    lines.append(_aligned([("SWITCH", "VALUE", "SET BY"), *rows.values()]) + "All other switches have their defaults.")
    return "\n".join([*lines, "", *_example(base_url, model, forced, catalog, book)]) + "\n"


def _taught(base_url: str, model: str, book: Lessons) -> list[Layer]:
    mine = [lesson for lesson in book if (lesson.base_url, lesson.model) == (plain(base_url), model)]
    return [Layer(f"its server, {_for(lesson.age(book.now()))} ago", lesson.switches) for lesson in mine]


def _why(base_url: str, name: str, forced: str | None, catalog: Catalog) -> str:
    if forced is not None:
        return "CCPROXY_PROFILE forces it"
    host = host_of(base_url)
    if catalog.at(base_url) is not None:
        return f"{host} is one of its hosts ({', '.join(catalog.entries[name].hosts)})"
    return f"no profile claims {host or 'this address'}; when it serves, the proxy asks the server who it is"


def _example(base_url: str, model: str, forced: str | None, catalog: Catalog, book: Lessons) -> list[str]:
    asked = msgspec.json.encode({"model": model, **EXAMPLE})
    profile = book.applied(base_url, model, resolve(base_url, model, forced, catalog))
    lines = ["For this request", _indented(asked), "", f"this is sent to {_PATHS[profile.api]}"]
    try:
        body, adjustments = _sent(asked, model, profile)
    except InvalidRequest as refused:
        return [*lines, f"  nothing, it is refused: {refused.message}"]
    lines.append(_indented(body))
    if not adjustments:
        return [*lines, "", "and nothing was changed on the way"]
    changes = [(one.code, one.path, one.reason) for one in adjustments]
    table = _aligned([("CODE", "PATH", "REASON"), *changes]).rstrip("\n")
    return [*lines, "", "and this was changed on the way", table]


def _sent(asked: bytes, model: str, profile: Profile) -> tuple[bytes, Sequence[Adjustment]]:
    """What becomes of the request in the API that the profile speaks.  Raises InvalidRequest."""
    if profile.api == "messages":
        return passthrough_body.body_for(asked, model, own_ids=profile.tool_ids == "anthropic")
    req = decode_request(asked)
    if profile.api == "responses":
        made = to_responses(req, model=model, profile=profile, session="example")
        return openai_responses.encode(made.request), made.adjustments
    done = to_chat(req, model=model, profile=profile, session="example")
    return openai_chat.encode(done.request), done.adjustments


def _indented(data: bytes) -> str:
    return msgspec.json.format(data, indent=2).decode()


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(aligned(rows)) + "\n"
