"""A flame graph as SVG, from folded stacks.

Rule: input is lines ``outermost;...;innermost COUNT``; a box is as wide as its share of all samples, equal neighbours
are one box, and what is narrower than a pixel is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from html import escape
from typing import Final

import msgspec

WIDTH: Final = 1400
ROW: Final = 17
LETTER: Final = 6.6  # pixels of one letter at the font size below
THINNEST: Final = 2.0
HEAD: Final = 46
STYLE: Final = (
    "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1b1b1b}.title{font-size:15px;font-weight:bold}"
    "rect{stroke:#fff;stroke-width:.6}"
)


class Box(msgspec.Struct):
    name: str
    count: int = 0
    children: dict[str, Box] = {}


def fold(lines: Iterable[str]) -> Box:
    """The tree of all stacks; lines that are none are skipped."""
    root = Box("all")
    for line in lines:
        stack, _, count = line.strip().rpartition(" ")
        if not stack or not count.isdigit():
            continue
        root.count += int(count)
        at = root
        for name in stack.split(";"):
            at = at.children.setdefault(name, Box(name))
            at.count += int(count)
    return root


def _depth(box: Box) -> int:
    return 1 + max(map(_depth, box.children.values()), default=0)


def _colour(name: str) -> str:
    """Warm, and the same for the same name; the project's own frames are redder."""
    seed = zlib.crc32(name.encode())
    if "ccproxy_sanic" in name or "actors/" in name:
        return f"hsl({seed % 18},{70 + seed % 20}%,{62 + seed % 9}%)"
    return f"hsl({32 + seed % 22},{60 + seed % 20}%,{68 + seed % 9}%)"


def _draw(box: Box, x: float, depth: int, height: int, total: int, out: list[str]) -> None:
    width = WIDTH * box.count / total
    if width < THINNEST:
        return
    y = height - (depth + 1) * ROW
    share = f"{box.name}: {box.count / total:.1%} of samples"
    letters = int((width - 4) / LETTER)
    label = box.name if len(box.name) <= letters else box.name[: letters - 2] + ".." if letters > 4 else ""
    text = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(label)}</text>' if label else ""
    out.append(
        f'<g><title>{escape(share)}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW}" rx="1" '
        f'fill="{_colour(box.name)}"/>{text}</g>'
    )
    for child in sorted(box.children.values(), key=lambda each: each.name):
        _draw(child, x, depth + 1, height, total, out)
        x += WIDTH * child.count / total


def svg(root: Box, title: str) -> str:
    """Raises ValueError without a sample."""
    if not root.count:
        raise ValueError("there is not one sample")
    height = HEAD + _depth(root) * ROW
    out: list[str] = []
    _draw(root, 0.0, 0, height, root.count, out)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}">',
            f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
            f'<text class="title" x="8" y="22">{escape(title)}</text>',
            f'<text x="8" y="38">{root.count} samples; hover for shares</text>',
            *out,
            "</svg>\n",
        )
    )


def heaviest(root: Box, count: int) -> list[tuple[str, float, float]]:
    """Names with the largest share of their own, and their share with all that they called."""
    own: dict[str, int] = {}
    whole: dict[str, int] = {}

    def visit(box: Box, above: frozenset[str]) -> None:
        rest = box.count - sum(child.count for child in box.children.values())
        own[box.name] = own.get(box.name, 0) + rest
        if box.name not in above:  # a function that calls itself counts once
            whole[box.name] = whole.get(box.name, 0) + box.count
        for child in box.children.values():
            visit(child, above | {box.name})

    visit(root, frozenset())
    ranked = sorted(own.items(), key=lambda pair: -pair[1])
    return [(name, samples / root.count, whole[name] / root.count) for name, samples in ranked[:count] if samples]


def packages(root: Box) -> list[tuple[str, float]]:
    """What each package costs by itself, ``ccproxy_sanic`` by its parts, the largest first."""
    shares: dict[str, float] = {}
    for name, own, _ in heaviest(root, 1 << 30):
        path = name.partition(":")[0].split("/")
        package = "/".join(path[:2]) if path[0] == "ccproxy_sanic" else path[0]
        shares[package] = shares.get(package, 0.0) + own
    return sorted(shares.items(), key=lambda pair: -pair[1])
