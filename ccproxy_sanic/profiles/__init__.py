"""What each upstream can do and how it deviates: data (the TOML files here) and a pure resolver.

Rule: nothing outside this package knows a provider's name; a wrong or unconfirmed rule is corrected in one TOML line.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.profiles.recognise import recognise
from ccproxy_sanic.profiles.resolver import EMPTY, GENERIC, Catalog, CatalogError, load

__all__ = [
    "BUILTIN",
    "GENERIC",
    "Catalog",
    "CatalogError",
    "Profile",
    "builtin",
    "from_switches",
    "load",
    "recognise",
    "resolve",
    "select",
]

_FILES: Final = ("dialects.toml", "models.toml", "openai.toml", "hosted.toml", "local.toml")


def _load_builtin() -> Catalog:
    catalog = EMPTY
    for name in _FILES:
        catalog = load((files(__name__) / name).read_text(encoding="utf-8"), name, catalog)
    return catalog


BUILTIN: Final = _load_builtin()


@lru_cache(maxsize=1024)  # model names may come from clients: bounded
def resolve(base_url: str, model: str, forced: str | None = None, catalog: Catalog = BUILTIN) -> Profile:
    """The profile of ``model`` at ``base_url``: platform by URL, then the model's family, then its limits.

    ``forced`` names a profile regardless of the URL (CCPROXY_PROFILE).  An unknown host gets ``generic``.
    Raises CatalogError where ``forced`` does not exist.
    """
    name, at_host = select(base_url, forced, catalog)
    return catalog.build(name, model=model, at_host=at_host)


def select(base_url: str, forced: str | None = None, catalog: Catalog = BUILTIN) -> tuple[str, bool]:
    """The profile's name, and whether what holds at its own host only holds too."""
    found = catalog.at(base_url)
    name = forced or found or GENERIC
    return name, name == found


@lru_cache(maxsize=128)
def builtin(name: str) -> Profile:
    """The built-in profile ``name``, without a model's own switches.  Raises CatalogError."""
    return BUILTIN.build(name)


def from_switches(switches: Mapping[str, Any], catalog: Catalog = BUILTIN) -> Profile:
    """A profile made of switches over the one that ``based_on`` names, else over ``generic``.  Raises CatalogError."""
    extra = dict(switches)
    return catalog.build(extra.pop("based_on", GENERIC), extra)
