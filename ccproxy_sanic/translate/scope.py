"""What the translation of one request carries around.

Rule: only notes, name maps and marks are written to it; everything else is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from msgspec import UNSET

from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.adjustments import Notes, Path
from ccproxy_sanic.translate.tool_names import Names
from ccproxy_sanic.wire.anthropic import CacheControl
from ccproxy_sanic.wire.openai_chat import CacheMark, PartMark, TextPart

Unsign: TypeAlias = Callable[[str], tuple[str, Any] | None]

MAX_MARKS: Final = 4  # cache writes a request (protocol.md 1.7)
_LONGEST_ID: Final = {"max40": 40, "max64": 64}  # OpenAI's limits: Chat Completions', Responses' (protocol.md 2.1.5)
_AS_IT_IS: Final = {**_LONGEST_ID, "mistral9": 0}
_UNLIMITED: Final = 1 << 62
_DIGEST: Final = 32
_MISTRAL_ID: Final = re.compile(r"[a-zA-Z0-9]{9}\Z")
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LONG_TTL: Final = {"1h": "12h"}  # Anthropic's to OpenAI's


class Scope:
    """Profile, notes and the maps of one request.

    ``ids`` is the form of tool call ids, where it is not the profile's; ``flat`` says that the history is one list, in
    which an id names one call; ``text_part`` is the API's kind of text part; ``kept_ids`` says how long an id may be
    that certainly is taken as it is, where the history is none.
    """

    __slots__ = (
        *("flat", "ids", "kept_ids", "marked", "marks", "names", "notes", "profile", "strict", "text_part", "tool_ids"),
        "unsign",
    )

    def __init__(
        self,
        profile: Profile,
        notes: Notes,
        names: Names,
        strict: bool,
        unsign: Unsign | None,
        ids: str = "",
        flat: bool = False,
        text_part: type[TextPart] = TextPart,
    ) -> None:
        self.profile = profile
        self.notes = notes
        self.names = names
        self.strict = strict
        self.unsign = unsign
        self.ids = ids or profile.tool_ids
        self.kept_ids = _AS_IT_IS.get(self.ids, _UNLIMITED)
        self.flat = flat
        self.text_part = text_part
        self.marks = profile.cache != "none" and profile.parts
        self.marked: list[TextPart] = []
        self.tool_ids: set[str] = set()  # the client's, of the whole history

    def apart(self, notes: Notes) -> Scope:
        """The same without anything that was found so far, for a part that is read by itself."""
        return Scope(self.profile, notes, Names(notes), self.strict, self.unsign, self.ids, self.flat, self.text_part)

    def sent_id(self, client_id: str, path: Path) -> str:
        """The tool call id for the upstream: the client's own wherever the target takes it (protocol.md 2.1.5)."""
        if self.ids == "any":
            return client_id
        again = self.flat and client_id in self.tool_ids
        sent = send_id(hashed_id(f"{path[1]}:{client_id}") if again else client_id, self.ids)
        if sent != client_id:
            self.notes.add("id_replaced", path)
        return sent

    def text(self, text: str, mark: CacheControl | None) -> TextPart:
        """A text part, with the profile's cache mark where the client set one."""
        part = self.text_part(text)
        if mark is None or not self.marks:
            return part
        if self.profile.cache == "cache_control":
            part.cache_control = CacheMark(mark.type, UNSET if mark.ttl is None else mark.ttl)
        else:
            part.prompt_cache_breakpoint = PartMark(ttl=_LONG_TTL.get(mark.ttl or "", UNSET))
            self.marked.append(part)
        return part

    def limit_marks(self) -> None:
        """Keeps the last marks: the newest ones are those that a growing conversation is read from."""
        for part in self.marked[:-MAX_MARKS]:
            part.prompt_cache_breakpoint = UNSET
            self.notes.add("cache_mark_dropped", ())


def send_id(client_id: str, form: str) -> str:
    """Deterministic: equal ids of a call and its result stay equal."""
    if form == "mistral9" and not _MISTRAL_ID.match(client_id):
        number = int.from_bytes(hashlib.sha256(client_id.encode()).digest()[:8], "big")
        digits = []
        for _ in range(9):
            number, digit = divmod(number, 62)
            digits.append(_BASE62[digit])
        return "".join(digits)
    if len(client_id) > _LONGEST_ID.get(form, len(client_id)):
        return hashed_id(client_id)
    return client_id


def hashed_id(text: str) -> str:
    return "toolu_" + hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


def is_marked(part: TextPart) -> bool:
    return part.cache_control is not UNSET or part.prompt_cache_breakpoint is not UNSET
