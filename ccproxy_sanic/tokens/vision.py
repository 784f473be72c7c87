"""What an image costs, by the family of the model that sees it (protocol.md 6.3).

Rule: one table, first match wins; a family that is not known pays by area, as Claude does.  Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from ccproxy_sanic.profiles.resolver import plain_model
from ccproxy_sanic.tokens.media import Size

Cost = Callable[[Size], int]

UNKNOWN_SIZE: Final = (1092, 1092)  # the largest square that Claude sees as it is: 1,590 tokens
PIXELS_PER_TOKEN: Final = 750
MOST: Final = 1600
_TILE: Final = 512
_PATCH: Final = 32
_ROUNDING: Final = 1e-9


def by_tiles(base: int, tile: int, size: Size) -> int:
    """Fit into 2048 x 2048, then the shorter side to 768, then count tiles of 512."""
    fit = min(1.0, 2048 / max(size))
    fit *= min(1.0, 768 / (min(size) * fit))
    columns, rows = (math.ceil(side * fit / _TILE - _ROUNDING) for side in size)
    return base + tile * columns * rows


def by_patches(factor: float, budget: int, size: Size) -> int:
    """Patches of 32 x 32; a larger image is shrunk until it has no more than ``budget`` of them."""
    width, height = size
    patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
    if patches > budget:
        scale = math.sqrt(budget * _PATCH**2 / (width * height))
        columns, rows = width * scale / _PATCH, height * scale / _PATCH
        if min(columns, rows) >= 1:  # a bit more, so that a whole number of patches fits
            scale *= min(math.floor(columns) / columns, math.floor(rows) / rows)
        columns, rows = (math.ceil(side * scale / _PATCH - _ROUNDING) for side in size)
        patches = min(budget, columns * rows)
    return math.ceil(patches * factor - _ROUNDING)


def by_area(size: Size) -> int:
    return max(1, min(MOST, round(size[0] * size[1] / PIXELS_PER_TOKEN)))


FAMILIES: Final[tuple[tuple[re.Pattern[str], Cost], ...]] = (
    (re.compile(r"gpt-4o-mini"), partial(by_tiles, 2833, 5667)),
    (re.compile(r"gpt-4\.1-mini"), partial(by_patches, 1.62, 1536)),
    (re.compile(r"gpt-4\.1-nano"), partial(by_patches, 2.46, 1536)),
    (re.compile(r"gpt-4(o|\.1|\.5)|chatgpt-4o"), partial(by_tiles, 85, 170)),
    (re.compile(r"o4-mini"), partial(by_patches, 1.72, 1536)),
    (re.compile(r"o[13]\b"), partial(by_tiles, 75, 150)),
    (re.compile(r"gpt-5-mini"), partial(by_patches, 1.62, 1536)),
    (re.compile(r"gpt-5-nano"), partial(by_patches, 2.46, 1536)),
    (re.compile(r"gpt-5\.[23]"), partial(by_patches, 1.2, 1536)),
    (re.compile(r"gpt-(5\.[4-9]|[6-9])"), partial(by_patches, 1.2, 2500)),
    (re.compile(r"gpt-5"), partial(by_tiles, 70, 140)),
    (re.compile(r"computer-use"), partial(by_tiles, 65, 129)),
    (re.compile(r""), by_area),
)


@lru_cache(maxsize=1024)  # model names may come from clients: bounded
def cost_of(model: str) -> Cost:
    """The function from an image's size to tokens for an upstream's model name."""
    plain = plain_model(model)
    return next(cost for pattern, cost in FAMILIES if pattern.match(plain))


def image_tokens(model: str, size: Size | None) -> int:
    return cost_of(model)(size or UNKNOWN_SIZE)
