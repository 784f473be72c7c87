"""What the actors' books and the process know of themselves, as families.

Rule: a part's statistics are read by the rows of its table and by nothing else, so that a new field is a new row
(gauges_table).
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from actors import About, Family, MetricsRegistry, Ref, Series, mailbox_families
from actors.metrics import MAILBOX
from ccproxy_sanic import __version__
from ccproxy_sanic.gauges_table import PARTS, Row
from ccproxy_sanic.ops.prometheus import process_families

log = logging.getLogger("ccproxy")
STATES: Final = {"closed": 0.0, "half_open": 1.0, "open": 2.0}  # of a breaker
BUILD: Final = About("ccproxy_build_info", "gauge", "Which version runs.", ("version", "python"), "max")

Values = tuple[str, ...]


def families(refs: Iterable[Ref[Any]], parts: Mapping[str, Callable[[], Any]]) -> Iterator[Family]:
    """Everything that is known right now: of the actors' mailboxes, of each part in :data:`PARTS` what it is asked
    for by its name (None: there is no such part), and of the process.  One that fails costs its own figures only."""
    yield Family(BUILD, (Series((__version__, platform.python_version()), 1.0),))
    yield from mailbox_families(refs)
    for part, rows in PARTS.items():
        try:
            statistics = parts[part]()
            yield from () if statistics is None else list(of(statistics, rows))
        except Exception:
            log.exception("part %s does not say what it knows", part)
    yield from process_families()


def markdown() -> str:
    """The table in docs/metrics.md."""
    rows = {row.about for rows in PARTS.values() for row in rows}
    counted = [family.about for family in MetricsRegistry().families()]
    lines = ["| Metric | Kind | Labels | What it is |", "| --- | --- | --- | --- |"]
    for about in sorted({BUILD, *rows, *counted, *(about for about, _ in MAILBOX)}, key=lambda about: about.name):
        labels = ", ".join(f"`{label}`" for label in about.labels)
        lines.append(f"| `{about.name}` | {about.kind} | {labels} | {about.help} |")
    return "\n".join(lines)


def of(statistics: Any, rows: Iterable[Row]) -> Iterator[Family]:
    """The families of one part; rows of one name are one family."""
    found: dict[About, list[Series]] = {}
    for row in rows:
        series = found.setdefault(row.about, [])
        for values, leaf in _leaves(statistics, row.path.split(".") if row.path else []):
            for more, number in _numbers(leaf):
                series.append(Series((*values, *row.values, *more), number))
    for about, series in found.items():
        yield Family(about, tuple(series))


def _leaves(value: Any, path: list[str]) -> Iterator[tuple[Values, Any]]:
    """What is at the end of ``path``, with the names of what is many on the way."""
    if not path:
        yield (), value
        return
    many: Iterable[tuple[str, Any]]
    if isinstance(value, tuple):
        many = ((one.name, one) for one in value)
    elif isinstance(value, Mapping):
        many = value.items()
    else:
        yield from _leaves(getattr(value, path[0]), path[1:])
        return
    for name, one in many:
        for values, leaf in _leaves(one, path):
            yield (str(name), *values), leaf


def _numbers(value: Any) -> Iterator[tuple[Values, float]]:
    """The numbers in a leaf, each with the keys that lead to it; None is no number, a tuple is how many are in it."""
    match value:
        case None:
            return
        case str():
            yield (), STATES[value]
        case tuple():
            yield (), float(len(value))
        case msgspec.Struct():
            yield from _numbers(msgspec.structs.asdict(value))
        case Mapping():
            for key, inner in value.items():
                for values, number in _numbers(inner):
                    yield (str(key), *values), number
        case _:
            yield (), float(value)
