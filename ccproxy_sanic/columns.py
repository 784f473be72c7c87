"""Rows of words as lines in columns, for people.

Rule: a cell is never cut; one that is wider than its column pushes the rest of its line.
"""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[tuple[str, ...]], widest: int = 40) -> list[str]:
    """One line for each row; no column is wider than ``widest`` characters."""
    widths = [min(widest, max(map(len, column))) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
