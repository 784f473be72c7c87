"""Which profile an upstream gets, and one look at those that nobody knows: a server that somebody runs names itself.

Rule: the look changes nothing for anybody.  It is short, it never fails and no request waits for it; until something
is known, and where nothing gets known, the profile is ``generic``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from typing import Final

from ccproxy_sanic.context import shown
from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.profiles import GENERIC, Catalog, Profile, recognise, resolve
from ccproxy_sanic.upstream.engine import EngineTransport
from ccproxy_sanic.upstream.exchange import Closer, open_exchange
from ccproxy_sanic.upstream.target import Api, Target

log = logging.getLogger("ccproxy")
PATIENCE: Final = 3.0  # seconds for all of it
MOST_LEARNED: Final = 1024  # model names may come from clients
MAX_LIST: Final = 1024 * 1024  # bytes of a list of models that are read

# from the chat URL: the list of models, and the root, where Ollama says its name
PLACES: Final = ("../models", "/")


class Profiles:
    """The profiles of all upstreams.  ``named`` are those whose servers said who they are, ``learned`` the APIs that
    a server named for a model: both by base URL, which a reload of the routes does not change."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.named: dict[str, str] = {}
        self.learned: OrderedDict[tuple[str, str], Api] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Profiles named {self.named}, learned {dict(self.learned)}>"

    def of(self, target: Target, model: str) -> Profile:
        """The profile for ``model`` at ``target``."""
        return resolve(target.base_url, model, target.profile or self.named.get(target.base_url), self.catalog)

    def api_of(self, target: Target, model: str, profile: Profile) -> Api:
        """What is spoken with ``model``: what the user forces, what the server asked for, what the profile says."""
        if target.api is not None:
            return target.api
        if self.learned and (learned := self.learned.get((target.base_url, model))) is not None:
            return learned
        return profile.api

    def learn_api(self, target: Target, model: str, api: Api) -> None:
        """Remember that the server wants requests for ``model`` in ``api``; bounded, the oldest is forgotten first."""
        log.info("upstream %s wants %s in its %s API", target.name, shown(model), api)
        self.learned[target.base_url, model] = api
        if len(self.learned) > MOST_LEARNED:
            self.learned.popitem(last=False)

    def is_unsure(self, target: Target) -> bool:
        """Whether only a look can tell: nothing is forced, and no profile claims the host."""
        known = target.profile is not None or target.api == "messages" or target.base_url in self.named
        return not known and self.catalog.at(target.base_url) is None

    async def look(self, transport: EngineTransport, target: Target, closer: Closer) -> None:
        """Ask the server who it is; says in one log line what came of it.  Cancelled, it leaves nothing behind."""
        name: str | None = None
        with contextlib.suppress(ProxyError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for place in PLACES:
                    if (name := await _ask(transport, target, place, closer)) is not None:
                        break
        if name is None:
            log.info("upstream %s does not say which server it is: profile %s", target.name, GENERIC)
            return
        self.named[target.base_url] = name
        log.info("upstream %s says which server it is: profile %s", target.name, name)


async def _ask(transport: EngineTransport, target: Target, place: str, closer: Closer) -> str | None:
    # the root may be somebody else's: it gets no key
    headers = [field for field in target.headers("chat") if place != "/" or field[0] != b"authorization"]
    exchange = await open_exchange(
        transport,
        "GET",
        target.url("chat").join(place),
        headers,
        b"",
        target.deadlines,
        provider=target.name,
        closer=closer,
    )
    try:
        return recognise(exchange.headers, await exchange.read(MAX_LIST))
    finally:
        exchange.abort()  # nothing to do where it was read to its end
