"""Counters and histograms, and what they hold as data.

Rule: whoever counts keeps a cell and adds to it; a name from outside is a label value up to a bounded number of them,
then ``other``; families of several processes can always be added up.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final, Generic, Literal, TypeVar

import msgspec

OTHER: Final = "other"
LONGEST_NAME: Final = 128
# Seconds.  From our own overhead (fractions of a millisecond) to the longest stream.
BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)

Number = TypeVar("Number", int, float)


class About(msgspec.Struct, frozen=True):
    """What is told of a family.  ``merge``: what several processes' gauges are together."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    merge: Literal["sum", "max", "min"] = "sum"


class Series(msgspec.Struct, frozen=True, array_like=True):
    """One combination of label values.  A histogram's ``value`` is its sum, ``counts`` are those of :data:`BUCKETS`,
    each for itself, and of what lies above."""

    labels: tuple[str, ...]
    value: float
    counts: tuple[int, ...] = ()


class Family(msgspec.Struct, frozen=True):
    """All series of one name."""

    about: About
    series: tuple[Series, ...]


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


class Cell(Generic[Number]):
    """One counter of a family.  Whoever counts keeps it and adds to ``value``: no labels to look up."""

    __slots__ = ("value",)

    def __init__(self, zero: Number) -> None:
        self.value: Number = zero


class Counter(Generic[Number]):
    """A counter per combination of label values.  One with labels is shown as soon as it is not zero."""

    def __init__(self, zero: Number, name: str, text: str, *labels: str) -> None:
        self.about = About(name, "counter", text, labels)
        self._zero: Number = zero
        self._cells: dict[tuple[str, ...], Cell[Number]] = {}
        if not labels:
            self.cell()

    def cell(self, *values: str) -> Cell[Number]:
        """The counter with these label values, always the same one."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = Cell(self._zero)
        return cell

    def total(self) -> Number:
        return sum((cell.value for cell in self._cells.values()), self._zero)

    def by(self, position: int) -> dict[str, Number]:
        """Sums per value of the label at ``position``; no zeros."""
        sums: dict[str, Number] = {}
        for values, cell in self._cells.items():
            if cell.value:
                sums[values[position]] = sums.get(values[position], self._zero) + cell.value
        return sums

    def family(self) -> Family:
        cells = self._cells.items()
        return Family(
            self.about, tuple(Series(values, cell.value) for values, cell in cells if cell.value or not values)
        )


# One histogram: the sum, the count of each bucket, and of what lies above.  A list, so that to observe takes no call:
#     buckets[bisect_left(EDGES, seconds)] += 1; buckets[0] += seconds
# The sum is the first, before the first edge: an index from the end costs a quarter more (CPython 3.11).
Buckets = list[float]
EDGES: Final = (float("-inf"), *BUCKETS)


class Histogram:
    """A histogram (seconds, upper bounds inclusive) per combination of label values, shown when it has observed."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.about = About(name, "histogram", text, labels)
        self._cells: dict[tuple[str, ...], Buckets] = {}

    def cell(self, *values: str) -> Buckets:
        """The histogram with these label values, always the same one."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = [0.0] + [0] * len(EDGES)
        return cell

    def observe(self, seconds: float, *values: str) -> None:
        cell = self.cell(*values)
        cell[bisect_left(EDGES, seconds)] += 1
        cell[0] += seconds

    def sum(self) -> float:
        return sum(cell[0] for cell in self._cells.values())

    def family(self) -> Family:
        seen = ((values, cell) for values, cell in self._cells.items() if any(cell[1:]))
        return Family(self.about, tuple(Series(values, cell[0], tuple(map(int, cell[1:]))) for values, cell in seen))


_MERGE: Final[dict[str, Callable[[float, float], float]]] = {"sum": operator.add, "max": max, "min": min}
_decode: Final = msgspec.msgpack.Decoder(list[Family]).decode


def dump(families: Iterable[Family]) -> bytes:
    """Families on their way to another process."""
    return msgspec.msgpack.encode(list(families))


def merged(dumps: Iterable[bytes]) -> list[Family]:
    """The families of several processes as one: counters and histograms add up, gauges as they say.

    A family that another version described in another way is counted where it came first.  Raises
    :class:`msgspec.DecodeError` for what is no dump.
    """
    abouts: dict[str, About] = {}
    series: dict[str, dict[tuple[str, ...], Series]] = {}
    for given in dumps:
        for family in _decode(given):
            about = abouts.setdefault(family.about.name, family.about)
            if about != family.about:
                continue
            rows = series.setdefault(about.name, {})
            for row in family.series:
                rows[row.labels] = _added(about, rows[row.labels], row) if row.labels in rows else row
    return [Family(about, tuple(series.get(name, {}).values())) for name, about in abouts.items()]


def _added(about: About, one: Series, two: Series) -> Series:
    counts = tuple(map(operator.add, one.counts, two.counts))
    return Series(one.labels, _MERGE[about.merge](one.value, two.value), counts)
