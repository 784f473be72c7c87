"""Counters and histograms, and Prometheus' text format for them (exposition format 0.0.4).

Rule: a family's samples stand together under one HELP and one TYPE; every label value is escaped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OTHER: Final = "other"
LONGEST_NAME: Final = 128
# Seconds.  From our own overhead (fractions of a millisecond) to the longest stream.
BUCKETS: Final = (
    0.0005,
    0.001,
    0.005,
    0.01,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)

_LABEL_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_NOT_FINITE: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True):
    """One line: ``suffix`` is what a histogram appends to the family's ``name``."""

    name: str
    kind: str  # counter, gauge, histogram
    help: str
    labels: Labels
    value: float
    suffix: str = ""


class Names:
    """Label values from outside: the first ``limit`` are themselves, the rest is ``other``."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= self._limit or len(name) > LONGEST_NAME:
            return OTHER
        self._known.add(name)
        return name


class Cell:
    """One counter of a family.  Whoever counts keeps it and adds to ``value``: no labels to look up."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counter:
    """A counter per combination of label values.  One with labels is shown as soon as it is not zero."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._cells: dict[tuple[str, ...], Cell] = {}
        if not labels:
            self.cell()

    def cell(self, *values: str) -> Cell:
        """The counter with these label values, always the same one."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = Cell()
        return cell

    def total(self) -> int:
        return sum(cell.value for cell in self._cells.values())

    def by(self, position: int) -> dict[str, int]:
        """Sums per value of the label at ``position``; no zeros."""
        sums: dict[str, int] = {}
        for values, cell in self._cells.items():
            if cell.value:
                sums[values[position]] = sums.get(values[position], 0) + cell.value
        return sums

    def samples(self) -> Iterator[Sample]:
        for values, cell in self._cells.items():
            if cell.value or not values:
                labels = tuple(zip(self._labels, values, strict=True))
                yield Sample(self._name, "counter", self._text, labels, cell.value)


class Buckets:
    """One histogram of a family, with :data:`BUCKETS` (seconds, upper bounds inclusive)."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Histogram:
    """A histogram per combination of label values, shown as soon as it has observed something."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._cells: dict[tuple[str, ...], Buckets] = {}

    def cell(self, *values: str) -> Buckets:
        """The histogram with these label values, always the same one."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = Buckets()
        return cell

    def sum(self) -> float:
        return sum(cell.sum for cell in self._cells.values())

    def samples(self) -> Iterator[Sample]:
        for values, cell in self._cells.items():
            if not any(cell.counts):
                continue
            labels = tuple(zip(self._labels, values, strict=True))
            running = 0
            for bound, count in zip((*BUCKETS, float("inf")), cell.counts, strict=True):
                running += count
                yield self._sample("_bucket", (*labels, ("le", _number(bound))), running)
            yield self._sample("_sum", labels, cell.sum)
            yield self._sample("_count", labels, running)

    def _sample(self, suffix: str, labels: Labels, value: float) -> Sample:
        return Sample(self._name, "histogram", self._text, labels, value, suffix)


def encode(samples: Iterable[Sample]) -> bytes:
    """The text format; samples of one family may come in any order, it stands where its first sample stands."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for name, family in families.items():
        lines.append(f"# HELP {name} {family[0].help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {name} {family[0].kind}")
        for sample in family:
            labels = ",".join(f'{label}="{value.translate(_LABEL_ESCAPES)}"' for label, value in sample.labels)
            lines.append(f"{name}{sample.suffix}{'{' + labels + '}' if labels else ''} {_number(sample.value)}")
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _number(value: float) -> str:
    text = repr(value)
    return _NOT_FINITE.get(text, text)
