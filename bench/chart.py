"""Bars as SVG, for the README.

Rule: one colour per group, every bar says its number; a value without a bar is not drawn as zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 860
ROW: Final = 26
LABEL: Final = 270  # pixels left of the bars
NUMBER: Final = 90  # and right of them
TOP: Final = 58
COLOURS: Final = {"ours": "#c2410c", "floor": "#0f766e", "raw": "#475569", "peer": "#94a3b8"}
STYLE: Final = (
    "text{font:13px ui-sans-serif,system-ui,Segoe UI,sans-serif;fill:#1f2937}.title{font-size:16px;font-weight:600}"
    ".note{fill:#6b7280;font-size:12px}.number{font-variant-numeric:tabular-nums}"
)


class Bar(NamedTuple):
    """``group``: ours, floor, raw or peer."""

    label: str
    value: float
    group: str


def number(value: float) -> str:
    """Three digits that mean something: 1,234 and 12.3 and 0.123."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def svg(title: str, note: str, bars: Sequence[Bar], *, logarithmic: bool = False) -> str:
    """Shorter is better.  ``logarithmic``: a bar's length is the logarithm of its value, and the note should say so.
    Raises ValueError without bars."""
    if not bars:
        raise ValueError("there is nothing to draw")
    largest, smallest = max(bar.value for bar in bars), min(bar.value for bar in bars if bar.value > 0)
    room = WIDTH - LABEL - NUMBER
    span = math.log(largest / smallest) + 1 if largest > smallest else 1.0

    def length(value: float) -> float:
        if value <= 0:
            return 0.0
        return room * ((math.log(value / smallest) + 1) / span if logarithmic else value / largest)

    height = TOP + ROW * len(bars) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f'<style>{STYLE}</style><rect width="100%" height="100%" rx="8" fill="#fff"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="note" x="16" y="45">{escape(note)}</text>',
    ]
    for place, bar in enumerate(bars):
        y, wide = TOP + place * ROW, max(length(bar.value), 1.5)
        out += [
            f'<text x="{LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{LABEL}" y="{y + 4}" width="{wide:.1f}" height="{ROW - 9}" rx="3" fill="{COLOURS[bar.group]}"/>',
            f'<text class="number" x="{LABEL + wide + 8:.1f}" y="{y + 17}">{number(bar.value)}</text>',
        ]
    return "\n".join([*out, "</svg>\n"])
