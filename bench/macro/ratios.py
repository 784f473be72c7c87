"""Ratios of rounds that were next to each other.

Rule: a ratio is the median over pairs of one turn; turns in which others took much of the core are left out as long as
enough quiet ones remain.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bench.macro.rounds import Round

QUIET: Final = 0.10  # of the subject's core
ENOUGH: Final = 3  # pairs


class Ratio(msgspec.Struct, frozen=True):
    """``noisy``: there were too few quiet pairs, so all were taken.  ``base`` and ``other`` are medians of the pairs
    that were taken."""

    median: float
    low: float
    high: float
    pairs: int
    noisy: bool
    base: float
    other: float


def cpu(one: Round) -> float:
    return one.cpu_us


def gap_p99(one: Round) -> float:
    return float(one.load.gap.p99)


def quiet(one: Round) -> bool:
    return one.foreign is None or one.foreign <= QUIET


def ratio(base: Sequence[Round], other: Sequence[Round], of: Callable[[Round], float] = cpu) -> Ratio | None:
    """``other`` to ``base``; None without a pair."""
    pairs = [pair for pair in zip(base, other, strict=False) if of(pair[0]) > 0]
    calm = [pair for pair in pairs if quiet(pair[0]) and quiet(pair[1])]
    taken = calm if len(calm) >= min(ENOUGH, len(pairs)) else pairs
    if not taken:
        return None
    values = sorted(of(b) / of(a) for a, b in taken)
    return Ratio(
        median=statistics.median(values),
        low=values[0],
        high=values[-1],
        pairs=len(taken),
        noisy=taken is not calm,
        base=statistics.median(of(a) for a, _ in taken),
        other=statistics.median(of(b) for _, b in taken),
    )


def middle(rounds: Sequence[Round], of: Callable[[Round], float]) -> float:
    """The median over rounds; 0 without one."""
    return statistics.median([of(one) for one in rounds] or [0.0])
