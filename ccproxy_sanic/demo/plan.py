"""What one answer of the demo model consists of, before it is put on the wire.

Rule: a scenario says *what* is answered and where it goes wrong; the renderings alone say how that looks in bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ccproxy_sanic.demo.faults import Fault

Kind = Literal["reasoning", "text", "refusal", "call", "arguments"]


class Call(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any]


class Plan(msgspec.Struct, kw_only=True):
    """One answer.  Positions (``*_at``) count pieces from 0; a piece is one delta and one completion token."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    calls: list[Call] = []
    finish: str | None = None  # None: "tool_calls" or "stop", as it follows from the calls
    fault: Fault | None = None  # without fault_at an HTTP error, else an error object inside the stream
    fault_at: int | None = None
    cut_at: int | None = None  # the connection is dropped before this piece
    hold: float = 0.0  # seconds of silence ...
    hold_at: int | None = None  # ... before this piece; None: before the head
    pace: float | None = None  # seconds between pieces; None: the server's
    whole: bool = False  # not cut by the request's token limit
    quirk: str = ""  # a name in quirks.QUIRKS


class Piece(msgspec.Struct, kw_only=True):
    """One delta and one completion token.  ``call`` starts a tool call, ``arguments`` goes on with it."""

    kind: Kind
    text: str = ""
    index: int = 0  # of the tool call
    mark: str = ""  # of a ``call``: what makes its id unique; each API puts its own prefix before it
    name: str = ""  # of a ``call``
