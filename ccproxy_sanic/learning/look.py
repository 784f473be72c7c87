"""Which profile an upstream gets, and one look at those that nobody knows: a server that somebody runs names itself.

Rule: the look changes nothing for anybody.  It is short, it never fails and no request waits for it; until something
is known, and where nothing gets known, the profile is ``generic``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ccproxy_sanic.context import shown
from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.learning.keeper import Keeper, Later
from ccproxy_sanic.learning.lessons import LASTS, Lessons
from ccproxy_sanic.profiles import GENERIC, Catalog, Profile, recognise, resolve
from ccproxy_sanic.upstream.exchange import Closer, Head, open_exchange
from ccproxy_sanic.upstream.target import Target

log = logging.getLogger("ccproxy")
PATIENCE: Final = 3.0  # seconds for all of it
MAX_LIST: Final = 1024 * 1024  # bytes of a list of models that are read

# from the chat URL: the list of models, and the root, where Ollama says its name
PLACES: Final = ("../models", "/")


class LessonStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One lesson; ``kind`` is what was refused, ``learned_at`` seconds since the epoch, the others seconds."""

    base_url: str
    model: str
    kind: str
    switches: Mapping[str, Any]
    learned_at: float
    age: float
    expires_in: float


class Profiles:
    """The profiles of all upstreams.  ``named`` are those whose servers said who they are, ``lessons`` what servers
    taught of models: both by base URL, which a reload of the routes does not change.

    ``now`` is the wall clock; ``keeper`` is told what was learnt, where it is kept over a restart.
    """

    def __init__(self, catalog: Catalog, now: Callable[[], float] = time.time) -> None:
        self.catalog = catalog
        self.named: dict[str, str] = {}
        self.lessons = Lessons(now)
        self.keeper: Keeper | None = None

    def __repr__(self) -> str:
        return f"<Profiles named {self.named}, {self.lessons!r}>"

    def keep_in(self, folder: Path, later: Later) -> None:
        """Keep what is learnt in ``folder``, and begin with what is there."""
        self.keeper = Keeper(folder, self.lessons, self.catalog, later)

    def of(self, target: Target, model: str) -> Profile:
        """The profile for ``model`` at ``target``: what the user forces or is known, and what its server taught."""
        profile = resolve(target.base_url, model, target.profile or self.named.get(target.base_url), self.catalog)
        return self.lessons.applied(target.base_url, model, profile)

    def learn(self, target: Target, model: str, kind: str, switches: Mapping[str, Any]) -> None:
        """Remember what a server's refusal says of ``model``: that it does not take ``kind``, but these switches."""
        log.info("upstream %s says of %s: %s is refused, so %s", target.name, shown(model), kind, dict(switches))
        self.lessons.learn(target.base_url, model, kind, switches)
        if self.keeper is not None:
            self.keeper.learnt()

    def statistics(self) -> tuple[LessonStatistics, ...]:
        """What was learnt and holds, the oldest first."""
        now = self.lessons.now()
        return tuple(
            LessonStatistics(
                base_url=lesson.base_url,
                model=lesson.model,
                kind=lesson.kind,
                switches=lesson.switches,
                learned_at=lesson.learned_at,
                age=lesson.age(now),
                expires_in=max(0.0, lesson.learned_at + LASTS - now),
            )
            for lesson in sorted(self.lessons, key=lambda one: one.learned_at)
        )

    def is_unsure(self, target: Target) -> bool:
        """Whether only a look can tell: nothing is forced, and no profile claims the host."""
        known = target.profile is not None or target.api == "messages" or target.base_url in self.named
        return not known and self.catalog.at(target.base_url) is None

    async def look(self, target: Target, closer: Closer) -> None:
        """Ask the server who it is; says in one log line what came of it.  Cancelled, it leaves nothing behind."""
        name: str | None = None
        with contextlib.suppress(ProxyError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for place in PLACES:
                    if (name := await _ask(target, place, closer)) is not None:
                        break
        if name is None:
            log.info("upstream %s does not say which server it is: profile %s", target.name, GENERIC)
            return
        self.named[target.base_url] = name
        log.info("upstream %s says which server it is: profile %s", target.name, name)


async def _ask(target: Target, place: str, closer: Closer) -> str | None:
    # the root may be somebody else's: it gets no key
    chat = target.head("chat")
    headers = [field for field in chat.headers if place != "/" or field[0] != b"authorization"]
    exchange = await open_exchange(
        target.transport,
        Head("GET", chat.url.join(place), headers),
        b"",
        target.deadlines,
        provider=target.name,
        closer=closer,
    )
    try:
        return recognise(exchange.headers, await exchange.read(MAX_LIST))
    finally:
        exchange.abort()  # nothing to do where it was read to its end
