"""The request for an upstream that speaks Messages itself: the client's own bytes.

Rule: every byte stays but for the model's name and for what this upstream is known to refuse: thinking that carries our
signature, other providers' tool call ids, and lone surrogates (protocol.md 1.3 V15, 2.1.5, 2.3).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from ..errors import InvalidRequest
from ..wire import spans
from ..wire.anthropic import Beginning
from ..wire.anthropic_reply import encode
from ..wire.mending import replace_lone_surrogates
from ..wire.spans import Edit, Member, Span
from . import passthrough_ids
from .adjustments import Adjustment, Notes, Path
from .carrier import PREFIX

_OURS: Final = PREFIX.encode()
# Claude Code's own words for a turn without content; the real API refuses an empty one.
_FILLED: Final = b'[{"type":"text","text":"(no content)"}]'
_DISABLED: Final = b'{"type":"disabled"}'
_CARRIES: Final = {"thinking": "signature", "redacted_thinking": "data"}
_OPEN: Final = b'{"":['  # before messages that are cut out of a body
_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Block(msgspec.Struct):
    type: Any = None
    signature: Any = None
    data: Any = None


class _Message(msgspec.Struct):
    role: Any = None


class _Thinking(msgspec.Struct):
    type: Any = None


_SMALL: Final = 16 * 1024  # bytes: in larger ones the word is as a rule a tool's too, and looked for in vain
_KEY: Final = b'"model"'
_KEYS: Final = (_KEY + b":", _KEY + b": ")  # as serializers write it
_SPELT: Final = b"\\u"
_NO_BLOCK: Final = _Block()
_block: Final = msgspec.json.Decoder(_Block).decode
_role: Final = msgspec.json.Decoder(_Message).decode
_thinking: Final = msgspec.json.Decoder(_Thinking).decode


def body_for(
    raw: bytes, model: str, *, own_ids: bool = True, beginning: Beginning | None = None, named: str = ""
) -> tuple[bytes, list[Adjustment]]:
    """``raw``, a decoded and valid request, with ``model`` in the place of the client's, and what else was changed.

    ``own_ids``: the upstream takes tool ids of Anthropic's own form only (protocol.md 2.1.5).  A key ``model`` that is
    there twice is replaced twice: servers differ in which one they take.  ``beginning`` is that of the conversation,
    and ``named`` the client's model as it was decoded out of ``raw``, where they are known: with them it is found
    sooner.  Raises InvalidRequest (400): no JSON object, or one without a model.
    """
    if beginning is not None:
        if places := _known(raw, beginning, own_ids):
            said = encode(model)
            return spans.edited(raw, [Edit(place.start, place.end, said) for place in places]), []
    elif named and (renamed := _renamed(raw, named, model, own_ids)):
        return renamed, []
    notes = Notes()
    raw, found = _members(raw, notes)
    if own_ids and passthrough_ids.suspected(raw):
        try:
            raw = passthrough_ids.replaced(raw, found, notes)
        except (*_ERRORS, ValueError) as error:
            raise _not_json(error) from None
        found = spans.members(raw)
    edits = [Edit(start, end, encode(model)) for key, start, end in found if key == "model"]
    if not edits:
        raise InvalidRequest("model: Field required")
    ours = _ours_in(raw)
    if beginning is not None and not (ours or notes.found):
        _remember(raw, beginning, own_ids, edits)
    if ours:
        try:
            edits = sorted(edits + _without_ours(raw, found, notes))
        except (*_ERRORS, ValueError) as error:  # the first look does not decode what it carries
            raise _not_json(error) from None
    return spans.edited(raw, edits), notes.found


def _renamed(raw: bytes, named: str, model: str, own_ids: bool) -> bytes:
    """A small body in which the model's name is all that can need a change; b"": look closer.

    Where nothing is spelt with \\u, a key is spelt in one way: if that stands there once, it is the decoded member's.
    """
    if len(raw) > _SMALL or raw.count(_KEY) != 1 or raw.rfind(_SPELT) >= 0 or not _clean(raw, own_ids):
        return b""
    said = encode(named)
    for key in _KEYS:
        at = raw.find(key + said)
        if at >= 0:
            at += len(key)
            return raw[:at] + encode(model) + raw[at + len(said) :]
    return b""


class _Known(NamedTuple):
    """Where a model is named in what requests have in common: from the body's start, and from its end."""

    front: list[Span]
    back: list[Span]


def _remember(raw: bytes, beginning: Beginning, own_ids: bool, edits: list[Edit]) -> None:
    """What requests have in common needs no other change."""
    end = beginning.end(raw)
    if end < len(raw):
        front = [Span(edit.start, edit.end) for edit in edits if edit.end <= beginning.size]
        back = [Span(edit.start - len(raw), edit.end - len(raw)) for edit in edits if edit.start >= end]
        beginning.made[body_for, own_ids] = _Known(front, back)


def _known(raw: bytes, beginning: Beginning, own_ids: bool) -> list[Span]:
    """The same in a body of which only what is new can need any other change, and needs none."""
    known: _Known | None = beginning.made.get((body_for, own_ids))
    start, end = beginning.size, beginning.end(raw)
    if known is None or end == len(raw) or not _clean(raw[start:end], own_ids):
        return []
    left = _OPEN + raw[start:end] + b"}"
    shift = start - len(_OPEN)
    try:
        members = spans.members(left)
    except ValueError:  # nested too deeply: who reads all of it says so
        return []
    found = [Span(first + shift, last + shift) for key, first, last in members if key == "model"]
    return [*known.front, *found, *(Span(first + len(raw), last + len(raw)) for first, last in known.back)]


def _clean(text: bytes, own_ids: bool) -> bool:
    return not (_ours_in(text) or (own_ids and passthrough_ids.suspected(text)))


def _ours_in(text: bytes) -> bool:
    return text.rfind(_OURS) >= 0  # on prose twice as fast as a pattern, find or ``in``


def _members(raw: bytes, notes: Notes) -> tuple[bytes, list[Member]]:
    """The body's members; lone surrogates, which the real API calls invalid JSON, are replaced first."""
    try:
        return raw, spans.members(raw)
    except ValueError as error:
        mended, lone = replace_lone_surrogates(raw)
        if not lone:
            raise _not_json(error) from None
    notes.add("surrogates_replaced", ())
    try:
        return mended, spans.members(mended)
    except ValueError as error:
        raise _not_json(error) from None


def _not_json(error: Exception) -> InvalidRequest:
    return InvalidRequest(f"The request body is not valid JSON: {error}")


def _without_ours(raw: bytes, found: list[Member], notes: Notes) -> list[Edit]:
    """Our thinking taken out of ``messages``, and what the API then wants to be different elsewhere."""
    edits: list[Edit] = []
    unthought = False
    for key, start, end in found:
        if key == "messages" and raw.startswith(b"[", start):
            messages, unthought = _messages(raw[start:end], notes)
            edits.append(Edit(start, end, messages))
    if unthought:
        edits += _unthinking(raw, found, notes)
    return edits


def _messages(text: bytes, notes: Notes) -> tuple[bytes, bool]:
    """The messages, and whether the last assistant message now begins a tool call without the thinking before it."""
    edits: list[Edit] = []
    unthought = False
    for index, (start, end) in enumerate(spans.items(text)):
        message = text[start:end]
        if not message.startswith(b"{"):
            continue
        if _ours_in(message):
            message, cut = _message(message, ("messages", index, "content"), notes)
            edits.append(Edit(start, end, message))
            unthought = cut or unthought
        elif unthought and _role(message).role == "assistant":
            unthought = False
    return spans.edited(text, edits), unthought


def _message(text: bytes, path: Path, notes: Notes) -> tuple[bytes, bool]:
    edits: list[Edit] = []
    unthought = False
    for key, start, end in spans.members(text):
        if key == "content" and text.startswith(b"[", start):
            content, unthought = _content(text[start:end], path, notes)
            edits.append(Edit(start, end, content))
    return spans.edited(text, edits), unthought


def _content(text: bytes, path: Path, notes: Notes) -> tuple[bytes, bool]:
    """The blocks that are not ours, with the bytes between them; and whether a tool call now lacks its thinking."""
    places = spans.items(text)
    blocks = [_read(text[start:end]) for start, end in places]
    kept = [index for index, block in enumerate(blocks) if not _is_ours(block)]
    if len(kept) == len(blocks):
        return text, False
    notes.add("thinking_dropped", path, "this upstream refuses thinking that another model's upstream gave")
    if not kept:
        notes.add("content_filled", path, "a turn of such thinking alone was sent as (no content)")
        return _FILLED, False
    pieces = [text[: places[0].start]]
    for nth, index in enumerate(kept):
        if nth:
            pieces.append(text[places[index - 1].end : places[index].start])
        pieces.append(text[slice(*places[index])])
    pieces.append(text[places[-1].end :])
    left = [blocks[index].type for index in kept]
    return b"".join(pieces), left[0] not in _CARRIES and "tool_use" in left


def _read(text: bytes) -> _Block:
    try:
        return _block(text)
    except _ERRORS:  # not an object: none of ours
        return _NO_BLOCK


def _is_ours(block: _Block) -> bool:
    member = _CARRIES.get(block.type) if isinstance(block.type, str) else None
    carried = getattr(block, member) if member else None
    return isinstance(carried, str) and carried.startswith(PREFIX)


def _unthinking(raw: bytes, found: list[Member], notes: Notes) -> list[Edit]:
    """In a tool loop, ``thinking: enabled`` demands the thinking that was cut: "to avoid this requirement, disable
    thinking", says the API's 400; and without thinking it refuses to be told to clear any."""
    values = {key: Edit(start, end, raw[start:end]) for key, start, end in found}
    thinking, managed = values.get("thinking"), values.get("context_management")
    if thinking is None or not thinking.new.startswith(b"{") or _thinking(thinking.new).type != "enabled":
        return []
    notes.add("effort_forced", ("thinking",), "off for this call: the thinking before its tools is another model's")
    edits = [thinking._replace(new=_DISABLED)]
    if managed is not None and b"clear_thinking" in managed.new:
        rules = msgspec.json.decode(managed.new)
        if isinstance(rules, dict) and isinstance(rules.get("edits"), list):
            rules["edits"] = [edit for edit in rules["edits"] if not _clears_thinking(edit)]
            notes.add("field_ignored", ("context_management", "edits"), "there is no thinking to clear")
            edits.append(managed._replace(new=msgspec.json.encode(rules)))
    return edits


def _clears_thinking(edit: object) -> bool:
    return isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking")
