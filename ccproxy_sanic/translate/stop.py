"""Why the answer ended, and the stop sequences that the proxy enforces itself.

Rule: :data:`FINISH` says what a finish_reason means, :func:`decide` applies the order of precedence: refusal, content
filter, length, full context, tool calls, matched stop, end (protocol.md 3.2).  What is not in the table is a normal
end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Final

import msgspec

from ..wire.anthropic_reply import StopDetails
from ..wire.openai_chat_reply import Choice

FILTERED: Final = "The upstream content filter stopped this response."


class Finish(Enum):
    FILTER = auto()
    LENGTH = auto()
    CONTEXT = auto()
    NORMAL = auto()
    ERROR = auto()
    OVERLOADED = auto()

    __hash__ = object.__hash__  # Enum's own is a Python call: sets of these are looked at for every answer


# finish_reason in lower case -> what it means.  Normal ends (stop, tool_calls, function_call, end_turn, eos, abort,
# Ollama's load) have no row: so is everything that is not here.
FINISH: Final = {
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,  # Gemini
    "model_length": Finish.CONTEXT,  # Mistral
    "model_context_window_exceeded": Finish.CONTEXT,  # Z.ai
    "content_filter": Finish.FILTER,
    "safety": Finish.FILTER,  # Gemini, as the next ones
    "recitation": Finish.FILTER,
    "blocklist": Finish.FILTER,
    "prohibited_content": Finish.FILTER,
    "spii": Finish.FILTER,
    "image_safety": Finish.FILTER,
    "sensitive": Finish.FILTER,  # Z.ai
    "refusal": Finish.FILTER,
    "error": Finish.ERROR,  # OpenRouter, Mistral
    "network_error": Finish.ERROR,  # Z.ai
    "insufficient_system_resource": Finish.OVERLOADED,  # DeepSeek
}
# The same as upstreams write it as a rule, and None as long as they have not finished: some write that as text.
_USUAL: Final[dict[str, Finish | None]] = {
    **dict.fromkeys(("", "null", "None")),
    **dict.fromkeys(("stop", "tool_calls"), Finish.NORMAL),
    **FINISH,
}
CUTS: Final = frozenset({Finish.LENGTH, Finish.CONTEXT, Finish.FILTER})  # what the model was writing is not whole

# in order of precedence, behind a refusal's text
_REASONS: Final = (
    (Finish.FILTER, "refusal"),
    (Finish.LENGTH, "max_tokens"),
    (Finish.CONTEXT, "model_context_window_exceeded"),
)


class Stop(msgspec.Struct, frozen=True, gc=False):
    reason: str
    sequence: str | None = None
    details: StopDetails | None = None


END_TURN: Final = Stop("end_turn")
_TOOL_USE: Final = Stop("tool_use")


def meaning(finish_reason: str | None) -> Finish | None:
    """None as long as the upstream has not finished."""
    if finish_reason is None:
        return None
    if finish_reason in _USUAL:
        return _USUAL[finish_reason]
    return FINISH.get(finish_reason.lower(), Finish.NORMAL)


def matched(choice: Choice, stop_sequences: Sequence[str]) -> str | None:
    """The client's stop sequence that the server says it met (vLLM, SGLang); token ids and the server's own stops are
    not."""
    if choice.stop_reason is None and choice.matched_stop is None:
        return None
    for named in (choice.stop_reason, choice.matched_stop):
        if isinstance(named, str) and named in stop_sequences:
            return named
    return None


def decide(finishes: Collection[Finish], refusal: str, tools: int, sequence: str | None) -> Stop:
    """``tools`` counts the tool_use blocks of the answer."""
    if refusal and not refusal.isspace():
        return Stop("refusal", None, StopDetails(refusal))
    if not CUTS.isdisjoint(finishes):
        finish, reason = next(row for row in _REASONS if row[0] in finishes)
        return Stop(reason, None, StopDetails(FILTERED) if finish is Finish.FILTER else None)
    if tools:
        return _TOOL_USE
    return END_TURN if sequence is None else Stop("stop_sequence", sequence)


class Cutter:
    """Ends a text at the first of the given strings, however the text is cut.

    It holds back the longest end of the text that could be the beginning of a stop string.
    """

    __slots__ = ("_held", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        """What may be shown, and the stop string that ends it, if one was met."""
        text = self._held + text
        met = min(((at, stop) for stop in self._stops if (at := text.find(stop)) >= 0), default=None)
        if met is not None:
            self._held = ""
            return text[: met[0]], met[1]
        keep = max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held


def overlap(text: str, mark: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``mark`` and not the whole of it."""
    for size in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:size]):
            return size
    return 0
