"""What servers taught of their models by refusing requests: the book, and its file.

Rule: a lesson lasts a week.  Servers are upgraded, and what an old one could not do is then tried again: it costs one
refused request.  Learnt again, it is as good as new.  At most :data:`MOST` models are remembered, those that taught
last.  Nothing of a request is in a lesson, and no credential of an address.

The file (CCPROXY_STATE_DIR) is small and is written as a whole.  Several processes may share it: who writes takes over
what others have written, the newer lesson wins.  A file that is none of ours is left out with a warning.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ccproxy_sanic.profiles import GENERIC, Catalog, CatalogError, Profile

log = logging.getLogger("ccproxy")
LASTS: Final = 7 * 86_400.0  # seconds
MOST: Final = 1024  # models; their names may come from clients
MOST_OF_ONE: Final = 32  # lessons of one model
LONGEST_NAME: Final = 200  # characters of a model's name; a longer one is not remembered
FILE: Final = "lessons.json"
MAX_FILE: Final = 16 << 20  # bytes
_VERSION: Final = 1


class Lesson(msgspec.Struct, frozen=True):
    """``kind`` is what was refused, ``switches`` what the profile is changed by, ``learned_at`` in seconds since the
    epoch."""

    base_url: str
    model: str
    kind: str
    switches: dict[str, Any]
    learned_at: float

    def age(self, now: float) -> float:
        """Seconds, none negative: clocks are set back."""
        return max(0.0, now - self.learned_at)


class _File(msgspec.Struct):
    version: int
    lessons: list[Lesson]


class _Model:
    """The lessons of one model, in the order of learning, by kind.

    The profile that they make is kept: what is remembered of a profile elsewhere goes by its identity.
    """

    __slots__ = ("_of", "_profile", "lessons", "until")

    def __init__(self) -> None:
        self.lessons: dict[str, Lesson] = {}
        self.until = 0.0  # when the first of them expires
        self._of: Profile | None = None
        self._profile: Profile | None = None

    def put(self, lesson: Lesson) -> None:
        self.lessons.pop(lesson.kind, None)
        self.lessons[lesson.kind] = lesson
        if len(self.lessons) > MOST_OF_ONE:
            del self.lessons[next(iter(self.lessons))]
        self._changed()

    def expire(self, now: float) -> None:
        self.lessons = {kind: lesson for kind, lesson in self.lessons.items() if lesson.learned_at + LASTS > now}
        self._changed()

    def _changed(self) -> None:
        self.until = min((lesson.learned_at for lesson in self.lessons.values()), default=0.0) + LASTS
        self._profile = None

    def applied(self, profile: Profile) -> Profile:
        if self._profile is None or self._of is not profile:
            self._of, self._profile = profile, _applied(profile, self.lessons.values())
        return self._profile


def _applied(profile: Profile, lessons: Iterable[Lesson]) -> Profile:
    switches = {name: value for lesson in lessons for name, value in lesson.switches.items()}
    known = profile.max_output
    if known is not None and switches.get("max_output") is not None:
        switches["max_output"] = min(known, switches["max_output"])  # a smaller limit of the user's stays
    return msgspec.structs.replace(profile, **switches)


class Lessons:
    """``now`` is the wall clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._models: OrderedDict[tuple[str, str], _Model] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Lessons of {len(self._models)} models>"

    def __iter__(self) -> Iterator[Lesson]:
        """All that hold now."""
        now = self.now()
        for model in self._models.values():
            yield from (lesson for lesson in model.lessons.values() if lesson.learned_at + LASTS > now)

    def applied(self, base_url: str, model: str, profile: Profile) -> Profile:
        """``profile`` as the server has taught it for ``model``."""
        if not self._models or (taught := self._models.get(key := (plain(base_url), model))) is None:
            return profile
        if self.now() >= taught.until:
            taught.expire(self.now())
            if not taught.lessons:
                del self._models[key]
                return profile
        return taught.applied(profile)

    def learn(self, base_url: str, model: str, kind: str, switches: Mapping[str, Any]) -> None:
        if len(model) <= LONGEST_NAME:
            self.take(Lesson(plain(base_url), model, kind, dict(switches), self.now()))

    def take(self, lesson: Lesson) -> None:
        """Remember it, unless a newer one of its kind is known."""
        key = lesson.base_url, lesson.model
        taught = self._models.setdefault(key, _Model())
        known = taught.lessons.get(lesson.kind)
        if known is None or (known.learned_at <= lesson.learned_at and known != lesson):
            taught.put(lesson)
            self._models.move_to_end(key)
        while len(self._models) > MOST:
            self._models.popitem(last=False)


@lru_cache(maxsize=256)
def plain(base_url: str) -> str:
    """An address without what may be secret: user, password, query.  One that is none becomes ""."""
    try:
        parts = urlsplit(base_url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def read(folder: Path, catalog: Catalog) -> list[Lesson]:
    """What the file of ``folder`` holds, oldest first; nothing, with a warning, where it is none of ours."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("%s: %s; what upstreams taught earlier is not used", path, error.strerror)
        return []
    try:
        found = msgspec.json.decode(content, type=_File)
        if found.version != _VERSION:
            raise ValueError
    except (ValueError, RecursionError):  # msgspec's errors are the former, and so is text that is no UTF-8
        log.warning("%s is no file of lessons; what upstreams taught earlier is not used", path)
        return []
    good = [lesson for lesson in found.lessons if _is_good(lesson, catalog)]
    if len(good) < len(found.lessons):
        log.warning("%s: %d lessons are of another version and not used", path, len(found.lessons) - len(good))
    return sorted(good, key=lambda lesson: lesson.learned_at)


def _is_good(lesson: Lesson, catalog: Catalog) -> bool:
    try:
        catalog.finished(GENERIC, dict(lesson.switches))
    except CatalogError:
        return False
    return lesson.base_url == plain(lesson.base_url) and len(lesson.model) <= LONGEST_NAME


def write(folder: Path, lessons: Iterable[Lesson]) -> None:
    """Replace the file of ``folder``, readable by its owner only.  Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = msgspec.json.encode(_File(_VERSION, list(lessons)))
    path = folder / FILE
    beside = folder / f".{FILE}.{secrets.token_hex(4)}"
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
