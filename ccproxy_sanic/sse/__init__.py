"""SSE framing.  Rule: only this file knows that there are two implementations.

The Cython one serves unless it was not built, or ``CCPROXY_PURE=1`` or ``CCPROXY_ENABLE_CYTHON=false`` asks for the
other.
"""

from __future__ import annotations

import os
from typing import Final

from ._framing_py import BLANK_LINE, LIMIT, NUMBER, STRING, Shape, Splitter, following, frame

_OFF: Final = frozenset({"0", "false", "no", "off"})

# Read here and not from the settings: the choice is made when the module is imported, before there are settings.
_wanted = os.environ.get("CCPROXY_PURE") != "1" and os.environ.get("CCPROXY_ENABLE_CYTHON", "").lower() not in _OFF

NATIVE: bool = False
if _wanted:
    try:
        from ._framing import Shape, Splitter, following, frame  # type: ignore[assignment]
    except ImportError:  # no compiler at set-up: the Python twin serves
        pass
    else:
        NATIVE = True

__all__ = ["BLANK_LINE", "LIMIT", "NATIVE", "NUMBER", "STRING", "Shape", "Splitter", "following", "frame"]
