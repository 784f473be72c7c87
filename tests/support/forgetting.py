"""What translation remembers from request to request, and how to make it forget."""

from __future__ import annotations

from typing import Any, Final

from ccproxy_sanic.translate import compact, tools
from ccproxy_sanic.wire import beginnings, reading

MEMOS: Final[tuple[Any, ...]] = (
    *(reading.remembered, beginnings.known, beginnings.once),
    *(tools.cleaned_parameters, compact._compact),
)


def forget() -> None:
    for memo in MEMOS:
        memo.cache_clear()
