"""Which profile an upstream gets, and one look at those that nobody knows: a server that somebody runs names itself.

Rule: the look changes nothing for anybody.  It is short, it never fails and no request waits for it; until something
is known, and where nothing gets known, the profile is ``generic``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ccproxy_sanic.context import shown
from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.profiles import GENERIC, Catalog, Profile, recognise, resolve
from ccproxy_sanic.upstream.exchange import Closer, Head, open_exchange
from ccproxy_sanic.upstream.target import Target

log = logging.getLogger("ccproxy")
PATIENCE: Final = 3.0  # seconds for all of it
MOST_LEARNED: Final = 1024  # model names may come from clients
MAX_LIST: Final = 1024 * 1024  # bytes of a list of models that are read

# from the chat URL: the list of models, and the root, where Ollama says its name
PLACES: Final = ("../models", "/")


class Lesson:
    """What a server taught of one model.  The profile that it makes is kept: what is remembered of a profile elsewhere
    goes by its identity."""

    __slots__ = ("_of", "_profile", "switches")

    def __init__(self) -> None:
        self.switches: dict[str, Any] = {}
        self._of: Profile | None = None
        self._profile: Profile | None = None

    def add(self, switches: Mapping[str, Any]) -> None:
        self.switches.update(switches)
        self._profile = None

    def applied(self, profile: Profile) -> Profile:
        if self._profile is None or self._of is not profile:
            self._of, self._profile = profile, msgspec.structs.replace(profile, **self.switches)
        return self._profile


class Profiles:
    """The profiles of all upstreams.  ``named`` are those whose servers said who they are, ``learned`` the switches
    that a server's refusals taught for a model: both by base URL, which a reload of the routes does not change."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.named: dict[str, str] = {}
        self.learned: OrderedDict[tuple[str, str], Lesson] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Profiles named {self.named}, learned {list(self.learned)}>"

    def of(self, target: Target, model: str) -> Profile:
        """The profile for ``model`` at ``target``: what the user forces or is known, and what its server taught."""
        profile = resolve(target.base_url, model, target.profile or self.named.get(target.base_url), self.catalog)
        if self.learned and (lesson := self.learned.get((target.base_url, model))) is not None:
            return lesson.applied(profile)
        return profile

    def learn(self, target: Target, model: str, switches: Mapping[str, Any]) -> None:
        """Remember what a server's refusal says of ``model``; bounded, the oldest is forgotten first."""
        log.info("upstream %s says of %s: %s", target.name, shown(model), dict(switches))
        self.learned.setdefault((target.base_url, model), Lesson()).add(switches)
        if len(self.learned) > MOST_LEARNED:
            self.learned.popitem(last=False)

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
