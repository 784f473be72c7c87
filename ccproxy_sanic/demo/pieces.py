"""One answer as a list of pieces, before any API gives them a form.

Rule: every rendering, streamed or whole, is made from the same list, so no two of them can disagree.
"""

from __future__ import annotations

import hashlib
import re
from itertools import groupby
from typing import Final

import msgspec

from ccproxy_sanic.demo.plan import Kind, Piece, Plan
from ccproxy_sanic.demo.quirks import PIECES
from ccproxy_sanic.demo.request import ChatRequest, cached_tokens, prompt_tokens

CREATED: Final = 1_700_000_000  # a constant, so that equal requests get equal bytes
CUT: Final = re.compile(r"\s*\S{1,24}|\s+")
ARGUMENT_CUT: Final = re.compile(r".{1,12}", re.DOTALL)


class Run(msgspec.Struct, frozen=True):
    """Pieces that belong to one block or item."""

    at: int
    pieces: list[Piece]

    @property
    def kind(self) -> Kind:
        return self.pieces[0].kind

    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


class Answer(msgspec.Struct, frozen=True):
    """The pieces in order, why they end (``stop``, ``length``, ``tool_calls``), and what they are said to cost."""

    pieces: list[Piece]
    finish: str
    stop: str | None  # the stop sequence that ended the text
    prompt: int  # tokens, with the cached ones
    cached: int

    @property
    def reasoned(self) -> int:
        return sum(piece.kind == "reasoning" for piece in self.pieces)

    def runs(self) -> list[Run]:
        grouped = groupby(self.pieces, lambda piece: (piece.kind.replace("arguments", "call"), piece.index))
        return [Run(at, list(pieces)) for at, (_, pieces) in enumerate(grouped)]


def digest(body: bytes, size: int = 12) -> str:
    """The stem of an id: unique in a conversation, because every turn's request differs; equal for an equal request."""
    return hashlib.blake2s(body, digest_size=size).hexdigest()


def cut(plan: Plan, request: ChatRequest, body: bytes) -> Answer:
    """The answer to ``request``, whose bytes are ``body``: cut at its stop sequences and its token limit."""
    text, stop = _stopped(plan.text, request.stops())
    pieces = [Piece(kind="reasoning", text=piece) for piece in CUT.findall(plan.reasoning)]
    pieces += [Piece(kind="text", text=piece) for piece in CUT.findall(text)]
    pieces += [Piece(kind="refusal", text=piece) for piece in CUT.findall(plan.refusal)]
    for index, call in enumerate(plan.calls):
        pieces.append(Piece(kind="call", index=index, mark=f"{digest(body, 10)}{index:02d}", name=call.name))
        pieces += [
            Piece(kind="arguments", index=index, text=piece)
            for piece in ARGUMENT_CUT.findall(msgspec.json.encode(call.arguments).decode())
        ]
    finish = plan.finish or ("tool_calls" if plan.calls else "stop")
    limit = request.limit()
    if limit is not None and len(pieces) > limit and not plan.whole:
        pieces, finish, stop = pieces[:limit], "length", None
    if plan.quirk in PIECES:
        pieces = PIECES[plan.quirk](pieces)
    prompt = prompt_tokens(body)
    return Answer(pieces, finish, stop, prompt, cached_tokens(request, prompt))


def _stopped(text: str, stops: list[str]) -> tuple[str, str | None]:
    found = [(at, stop) for at, stop in ((text.find(stop), stop) for stop in stops if stop) if at >= 0]
    return (text[: min(found)[0]], min(found)[1]) if found else (text, None)
